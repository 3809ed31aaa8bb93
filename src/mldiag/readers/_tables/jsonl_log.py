"""Lines of JSON objects into a table, block by block."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from mldiag.artifacts import Artifact
from mldiag.files import LONG, Block, File
from mldiag.readers._configs.settings import recorded
from mldiag.readers._tables.columns import Table, flat, is_log_row
from mldiag.readers._tables.jsonl_rows import CONFIG, REFUSED, AlteredText, Learned
from mldiag.readers.jsonl import json_object
from mldiag.vocabulary import Vocabulary, axis, is_metric, normalized, series_name, split_of

SMALL = 2**16
"""Bytes up to which lines are taken one by one: to make the decoders of a struct costs as much as 100 lines do."""

FEW = 100
"""Lines of which one or more are refused in bulk that are taken one by one. More are tried again in smaller parts."""

_OF_LOGGER = frozenset({"event", "level", "levelname", "log_level", "severity", "logger", "message", "msg"})


class Log:
    """Reads lines into a table.

    Attributes:
        count: lines with something on them. `bad`: those that are no JSON object. `first_bad`: line and beginning.
    """

    def __init__(self, file: File) -> None:
        split = split_of(file.name.rsplit(".", 1)[0])
        self.table = Table(file, split=split)
        self.count = self.bad = 0
        self.first_bad = (0, "")
        self._file = file
        self._has_settings = False
        self._trained: tuple[object, object] | None = None
        # A split of the whole file beside those of rows is left to the table's own reckoning.
        self._in_bulk = file.size > SMALL and split in (None, "train")

    @cached_property
    def _learned(self) -> Learned:
        return Learned(self.table, wide=self._file.size > LONG)

    def read(self, block: Block) -> Iterator[Artifact]:
        """Takes whole lines; yields what a header records."""
        data, first, _ = block
        found = self._learned.lines(block) if len(self.table) and self._in_bulk else None
        if found is not None:
            rows, marked = found
            lines = self._learned.numbered(first, len(rows))
            try:
                self._learned.add(self._learned.columns(rows, marked=marked), lines, marked=marked)
            except AlteredText:
                pass
            else:
                self.count += len(rows)
                return
        if self._in_bulk and block.ends > FEW:
            for part in _parts(block):
                smaller = len(part.data) < len(data)
                yield from self.read(part) if smaller else self._line_by_line(data, first)
        else:
            yield from self._line_by_line(data, first)

    def _line_by_line(self, data: bytes, first: int) -> Iterator[Artifact]:
        rows: list[Any] = []
        lines = array("q")
        pieces = data.split(b"\n") if b"\n" in data else data.split(b"\r")
        for at, piece in enumerate(pieces):
            line = piece.strip()
            if not line:
                continue
            self.count += 1
            if self._in_bulk:
                try:
                    rows.append(self._learned.row(line))
                except REFUSED:
                    pass
                else:
                    lines.append(first + at)
                    continue
            found = _object(line)
            if found is None:
                # Without its end the last line is still being written.
                if at < len(pieces) - 1:
                    self.first_bad = self.first_bad if self.bad else (first + at, _shown(line))
                    self.bad += 1
                else:
                    self.table.cut = True
                continue
            self._flush(rows, lines)
            rows, lines = [], array("q")
            settings = found.get(CONFIG)
            row = flat({k: v for k, v in found.items() if k != CONFIG} if isinstance(settings, dict) else found)
            if not len(self.table) and _is_header(row):
                yield from recorded(_header(row), self._file, line=first + at)
            elif is_log_row(row):
                if isinstance(settings, dict) and not self._has_settings:
                    self._has_settings = True
                    yield from recorded(settings, self._file, line=first + at)
                self.table.add(self._with_place(row), first + at)
                if self._in_bulk:
                    self._learned.teach(found)
            elif not len(self.table) and not any(axis(k) or is_metric(k) for k in row):
                yield from recorded(_header(found), self._file, line=first + at)
        self._flush(rows, lines)

    def _with_place(self, row: Mapping[str, object]) -> Mapping[str, object]:
        """A row of mmengine with what it leaves out: that it is of validation, and the step of an epoch's.

        Its `scalars.json` holds `{"accuracy": 89, "data_time": …, "time": …, "step": 2}` between the rows of training,
        which alone have `iter`; the step is the epoch where the loop runs by epochs (`LoggerHook.after_val_epoch`).
        """
        if "data_time" not in row or "step" not in row:
            return row
        if "iter" in row:
            self._in_bulk = False
            self._trained = row["step"], row.get("epoch")
        elif self._trained and "lr" not in row:
            step, epoch = self._trained
            of_epoch = {"step": step, "epoch": epoch} if row["step"] == epoch else {}
            return {**row, **of_epoch, "mode": "val"}
        return row

    def _flush(self, rows: list[Any], lines: array[int]) -> None:
        if rows:
            self._learned.add(self._learned.columns(rows), lines)


def _is_header(row: Mapping[str, object]) -> bool:
    """Whether a record before the first row states settings: of what training logs it holds only a rate, no place.

    Structured logging (structlog, loguru) gives every record a time, also `{"event": "start", "lr": 0.1, "seed": 0}`.
    """
    if any(axis(k) in ("step", "epoch") for k in row):
        return False
    logged = [k for k in row if is_metric(k)]
    stated = [k for k in row if k not in logged and not axis(k) and Vocabulary().setting(k)]
    return bool(logged and stated) and all(series_name(k) == "lr" for k in logged)


def _header(row: Mapping[str, object]) -> dict[str, object]:
    """What a header states, without the source of a configuration, what describes the machine, and the logger's own."""
    own = (k for k in row if normalized(k) in _OF_LOGGER or axis(k) == "time")
    multiline = (k for k, v in row.items() if isinstance(v, str) and "\n" in v)
    left_out = {*own, *multiline}
    return {k: v for k, v in row.items() if k not in left_out}


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        return json_object(line.decode())
    except UnicodeDecodeError:
        return None


def _shown(line: bytes) -> str:
    return line[:160].decode(errors="replace")[:40]


def _parts(block: Block) -> Iterator[Block]:
    data, line, _ = block
    start, size = 0, len(data) // 16 + 1
    while start < len(data):
        end = data.find(b"\n", start + size) + 1 or len(data)
        part = data[start:end]
        ends = part.count(b"\n")
        yield Block(part, line, ends)
        start, line = end, line + ends
