"""Many JSON objects of few shapes, as columns: a struct learned from them, decoded in bulk.

msgspec decodes into a struct of floats several times faster than Python's json into dicts, and drops no key that it
does not know: it refuses the whole text, and the caller then goes line by line and teaches the struct what is new.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import pack
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from mldiag.files import Block
from mldiag.readers._tables.columns import Table, flat, is_cell, is_log_row, number, seconds
from mldiag.vocabulary import is_metric, split_of

if TYPE_CHECKING:
    from mldiag.readers._tables.columns import Rows, Values

    # The cells of some rows: numbers, NaN where a row has none; or, where some are no numbers, anything, else UNSET.
    Column = array[float] | list[Any]

CONFIG = "config"
"""Key of the settings that some trainers (RLlib) repeat in each row."""

MAX_KEYS = 1_000
"""More keys than this are no columns of a log; rows with further ones are taken one by one."""

# Stand for NaN and the infinities, which msgspec refuses, while a text is decoded: numbers nobody logs. They begin with
# a minus and end with a space, so that in `1NaN` or `NaN1` they make no valid number of what was none.
_NAN = b"-1.9043371550227457e-289 "
_INFINITY = b"-1.7731914020482613e-293 "
_MINUS_INFINITY = b"-1.3380903371403391e-291 "
_MARKED = {float(_NAN): math.nan, float(_INFINITY): math.inf, float(_MINUS_INFINITY): -math.inf}
_MARK_TEXTS = tuple(mark.decode() for mark in (_NAN, _INFINITY, _MINUS_INFINITY))

_NO_CELLS = frozenset({bool, list})
REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class AlteredText(Exception):
    """A stand-in for NaN went into a text; the rows must be decoded without."""


class Learned:
    """The keys of the rows so far, a struct that takes exactly them, and the way of its rows into a table.

    A key is a float, or where it was something else once, anything.

    Args:
        wide: look for gaps with numpy, for logs so long that importing it takes less time than it saves.
    """

    def __init__(self, table: Table, *, wide: bool = False) -> None:
        self._table = table
        self._is_float: dict[str, bool] = {}
        self._numpy: Any = None
        if wide:
            import numpy

            self._numpy = numpy
        self._build()

    def _build(self) -> None:
        # NaN says that a row lacks the key: as a value msgspec refuses it.
        kinds = ((float, math.nan) if plain else (Any, UNSET) for plain in self._is_float.values())
        fields = [(f"f{i}", *kind) for i, kind in enumerate(kinds)]
        names = {f"f{i}": key for i, key in enumerate(self._is_float)}
        made = msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, gc=False)
        self.row = msgspec.json.Decoder(made).decode
        self._many = msgspec.json.Decoder(list[made]).decode  # type: ignore[valid-type]
        self._lines = msgspec.json.Decoder(made).decode_lines
        # Made of the fields' numbers alone; half the time of `attrgetter` for what is most of the reader's own work.
        self._cells: Callable[[Sequence[Any]], list[list[Any]]] = eval(  # noqa: S307
            f"lambda rows: [{', '.join(f'[row.{name} for row in rows]' for name in names)}]"
        )

    def teach(self, row: Mapping[str, object]) -> None:
        """Adds what is new in a row."""
        new = {}
        for key, value in row.items():
            # What rows say of the plan stays as it is written: 250 and not 250.0.
            plain = type(value) in (int, float) and self._table.kind(key) != "planned"
            if key not in self._is_float or (self._is_float[key] and not plain):
                new[key] = plain
        if new and len(self._is_float | new) <= MAX_KEYS:
            self._is_float |= new
            self._build()

    def lines(self, block: Block) -> tuple[list[Any], bool] | None:
        """Of whole lines of one object each their rows, and whether NaN was replaced; None when refused."""
        data = block.data
        # msgspec would also take two objects on a line, or one over two.
        if not block.ends or not data.startswith(b"{") or self._objects(data) != block.ends:
            return None
        found = self._decoded(data, self._lines)
        return found if found and len(found[0]) == block.ends else None

    def _objects(self, data: bytes) -> int:
        """The lines that end with a brace before one that begins with one, and the last."""
        between = b"}\r\n{" if b"\r" in data else b"}\n{"
        if self._numpy is None:
            return data.count(between) + 1
        text = self._numpy.frombuffer(data, self._numpy.uint8)
        ends = self._numpy.flatnonzero(text[:-1] == 10)  # five times as fast as to count
        return 1 + int(((text[ends - len(between) + 2] == 125) & (text[ends + 1] == 123)).sum())

    def numbered(self, first: int, count: int) -> Rows:
        """The lines of rows that stand one below the other."""
        return self._numpy.arange(first, first + count).data if self._numpy else range(first, first + count)

    def elements(self, data: bytes) -> tuple[list[Any], bool] | None:
        """Of a JSON array the rows, and whether NaN was replaced; None when refused."""
        return self._decoded(data, self._many)

    def _decoded(self, data: bytes, decode: Callable[[bytes], list[Any]]) -> tuple[list[Any], bool] | None:
        plain = _without(_without(data, b"NaN", _NAN), b"Infinity", _INFINITY, _MINUS_INFINITY)
        try:
            return decode(plain), plain is not data
        except REFUSED:
            return None

    def columns(self, rows: Sequence[Any], *, marked: bool = False) -> dict[str, Column]:
        """Key → cells; nested records are joined with slashes.

        Raises:
            AlteredText: with `marked`, where a value is not a plain number and may hold a stand-in.
        """
        found: dict[str, Column] = {}
        for (key, plain), cells in zip(self._is_float.items(), self._cells(rows), strict=True):
            if key == CONFIG:
                continue
            if plain:
                # Twice as fast as to make the array of the floats.
                found[key] = array("d", pack(f"{len(rows)}d", *cells))
                continue
            kinds = set(map(type, cells))
            if marked and (dict in kinds or _is_altered(cells)):
                raise AlteredText
            if dict not in kinds:
                left_out = kinds & _NO_CELLS and self._table.kind(key) != "planned"
                found[key] = [UNSET if type(c) in _NO_CELLS else c for c in cells] if left_out else cells
                continue
            for name, inner in _expanded(key, cells).items():
                known = found.get(name)
                if known is not None:  # `a/b` beside `{"a": {"b": …}}`
                    known = [UNSET if k != k else k for k in known]
                    inner = [k if i is UNSET else i for k, i in zip(known, inner, strict=True)]
                found[name] = inner
        return found

    def add(self, columns: Mapping[str, Column], lines: Rows, *, marked: bool = False, logged: bool = True) -> None:
        """Takes rows into the table as `Table.add` would one by one; with `logged` those that are rows of a log.

        Args:
            columns: as of `columns`; the table has no split of its own where one of them gives it.
            lines: the rows' lines.
        """
        count = len(lines)
        unlogged = set(self._unlogged(columns, count)) if logged else ()
        if unlogged:
            kept = [i for i in range(count) if i not in unlogged]
            columns = {key: _at(cells, kept) for key, cells in columns.items()}
            lines, count = array("q", _at(lines, kept)), len(kept)
        if not count:
            return
        splits = _splits(self._table, columns, count)
        if splits and any(f"{split}/{key}" in columns for split in {*splits} for key in columns):
            # `val/loss` and a `loss` in the rows of `val` are one series, of both.
            for i, line in enumerate(lines):
                self._table.add({k: _MARKED.get(c, c) if type(c) is float else c for k, c in _row(columns, i)}, line)
            return
        taken = _Taken(count, marked, self._numpy)
        for key, cells in columns.items():
            kind = self._table.kind(key)
            if kind == "planned":
                said = [c for c in cells if c is not UNSET]
                self._table.planned.update({key: said[-1]} if said else {})
            elif kind in ("step", "epoch", "time"):
                taken.take(key, cells, None, seconds if kind == "time" else number)
            elif kind == "metric":
                for name, at in _named(key, splits):
                    taken.take(name, cells, at, number)
        texts = {name: (count, text, lines[row]) for name, (count, text, row) in taken.texts.items()}
        in_order = dict(sorted(taken.columns.items(), key=lambda item: item[1][0][0]))
        self._table.extend(in_order, count, lines, nulls=taken.nulls, texts=texts)

    def _unlogged(self, columns: Mapping[str, Column], count: int) -> Iterable[int]:
        """The rows that are no row of a log, as `is_log_row` says."""
        left: Sequence[int] = range(count)
        for key, cells in columns.items():
            if not is_metric(key):
                continue
            if isinstance(cells, list):
                left = [i for i in left if cells[i] is UNSET or not is_cell(cells[i])]
            elif len(left) < count:
                left = [i for i in left if cells[i] != cells[i]]
            elif self._numpy:
                left = self._numpy.flatnonzero(self._numpy.isnan(self._numpy.frombuffer(cells))).tolist()
            else:
                left = [i for i, c in enumerate(cells) if c != c]
            if not left:
                return ()
        return [i for i in left if not is_log_row(dict(_row(columns, i)))]


class _Taken:
    """The cells of some rows by series, as `Table.extend` takes them.

    Series with gaps in the same rows get the same object for their rows.

    Attributes:
        texts: name → how many cells are texts, the first, its row.
    """

    def __init__(self, count: int, marked: bool, numpy: Any) -> None:
        self.columns: dict[str, tuple[Rows, Values]] = {}
        self.nulls: dict[str, Sequence[int]] = {}
        self.texts: dict[str, tuple[int, str, int]] = {}
        self._every = range(count)
        self._marked = marked
        self._numpy = numpy
        self._rows: dict[bytes, Rows] = {}

    def take(
        self, name: str, cells: Column, at: Sequence[int] | None, convert: Callable[[object], float | None]
    ) -> None:
        """Takes the cells of a column, or of it those of the rows `at`."""
        if isinstance(cells, list):
            self._mixed(name, cells, self._every if at is None else at, convert)
            return
        if at is not None:
            rows: Rows = array("q", [i for i in at if cells[i] == cells[i]])
            values: Values = array("d", _at(cells, rows))
        elif self._numpy:
            rows, values = self._wide(cells)
        elif not math.isnan(sum(cells)):
            rows, values = self._every, cells
        else:
            own = array("q", [i for i, c in enumerate(cells) if c == c])
            rows, values = self._rows.setdefault(own.tobytes(), own), array("d", [c for c in cells if c == c])
        if self._marked and (at is not None or not self._numpy):
            values = array("d", [_MARKED.get(v, v) for v in values])
        if len(rows):
            self.columns[name] = rows, values

    def _wide(self, cells: array[float]) -> tuple[Rows, Values]:
        np = self._numpy
        values = np.frombuffer(cells)
        gaps = np.isnan(values)
        rows: Rows = self._every
        if gaps.any():
            there = ~gaps
            rows = self._rows.setdefault(gaps.tobytes(), np.flatnonzero(there).data)
            values = values[there]
        if self._marked:
            for mark, value in _MARKED.items():
                values[values == mark] = value
        return rows, values.data

    def _mixed(self, name: str, cells: list[Any], at: Sequence[int], convert: Callable[[object], float | None]) -> None:
        rows, values = array("q"), array("d")
        nulls: list[int] = []
        texts: list[tuple[int, str]] = []
        for row in at:
            cell = cells[row]
            if cell is UNSET:
                continue
            if cell is None:
                nulls.append(len(values))
                value: float | None = math.nan
            else:
                value = _MARKED.get(cell, cell) if type(cell) is float else convert(cell)
            if value is not None:
                rows.append(row)
                values.append(value)
            elif isinstance(cell, str):
                texts.append((row, cell))
        if rows:
            self.columns[name] = rows, values
        if nulls:
            self.nulls[name] = nulls
        if texts:
            self.texts[name] = len(texts), texts[0][1], texts[0][0]


def _at(cells: Any, rows: Iterable[int]) -> Any:
    found = map(cells.__getitem__, rows)
    return array(cells.typecode, found) if isinstance(cells, array) else list(found)


def _row(columns: Mapping[str, Column], at: int) -> Iterable[tuple[str, Any]]:
    return ((key, cells[at]) for key, cells in columns.items() if cells[at] is not UNSET and cells[at] == cells[at])


def _splits(table: Table, columns: Mapping[str, Column], count: int) -> list[str | None] | None:
    """The split of each row by the columns that say it; None where no row is of another than `train`."""
    splits: list[str | None] = [None] * count
    for key, cells in columns.items():
        if table.kind(key) == "split":
            of = {cell: split_of(cell) for cell in {c for c in cells if isinstance(c, str)}}
            splits = [(of[c] if isinstance(c, str) else None) or s for c, s in zip(cells, splits, strict=True)]
    return splits if {*splits} - {None, "train"} else None


def _named(key: str, splits: list[str | None] | None) -> Iterable[tuple[str, list[int] | None]]:
    """A column under the name it has in each split, with that split's rows; None for every row."""
    if splits is None or split_of(key):
        return [(key, None)]
    found: dict[str, list[int] | None] = {}
    for split in dict.fromkeys(splits):
        name = key if split in (None, "train") else f"{split}/{key}"
        rows = [i for i, s in enumerate(splits) if s == split]
        found[name] = sorted([*(found.get(name) or ()), *rows])
    return found.items()


def _expanded(key: str, cells: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for at, cell in enumerate(cells):
        if cell is not UNSET:
            for name, value in flat({key: cell}).items():
                if type(value) not in _NO_CELLS:
                    found.setdefault(name, [UNSET] * len(cells))[at] = value
    return found


def _is_altered(cells: list[Any]) -> bool:
    return any(mark in cell for cell in cells if type(cell) is str for mark in _MARK_TEXTS)


def _without(data: bytes, token: bytes, mark: bytes, minus: bytes = b"") -> bytes:
    """With marks in the place of a token; the same object where there is none.

    Goes by the token's first letter, which is rare in a log and found at the speed of memory; `bytes.replace` takes
    half as long as to decode everything.
    """
    pieces: list[bytes] = []
    done = 0
    at = data.find(token[:1])
    while at >= 0:
        if data.startswith(token, at):
            negative = bool(minus) and data.startswith(b"-", at - 1, at)
            pieces += (data[done : at - negative], minus if negative else mark)
            at = done = at + len(token)
        else:
            at += 1
        at = data.find(token[:1], at)
    return b"".join((*pieces, data[done:])) if pieces else data
