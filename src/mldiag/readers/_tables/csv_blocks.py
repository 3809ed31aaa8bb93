"""Blocks of a delimited table in numpy: what is plain is read in columns, what is not is handed back line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from mldiag.readers._tables.columns import Table, number, seconds
from mldiag.readers._tables.csv_rows import NULLS, Gaps
from mldiag.readers._tables.fast_numbers import MARGIN, padded, parsed, words

if TYPE_CHECKING:
    from mldiag.readers._tables.fast_numbers import Bytes, Floats, Ints, Mask

TOLERATED = 0.1
"""Share of a block's lines that may be handed back. With more, all are: columns are then cut into pieces so short that
numpy's cost per call outweighs what it gains."""

_NEWLINE, _RETURN, _COMMA = 10, 13, ord(",")
_KEPT = 4096
_NUMBER, _NULL, _TEXT = 0, 1, 2


class _Cells(Struct):
    """A column of a block; masks are None where nothing is so. Values of cells that are no number are NaN."""

    name: str
    kind: str
    empty: Mask | None
    values: Floats
    null: Mask | None = None
    text: Mask | None = None


class _Lines(Struct):
    """Where a block's lines and the cells of its regular lines are.

    Attributes:
        starts, stops: offsets of all lines, without their ends.
        regular: which lines these are, ascending: as many cells as the table has columns, and plain characters.
        row_starts: offsets of the regular lines.
        ends: offsets behind their cells, shape (columns, rows).
    """

    starts: Ints
    stops: Ints
    regular: Ints
    row_starts: Ints
    ends: Ints


class PlainBlocks:
    """Reads blocks of a table's body.

    Attributes:
        count: lines of the block that was looked at last.
        stale: the columns have changed; the rest of the block is handed back.
    """

    def __init__(
        self, table: Table, names: Sequence[str], delimiter: str, gaps: Gaps, *, decimal_comma: bool = False
    ) -> None:
        self.count = 0
        self.stale = False
        self._table = table
        self._names = names
        self._delimiter = ord(delimiter)
        self._gaps = gaps
        self._decimal_comma = decimal_comma
        self._kinds = [table.kind(n) if n else "left out" for n in names]
        self._outcomes: dict[tuple[bytes, str], tuple[int, float]] = {}
        # A repeated header is known by its texts, and a column that gives the split decides about a row's names.
        texts = sum(bool(n) and number(n) is None for n in names)
        self._usable = delimiter != " " and "split" not in self._kinds and 2 * texts >= len(names)

    def takes(self, data: bytes) -> bool:
        """Whether a block can be worked on: no quotes, no control characters, no lines that end in a lone CR."""
        if not self._usable or b'"' in data:
            return False
        returns = data.count(b"\r") if b"\r" in data else 0
        if returns and returns != data.count(b"\r\n"):
            return False
        text = np.frombuffer(data, np.uint8)
        feeds = int(np.count_nonzero(text == _NEWLINE))  # many times as fast as `data.count`
        self.count = feeds + (not data.endswith(b"\n"))
        others = returns + (data.count(b"\t") if b"\t" in data else 0)
        return int(np.count_nonzero(text < ord(" "))) == feeds + others

    def read(self, data: bytes, first: int) -> Iterator[tuple[str, int]]:
        """Takes a block whose first line is number `first` into the table; yields the lines that are not plain.

        What is done with a line happens at its place among the rows, since the next rows are taken after it.
        """
        buffer = padded(data if data.endswith(b"\n") else data + b"\n")
        lines = self._lines(buffer, data)
        columns = self._columns(buffer, data, lines)
        odd = _not_plain(columns, len(lines.regular))
        handed = len(lines.starts) - len(lines.regular) + len(odd)
        if handed > max(TOLERATED * len(lines.starts), 1):
            yield from self._texts(data, lines, first, 0)
            return
        at = 0
        regular = np.setdiff1d(lines.regular, lines.regular[odd]) if len(odd) else lines.regular
        others = np.setdiff1d(np.arange(len(lines.starts)), regular) if handed else ()
        for line in map(int, others):
            end = int(np.searchsorted(lines.regular, line))
            self._extend(buffer, lines, columns, at, end, first)
            at = end + (end < len(lines.regular) and lines.regular[end] == line)
            yield next(self._texts(data, lines, first, line))
            if self.stale:
                yield from self._texts(data, lines, first, line + 1)
                return
        self._extend(buffer, lines, columns, at, len(lines.regular), first)

    def _texts(self, data: bytes, lines: _Lines, first: int, since: int) -> Iterator[tuple[str, int]]:
        for line in range(since, len(lines.starts)):
            text = data[int(lines.starts[line]) - MARGIN : int(lines.stops[line]) - MARGIN]
            yield text.decode(errors="replace").rstrip("\r"), first + line

    def _lines(self, buffer: Bytes, data: bytes) -> _Lines:
        body = buffer[MARGIN:]
        at = np.flatnonzero((body == self._delimiter) | (body == _NEWLINE))
        at += MARGIN
        last_cells = np.flatnonzero(buffer.take(at) == _NEWLINE)
        stops = at[last_cells]
        starts = np.empty_like(stops)
        starts[0], starts[1:] = MARGIN, stops[:-1] + 1
        counts = np.diff(last_cells, prepend=-1)
        plain = counts == len(self._names)
        if not data.endswith(b"\n"):
            plain[-1] = False  # it may still be written
        # A comment, and bytes that are perhaps no text.
        for strange in [body == ord("#")] * (b"#" in data) + [body >= 128] * (not data.isascii()):
            plain[np.searchsorted(stops, np.flatnonzero(strange) + MARGIN)] = False
        if plain.all():
            return _Lines(starts, stops, np.arange(len(stops)), starts, at.reshape(-1, len(self._names)).T.copy())
        ends = at[np.repeat(plain, counts)].reshape(-1, len(self._names))
        return _Lines(starts, stops, np.flatnonzero(plain), starts[plain], ends.T.copy())

    def _columns(self, buffer: Bytes, data: bytes, lines: _Lines) -> list[_Cells]:
        """The columns that have a name, of the regular lines."""
        decimals = padded(data.replace(b",", b".") + b"\n") if self._decimal_comma else buffer
        blanks = b" " in data or (self._delimiter != ord("\t") and b"\t" in data)
        found: list[_Cells] = []
        starts = lines.row_starts
        for index, (name, kind) in enumerate(zip(self._names, self._kinds, strict=True)):
            ends = lines.ends[index]
            following = ends + 1
            if name and len(ends):
                if b"\r" in data and index == len(self._names) - 1:
                    ends = ends - ((buffer.take(ends - 1) == _RETURN) & (ends > starts))
                if blanks:
                    starts, ends = _trimmed(buffer, starts, ends)
                empty = starts == ends
                cells = _Cells(name, kind, empty if empty.any() else None, np.empty(0))
                if kind in ("metric", "step", "epoch", "time"):
                    self._parse(cells, buffer, decimals, starts, ends)
                found.append(cells)
            starts = following
        return found

    def _parse(self, cells: _Cells, buffer: Bytes, decimals: Bytes, starts: Ints, ends: Ints) -> None:
        cells.values, good = parsed(decimals, starts, ends)
        if self._decimal_comma:  # `5,` is no number, although `5.` is one
            good &= buffer.take(ends - 1) != _COMMA
        if good.all():
            return
        if cells.empty is not None:
            cells.values[cells.empty] = np.nan
            good |= cells.empty
        rest = np.flatnonzero(~good)
        if not len(rest):
            return
        codes, values = self._others(buffer, starts[rest], ends[rest], cells.kind == "time")
        cells.values[rest] = values
        if (codes == _NULL).any():
            cells.null = np.zeros(len(good), bool)
            cells.null[rest] = codes == _NULL
        if (codes == _TEXT).any():
            cells.text = np.zeros(len(good), bool)
            cells.text[rest] = codes == _TEXT

    def _others(self, buffer: Bytes, starts: Ints, ends: Ints, is_time: bool) -> tuple[Bytes, Floats]:
        """What cells are that are not plain numbers, and their values; equal short ones are looked at once."""
        codes, values = np.empty(len(starts), np.uint8), np.empty(len(starts))
        lengths = ends - starts
        short = lengths <= 8
        if short.any():
            shift = (8 - lengths[short]).view(np.uint64) << np.uint64(3)
            kinds, which = np.unique(words(buffer)[ends[short] - 8] >> shift, return_inverse=True)
            outcomes = [self._outcome(int(k).to_bytes(8, "little").rstrip(b"\0"), is_time) for k in kinds]
            codes[short] = np.array([c for c, _ in outcomes], np.uint8)[which]
            values[short] = np.array([v for _, v in outcomes])[which]
        data = buffer.data
        for at in np.flatnonzero(~short).tolist():
            codes[at], values[at] = self._outcome(bytes(data[starts[at] : ends[at]]), is_time)
        return codes, values

    def _outcome(self, cell: bytes, is_time: bool) -> tuple[int, float]:
        key = (cell, "time" if is_time else "")
        known = self._outcomes.get(key)
        if known is None:
            if len(self._outcomes) >= _KEPT:
                self._outcomes.clear()
            text = cell.decode()
            value = number(text, decimal_comma=self._decimal_comma)
            value = seconds(text) if value is None and is_time else value
            known = (_TEXT, np.nan) if value is None else (_NUMBER, value)
            known = (_NULL, np.nan) if text.lower() in NULLS else known
            self._outcomes[key] = known
        return known

    def _extend(self, buffer: Bytes, lines: _Lines, columns: list[_Cells], a: int, b: int, first: int) -> None:
        """Takes the regular rows `[a, b)` into the table."""
        if a == b:
            return
        numbers = lines.regular[a:b] + first
        gaps = missing_cells(self._gaps, {c.name: c.empty[a:b] for c in columns if c.empty is not None}, b - a)
        taken: dict[str, tuple[range | memoryview, memoryview]] = {}
        nulls: dict[str, Sequence[int]] = {}
        texts: dict[str, tuple[int, str, int]] = {}
        for cells in columns:
            if not len(cells.values):
                continue
            values = cells.values[a:b]
            text = None if cells.text is None else cells.text[a:b]
            if cells.kind != "metric" or (cells.empty is None and text is None):
                taken[cells.name] = range(b - a), values.data
                if cells.null is not None:
                    nulls[cells.name] = np.flatnonzero(cells.null[a:b]).tolist()
                continue
            present = np.ones(b - a, bool) if text is None else ~text
            if cells.empty is not None:
                present &= ~cells.empty[a:b]
            null = gaps.get(cells.name)
            if null is not None:
                present |= null
            if cells.null is not None:
                null = cells.null[a:b] if null is None else null | cells.null[a:b]
            if text is not None and text.any():
                row = int(text.argmax())
                index = self._names.index(cells.name)
                texts[cells.name] = int(text.sum()), self._cell(buffer, lines, index, a + row), int(numbers[row])
            rows = np.flatnonzero(present)
            if len(rows):
                taken[cells.name] = rows.data, values[rows].data
                if null is not None:
                    nulls[cells.name] = np.flatnonzero(null[rows]).tolist()
        self._table.extend(taken, b - a, numbers.data, nulls=nulls, texts=texts)

    def _cell(self, buffer: Bytes, lines: _Lines, index: int, row: int) -> str:
        start = int(lines.ends[index - 1][row]) + 1 if index else int(lines.row_starts[row])
        return buffer[start : int(lines.ends[index][row])].tobytes().decode().strip()


def _not_plain(columns: list[_Cells], count: int) -> Ints:
    """Rows of texts among numbers, which may be a header again, and rows without anything."""
    read = [c for c in columns if len(c.values)]
    texts = np.zeros(count, np.int64)
    for cells in read:
        if cells.text is not None:
            texts += cells.text
    odd: Mask = 2 * texts >= max(len(read), 1)
    empty = [c.empty for c in columns if c.empty is not None]
    if len(empty) == len(columns):
        odd |= np.logical_and.reduce(empty)
    return np.flatnonzero(odd)


def _trimmed(buffer: Bytes, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Fields without the blanks around them."""
    starts, ends = starts.copy(), ends.copy()
    while (more := _is_blank(buffer.take(starts)) & (starts < ends)).any():
        starts += more
    while (more := _is_blank(buffer.take(ends - 1)) & (starts < ends)).any():
        ends -= more
    return starts, ends


def _is_blank(characters: Bytes) -> Mask:
    blank: Mask = (characters == ord(" ")) | (characters == ord("\t"))
    return blank


def missing_cells(gaps: Gaps, empty: dict[str, Mask], count: int) -> dict[str, Mask]:
    """`Gaps.missing` of many rows at once.

    Args:
        gaps: as the rows before have left it; goes on to behind these.
        empty: column → its empty cells, shape (count,); columns without any are left out.

    Returns:
        Column → cells that went missing, for columns with such.
    """
    empty = {n: mask for n, mask in empty.items() if n in gaps.columns}
    found: dict[str, Mask] = {}
    at = 0
    while at < count:
        some = [n for n in gaps.dense if n in empty and empty[n][at:].any()]
        short_of = np.zeros(count - at, bool)
        for name in some:
            short_of |= empty[name][at:]
        end = _first_change(gaps, empty, short_of, at) if some else count
        if some and gaps.rows < gaps.ENOUGH:
            end = at
        whole = np.flatnonzero(~short_of[: end - at])
        if end > at:
            for name in some:
                went = short_of[: end - at] & empty[name][at:end]
                if went.any():
                    found.setdefault(name, np.zeros(count, bool))[at:end] = went
            gaps.rows += len(whole)
            if len(whole) and gaps.dense:
                gaps.before = _filled(gaps, empty, at + int(whole[-1]))
        if end < count:
            missing = gaps.missing(_filled(gaps, empty, end))
            for name in missing:
                found.setdefault(name, np.zeros(count, bool))[end] = True
        at = end + 1
    return found


def _first_change(gaps: Gaps, empty: dict[str, Mask], short_of: Mask, at: int) -> int:
    """The first row from `at` on that lacks a dense column but fills one that the row before it did not."""
    rows = np.flatnonzero(short_of)
    whole = np.where(short_of, -1, np.arange(len(short_of)))
    previous = np.maximum.accumulate(whole)[rows]
    new = np.zeros(len(rows), bool)
    for name, mask in empty.items():
        was_empty = np.where(previous < 0, name not in gaps.before, mask[at:][previous])
        new |= ~mask[at:][rows] & was_empty
    # Columns without an empty cell here were filled in every row here, but perhaps not in the one before.
    if any(n not in empty and n not in gaps.before for n in gaps.columns):
        new |= previous < 0
    changed = np.flatnonzero(new)
    return at + int(rows[changed[0]]) if len(changed) else at + len(short_of)


def _filled(gaps: Gaps, empty: dict[str, Mask], row: int) -> set[str]:
    return {n for n in gaps.columns if n not in empty or not empty[n][row]}
