"""Trainer states: long ones are read in pieces and give what the whole document gives, cut ones what is whole."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from mldiag.artifacts import Artifact, Series, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import trainer_state as module
from mldiag.readers._tables import columns as _columns, trainer_history as _trainer_history
from mldiag.readers._tables.columns import number
from mldiag.readers.trainer_state import trainer_state

NUMBERS = st.floats() | st.integers(-(10**9), 10**9)
TRAIN = st.fixed_dictionaries({"epoch": st.floats(0, 9), "loss": st.floats(), "step": st.integers(0, 99)})
EVAL = st.fixed_dictionaries({"epoch": st.floats(0, 9), "eval_loss": st.floats(), "step": st.integers(0, 99)})
VALUES = NUMBERS | st.none() | st.sampled_from(["NaN", "},\n    {", '"loss": 1', "]"]) | st.lists(NUMBERS, max_size=2)
WILD = st.dictionaries(st.sampled_from(["loss", "eval_x", "step", "note", "a b"]), VALUES, max_size=4)
ENTRIES = st.lists(TRAIN | TRAIN | EVAL | WILD, max_size=12)


def state(entries: list[dict[str, Any]], indent: int | None = 2) -> bytes:
    document = {"global_step": 7, "log_history": entries, "max_steps": 9, "num_train_epochs": 2**63 - 1}
    return json.dumps(document, indent=indent).encode()


def read(content: bytes) -> tuple[list[Artifact], ReadError | None]:
    found: list[Artifact] = []
    try:
        found.extend(trainer_state(File(Path(), "trainer_state.json", content)))
    except ReadError as error:
        return found, error
    return found, None


def values(found: list[Artifact]) -> set[str]:
    rows = []
    for a in found:
        if isinstance(a, Series):
            columns = (a.data, a.step_data, a.epoch_data)
            rows.append(repr((a.raw_name, a.nulls, *(None if c is None else list(c) for c in columns))))
        elif isinstance(a, SettingValue):
            rows.append(repr((a.name, a.value)))
    return set(rows)


def in_pieces(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "LONG", 0)
    patch.setattr(_trainer_history, "LONG", 0)
    patch.setattr(_trainer_history, "FEW", 1)


def logged(value: object) -> float:
    """What a series keeps of a value: a text that is no number is none."""
    found = number(value)
    return math.nan if found is None else found


@settings(max_examples=60)
@given(ENTRIES, st.sampled_from([1, 2, 4]), st.booleans())
def test_pieces_give_what_the_whole_document_gives(entries: list[dict[str, Any]], indent: int, ended: bool) -> None:
    if ended:
        entries = [*entries, {"step": 99, "train_loss": 0.5, "train_runtime": 12.5}]
    content = state(entries, indent)
    wanted, trouble = read(content)
    with pytest.MonkeyPatch.context() as patch:
        in_pieces(patch)
        found, same_trouble = read(content)
    assert values(found) == values(wanted)
    assert str(same_trouble) == str(trouble)
    lines = content.decode().split("\n")
    for a in found:
        if isinstance(a, Series) and a.lines is not None:
            stated = [lines[n - 1].strip().rstrip(",").partition(": ") for n in a.lines]
            assert {key for key, _, _ in stated} == {f'"{a.raw_name}"'}
            assert repr([logged(json.loads(v)) for _, _, v in stated]) == repr(list(a.data))


@settings(max_examples=80)
@given(ENTRIES | st.lists(TRAIN | EVAL, max_size=12))
def test_columns_give_what_rows_give(entries: list[dict[str, Any]]) -> None:
    found, trouble = read(state(entries))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_columns, "plain_columns", lambda rows: None)
        wanted, same_trouble = read(state(entries))
    assert str(trouble) == str(same_trouble)
    for one, other in zip(found, wanted, strict=True):
        if isinstance(one, Series) and isinstance(other, Series):
            assert list(one.lines or ()) == list(other.lines or ())
            assert repr(replace(one, lines=None)) == repr(replace(other, lines=None))
        else:
            assert one == other


@given(st.lists(TRAIN, min_size=2, max_size=8), st.data())
def test_a_cut_file_keeps_its_whole_entries(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    content = state(entries)
    ends = [i + len(b"\n    },\n") for i in range(len(content)) if content.startswith(b"\n    },\n", i)]
    cut = data.draw(st.integers(ends[0], content.index(b"\n  ],")))
    whole = sum(end <= cut for end in ends)
    found, trouble = read(content[:cut])
    series = next(a for a in found if isinstance(a, Series))
    assert repr(list(series.data)) == repr([e["loss"] for e in entries[:whole]])
    assert trouble is not None
    assert "cut file" in trouble.reason
    assert trouble.partial
    assert ("max_steps", 9) not in {(a.name, a.value) for a in found if isinstance(a, SettingValue)}


@given(st.binary(max_size=150) | ENTRIES.map(state).map(lambda b: b[: len(b) // 2]))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    read(content)
    with pytest.MonkeyPatch.context() as patch:
        in_pieces(patch)
        read(content)


def test_a_long_state_is_read_in_bulk_with_the_line_of_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[int] = []
    one = _trainer_history.History._one
    monkeypatch.setattr(_trainer_history.History, "_one", lambda self, *a: alone.append(1) or one(self, *a))
    monkeypatch.setattr(module, "LONG", 0)
    monkeypatch.setattr(_trainer_history, "LONG", 0)
    entries: list[dict[str, Any]] = []
    for i in range(3_000):
        entries.append({"epoch": i / 100, "loss": math.nan if i % 50 == 3 else 1 / (i + 1), "step": i})
        if i % 100 == 0:
            entries.append({"epoch": i / 100, "eval_loss": 0.5, "eval_runtime": 1.5, "step": i})
    content = state(entries)
    found, trouble = read(content)
    assert trouble is None
    assert len(alone) < 200, "most entries were taken one by one"
    lines = content.decode().split("\n")
    for a in found:
        if isinstance(a, Series):
            assert a.lines is not None
            assert repr([float(lines[n - 1].strip().rstrip(",").split(": ")[1]) for n in a.lines]) == repr(list(a.data))
            assert a.source.line == a.lines[0]
    places = {a.name: lines[(a.source.line or 0) - 1].strip() for a in found if isinstance(a, SettingValue)}
    assert places == {"global_step": '"global_step": 7,', "max_steps": '"max_steps": 9,'}
