"""Tells tables of examples from logs, and reads them in bounded memory."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from zlib import crc32

from msgspec import Struct

from mldiag.artifacts import Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers._tables.columns import has_decimal_comma, number, with_point
from mldiag.readers._tables.example_json import SAMPLED, as_record, columns_of, in_document, records_of, sampled
from mldiag.readers._tables.example_shape import (
    FEWEST_ROWS,
    SPLIT_COLUMNS,
    Sample,
    are_examples,
    is_named_for_examples,
    is_null,
    is_numeric,
    may_describe,
    tells_apart,
    value_of,
)
from mldiag.scores import MAX_CLASSES, MAX_KEYS, Classes, ScoreTable
from mldiag.vocabulary import normalized, split_of

MAX_CELLS = 10_000_000
"""Cells that are kept, of 8 bytes each."""
MAX_WIDTH = 512
"""Columns that are kept; wider tables are feature matrices."""

MOST = 0.6
"""Share of the first rows, but for a last one that may be cut, that must have as many cells as the header."""

_CHUNK = 4096

_HINT = lazily(
    rb'"(?:[a-z_]*_)?(?:id|idx|index|uid|guid|labels?|targets?|y_true|truth|gold|ground_truth|answer|correct|is_correct|'
    rb"y_pred|preds?|predictions?|predicted|y_score|scores?|probs?|logits?|text|sentence|prompt|question|filename|image|"
    rb'path)"\s*:',
    re.IGNORECASE,
)
"""Keys that records of examples have; a document without any is not even parsed."""


def is_table_of_examples(file: File) -> bool:
    """Whether a file's rows are examples, by its first rows and its name."""
    if not file.size:
        return False
    name = file.name.lower()
    if name.endswith((".csv", ".tsv", ".tab")):
        layout = _layout(file)
        return layout is not None and are_examples(layout.sample, _stem(file))
    if not (_HINT.search(file.head) or is_named_for_examples(_stem(file))):
        return False
    if name.endswith((".jsonl", ".ndjson")) or _is_json_lines(file):
        records = list(islice(records_of(_lines_of_head(file)), SAMPLED))
        return len(records) >= FEWEST_ROWS and are_examples(sampled(records), _stem(file))
    try:
        return any(True for _ in in_document(file.json_so_far.document, _stem(file)))
    except ReadError:
        return False


def tables(file: File) -> Iterator[ScoreTable]:
    """The tables of a file, one for each split."""
    name = file.name.lower()
    if name.endswith((".csv", ".tsv", ".tab")):
        yield from _from_text(file)
    elif name.endswith((".jsonl", ".ndjson")) or _is_json_lines(file):
        yield from _from_lines(file)
    else:
        yield from _from_document(file)


def _stem(file: File) -> str:
    return normalized(file.name.rsplit(".", 1)[0])


class _Layout(Struct, frozen=True):
    delimiter: str
    names: tuple[str, ...]
    header_line: int
    sample: Sample
    comma: bool = False


def _lines_of_head(file: File) -> list[str]:
    text = file.head.decode(file.encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    return lines[:-1] if file.size > len(file.head) and len(lines) > 1 else lines


def _layout(file: File) -> _Layout | None:
    """Delimiter and header of a delimited table, with its first rows; None where it has none."""
    import csv

    lines = _lines_of_head(file)
    start = next((i for i, text in enumerate(lines) if text.strip() and not text.startswith("#")), None)
    if start is None:
        return None
    for delimiter in sorted("\t;|,", key=lambda d: -lines[start].count(d)):
        if delimiter not in lines[start] and delimiter != ",":
            continue
        try:
            rows = list(islice(csv.reader((f"{t}\n" for t in lines[start:]), delimiter=delimiter), SAMPLED + 1))
        except csv.Error:
            continue
        names = tuple(_names(rows[0])) if rows else ()
        if not (is_named_for_examples(_stem(file)) or any(map(may_describe, names))):
            return None
        body = [r for r in rows[1:] if any(c.strip() for c in r)]
        fitting = [r for r in body if len(r) == len(names)]
        if (
            not names
            or len(fitting) < MOST * (len(body) - 1)
            or sum(number(n) is not None for n in names) > len(names) / 4
        ):
            continue
        comma = delimiter != "," and has_decimal_comma(c for r in fitting for c in r)
        columns = {n: [with_point(r[i]) if comma else r[i] for r in fitting] for i, n in enumerate(names)}
        return _Layout(delimiter, names, start + 1, Sample(columns, len(fitting)), comma)
    return None


def _names(cells: Iterable[str]) -> Iterator[str]:
    """Names of columns; pandas leaves that of the index empty, a repeated one gets a number."""
    seen: dict[str, int] = {}
    for cell in cells:
        name = cell.strip().removeprefix("\ufeff") or "Unnamed: 0"
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}.{seen[name] - 1}"


class _Texts:
    """What is kept of a column of texts: few names as classes, ids as checksums."""

    def __init__(self, name: str) -> None:
        self.codes = array("b")
        self.names: dict[str, int] | None = {}
        self.keys = array("I") if tells_apart(name) else None

    def add(self, cells: Sequence[object], rows: int) -> None:
        """Takes the cells behind the first `rows` rows."""
        texts = ["" if is_null(c) else str(c).strip() for c in cells]
        if self.names is not None:
            self.codes.extend([-1] * (rows - len(self.codes)))
            for text in dict.fromkeys(texts):
                if text:
                    self.names.setdefault(text, len(self.names))
            if len(self.names) > MAX_CLASSES:
                self.names = None
            else:
                self.codes.extend(self.names.get(t, -1) for t in texts)
        if self.keys is not None:
            self.keys.extend([0] * (rows - len(self.keys)))
            self.keys.extend(crc32(t.encode("utf-8", "surrogatepass")) if t else 0 for t in texts)
            if len(self.keys) > MAX_KEYS:
                self.keys = None

    def classes(self, rows: int) -> Classes | None:
        if not self.names:
            return None
        self.codes.extend([-1] * (rows - len(self.codes)))
        return Classes(tuple(self.names), self.codes)


class _Builder:
    """Collects rows of one split into columns."""

    def __init__(self) -> None:
        self.columns: dict[str, array[float]] = {}
        self.texts: dict[str, _Texts] = {}
        self.rows = 0

    def add(self, columns: Mapping[str, Sequence[object]], count: int) -> None:
        """Takes `count` rows; a column is of numbers where it began as one."""
        for name, cells in columns.items():
            if name in self.texts:
                self.texts[name].add(cells, self.rows)
                continue
            known = self.columns.get(name)
            if known is None:
                if len(self.columns) >= MAX_WIDTH or not is_numeric(cells[:SAMPLED]):
                    if not all(map(is_null, cells)):
                        self.texts[name] = _Texts(name)
                        self.texts[name].add(cells, self.rows)
                    continue
                known = self.columns[name] = array("d", [math.nan]) * self.rows
            known.extend([math.nan] * (self.rows - len(known)))
            known.extend(_floats(cells))
        self.rows += count

    def table(self, file: File, split: str | None) -> ScoreTable:
        """What was collected; short columns are filled with NaN."""
        for values in self.columns.values():
            values.extend([math.nan] * (self.rows - len(values)))
        classes = {n: c for n, t in self.texts.items() if (c := t.classes(self.rows)) is not None}
        keys = {n: t.keys for n, t in self.texts.items() if t.keys is not None}
        for checksums in keys.values():
            checksums.extend([0] * (self.rows - len(checksums)))
        return ScoreTable(
            Source(path=file.path), self.rows, self.columns, tuple(self.texts), split or _split(file), classes, keys
        )


def _floats(cells: Sequence[object]) -> array[float]:
    try:
        return array("d", map(float, cells))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return array("d", (math.nan if (v := value_of(c)) is None else v for c in cells))


def _split(file: File) -> str | None:
    stem = _stem(file)
    if "oof" in stem.split("_") or "out_of_fold" in stem:
        return "val"
    if found := split_of(stem):
        return found
    return next((s for folder in reversed(file.path.split("/")[:-1]) if (s := split_of(folder))), None)


class _Collected:
    """Rows by split, up to `MAX_CELLS` cells; `left` counts the rows behind."""

    def __init__(self) -> None:
        self._builders: dict[str | None, _Builder] = {}
        self._cells = 0
        self.left = 0

    def add(self, columns: Mapping[str, Sequence[object]], count: int) -> None:
        if self._cells >= MAX_CELLS:
            self.left += count
            return
        fitting = min(count, max(1, (MAX_CELLS - self._cells) // max(len(columns), 1)))
        self.left += count - fitting
        self._cells += fitting * len(columns)
        by = next((n for n in columns if normalized(n) in SPLIT_COLUMNS), None)
        splits = [split_of(str(c)) for c in columns[by][:fitting]] if by is not None else []
        if len(set(splits) - {None}) < 1:
            self._of(None).add({n: c[:fitting] for n, c in columns.items()}, fitting)
            return
        for split in dict.fromkeys(splits):
            at = [i for i, s in enumerate(splits) if s == split]
            self._of(split).add({n: [c[i] for i in at] for n, c in columns.items() if n != by}, len(at))

    def _of(self, split: str | None) -> _Builder:
        return self._builders.setdefault(split, _Builder())

    def tables(self, file: File) -> Iterator[ScoreTable]:
        for split, builder in self._builders.items():
            if builder.rows:
                yield builder.table(file, split)


def _from_text(file: File) -> Iterator[ScoreTable]:
    import csv

    layout = _layout(file)
    if layout is None:
        raise ReadError("no header with names of columns was found")
    collected = _Collected()
    wrong: list[int] = []
    total = 0
    width = len(layout.names)
    rows = csv.reader(_lines(file), delimiter=layout.delimiter)
    chunk: list[list[str]] = []
    last_line, last_bad = 0, False
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error:
            wrong.append(rows.line_num)
            total += 1
            continue
        if rows.line_num <= layout.header_line or not row or not any(map(str.strip, row)):
            continue
        total += 1
        last_line, last_bad = rows.line_num, len(row) != width
        if last_bad:
            wrong.append(rows.line_num)
            continue
        chunk.append(row)
        if len(chunk) == _CHUNK:
            collected.add(_transposed(layout, chunk), len(chunk))
            chunk = []
    if chunk:
        collected.add(_transposed(layout, chunk), len(chunk))
    yield from collected.tables(file)
    if last_bad and wrong and wrong[-1] == last_line and not _ends_line(file):
        wrong.pop()  # still being written
    _report(collected.left, wrong, total, f"rows have other than {width} cells")


def _transposed(layout: _Layout, rows: Sequence[Sequence[str]]) -> dict[str, Sequence[object]]:
    columns = dict(zip(layout.names, zip(*rows, strict=True), strict=True))
    return {n: [with_point(c) for c in cells] for n, cells in columns.items()} if layout.comma else {**columns}


def _lines(file: File) -> Iterator[str]:
    for block in file.blocks():
        text = block.data.decode(errors="replace")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        yield from text.replace("\0", "\ufffd").splitlines(keepends=True) if "\n" in text else [text]


def _ends_line(file: File) -> bool:
    with file.open() as stream:
        stream.seek(-1, 2)
        return stream.read(1) in (b"\n", b"\r", b"\0")


def _report(left: int, wrong: Sequence[int], total: int, why: str) -> None:
    said = []
    if wrong:
        said.append(f"{len(wrong):,} of {total:,} {why}, and were left out")
    if left:
        said.append(f"{left:,} rows were left out behind the {MAX_CELLS:,} cells that are read")
    if said:
        raise ReadError("; ".join(said), line=wrong[0] if wrong else None, partial=True)


def _is_json_lines(file: File) -> bool:
    """Whether several lines of a `.json` are an object each."""
    lines = [t for t in _lines_of_head(file)[:3] if t.strip()]
    return len(lines) > 1 and all(as_record(t) is not None for t in lines)


def _from_lines(file: File) -> Iterator[ScoreTable]:
    collected = _Collected()
    wrong: list[int] = []
    total = line = 0
    chunk: list[Mapping[str, object]] = []
    for text in _lines(file):
        line += 1
        if not text.strip():
            continue
        total += 1
        record = as_record(text)
        if record is None:
            wrong.append(line)
            continue
        chunk.append(record)
        if len(chunk) == _CHUNK:
            collected.add(columns_of(chunk), len(chunk))
            chunk = []
    if chunk:
        collected.add(columns_of(chunk), len(chunk))
    yield from collected.tables(file)
    if wrong and wrong[-1] == line and not _ends_line(file):
        wrong.pop()
    _report(collected.left, wrong, total, "lines are no JSON object")


def _from_document(file: File) -> Iterator[ScoreTable]:
    collected = _Collected()
    document, _, cut = file.json_so_far
    for split, columns in in_document(document, _stem(file)):
        count = len(next(iter(columns.values())))
        if split is not None:
            builder = _Builder()
            builder.add(columns, count)
            yield builder.table(file, split)
        else:
            collected.add(columns, count)
            yield from collected.tables(file)
            _report(collected.left, (), count, "")
            break
    if cut is not None:
        raise cut
