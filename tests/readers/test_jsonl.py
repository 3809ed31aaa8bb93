"""JSON lines: bulk reading gives what line by line gives, damaged input costs only itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Artifact, Series, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._tables import jsonl_log as _jsonl_log, jsonl_rows as _jsonl_rows
from mldiag.readers.jsonl import jsonl

KEYS = ["loss", "eval_loss", "val/acc", "lr", "NaN_count", "é", "total_steps", "x"]
NUMBERS = st.floats() | st.integers(-(10**20), 10**20) | st.just(10**400)
CELLS = NUMBERS | st.none() | st.booleans() | st.sampled_from(["0.5", "n/a", "12 %", "a: NaN, b", "-Infinity"])
VALUES = CELLS | st.dictionaries(st.sampled_from(["a", "loss"]), CELLS, max_size=2) | st.lists(NUMBERS, max_size=2)
CLEAN = st.fixed_dictionaries({"step": st.integers(0, 100), "loss": st.floats()})
ROWS = CLEAN | st.dictionaries(st.sampled_from([*KEYS, "step", "epoch", "time"]), VALUES, max_size=5)
SPLITS = st.sampled_from(["train", "val", "other"])
ODD = st.sampled_from(
    ["", "[1]", "null", '{"loss": 1NaN}', '{"loss": NaN5}', '{"loss": 1e999}', '{"a": 1} {"a": 2}', "{"]
)


def read(content: bytes, name: str = "log.jsonl") -> tuple[list[Artifact], ReadError | None]:
    found: list[Artifact] = []
    try:
        found.extend(jsonl(File(Path(), name, content)))
    except ReadError as error:
        return found, error
    return found, None


def shown(found: list[Artifact]) -> set[str]:
    """Everything about series and settings that does not depend on their order."""
    rows = []
    for a in found:
        if isinstance(a, Series):
            columns = (a.data, a.step_data, a.epoch_data, a.time_data, a.lines)
            rows.append(repr((a.raw_name, a.nulls, *(None if c is None else list(c) for c in columns))))
        elif isinstance(a, SettingValue):
            rows.append(repr((a.name, a.value, a.source.line)))
    return set(rows)


def in_bulk(patch: pytest.MonkeyPatch, *, wide: bool) -> None:
    patch.setattr(_jsonl_log, "SMALL", 0)
    patch.setattr(_jsonl_log, "FEW", 2)
    patch.setattr(_jsonl_log, "LONG", 0 if wide else 2**40)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("split", [False, True])
@settings(max_examples=50)
@given(st.data())
def test_bulk_reading_gives_what_line_by_line_gives(wide: bool, split: bool, data: st.DataObject) -> None:
    rows = data.draw(st.lists(ROWS, min_size=1, max_size=12))
    if split:
        rows = [{**row, "mode": data.draw(SPLITS)} for row in rows]
    lines = [json.dumps(row) for row in rows]
    if data.draw(st.booleans()):
        lines.insert(data.draw(st.integers(0, len(lines))), data.draw(ODD))
    content = (data.draw(st.sampled_from(["\n", "\r\n"])).join(lines) + data.draw(st.sampled_from(["\n", ""]))).encode()
    wanted, trouble = read(content)
    with pytest.MonkeyPatch.context() as patch:
        in_bulk(patch, wide=wide)
        found, same_trouble = read(content)
    assert shown(found) == shown(wanted)
    assert str(same_trouble) == str(trouble)


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b'{"loss":', b"1", b"}", b"\n", b"NaN", b"\xff", b'"'])).map(b"".join)
)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        in_bulk(patch, wide=False)
        read(content)


@given(st.lists(CLEAN, min_size=1, max_size=8), st.data())
def test_a_prefix_keeps_all_whole_lines(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    cut = data.draw(st.integers(content.index(b"\n") + 1, len(content)))
    found, trouble = read(content[:cut])
    whole = content[:cut].count(b"\n")
    series = next(a for a in found if isinstance(a, Series))
    # The last line is whole, too, where nothing but its line end is missing.
    assert len(series) - whole in (0, 1)
    assert repr(list(series.data)[:whole]) == repr([float(row["loss"]) for row in rows[:whole]])
    assert trouble is None


def log(rows: int, *, broken: bool = False) -> bytes:
    lines = []
    for i in range(rows):
        loss = math.nan if i % 97 == 0 else -math.inf if i % 89 == 0 else 1 / (i + 1)
        row = {"step": i, "loss": loss} if i % 10 else {"step": i, "eval_loss": loss}
        lines.append(json.dumps(row) + "\n")
    return "".join(lines).encode() + (b'{"step": 1' if broken else b"")


@pytest.mark.parametrize("wide", [False, True])
def test_a_long_log_is_read_in_bulk_with_nan_and_gaps(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    alone: list[bytes] = []
    monkeypatch.setattr(_jsonl_log, "LONG", 0 if wide else 2**40)
    parse = _jsonl_log._object
    monkeypatch.setattr(_jsonl_log, "_object", lambda line: alone.append(line) or parse(line))
    content = log(5_000, broken=True)
    found, trouble = read(content)
    assert trouble is None
    assert len(alone) < 50, "most lines were taken one by one"
    by_name = {a.raw_name: a for a in found if isinstance(a, Series)}
    rows = [json.loads(line) for line in content.splitlines()[:-1]]
    for name in ("loss", "eval_loss"):
        own = [(i + 1, r["step"], r[name]) for i, r in enumerate(rows) if name in r]
        series = by_name[name]
        assert repr(list(zip(series.lines or (), series.step_data or (), series.data, strict=True))) == repr(
            [(line, float(step), value) for line, step, value in own]
        )


def test_a_log_larger_than_a_document_may_be_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mldiag.files.DOCUMENT_LIMIT", 1000)
    monkeypatch.setattr("mldiag.files.LONG", 1000)
    (tmp_path / "log.jsonl").write_bytes(log(2_000))
    series = [a for a in jsonl(File(tmp_path, "log.jsonl")) if isinstance(a, Series)]
    assert [len(s) for s in series] == [1_800, 200] or [len(s) for s in series] == [200, 1_800]


def test_keys_without_end_are_kept_without_a_struct_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jsonl_rows, "MAX_KEYS", 5)
    in_bulk(monkeypatch, wide=False)
    content = "".join(json.dumps({"step": i, "loss": 1.0, f"grad/{i}": 0.5}) + "\n" for i in range(50)).encode()
    names = {a.raw_name for a in read(content)[0] if isinstance(a, Series)}
    assert names == {"loss", *(f"grad/{i}" for i in range(50))}
