"""The entries of a `trainer_state.json` that was written with an indent, a block at a time."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from mldiag.files import LONG, File, line_feeds
from mldiag.patterns import lazily
from mldiag.readers._tables.columns import Table, flat, is_cell
from mldiag.readers._tables.jsonl_rows import AlteredText, Learned
from mldiag.readers.jsonl import json_object

if TYPE_CHECKING:
    from mldiag.readers._tables.jsonl_rows import Column

FEW = 50
"""Entries of which one or more are refused in bulk that are taken one by one. More are tried again in smaller parts."""
MAX_SHAPES = 64
"""Sets of keys in one block of entries; where there are more, the lines of the values stay unknown."""

_START = lazily(rb'\n([ \t]+)"log_history": \[\n')
_KEY = lazily(rb'\s*("(?:[^"\\]|\\.)*"):')


class History:
    """The entries of `log_history` in a table, what stands around them, and the lines of the values.

    A string of JSON holds no line end, so what ends an entry, a brace at the entries' own indent, is found in the text
    and never inside a value.

    Attributes:
        summary: the closing entry of a training that ended, which is no point of a curve.
        rest: the document without the entries.
        lines: key → line of each of its values. `places`: key of `summary` or `rest` → its line.
        count: entries. `bad`: those that are no objects.
        cut: the file ends inside the history.
    """

    def __init__(self, file: File) -> None:
        self.table = Table(file)
        self.summary: dict[str, Any] = {}
        self.rest: dict[str, Any] = {}
        self.lines: dict[str, array[int]] = {}
        self.places: dict[str, int] = {}
        self.count = self.bad = 0
        self.cut = False
        self._bulk: Learned | None = None
        self._file = file
        self._indent = self._between = b""

    def read(self) -> bool:
        """Reads the file; False, with nothing read, where it is not laid out so."""
        blocks = self._file.blocks()
        text = b""
        start = None
        while start is None and (block := next(blocks, None)) is not None:
            text += block.data
            start = _START.search(text)
        if start is None:
            return False
        head, text = text[: start.end()], text[start.end() :]
        self._bulk = Learned(self.table, wide=True) if self._file.size > LONG else None
        self._indent = start[1]
        self._between = b"\n" + 2 * self._indent + b"},\n"
        line = 1 + head.count(b"\n")
        self._note(head, 1, self._indent)
        while True:
            end = self._end(text)
            cut = text.rfind(self._between)
            whole = end if end >= 0 else cut + len(self._between) - 2 if cut >= 0 else 0
            if whole:
                piece = b"".join((b"[", memoryview(text)[:whole], b"]"))
                self._take(piece, line)
                line += line_feeds(piece) + 1
                text = text[whole + 2 :] if end < 0 else text[end:]
            if end >= 0:
                after = b"".join([text, *(block.data for block in blocks)])
                self.rest = _document(head + after)
                self._note(after, line - 1, self._indent)
                return True
            more = next(blocks, None)
            if more is None:
                self.cut = True
                self.rest = _document(head + b"]}")
                return True
            text += more.data

    def _end(self, text: bytes) -> int:
        """Where the history's closing bracket begins its line; negative where it does not yet."""
        before = b"\n" + self._indent
        at = text.find(b"]")
        while at >= 0 and not text.endswith(before, 0, at):
            at = text.find(b"]", at + 1)
        return at - len(before) if at >= 0 else -1

    def _take(self, piece: bytes, line: int) -> None:
        """Takes an array of whole entries; the first begins in `line`."""
        if self._bulk and len(self.table) and self._in_bulk(self._bulk, piece, line):
            return
        *entries, last = piece[1:-1].split(self._between)
        close = self._between[:-2]
        entries = [*(entry + close for entry in entries), last]
        if self._bulk and len(entries) > FEW:
            size = len(entries) // 16 + 1
            for at in range(0, len(entries), size):
                part = b",\n".join(entries[at : at + size])
                self._take(b"[" + part + b"]", line)
                line += part.count(b"\n") + 1
            return
        for entry in entries:
            self._one(entry, line)
            line += entry.count(b"\n") + 1

    def _in_bulk(self, learned: Learned, piece: bytes, line: int) -> bool:
        found = learned.elements(piece)
        if found is None:
            return False
        rows, marked = found
        try:
            columns = learned.columns(rows, marked=marked)
        except AlteredText:
            return False
        starts = self._places(columns, len(rows), piece, line)
        learned.add(columns, starts, marked=marked, logged=False)
        self.count += len(rows)
        return True

    def _one(self, entry: bytes, line: int) -> None:
        # An empty entry has no line of its own for its brace, so that its neighbour comes with it.
        found = _document(b'{"entries": [' + entry + b"]}").get("entries", [None])
        self.count += len(found)
        self.bad += sum(not isinstance(e, dict) for e in found)
        for own in (e for e in found if isinstance(e, dict)):
            if "train_runtime" in own:
                self.summary = {k: v for k, v in own.items() if k not in ("step", "epoch")}
                self._note(entry, line, 3 * self._indent)
                continue
            self.table.add(flat(own), line)
            if self._bulk:
                self._bulk.teach(own)
            for at, key in enumerate(_keys(entry.split(b"\n"), 3 * self._indent) if len(found) == 1 else ()):
                if key is not None and is_cell(own.get(key)):
                    self.lines.setdefault(key, array("q")).append(line + at)

    def _note(self, text: bytes, line: int, indent: bytes) -> None:
        self.places |= {key: line + at for at, key in enumerate(_keys(text.split(b"\n"), indent)) if key is not None}

    def _places(self, columns: Mapping[str, Column], count: int, piece: bytes, line: int) -> memoryview:
        """The first line of each entry; of their values the lines are kept.

        Entries with the same keys in the same block have them in one order: they come from the same line of code.
        """
        import numpy as np

        there = {
            key: ~np.isnan(np.frombuffer(cells))
            if isinstance(cells, array)
            else np.array([c is not UNSET for c in cells])
            for key, cells in columns.items()
        }
        held = sum(there.values(), start=np.full(count, 2))
        starts = line + np.concatenate(([0], held.cumsum()[:-1]))
        ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == 10)
        if not count or held.sum() != len(ends) + 1 or len(there) > 62:
            return starts.data  # a value of several lines
        shapes = np.zeros(count, np.int64)
        for own in there.values():
            shapes += shapes + own
        where = {key: np.zeros(count, np.int64) for key in there}
        left = np.full(count, True)
        for _ in range(MAX_SHAPES):
            first = int(left.argmax())
            at = int(starts[first]) - line
            last = at + int(held[first]) - 1
            begin = int(ends[at - 1]) + 1 if at else 1
            lines = piece[begin : ends[last] if last < len(ends) else -1].split(b"\n")
            same = shapes == shapes[first]
            rows = np.flatnonzero(same)
            own_starts = starts[rows]
            for offset, key in enumerate(_keys(lines, 3 * self._indent)):
                if key in where:
                    where[key][rows] = own_starts + offset
            left &= ~same
            if not left.any():
                break
        else:
            return starts.data
        for key, own in there.items():
            self.lines.setdefault(key, array("q")).frombytes(where[key][own].data.cast("B"))
        return starts.data


def _keys(lines: list[bytes], indent: bytes) -> list[str | None]:
    """The key that stands in each line at an indent; None in lines without one."""
    keys = (_KEY.match(text) if text.startswith(indent + b'"') else None for text in lines)
    return [_spelled(key[1]) if key else None for key in keys]


def _spelled(key: bytes) -> str | None:
    from json import loads

    try:
        return str(loads(key))
    except ValueError:  # a control character, or no UTF-8
        return None


def _document(text: bytes) -> dict[str, Any]:
    try:
        return json_object(text.decode()) or {}
    except UnicodeDecodeError:
        return {}
