"""Rows of delimited text, one at a time, from a file that is never held as a whole."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence

from mldiag.patterns import lazily
from mldiag.readers._cut_numbers import COMPARED, TAIL, seems_cut

_LAST_CELL = lazily(rb"[^\t;|, ]+$")


def cells(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of lines read so far; a blank as the delimiter separates any run of white space."""
    if delimiter == " ":
        for index, line in enumerate(lines):
            yield index + 1, line.split()
        return
    rows = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
    for row in rows:
        yield rows.line_num, [c.strip() for c in row]


def text_lines(data: bytes) -> tuple[list[str], bool]:
    """The lines of a block without their ends, and whether the last of them has none: it may still be written."""
    text = data.decode(errors="replace")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if lines[-1]:
        return lines, True
    return lines[:-1], False


def with_mark_of_cut(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of a table; a number at the end of a last line without its end gets a `?` behind it where it seems cut."""
    before = b""
    for data in blocks:
        if data.endswith((b"\n", b"\r")):
            before = data[-TAIL:]
            yield data
            continue
        lines = (before + data)[-TAIL:].replace(b"\r", b"\n").split(b"\n")
        last, *above = (_last_cell(line) for line in reversed(lines[-COMPARED:]) if line)
        yield data + b"?" if seems_cut(last, above) else data


def _last_cell(line: bytes) -> str:
    cell = _LAST_CELL.search(line)
    return cell[0].decode(errors="replace") if cell else ""


class Rows:
    """Reads rows out of lines that come block by block; a quoted cell may go on in the next block.

    Args:
        more: the lines of the next block, None at the end.

    Attributes:
        line: lines read so far.
    """

    def __init__(self, delimiter: str, more: Callable[[], list[str] | None]) -> None:
        self.line = 0
        self._delimiter = delimiter
        self._more = more
        self._lines: list[str] = []
        self._at = 0
        self._row: list[str] = []
        self._ended = False
        self._reader = self._new_reader()

    @property
    def at_end(self) -> bool:
        """Whether the lines at hand are used up."""
        return self._at >= len(self._lines)

    def read(self, lines: list[str]) -> Iterator[tuple[int, list[str], str]]:
        """Each row of a block's lines: its last line, its cells, and why it cannot be told into cells."""
        self._lines, self._at = lines, 0
        while self._at < len(self._lines):
            if self._delimiter == " ":
                self._at += 1
                self.line += 1
                yield self.line, self._lines[self._at - 1].split(), ""
                continue
            self._row = []
            try:
                row = next(self._reader, [])
            except csv.Error as error:
                yield self._dropped(str(error))
                continue
            if self._ended and len(self._row) > 1:
                yield self._dropped("a quoted cell without an end")
                continue
            yield self.line, [c.strip() for c in row], ""

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._delimiter, skipinitialspace=True)

    def _feed(self) -> Iterator[str]:
        while True:
            while self._at >= len(self._lines):
                more = self._more()
                if more is None:
                    self._ended = True
                    return
                self._lines, self._at = more, 0
            line = self._lines[self._at]
            self._at += 1
            self.line += 1
            self._row.append(line)
            yield f"{line}\n"

    def _dropped(self, reason: str) -> tuple[int, list[str], str]:
        """Leaves out the first line of a row that has no end; the lines behind it are read again."""
        again = self._row[1:]
        self._lines, self._at = again + self._lines[self._at :], 0
        self.line -= len(again)
        self._ended = False
        self._reader = self._new_reader()
        return self.line, ["?"], reason


NULLS = frozenset({"null", "none", "na", "n/a", "<na>", "nil", "-", "--"})
"""Cells, in lower case, that say that there is no value."""


class Gaps:
    """Tells an empty cell that is ordinary in a ragged table from a value that went missing.

    Attributes:
        columns: all of them. `dense`: those that every row so far has filled, but for gaps.
        before: columns that the last row without a gap filled.
        rows: rows without a gap, as far as they are counted.
    """

    ENOUGH = 3
    """Rows that a column must have been filled in without a gap."""

    def __init__(self, columns: Iterable[str]) -> None:
        self.columns = frozenset(columns)
        self.dense = set(self.columns)
        self.before: set[str] = set()
        self.rows = 0

    def missing(self, filled: set[str]) -> set[str]:
        """Of a row that fills these columns, those whose value went missing."""
        missing = self.dense - filled
        if missing and self.rows >= self.ENOUGH and filled <= self.before:
            return missing
        self.dense &= filled
        self.before = filled or self.before
        self.rows += 1
        return set()
