"""Logs in tables of delimited text."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._columns import Table, has_decimal_comma, is_log_row, number, seconds
from mldiag.vocabulary import axis, is_metric, normalized, split_of

DELIMITERS = ("\t", ";", "|", ",", " ")
"""In the order in which they win when a table reads equally well with several; a space stands for any white space."""
CONSISTENT = 0.9
"""Share of the first lines that must have as many cells as the header."""

_SNIFFED = 50
_LONG = 20_000
# CatBoost's catboost_info: `learn` is the training set and `test` the evaluation set that stops the training.
_CATBOOST = {"learn_error.tsv": "train", "test_error.tsv": "val"}
_NULLS = frozenset({"null", "none", "na", "n/a", "<na>", "nil", "-", "--"})
# TensorBoard's download of one scalar: `run-<run>-tag-<tag>.csv` with these columns.
_TENSORBOARD = {"wall_time", "step", "value"}


class _Layout(Struct, frozen=True):
    """How a table is written. `header_line` is 1-based; `data_at` is the index of the first line behind the header."""

    delimiter: str
    names: tuple[str, ...]
    header_line: int
    data_at: int


def _cells(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of lines read so far; white space separates any run of blanks."""
    if delimiter == " ":
        for index, line in enumerate(lines):
            yield index + 1, line.split()
        return
    rows = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
    for row in rows:
        yield rows.line_num, [c.strip() for c in row]


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
                names = next(_cells([header], delimiter), (0, []))[1]
                rows = [r for _, r in _cells(data, delimiter) if r]
            except csv.Error:
                continue
            names = names[:-1] if names and not names[-1] and len(names) > 1 else names
            if len(names) < 2 or sum(number(n) is not None for n in names) > len(names) / 4 or not rows:
                continue
            share = sum(len(r) == len(names) or (len(r) == len(names) + 1 and not r[-1]) for r in rows) / len(rows)
            if share and (best is None or (share, len(names)) > best[:2]):
                best = (share, len(names), _Layout(delimiter, tuple(names), header_at + 1, header_at + 1))
    return best[2] if best and best[0] >= CONSISTENT - 0.4 else None


def _header_candidates(filled: list[int], data_lines: list[int], lines: Sequence[str]) -> Iterator[int]:
    """The first line that is no comment, and a comment right before it (`# epoch loss`)."""
    yield data_lines[0]
    before = [i for i in filled if i < data_lines[0]]
    if before and lines[before[-1]].lstrip().startswith("#"):
        yield before[-1]


def _share(lines: Sequence[str], layout: _Layout) -> float:
    data = [line for line in lines[layout.data_at : layout.data_at + _SNIFFED] if line.strip()]
    rows = [r for _, r in _cells(data, layout.delimiter)]
    return sum(len(r) == len(layout.names) for r in rows) / len(rows) if rows else 0.0


def _has_numbers(lines: Sequence[str], layout: _Layout) -> bool:
    """Whether under most names that a log has there are numbers: prose with commas has columns as well."""
    rows = [r for _, r in _cells(lines[layout.data_at : layout.data_at + _SNIFFED], layout.delimiter) if any(r)]
    filled = [c for r in rows for n, c in zip(layout.names, r, strict=False) if c and (axis(n) or is_metric(n))]
    comma = has_decimal_comma(iter(filled))
    numbers = sum(seconds(c) is not None or number(c, decimal_comma=comma) is not None for c in filled)
    return not filled or numbers + sum(c.lower() in _NULLS for c in filled) > len(filled) / 2


def _head_lines(file: File) -> list[str]:
    text = file.head.decode(file.encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    return lines[:-1] if file.size > len(file.head) and len(lines) > 1 else lines


def _is_log(file: File) -> bool:
    """A header, and under it the columns of a training log rather than a table of examples."""
    name = file.name.lower()
    table = name.endswith((".csv", ".tsv", ".tab"))
    if not file.size:
        return table
    lines = _head_lines(file)
    if table and len(lines) == 1 and file.size > len(file.head):
        return True  # one endless line: refused with its size when it is read
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
    Lightning's `metrics.csv`, which writes training and validation into different rows; but once a column was filled
    in every row, an empty cell beside nothing new is a missing value and is kept as a null. Cells such as `NA` and
    `None` are nulls. Text columns are passed over, and so is a repeated header (an appended run). Rows with a wrong
    number of cells, and bytes that are no text, are left out and counted, except a last line that is still being
    written. A table with ids, labels or texts, or without steps, epochs and known quantities, holds examples and is
    not taken.
    """
    text = file.lenient_text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise ReadError("the file is empty")
    lines = text.split("\n")
    layout = _layout(lines[: 2 * _SNIFFED + 100])
    if layout is None:
        raise ReadError("no header with names of columns was found")
    names = _names(file, layout)
    commas = layout.delimiter != "," or '"' in text
    body = lines[layout.data_at :]
    decimal_comma = commas and has_decimal_comma(
        c for _, row, _ in itertools.islice(_rows(body, layout.delimiter), 1000) for c in row
    )
    split = _CATBOOST.get(file.name.lower()) or split_of(file.name.rsplit(".", 1)[0])
    table = Table(file, split=split, decimal_comma=decimal_comma)
    gaps = _Gaps([n for n in names if n and not axis(n)])
    wrong: list[tuple[int, str]] = []
    total = 0
    for number_of_line, row, trouble in _rows(body, layout.delimiter):
        line = layout.data_at + number_of_line
        if not any(row) or row[0].startswith("#") or tuple(row[: len(names)]) == layout.names:
            continue
        total += 1
        if len(row) == len(names) + 1 and not row[-1]:
            row = row[:-1]
        if any("\ufffd" in c for c in row):
            trouble = "bytes that are no text"
        elif len(row) != len(names) and not trouble:
            trouble = f"{len(row)} cells where the header has {len(names)}"
        if trouble:
            if line < len(lines):
                wrong.append((line, trouble))
            continue
        cells: dict[str, str | None] = {n: c for n, c in zip(names, row, strict=True) if n and c}
        table.add(gaps.marked({n: None if c and c.lower() in _NULLS else c for n, c in cells.items()}), line)
    yield from table.series()
    _report(file, layout, table, wrong, total)


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Like `_cells`, with why a row cannot be told into cells; the rows behind it are read."""
    rows = _cells(lines, delimiter)
    at = 0
    while at < len(lines):
        try:
            at, row = next(rows)
            yield at, row, ""
        except StopIteration:
            return
        except csv.Error as error:
            at += 1
            yield at, ["?"], str(error)
            skipped = at
            rows = ((n + skipped, r) for n, r in _cells(lines[skipped:], delimiter))


def _names(file: File, layout: _Layout) -> list[str]:
    """Column names; empty for those that are left out: unnamed ones and repetitions."""
    names: list[str] = []
    for name in layout.names:
        names.append("" if name in names else name)
    if {normalized(n) for n in names} == _TENSORBOARD:
        stem = file.name.rsplit(".", 1)[0]
        run, _, tag = stem.rpartition("-tag-")
        split = split_of(re.sub(r"^run-", "", run).replace(".", "_"))
        raw = f"{split}/{tag}" if split and not split_of(tag) else tag or stem
        names = [raw if normalized(n) == "value" else n for n in names]
    return names


class _Gaps:
    """Tells an empty cell that is ordinary in a ragged table from a value that went missing."""

    ENOUGH = 3
    """Rows that a column must have been filled in without a gap."""

    def __init__(self, columns: list[str]) -> None:
        self._dense = set(columns)
        self._before: set[str] = set()
        self._rows = 0

    def marked(self, cells: dict[str, str | None]) -> dict[str, str | None]:
        """The cells, with None for every value that went missing."""
        filled = {n for n in cells if not axis(n)}
        missing = self._dense - filled
        if missing and self._rows >= self.ENOUGH and filled <= self._before:
            return cells | dict.fromkeys(missing)
        self._dense &= filled
        self._before = filled or self._before
        self._rows += 1
        return cells


def _report(file: File, layout: _Layout, table: Table, wrong: list[tuple[int, str]], total: int) -> None:
    repeated = {n for n in layout.names if n and layout.names.count(n) > 1}
    said: list[str] = []
    line: int | None = None
    if wrong:
        line = wrong[0][0]
        said.append(f"{len(wrong):,} of {total:,} rows were left out, the first for {wrong[0][1]}")
    if text := table.texts():
        name, count, first, at = text
        line = line or at
        said.append(f"{count:,} cells of column {name!r} are no numbers, the first {first[:40]!r}")
    if repeated:
        line = line or layout.header_line
        said.append(f"column {min(repeated)!r} occurs more than once; the first of them was read")
    if not len(table):
        raise ReadError("; ".join(said) or "a header without rows", line=line or layout.header_line)
    if said:
        raise ReadError("; ".join(said), line=line, partial=True)
