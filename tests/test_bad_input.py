"""Bad input is ordinary input: one clear reason with its place, the other files are still read, nothing crashes."""

from __future__ import annotations

import json
import math
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from mldiag.artifacts import Unread
from mldiag.assembly import read_run
from mldiag.audit import Request, audit, read_runs
from mldiag.errors import BROKEN
from mldiag.files import Folder
from mldiag.plugins import Plugins, load
from mldiag.report import Report
from mldiag.run import Run

GOOD = b'{"loss": [3.0, 2.5, 2.0], "val_loss": [3.1, 2.6, 2.2]}'


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def check(folder: Path, plugins: Plugins) -> Report:
    return audit(Request((folder,)), plugins)


def run_at(folder: Path, plugins: Plugins) -> Run:
    problems: list[str] = []
    (run,) = read_runs(Request((folder,)), plugins, problems)
    assert not problems
    return run


def unread(report: Report) -> list[Unread]:
    return [u for run in report.runs for u in run.unread if u.known]


DEEP = 100_000
BROKEN_FILES = [
    pytest.param("history.json", b"", "the file is empty", None, id="empty history"),
    pytest.param("log.jsonl", b"", "the file is empty", None, id="empty log"),
    pytest.param("metrics.csv", b"", "the file is empty", None, id="empty table"),
    pytest.param("config.yaml", b"", "the file is empty", None, id="empty configuration"),
    pytest.param("history.json", GOOD[:30], "cut file", 1, id="cut history"),
    pytest.param("trainer_state.json", b'{\n"log_history": [\n{"loss": 1.0', "cut file", 3, id="cut state"),
    pytest.param("history.json", GOOD.replace(b'"val', b'"\xffval'), "byte 0xff is not UTF-8 text", 1, id="bytes"),
    pytest.param("config.yaml", b"a: 1\nb: \xff\n", "byte 0xff is not UTF-8 text", 2, id="bytes in YAML"),
    pytest.param("config.toml", b"a = 1\nb = '\xff'\n", "byte 0xff is not UTF-8 text", 2, id="bytes in TOML"),
    pytest.param("config.json", b"[" * DEEP, "nested too deeply", None, id="deep list"),
    pytest.param("config.json", b'{"a":' * DEEP, "nested too deeply", None, id="deep object"),
    pytest.param("config.yaml", b"a: " + b"[" * DEEP, "nested more than 200 levels", 1, id="deep YAML"),
    pytest.param("config.toml", b"a = " + b"[" * DEEP, "nested too deeply", None, id="deep TOML"),
    pytest.param("config.json", b'{"lr": 0.1,\x00 "seed": 1}', "not valid JSON", 1, id="NUL in JSON"),
    pytest.param("config.yaml", b"lr: 0.1\nseed: \x00\n", "not valid YAML", 2, id="NUL in YAML"),
    pytest.param("config.json", b'{"lr": ' + b"9" * 5000 + b"}", "not valid JSON", None, id="endless number"),
    pytest.param("log.csv", b"step,loss\n1,2\n" + b"x" * 200_000 + b",1\n", "field larger", 3, id="endless cell"),
    pytest.param(
        "config.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS", 1, id="pointer"
    ),
]


@pytest.mark.parametrize(("name", "content", "reason", "line"), BROKEN_FILES)
def test_a_broken_file_gives_one_reason_and_the_others_are_still_read(
    name: str, content: bytes, reason: str, line: int | None, tmp_path: Path, plugins: Plugins
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "good.json").write_bytes(GOOD)
    report = check(tmp_path, plugins)
    (found,) = unread(report)
    assert found.path == name
    assert reason in found.reason
    assert "\n" not in found.reason
    assert found.line == line
    assert report.exit_code() == BROKEN
    assert list(run_at(tmp_path, plugins).metrics.require("val/loss").data) == [3.1, 2.6, 2.2]


@pytest.mark.parametrize("name", ["history.json", "metrics.json", "log.jsonl", "metrics.csv", "trainer_state.json"])
def test_a_line_of_200_megabytes_is_refused_at_once_and_without_loading_it(
    name: str, tmp_path: Path, plugins: Plugins
) -> None:
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(200 * 10**6)
    tracemalloc.start()
    started = time.perf_counter()
    report = check(tmp_path, plugins)
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (found,) = unread(report)
    assert found.reason == (
        "200 MB in one document, more than the 134 MB that are read"
        if name in ("history.json", "metrics.json")
        else "a line of more than the 17 MB that are read"
    )
    assert report.exit_code() == BROKEN
    assert seconds < 5
    assert peak < 20 * 10**6


def test_a_line_of_20_megabytes_is_refused_before_it_is_parsed(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1, "loss": 2.0}\n{"step": 2, "x": "' + b"a" * 20_000_000 + b'"}\n')
    (found,) = unread(check(tmp_path, plugins))
    assert found.line == 2
    assert "a line of more than the 17 MB" in found.reason


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.jsonl", '{"step": 1, "loss": 2.5, "época": "é"}\n{"step": 2, "loss": 2.0}\n'),
        ("log.csv", "step;loss;observação\r\n1;2,5;é\r\n2;2,0;ok\r\n"),
        ("history.json", '{"loss": [2.5, 2.0], "val_loss": [3.0, 3.0], "título": "é"}'),
    ],
)
def test_logs_in_other_unicode_encodings_are_read(
    name: str, content: str, encoding: str, tmp_path: Path, plugins: Plugins
) -> None:
    (tmp_path / name).write_bytes(content.encode(encoding))
    run = run_at(tmp_path, plugins)
    assert not run.unread
    assert list(run.metrics.require("train/loss").data) == [2.5, 2.0]


def test_lines_with_bytes_that_are_no_text_are_left_out_and_counted(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        b'{"step": 1, "loss": 2.5}\n{"step": 2, "\xff": 2.0}\n{"step": 3, "loss": 1.5}\n'
    )
    (tmp_path / "b.csv").write_bytes(b"step,val_loss\n1,2.5\n2,\xff\n3,1.5\n")
    run = run_at(tmp_path, plugins)
    assert list(run.metrics.require("train/loss").data) == [2.5, 1.5]
    assert list(run.metrics.require("val/loss").data) == [2.5, 1.5]
    assert [(u.path, u.line, u.partial) for u in run.unread] == [("a.jsonl", 2, True), ("b.csv", 3, True)]


def test_bytes_of_zero_in_a_table_cost_only_their_row(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "log.csv").write_bytes(b"step,loss\n1,2.5\n2,\x00\x00\n3,1.5\n")
    run = run_at(tmp_path, plugins)
    assert list(run.metrics.require("train/loss").data) == [2.5, 1.5]
    assert [(u.line, u.partial) for u in run.unread] == [(3, True)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.jsonl", "".join(json.dumps({"step": n, "loss": None}) + "\n" for n in range(1, 6))),
        ("history.json", json.dumps({"loss": [None] * 5, "step": [1, 2, 3, 4, 5]})),
        ("log.csv", "step,loss\n" + "".join(f"{n},null\n" for n in range(1, 6))),
    ],
)
def test_a_log_of_null_losses_is_a_series_of_missing_values(
    name: str, content: str, tmp_path: Path, plugins: Plugins
) -> None:
    (tmp_path / name).write_text(content)
    series = run_at(tmp_path, plugins).metrics.require("train/loss")
    assert all(math.isnan(v) for v in series.data)
    assert series.nulls == (0, 1, 2, 3, 4)
    assert check(tmp_path, plugins).exit_code() != 0


def test_a_folder_and_a_lost_link_in_place_of_a_file_are_named(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "history.json").mkdir()
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "gone")
    folder = Folder(tmp_path, ("history.json", "log.jsonl", "vanished.csv"))
    run = read_run(folder, "run", plugins)
    assert [(u.path, u.known) for u in run.unread] == [(p, True) for p in folder.paths]
    assert all(u.reason.startswith("cannot be read: ") for u in run.unread)


def test_a_link_to_nothing_that_is_named_directly_is_a_problem(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "gone")
    report = check(tmp_path / "log.jsonl", plugins)
    assert report.problems == (f"{tmp_path / 'log.jsonl'}: a link that leads nowhere",)
    assert report.exit_code() == BROKEN


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "history.json").write_bytes(GOOD)
    (tmp_path / "history.json").chmod(0)
    (found,) = unread(check(tmp_path, plugins))
    assert found.reason == "cannot be read: permission denied"


def test_aliases_that_repeat_each_other_end(tmp_path: Path, plugins: Plugins) -> None:
    levels = ["a0: &a0 {x: 1, y: 2}"] + [
        f"a{n}: &a{n} {{" + ", ".join(f"k{k}: *a{n - 1}" for k in range(9)) + "}" for n in range(1, 9)
    ]
    (tmp_path / "config.yaml").write_text("lr: 0.1\n" + "\n".join(levels))
    started = time.perf_counter()
    run = run_at(tmp_path, plugins)
    assert time.perf_counter() - started < 10
    assert run.settings.get("lr") == 0.1
    assert [u.partial for u in run.unread] == [True]


def test_an_anchor_that_holds_itself_ends(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "config.yaml").write_text("lr: 0.1\na: &a\n  b: *a\nc: &c [*c]\n")
    assert run_at(tmp_path, plugins).settings.get("lr") == 0.1


def test_a_folder_without_anything_to_read_is_a_problem(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    report = check(tmp_path, plugins)
    assert not report.runs
    assert report.exit_code() == BROKEN
