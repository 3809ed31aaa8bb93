"""Logs packed with gzip are read as if they were not, as far as they are whole, and never without bounds."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag import packed
from mldiag.assembly import read_run
from mldiag.errors import ReadError
from mldiag.files import File, Folder
from mldiag.packed import Unpacked
from mldiag.plugins import Plugins, load
from mldiag.run import Run

STEPS = range(1, 60)
LOGS = {
    "train.log.gz": "".join(f"step {s} loss {5 / s:.4f}\n" for s in STEPS),
    "train.log.2.gz": "".join(f"step {s} loss {5 / s:.4f}\n" for s in STEPS),
    "log.txt.gz": "".join(f"Epoch {s} - loss: {5 / s:.4f}\n" for s in STEPS),
    "metrics.jsonl.gz": "".join(f'{{"step": {s}, "loss": {5 / s:.4f}}}\n' for s in STEPS),
    "progress.csv.gz": "step,loss\n" + "".join(f"{s},{5 / s:.4f}\n" for s in STEPS),
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def read(root: Path, plugins: Plugins, name: str, content: bytes) -> Run:
    (root / name).write_bytes(content)
    return read_run(Folder(root, (name,)), "run", plugins)


@pytest.mark.parametrize("name", LOGS)
def test_a_packed_log_is_read_as_one_that_is_not(name: str, tmp_path: Path, plugins: Plugins) -> None:
    text = LOGS[name].encode()
    run = read(tmp_path, plugins, name, gzip.compress(text))
    plain = read(tmp_path, plugins, name.removesuffix(".gz"), text)
    assert not run.unread
    (found,), (expected,) = run.metrics.series, plain.metrics.series
    assert (found.name, found.data) == (expected.name, expected.data)
    assert str(found.source) == f"{name}:{expected.source.line}"


def test_several_packed_one_behind_the_other_are_one_log(tmp_path: Path, plugins: Plugins) -> None:
    lines = LOGS["metrics.jsonl.gz"].encode().splitlines(keepends=True)
    run = read(tmp_path, plugins, "a.jsonl.gz", b"".join(map(gzip.compress, lines)) + bytes(512))
    assert len(run.metrics.require("train/loss")) == len(STEPS)
    assert not run.unread


@pytest.mark.parametrize("name", LOGS)
def test_what_stands_before_the_damage_is_read_and_the_rest_told(name: str, tmp_path: Path, plugins: Plugins) -> None:
    content = gzip.compress(LOGS[name].encode())
    whole = read(tmp_path, plugins, name, content).metrics.require("train/loss").data
    run = read(tmp_path, plugins, name, content[: len(content) * 3 // 4])
    kept = run.metrics.require("train/loss").data
    assert 10 < len(kept) < len(whole)
    assert kept[:-1] == whole[: len(kept) - 1]
    (told,) = run.unread
    assert (told.reason, told.partial) == ("gzip data ends in the middle (cut file)", True)
    run = read(tmp_path, plugins, name, content[:-8] + bytes(8))
    assert run.metrics.require("train/loss").data == whole
    assert [told.reason for told in run.unread] == ["damaged gzip data"]


def test_what_is_no_gzip_data_says_so(tmp_path: Path, plugins: Plugins) -> None:
    assert [u.reason for u in read(tmp_path, plugins, "train.log.gz", b"hello").unread] == [
        "no gzip data, although its name says so"
    ]


def test_a_log_that_grows_without_bounds_is_refused(
    tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "UNPACKED_LIMIT", 10_000_000)
    text = LOGS["train.log.gz"].encode()
    run = read(tmp_path, plugins, "train.log.gz", gzip.compress(text + bytes(20_000_000)))
    assert [u.reason for u in run.unread] == ["more than the 10 MB once unpacked that are read"]


def test_a_packed_data_set_is_not_unpacked(tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "UNPACKED_LIMIT", 0)
    run = read(tmp_path, plugins, "corpus.txt.gz", gzip.compress(b"It was a dark and stormy night.\n" * 100_000))
    assert [u.reason for u in run.unread] == ["no reader knows what is in it"]
    assert not plugins.takes("data.json.gz")
    assert not plugins.takes("volume.nii.gz")


@given(st.binary(max_size=200), st.integers(0, 1200), st.integers(0, 20))
@settings(max_examples=100)
def test_any_bytes_are_unpacked_or_refused(noise: bytes, at: int, length: int) -> None:
    text = LOGS["progress.csv.gz"].encode()
    whole = gzip.compress(text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv.gz"
        path.write_bytes(whole[:at] + noise + whole[at + length :])
        file = Unpacked(Path(folder), path.name)
        try:
            data = file.data
        except ReadError:
            return
        with file.open() as stream:
            assert stream.read() == data
        assert file.damage or data.startswith(text)
        assert data.startswith(file.sniffed.data)


def test_other_files_are_not_touched(tmp_path: Path) -> None:
    assert type(Folder(tmp_path, ("a.csv",))["a.csv"]) is File
