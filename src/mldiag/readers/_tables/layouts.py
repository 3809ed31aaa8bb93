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
from itertools import chain, pairwise
from operator import attrgetter, itemgetter
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

MAX_CELLS = 2**17
"""Cells of histories whose patterns are kept, one for each number of entries: cut runs of a sweep differ in it. A cell
takes 50 bytes; a longer history is left to `Table`."""

_SUMMARY = "train_runtime"
"""A key that only the closing summary has."""
# Of such keys each stands in quotes where it is a key and nowhere else, and no bracket stands within a history.
_PLAIN = lazily(r"""[^"\\{}\[\]\x00-\x1f]+""")
_STEP, _EPOCH, _FIRST = 0, 1, 2
"""Where an entry has its axes and the first of its quantities."""

_Columns = tuple["array[float]", "array[float]", "array[float]"]
_PLACE = attrgetter("at")
_T = TypeVar("_T")


class Quantity(NamedTuple):
    """A series of a history, whose key first stands `at`; those of the same entries share the arrays of their axes."""

    key: str
    values: array[float]
    steps: array[float]
    epochs: array[float]
    at: int


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
        self._patterns: dict[int, _Pattern] = {}

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
        entries = list(map(astuple, state.log_history))
        behind = _FIRST + len(self._quantities)
        closing: dict[str, int | float] = {}
        if entries and not _is_unset(entries[-1][behind:]):
            last = entries.pop()
            begin = text.rfind("{", start, end)
            summary = _in_order(dict(zip(self._summary, last[behind:], strict=True)), text, begin, end)
            if summary is None or _SUMMARY not in summary or not _is_unset(last[_FIRST:behind]):
                return None
            closing, end = summary, begin
        cells = list(chain.from_iterable(entries))
        series = self._by_column(cells, len(entries))
        if not series:
            return None
        quantities = [Quantity(key, *columns, text.find(f'"{key}"')) for key, columns in series.items()]
        quantities.sort(key=_PLACE)
        if not start < quantities[0].at <= quantities[-1].at < end:
            return None  # with escapes, or of something beside the history as well
        beside = dict(zip(self._beside, astuple(state)[1:], strict=True))
        return State(quantities, len(entries), closing, beside, (start, end))

    def _by_column(self, cells: list[Any], count: int) -> dict[str, _Columns] | None:
        """The quantities in the cells of entries, one after the other; None where the axes are no plain ones."""
        if not count:
            return None
        width = len(cells) // count
        steps = cells[::width]
        if steps != sorted(steps):
            return None
        pattern = self._patterns.get(count)
        found = pattern.columns(cells) if pattern else None
        if found is None:
            if sum(self._patterns) * width + len(cells) > MAX_CELLS:
                self._patterns.clear()
            if len(cells) > MAX_CELLS:
                return None
            pattern = self._patterns[count] = _Pattern(cells, width, self._quantities)
            found = pattern.columns(cells)
        if found is None or any(len(s) > 1 and s[0] == s[-1] for _, s, _ in found.values()):
            return None
        return found


class _Pattern:
    """Which entries of a history have which quantities: most runs of a sweep log at the same steps.

    So the places of all cells that are set are known, and they are taken together, column by column.
    """

    def __init__(self, cells: Sequence[Any], width: int, keys: Sequence[str]) -> None:
        shapes: dict[tuple[int, ...], list[int]] = {}
        for at in range(_FIRST, _FIRST + len(keys)):
            rows = tuple(row for row in range(0, len(cells), width) if cells[row + at] is not UNSET)
            if rows:
                shapes.setdefault(rows, []).append(at)
        # Of entries of one shape the steps, the epochs, and each quantity.
        columns = [(rows, [_STEP, _EPOCH, *own]) for rows, own in shapes.items()]
        places = [row + at for rows, own in columns for at in own for row in rows]
        others = [*{*range(len(cells))}.difference(places)]
        self._sorted = itemgetter(*places, *others)
        self._count = len(places)
        self._unset = (UNSET,) * len(others)
        self._columns: list[tuple[list[slice], tuple[str, ...]]] = []
        begin = 0
        for rows, own in columns:
            ends = range(begin, begin + len(rows) * len(own) + 1, len(rows))
            spans = [slice(*span) for span in pairwise(ends)]
            self._columns.append((spans, tuple(keys[at - _FIRST] for at in own[_FIRST:])))
            begin = ends[-1]

    def columns(self, cells: Sequence[Any]) -> dict[str, _Columns] | None:
        """The values, steps and epochs of each quantity; None where other cells are set."""
        ordered = self._sorted(cells)
        # One by one a comparison of a number with what is unset takes more time than all the rest.
        if ordered[self._count :] != self._unset:
            return None
        try:
            numbers = array("d", struct.pack(f"{self._count}d", *ordered[: self._count]))
        except struct.error:
            return None
        found: dict[str, _Columns] = {}
        for spans, keys in self._columns:
            steps, epochs, *values = [numbers[span] for span in spans]
            for key, own in zip(keys, values, strict=True):
                found[key] = own, steps, epochs
        return found


def _in_order(named: Mapping[str, _T | UnsetType], text: str, begin: int, end: int) -> dict[str, _T] | None:
    """Those that are set, by where their keys first stand in a part of the text; None where one has escapes."""
    placed = sorted((text.find(f'"{key}"', begin, end), key) for key, value in named.items() if value is not UNSET)
    if placed and placed[0][0] < 0:
        return None
    return {key: named[key] for _, key in placed}  # type: ignore[misc]


def _is_unset(values: Sequence[Any]) -> bool:
    return values.count(UNSET) == len(values)
