"""Logs in tables of delimited text."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Artifact, Series
from mldiag.errors import ReadError
from mldiag.files import BLOCK, File
from mldiag.readers import reader
from mldiag.readers._tables.columns import Table, has_decimal_comma, is_log_row, number, seconds
from mldiag.readers._tables.csv_rows import NULLS, Gaps, Rows, cells, text_lines, with_mark_of_cut
from mldiag.vocabulary import axis, is_known_quantity, is_metric, normalized, split_of

if TYPE_CHECKING:
    from mldiag.readers._tables.csv_blocks import PlainBlocks

DELIMITERS = ("\t", ";", "|", ",", " ")
"""In the order in which they win when a table reads equally well with several; a space stands for any white space."""
CONSISTENT = 0.9
"""Share of the first lines that must have as many cells as the header."""

IN_BULK = 3 * 2**18
"""Bytes from which on blocks are read with numpy. Its import costs a tenth of a second, in which Python's csv reads
0.6 MB (`benchmarks/csv_table.py`)."""

_SNIFFED = 50
_LONG = 20_000
_WITH_ROWS = 2
"""Lines of which the last, if it may be cut, does not count in telling how a table is written."""
# CatBoost's catboost_info: `learn` is the training set and `test` the evaluation set that stops the training.
_CATBOOST = {"learn_error.tsv": "train", "test_error.tsv": "val"}
# TensorBoard's download of one scalar: `run-<run>-tag-<tag>.csv` with these columns.
_TENSORBOARD = {"wall_time", "step", "value"}


class _Layout(Struct, frozen=True):
    """How a table is written.

    Attributes:
        names: of the columns, as the header has them.
        header_line: 1-based. `data_at`: index of the first line behind the header.
        unnamed: columns before the first name: 1 where rows begin with an index that the header does not name.
    """

    delimiter: str
    names: tuple[str, ...]
    header_line: int
    data_at: int
    unnamed: int = 0


def _layout(lines: Sequence[str]) -> _Layout | None:
    """The header, and the delimiter with which most lines have as many cells as it; None where there is no header."""
    best: tuple[float, int, _Layout] | None = None
    filled = [i for i, line in enumerate(lines) if line.strip()]
    data_lines = [i for i in filled if not lines[i].lstrip().startswith("#")]
    if not data_lines:
        return None
    for header_at in _header_candidates(filled, data_lines, lines):
        header = lines[header_at].lstrip().lstrip("#").strip()
        data = [lines[i] for i in data_lines if i > header_at and len(lines[i]) < _LONG][:_SNIFFED]
        for delimiter in DELIMITERS:
            try:
                names = next(cells([header], delimiter), (0, []))[1]
                rows = [r for _, r in cells(data, delimiter) if r]
            except csv.Error:
                continue
            names = names[:-1] if names and not names[-1] and len(names) > 1 else names
            if len(names) < 2 or sum(number(n) is not None for n in names) > len(names) / 4 or not rows:
                continue
            restart = next((i for i, r in enumerate(rows) if _is_other_header(r, names)), 0)
            rows = rows[:restart] or rows
            share = sum(len(r) == len(names) or (len(r) == len(names) + 1 and not r[-1]) for r in rows) / len(rows)
            unnamed = 0
            if share <= 1 - CONSISTENT:
                longer = [r for r in rows if len(r) == len(names) + 1]
                share = max(share, CONSISTENT * len(longer) / len(rows))
                unnamed = int(_begin_with_index(names, longer))
            if share and (best is None or (share, len(names)) > best[:2]):
                best = (share, len(names), _Layout(delimiter, tuple(names), header_at + 1, header_at + 1, unnamed))
    return best[2] if best and best[0] >= CONSISTENT - 0.4 else None


def _without_header(file: File, lines: Sequence[str]) -> _Layout | None:
    """Two columns of numbers without names, a counter and what the file is named for: `val_loss.csv`.

    More columns could be anything, and so could one: losses per example look like losses per step.
    """
    name, _, ending = file.name.rpartition(".")
    data = [line for line in lines if line.strip() and not line.startswith("#")][:_SNIFFED]
    if ending.lower() not in ("csv", "tsv") or len(data) < _WITH_ROWS or not is_known_quantity(name) or axis(name):
        return None
    for delimiter in DELIMITERS:
        rows = [[number(c) for c in r] for _, r in cells(data, delimiter)]
        if all(len(r) == 2 and None not in r for r in rows):
            counter = [r[0] for r in rows if r[0] is not None]
            whole = all(c >= 0 and c % 1 == 0 for c in counter)
            if whole and all(a < b for a, b in itertools.pairwise(counter)):
                return _Layout(delimiter, ("step", name), 1, 0)
    return None


def _is_other_header(row: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a row has no numbers but most names of the header: the header of a restart, with other columns."""
    known = len({*row} & {*header})
    return known >= max(2, len(header) / 2) and all(c and number(c) is None for c in row)


def _begin_with_index(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows of one cell more than the header begin with a name or number that the header leaves out.

    R's `write.table` and data frames written without a name for their index do that. The other possibility is a value
    more at the end, of a column that was added later; then the columns that count are right without a shift.
    """
    index = [number(r[0]) for r in rows]
    named = not any(i is not None for i in index)
    counted = all(b is not None and a is not None and b - a == 1 for a, b in itertools.pairwise(index))
    if not rows or not (named or (counted and len(rows) > 1)):
        return False
    axes = [at for at, name in enumerate(names) if axis(name) in ("step", "epoch")]
    shifted = [[number(r[at + 1]) for r in rows] for at in axes]
    if named or not all(_counts([number(r[at]) for r in rows]) for at in axes):
        return all(map(_counts, shifted))
    # Both ways count; a quantity that rises by whole numbers would be chance.
    return all(_counts(v) and all(c is None or c % 1 == 0 for c in v) for v in shifted)


def _counts(values: Sequence[float | None]) -> bool:
    known = [v for v in values if v is not None]
    return bool(known) and all(a <= b for a, b in itertools.pairwise(known))


def _header_candidates(filled: list[int], data_lines: list[int], lines: Sequence[str]) -> Iterator[int]:
    """The first line that is no comment, and a comment right before it (`# epoch loss`)."""
    yield data_lines[0]
    before = [i for i in filled if i < data_lines[0]]
    if before and lines[before[-1]].lstrip().startswith("#"):
        yield before[-1]


def _share(lines: Sequence[str], layout: _Layout) -> float:
    data = [line for line in lines[layout.data_at : layout.data_at + _SNIFFED] if line.strip()]
    rows = [r for _, r in cells(data, layout.delimiter)]
    return sum(len(r) == len(layout.names) + layout.unnamed for r in rows) / len(rows) if rows else 0.0


def _has_numbers(lines: Sequence[str], layout: _Layout) -> bool:
    """Whether under most names that a log has there are numbers: prose with commas has columns as well."""
    sniffed = lines[layout.data_at : layout.data_at + _SNIFFED]
    rows = [r[layout.unnamed :] for _, r in cells(sniffed, layout.delimiter) if any(r)]
    filled = [c for r in rows for n, c in zip(layout.names, r, strict=False) if c and (axis(n) or is_metric(n))]
    comma = has_decimal_comma(iter(filled))
    numbers = sum(seconds(c) is not None or number(c, decimal_comma=comma) is not None for c in filled)
    return not filled or numbers + sum(c.lower() in NULLS for c in filled) > len(filled) / 2


def _head_lines(file: File) -> list[str]:
    text = file.head.decode(file.encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    return lines[:-1] if len(lines) > (1 if file.size > len(file.head) else _WITH_ROWS) else lines


def _is_log(file: File) -> bool:
    """A header, and under it the columns of a training log rather than a table of examples."""
    name = file.name.lower()
    table = name.endswith((".csv", ".tsv", ".tab"))
    if not file.size:
        return table
    lines = _head_lines(file)
    if table and len(lines) == 1 and file.size > len(file.head):
        return True  # one endless line: refused with its size when it is read
    if table and _without_header(file, lines):
        return True
    layout = _layout(lines)
    if layout is None or not _has_numbers(lines, layout):
        return False
    if not table and (layout.delimiter == " " or _share(lines, layout) < CONSISTENT):
        return False
    if {normalized(n) for n in layout.names} == _TENSORBOARD:
        return True
    row = dict.fromkeys(n or "unnamed" for n in layout.names)
    counted = any(axis(n) in ("step", "epoch") for n in layout.names)
    logged = [n for n in layout.names if is_metric(n)]
    # Without a column of steps or epochs one known name can be chance; a loss per example is no curve.
    enough = counted or len(logged) > 1
    return enough and is_log_row({**row, **({"step": 0} if counted else {})}) and (table or bool(logged))


@reader("*.csv", "*.tsv", "*.tab", "*.log", "*.txt", matches=_is_log, priority=20, post=True)
def csv_table(file: File) -> Iterator[Artifact]:
    """Metric logs in tables with a header: comma, semicolon, tab, bar or white space, decimal points or commas.

    The delimiter is the one with which the lines have as many cells as the header. An empty cell is no point, as in
    Lightning's `metrics.csv`, which writes training and validation into different rows; but once a column was
    filled in every row, an empty cell beside nothing new is a missing value and is kept as a null. Cells such as
    `NA` and `None` are nulls. Text columns are passed over, and so is a repeated header (an appended run); a later
    header with other columns (a restart that logs more) holds for the rows behind it. An index at the beginning of
    the rows that the header does not name is passed over, if the columns that count say that it is one. Rows with a
    wrong number of cells, bytes that are no text, and quotes that are never closed cost their line and are counted;
    a last line that is still being written is left out in silence, and so is its last number where it has fewer
    digits than all above. Tables of any length are read. A table with ids, labels or texts, or without steps,
    epochs and known quantities, holds examples and is not taken. Two columns of numbers without a header are a
    counter and what the file is named for, if that is a quantity that training logs (`val_loss.csv`).
    """
    blocks = with_mark_of_cut(block.data for block in file.blocks())
    first, skipped = next(blocks, b""), 0
    while first and not first.strip():
        skipped += len(text_lines(first)[0])
        first = next(blocks, b"")
    if not first:
        raise ReadError("the file is empty")
    if len(first) < BLOCK // 2:
        first += next(blocks, b"")  # a last line without its end is a block of its own
    lines, cut = text_lines(first)
    beginning = (lines[:-1] if cut and len(lines) > _WITH_ROWS else lines)[: 2 * _SNIFFED + 100]
    layout = _layout(beginning) or _without_header(file, beginning)
    if layout is None:
        raise ReadError("no header with names of columns was found")
    body = lines[layout.data_at :]
    decimal_comma = (layout.delimiter != "," or b'"' in first) and has_decimal_comma(
        c for _, row, _ in itertools.islice(Rows(layout.delimiter, lambda: None).read(body), 1000) for c in row
    )
    log = _Log(file, layout, decimal_comma=decimal_comma, line=skipped + layout.data_at)
    counted = b"\r" not in first or first.count(b"\r") == first.count(b"\r\n")  # else lines are not line feeds
    if file.size < IN_BULK or not counted or not log.read_plain(_without_lines(first, layout.data_at)):
        log.read_lines(body, blocks, cut=cut)
    for data in blocks:
        if file.size < IN_BULK or not log.read_plain(data):
            lines, cut = text_lines(data)
            log.read_lines(lines, blocks, cut=cut)
    # CatBoost's clock counts milliseconds.
    clock = file.name.lower() == "time_left.tsv"
    for found in log.table.artifacts():
        yield replace(found, name="time", unit="ms") if clock and isinstance(found, Series) else found
    log.report(skipped)


def _without_lines(data: bytes, count: int) -> bytes:
    at = 0
    for _ in range(count):
        at = data.find(b"\n", at) + 1
    return data[at:]


class _Log:
    """Takes the rows of a table's body.

    Attributes:
        table: what was read.
    """

    def __init__(self, file: File, layout: _Layout, *, decimal_comma: bool, line: int) -> None:
        split = _CATBOOST.get(file.name.lower()) or split_of(file.name.rsplit(".", 1)[0])
        self.table = Table(file, split=split, decimal_comma=decimal_comma)
        self._file = file
        self._layout = layout
        self._decimal_comma = decimal_comma
        self._blocks: Iterator[bytes] = iter(())
        self._rows = Rows(layout.delimiter, self._more)
        self._rows.line = line
        self._cut = False
        self._total = self._wrong = 0
        self._first_wrong = (0, "")
        self._plain: PlainBlocks | None = None
        self._take_header(layout.names)

    def _take_header(self, header: tuple[str, ...]) -> None:
        self._header = header
        self._names = [""] * self._layout.unnamed + _names(self._file, header)
        self._gaps = Gaps(n for n in self._names if n and not axis(n))
        if self._plain is not None:
            self._plain.stale = True
            self._plain = None

    def read_plain(self, data: bytes) -> bool:
        """Takes a block with numpy, and by themselves those of its lines that need it; False where it is not plain."""
        from mldiag.readers._tables.csv_blocks import PlainBlocks

        if self._plain is None:
            self._plain = PlainBlocks(
                self.table, self._names, self._layout.delimiter, self._gaps, decimal_comma=self._decimal_comma
            )
        if not self._plain.takes(data):
            return False
        count, handed = self._plain.count, 0
        last = self._rows.line + count
        for text, line in self._plain.read(data, self._rows.line + 1):
            self._rows.line = line - 1
            self._cut = line == last and not data.endswith(b"\n")
            handed += 1
            self.read_lines([text], iter(()), cut=self._cut)
        self._rows.line = last
        self._total += count - handed
        return True

    def read_lines(self, lines: list[str], blocks: Iterator[bytes], *, cut: bool) -> None:
        """Takes lines one by one.

        Args:
            blocks: what follows, for a cell that goes on there.
            cut: the last line has no end: it may still be written.
        """
        self._blocks, self._cut = blocks, cut
        for line, row, trouble in self._rows.read(lines):
            self._take(row, line, trouble)

    def _more(self) -> list[str] | None:
        data = next(self._blocks, None)
        if data is None:
            return None
        lines, self._cut = text_lines(data)
        return lines

    def _take(self, row: list[str], line: int, trouble: str) -> None:
        width = len(self._names)
        if not any(row) or row[0].startswith("#") or self._is_header(row):
            return
        self._total += 1
        if len(row) == width + 1 and not row[-1]:
            row = row[:-1]
        if any("\ufffd" in c for c in row):
            trouble = "bytes that are no text"
        elif len(row) != width and not trouble:
            trouble = f"{len(row)} cells where the header has {len(self._header)}"
        being_written = self._cut and self._rows.at_end
        if trouble:
            if not being_written:
                self._first_wrong = self._first_wrong if self._wrong else (line, trouble)
                self._wrong += 1
            self.table.cut |= being_written
            return
        filled: dict[str, str | None] = {n: c for n, c in zip(self._names, row, strict=True) if n and c}
        missing = self._gaps.missing({n for n in filled if n in self._gaps.columns})
        if being_written and number(row[-1]) is None:
            filled.pop(self._names[-1], None)  # `1e` of `1e-05`
            missing.discard(self._names[-1])
            self.table.cut = True
        cells_of = {n: None if c and c.lower() in NULLS else c for n, c in filled.items()}
        self.table.add(cells_of | dict.fromkeys(missing) if missing else cells_of, line)

    def _is_header(self, row: list[str]) -> bool:
        """Whether a row is the header again; one with other columns, from a restart, holds for the rows behind it."""
        header = tuple(row[:-1] if len(row) > 1 and not row[-1] else row)
        if header == self._header:
            return True
        if not _is_other_header(header, self._header):
            return False
        self._take_header(header)
        return True

    def report(self, skipped: int) -> None:
        """Says what was not read.

        Raises:
            ReadError: if there is anything.
        """
        said: list[str] = []
        line: int | None = None
        if self._wrong:
            line = self._first_wrong[0]
            said.append(f"{self._wrong:,} of {self._total:,} rows were left out, the first for {self._first_wrong[1]}")
        if text := self.table.texts():
            name, count, first, at = text
            line = line or at
            said.append(f"{count:,} cells of column {name!r} are no numbers, the first {first[:40]!r}")
        if repeated := {n for n in self._header if n and self._header.count(n) > 1}:
            line = line or skipped + self._layout.header_line
            said.append(f"column {min(repeated)!r} occurs more than once; the first of them was read")
        if not len(self.table):
            raise ReadError("; ".join(said) or "a header without rows", line=line or skipped + self._layout.header_line)
        if said:
            raise ReadError("; ".join(said), line=line, partial=True)


def _names(file: File, header: Sequence[str]) -> list[str]:
    """Column names; empty for those that are left out: unnamed ones and repetitions."""
    names: list[str] = []
    for name in header:
        names.append("" if name in names else name)
    if {normalized(n) for n in names} == _TENSORBOARD:
        stem = file.name.rsplit(".", 1)[0]
        run, _, tag = stem.rpartition("-tag-")
        split = split_of(re.sub(r"^run-", "", run).replace(".", "_"))
        raw = f"{split}/{tag}" if split and not split_of(tag) else tag or stem
        names = [raw if normalized(n) == "value" else n for n in names]
    return names
