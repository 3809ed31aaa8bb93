"""Histories of numbers alone with the keys of one that was read before, as the runs of a sweep have them.

Such a history is decoded into structs whose fields are those keys: the parser itself then refuses what is no number or
has another key, and no cell has to be looked at. What `Table` would decide follows from the keys. The first history of
a layout, and whatever a layout does not foresee, is left to `Table`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from mldiag.artifacts import Scalar
from mldiag.patterns import lazily
from mldiag.readers._tables.columns import kind_of

MAX_KEYS = 64
"""Keys of a history that is learnt; one of more has a key for each layer or class, and other ones in the next run."""
MAX_LAYOUTS = 4
"""Kept at a time, the latest first: of runs with and without evaluation, cut and finished."""

_SUMMARY = "train_runtime"
"""A key that only the closing summary has."""
# Of such keys each stands in quotes where it is a key and nowhere else, and no bracket stands within a history.
_PLAIN = lazily(r"""[^"\\{}\[\]\x00-\x1f]+""")
_STEP, _EPOCH, _FIRST = 0, 1, 2
"""Where an entry has its axes and the first of its quantities."""

_Entry = tuple[Any, ...]
_Columns = tuple["array[float]", "array[float]", "array[float] | None"]
_T = TypeVar("_T")


class Quantity(NamedTuple):
    """A series of a history; those of the same entries share the arrays of their axes."""

    key: str
    values: array[float]
    steps: array[float]
    epochs: array[float] | None


class State(NamedTuple):
    """What a trainer's state holds.

    Attributes:
        quantities: in the order in which their keys first stand in the text. `rows`: how many entries they are from.
        closing: the closing summary without step and epoch; empty where there is none.
        beside: what stands beside the history, of the keys that were asked for.
        span: the characters of the text that are those entries.
    """

    quantities: list[Quantity]
    rows: int
    closing: dict[str, int | float]
    beside: dict[str, Scalar]
    span: tuple[int, int]


class Layouts:
    """The layouts of the histories read last.

    Args:
        beside: keys of the document that are wanted beside its history.
    """

    def __init__(self, beside: Sequence[str]) -> None:
        self._beside = beside
        self._known: list[_Layout] = []

    def learn(self, entries: Iterable[Mapping[str, Any]], closing: Mapping[str, Any]) -> None:
        """Takes the keys of a history that was read without a layout, and of its closing summary if it has one."""
        logged = dict.fromkeys(chain.from_iterable(entries))
        if not logged.keys() >= {"step", "epoch"} or len(logged) + len(closing) > MAX_KEYS:
            return
        quantities, summary = (tuple(k for k in keys if k not in ("step", "epoch")) for keys in (logged, closing))
        distinct = {*quantities}.isdisjoint((*summary, *self._beside))
        if not distinct or any(kind_of(key) != "metric" for key in quantities):
            return
        layout = _Layout(quantities, summary, self._beside)
        if all(map(_PLAIN.fullmatch, (*quantities, *summary))):
            self._known = [layout, *(known for known in self._known if known.keys != layout.keys)][:MAX_LAYOUTS]

    def read(self, data: bytes, text: str) -> State | None:
        """The history in a trainer's state; None where it has no known layout."""
        for layout in self._known:
            found = layout.read(data, text)
            if found is not None:
                return found
        return None


class _Layout:
    """Keys of the entries of a history beside `step` and `epoch`, and of its closing summary."""

    def __init__(self, quantities: Sequence[str], summary: Sequence[str], beside: Sequence[str]) -> None:
        self.keys = ({*quantities}, {*summary})
        self._quantities = quantities
        self._summary = summary
        self._beside = beside

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Any]:
        """Of entries with step, epoch, the quantities and the summary in this order, most of them unset."""
        numbers: list[tuple[str, Any]] = [(key, float | UnsetType) for key in ("epoch", *self._quantities)]
        numbers += [(key, int | float | UnsetType) for key in self._summary]
        names = {f"f{at}": key for at, (key, _) in enumerate(numbers)}  # a key need not be a name in Python
        fields = [(name, kind, UNSET) for name, (_, kind) in zip(names, numbers, strict=True)]
        entry: Any = msgspec.defstruct(
            "Entry", [("step", float), *fields], rename=names, forbid_unknown_fields=True, gc=False
        )
        beside = [(key, Scalar, None) for key in self._beside]
        return msgspec.json.Decoder(msgspec.defstruct("State", [("log_history", list[entry]), *beside]))

    def read(self, data: bytes, text: str) -> State | None:
        try:
            state = self._decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        start = text.find('"log_history":')
        if start < 0 or text.count("{", 0, start) != 1:
            return None  # that may be a key of something within the document
        end = text.find("]", start)
        entries: list[_Entry] = list(map(astuple, state.log_history))
        behind = _FIRST + len(self._quantities)
        closing: dict[str, int | float] = {}
        if entries and not _is_unset(entries[-1][behind:]):
            last = entries.pop()
            begin = text.rfind("{", start, end)
            summary = _in_order(dict(zip(self._summary, last[behind:], strict=True)), text, begin, end)
            if summary is None or _SUMMARY not in summary or not _is_unset(last[_FIRST:behind]):
                return None
            closing, end = summary, begin
        found = _by_column(entries, behind)
        series = found and _in_order(dict(zip(self._quantities, found, strict=True)), text, start, end)
        if not series:
            return None
        quantities = [Quantity(key, *columns) for key, columns in series.items()]
        beside = {key: getattr(state, key) for key in self._beside}
        return State(quantities, len(entries), closing, beside, (start, end))


def _by_column(entries: Sequence[_Entry], behind: int) -> list[_Columns | UnsetType] | None:
    """The quantities of entries, unset where none has one; None where the axes are no plain ones."""
    columns = list(zip(*entries, strict=True))
    if not columns or columns[_STEP] != tuple(sorted(columns[_STEP])):
        return None
    unset = [column.count(UNSET) for column in columns[_FIRST:]]
    count = behind - _FIRST
    if any(number < len(entries) for number in unset[count:]):
        return None
    found: list[_Columns | UnsetType] = [UNSET] * count
    for first in range(count):
        if unset[first] == len(entries) or found[first] is not UNSET:
            continue
        own = list(zip(*[entry for entry in entries if entry[_FIRST + first] is not UNSET], strict=True))
        floats = _Floats(len(own[_STEP]))
        steps, epochs = array("d", own[_STEP]), floats(own[_EPOCH])
        if len(steps) > 1 and steps[0] == steps[-1]:
            return None
        for nth in range(first, count):
            # A quantity that is set in as many entries, and in all of these, is set in the same ones.
            if unset[nth] == unset[first] and (values := floats(own[_FIRST + nth])) is not None:
                found[nth] = values, steps, epochs
    return found


class _Floats:
    """Columns of one length as arrays, in half the time that `array` takes for values one by one."""

    def __init__(self, length: int) -> None:
        self._packed = struct.Struct(f"{length}d").pack

    def __call__(self, column: Sequence[Any]) -> array[float] | None:
        """None where some cell is unset."""
        try:
            return array("d", self._packed(*column))
        except struct.error:
            return None


def _in_order(named: Mapping[str, _T | UnsetType], text: str, begin: int, end: int) -> dict[str, _T] | None:
    """Those that are set, by where their keys first stand in a part of the text; None where one has escapes."""
    placed = sorted((text.find(f'"{key}"', begin, end), key) for key, value in named.items() if value is not UNSET)
    if placed and placed[0][0] < 0:
        return None
    return {key: named[key] for _, key in placed}  # type: ignore[misc]


def _is_unset(values: Sequence[Any]) -> bool:
    return values.count(UNSET) == len(values)
