"""Pickles are taken apart, never loaded: plain values come out as they went in, everything else as a note of a call."""

from __future__ import annotations

import os
import pickle
import time
import tracemalloc
from collections import OrderedDict, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.checkpoints import Checkpoint
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._weights import pickle_contents as _pickle_contents
from mldiag.readers._weights.pickle_contents import contents
from mldiag.readers._weights.pickle_opcodes import Cut, Instance, Machine, Malformed, Pairs
from mldiag.readers.pytorch import pytorch

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


def plain(value: Any) -> Any:
    """What the machine found, as the values it stands for."""
    if isinstance(value, Pairs):
        return {plain(k): plain(v) for k, v in value.pairs}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value


@given(PLAIN, st.integers(2, pickle.HIGHEST_PROTOCOL))
@settings(deadline=None)
def test_plain_values_come_out_as_they_went_in(value: object, protocol: int) -> None:
    assert plain(Machine(pickle.dumps(value, protocol)).run()) == value


@given(st.dictionaries(st.integers(), st.integers() | st.booleans() | st.none()), st.integers(0, 1))
def test_the_first_protocols_are_lines_of_text(value: dict[int, Any], protocol: int) -> None:
    assert plain(Machine(pickle.dumps(value, protocol)).run()) == value


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_containers_of_the_standard_library_are_plain(protocol: int) -> None:
    made = {"o": OrderedDict(a=1), "d": defaultdict(list, b=[2]), "s": {3}, "f": frozenset([4]), "b": bytearray(b"5")}
    found = plain(Machine(pickle.dumps(made, protocol)).run())
    assert (found["o"], found["d"], found["s"], found["f"]) == ({"a": 1}, {"b": [2]}, [3], [4])


@given(PLAIN, st.data())
@settings(deadline=None)
def test_every_prefix_is_cut(value: object, data: st.DataObject) -> None:
    whole = pickle.dumps(value)
    size = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Cut):
        Machine(whole[:size]).run()


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_are_a_pickle_or_malformed(data: bytes) -> None:
    with suppress(Malformed):
        contents(Machine(data).run())


class Sneaky:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_call_is_noted_and_not_made(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"epoch": 3, "x": Sneaky(made)}))
    (found,) = pytorch(File(tmp_path, "model.pt"))
    assert isinstance(found, Checkpoint)
    assert found.metadata["epoch"] == 3
    assert any(name.endswith(".mkdir") for name in found.calls)
    assert not made.exists()


def bombs() -> dict[str, bytes]:
    """Small pickles that would be large, endless or deep, and large ones that cost most."""
    doubled = b"\x80\x02]q\x00(h\x00h\x00eq\x01" + b"".join(
        b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(1, 60)
    )
    same = b"\x80\x02}(" + b"".join(
        b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N" for k in range(10_000)
    )
    many = b"\x80\x02](" + b"N" * 20_000 + b"eq\x00](" + b"h\x00" * 20_000 + b"e."
    return {
        "a list in itself": b"\x80\x02]q\x00h\x00a.",
        "a list that doubles sixty times": doubled + b".",
        "keys of one hash": same + b"u.",
        "a long list, over and over": many,
        "lists in lists": b"\x80\x02" + b"]" * 30_000 + b"a" * 29_999 + b".",
        "tuples in tuples": b"\x80\x02)" + b"\x85" * 30_000 + b".",
        "calls in calls": b"\x80\x02" + b"ctorch._utils\n_rebuild_parameter\n" * 3_000 + b")" + b"\x85R" * 3_000 + b".",
        "sparse tensors in each other": b"\x80\x02"
        + b"ctorch._utils\n_rebuild_sparse_tensor\nN" * 3_000
        + b")"
        + b"\x85\x86R" * 3_000
        + b".",
        "a number without end": b"I" + b"9" * 100_000 + b"\n.",
        "keys of thousands of digits": b"\x80\x02}\x8b\x10'\0\0" + b"\x7f" * 10_000 + b"Ns.",
        "a length that is not there": b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        "an order of texts": b"\x80\x02c_codecs\nencode\nq\x00X\x10'\x00\x00"
        + b"a" * 10_000
        + b"q\x01"
        + b"0h\x00h\x01\x85R" * 20_000
        + b".",
    }


@pytest.mark.parametrize("name", bombs())
def test_nothing_hangs_or_fills_the_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bombs()[name]
    monkeypatch.setattr(_pickle_contents, "MAX_VALUES", 10_000)
    tracemalloc.start()
    start = time.process_time()
    with suppress(Malformed):
        contents(Machine(data).run())
    spent, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < 5
    assert peak < 100 * 2**20


def test_an_object_is_a_note_of_its_class_and_state() -> None:
    found = Machine(pickle.dumps(ReadError("why"))).run()
    assert isinstance(found, Instance)
    assert found.name == "mldiag.errors.ReadError"
