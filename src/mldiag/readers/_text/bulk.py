"""Long logs of free text: lines of templates that are known already are read in numpy, all others one by one."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from mldiag.files import Block
from mldiag.patterns import lazily
from mldiag.readers._text.arrays import as_array
from mldiag.readers._text.dates import fields
from mldiag.readers._text.layouts import Layout, Layouts
from mldiag.readers._text.lines import COLOURS, DRAWN, LONG, STATES, is_drawn, splitter
from mldiag.readers._text.messages import TIMES
from mldiag.readers._text.scanner import NOTHING, Lines, Scanner
from mldiag.readers._text.silent import Silent
from mldiag.readers._text.templates import Learner, Template

if TYPE_CHECKING:
    from mldiag.readers._tables.fast_numbers import Floats, Ints

    Places = Ints | Floats

SHARE = 0.05
"""Share of a block's lines from which on a template is worth a scanner."""
MOST = 8
"""Scanners of a log; each looks at the lines that those before it have left."""

LARGE = 8 * 2**20
"""Bytes of what a block needs at most; glibc's limit for this is 32 MiB."""
PORTION = 256
"""Lines that are learnt from before it is asked whether those that are left in a block have templates."""

MORE = 1.1
"""Rows to expect for each that the text so far lets expect, so that a buffer rarely has to grow once more."""
MOST_ROOM = 256
"""Rows that there is room for, for each that was found: the end of a log may have none."""

_JOINTS = frozenset(":-.,_")
_BLANK = lazily(rb"(?:^|\r)[\s\x1c-\x1f]*\r")
_WORD = lazily(r"[^\W\d_]")


class _Buffers:
    """Columns that grow block by block, one buffer for each: the parts of many, freed one by one, would leave holes.

    Attributes:
        count: rows so far.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._buffers: list[Floats] = [NOTHING] * width

    def add(self, columns: Sequence[Places], expected: float) -> None:
        """Adds rows, of which there may be so many in the end."""
        begin, self.count = self.count, self.count + len(columns[0])
        for index, values in enumerate(columns):
            if self.count > len(self._buffers[index]):
                # What is not written to takes no memory, and all of it is given back to the system.
                room = max(2 * self.count, min(MOST_ROOM * self.count, int(expected)))
                grown = np.frombuffer(mmap(-1, 8 * room))
                grown[:begin] = self._buffers[index][:begin]
                self._buffers[index] = grown
            self._buffers[index][begin : self.count] = values

    def pop(self, index: int) -> Floats:
        """Takes a column out."""
        values = self._buffers[index][: self.count]
        self._buffers[index] = NOTHING
        return values


class _Scanned(Struct):
    """A template and its scanner.

    Attributes:
        used: the numbers of the line whose values are kept, with that which holds the times, the `clock`, if any.
        found: the places of its rows, and the columns of what is used.
        begun: bytes of the log before its first row, about.
        taken: lines of the last block.
    """

    template: Template
    layouts: Layouts
    clock: int | None
    used: tuple[int, ...]
    found: _Buffers
    begun: float = 0
    taken: int = 0


class BulkLearner:
    """Reads blocks into a learner; what it learns is what `Learner.read` would learn from them.

    The rows that are read in numpy come to their templates at the end, with `finish`.

    Args:
        size: bytes of the log, as far as they are known.
    """

    def __init__(self, learner: Learner, size: int = 0) -> None:
        self._learner = learner
        self._size, self._before, self._seen = size, 0, 0
        self._scanned: list[_Scanned] = []
        self._tried: set[int] = set()
        self._silent = Silent(learner)
        # glibc hands the memory of each block back to the system, which clears it for the next one, until it has seen
        # something larger come and go. This is never written to, so it takes no memory.
        np.empty(LARGE, np.uint8)

    def read(self, block: Block) -> None:
        """Takes the lines of a block."""
        self._before, self._seen = self._seen, self._seen + len(block.data)
        if self._learner.has_decimal_comma(block.data):
            self._learner.read(block)
            return
        begun = self._learner.states(block.line)
        if states := _states(block):
            end = begun + len(states)
            self._scan(states, block.line + np.minimum(np.arange(begun, end), STATES - 1) / STATES)
            self._learner.pass_states(block.line, end)
        else:
            lines = Lines(block.data)
            if begun:  # the first line goes on with one of which states were taken before
                self._learner.take(lines.texts(np.arange(1))[0], [block.line])
            self._scan(lines, np.arange(block.line, block.line + len(lines)), int(begun > 0))

    def finish(self) -> None:
        """Gives the templates their rows."""
        for scanned in self._scanned:
            if scanned.found.count:
                _append(scanned)

    def _prepare(self, counts: Sequence[int], lines: Lines, places: Places, least: float) -> None:
        """Makes scanners for templates that more than so many lines, not counted before, of a block belong to."""
        for index, template in enumerate(self._learner.templates):
            before = counts[index] if index < len(counts) else 0
            if index in self._tried or len(template.at) - before <= least or len(self._scanned) >= MOST:
                continue
            self._tried.add(index)
            # The place of a table of keys and values is that of its frame. Of two templates with the same texts the
            # other is for lines that have no numbers where this has some.
            if template.boxed or not self._learner.is_first(template):
                continue
            row = np.searchsorted(places, template.at[-1], side="right") - 1
            line = lines.texts(row.reshape(1))[0].decode(errors="replace")
            if scanner := scanner_of(template, line):
                parts = {index: date.part for index, date in scanner.dates.items()}
                layouts = Layouts(scanner, partial(self._layout_of, template, parts))
                used = tuple(sorted({*template.needed, *([] if scanner.clock is None else [scanner.clock])}))
                self._scanned.append(_Scanned(template, layouts, scanner.clock, used, _Buffers(1 + len(used))))

    def _layout_of(self, template: Template, parts_of_dates: dict[int, str], line: bytes) -> Layout | None:
        """The layout of a line that the learner would take for one of a template with its dates in some places."""
        text = line.decode(errors="replace")
        parts = splitter()(COLOURS.sub("", text))
        if not line.isascii() or not self._learner.knows(parts, template):
            return None
        dates = fields(parts[1::2], parts[2::2], template.clock)
        literals = _with_colours(text, parts)
        if dates is None or literals is None or {i: d.part for i, d in dates.items()} != parts_of_dates:
            return None
        spans, begin = [], 0
        for literal, token in zip(literals, parts[1::2], strict=False):
            begin += len(literal)
            spans.append((begin, begin + len(token)))
            begin += len(token)
        return Layout(line, spans, dates, template.needed)

    def _scan(self, lines: Lines, places: Places, begin: int = 0) -> None:
        """Takes lines of which the places are known, from one on."""
        self._scanned.sort(key=lambda s: s.taken, reverse=True)
        left = self._silent.without(lines, self._rest(lines, places, np.arange(begin, len(lines)), self._scanned))
        while len(left):
            # Of many lines some show what the others are.
            some = left[:PORTION] if len(left) > 2 * PORTION else left
            left = left[len(some) :]
            counts, scanners = [len(t.at) for t in self._learner.templates], len(self._scanned)
            self._silent.learn(lines.texts(some), places[some].tolist())
            self._prepare(counts, lines, places, SHARE * len(lines) * min(1.0, len(some) / max(1, len(left))))
            if len(left):
                left = self._silent.without(lines, self._rest(lines, places, left, self._scanned[scanners:]))

    def _expected(self, own: _Scanned) -> float:
        """Rows that a template will have if the rest of the log is like what was seen since its first row."""
        count = own.found.count + own.taken
        return count + MORE * count * (self._size - self._seen) / (self._seen - own.begun)

    def _rest(self, lines: Lines, places: Places, left: Ints, scanned: Sequence[_Scanned]) -> Ints:
        """Takes the rows of templates from some lines; returns the others."""
        for own in scanned:
            rows = own.layouts.scan(lines, left)
            own.taken = len(rows.lines)
            if own.taken:
                columns = (places[rows.lines], *(rows.columns[index] for index in own.used))
                if not own.found.count:
                    own.begun = self._before + (self._seen - self._before) * rows.lines[0] / len(lines)
                own.found.add(columns, self._expected(own))
                others = np.ones(len(lines), bool)
                others[rows.lines] = False
                left = left[others[left]]
        return left


def _states(block: Block) -> Lines | None:
    """The states of one line that was drawn again and again, each as a line; None for other text.

    So logs look with the line ends of old systems. What is more than plain text is left to the learner.
    """
    data = block.data
    if block.ends or not data.endswith(b"\r") or not data.isascii() or any(mark in data for mark in DRAWN):
        return None
    if b"<" in data and TIMES.search(data):
        return None  # a message behind a bar is one more state
    lines = Lines(data.replace(b"\r", b"\n"))
    # States without text do not count.
    blank = (lines.buffer.take(lines.starts) <= ord(" ")).any() and _BLANK.search(data)
    return None if blank or lines.lengths.max() > LONG else lines


def scanner_of(template: Template, line: str) -> Scanner | None:
    """A scanner of which every line is one of a template, with the same numbers; None where there can be none.

    Rows of tables depend on the header above them. Numbers that are joined by nothing but a sign can be read as a date
    or a time of day (`1:30`), with other values.

    Args:
        line: one of the template as it stands in the file, with its colours.
    """
    if template.table or template.boxed or not template.needed:
        return None
    parts = splitter()(COLOURS.sub("", line))
    texts = parts[::2]
    inner = [t.strip() for t in texts[1:-1]]
    if [t.split() for t in texts] != [t.split() for t in template.literals]:
        return None  # one state of a line that was redrawn
    if not any(_WORD.search(t) for t in texts[:-1]) or any("\ufffd" in t or is_drawn(t) for t in texts):
        return None
    if not _JOINTS.isdisjoint(inner) or any(a == "/" and b in ("/", " ", "T") for a, b in pairwise(texts[1:-1])):
        return None
    dates = fields(parts[1::2], texts[1:], template.clock)
    literals = _with_colours(line, parts)
    if dates is None or literals is None:
        return None
    try:
        return Scanner([text.encode() for text in literals], dates, template.needed)
    except ValueError:
        return None


def _with_colours(line: str, parts: Sequence[str]) -> list[str] | None:
    """The texts between the numbers of a line, with the colours in them; None where a number has two colours."""
    ends = {found.start(): found.end() for found in COLOURS.finditer(line)}
    literals = []
    begin = at = 0
    for index, part in enumerate(parts):
        if index % 2:
            while at in ends:
                at = ends[at]
            literals.append(line[begin:at])
            begin = at + len(part)
            if line[at:begin] != part:
                return None
            at = begin
        else:
            for _ in part:
                while at in ends:
                    at = ends[at]
                at += 1
    return [*literals, line[begin:]]


def _append(scanned: _Scanned) -> None:
    """Adds the rows that were found to a template."""
    template, found = scanned.template, scanned.found
    at = np.concatenate([np.asarray(template.at), found.pop(0)])
    # Those that the learner has read stand before all others.
    order = np.argsort(at, kind="stable") if (at[1:] < at[:-1]).any() else None
    own = {index: template.column(index) for index in template.needed}
    times = template.times
    for number, index in enumerate(scanned.used, 1):
        values = found.pop(number)
        if index == scanned.clock:
            template.times = _merged(times, values, order)
        if index in own:
            template.columns[index] = _merged(own[index], values, order)
    template.at = as_array(at if order is None else at[order])
    template.values = array("d")


def _merged(own: array[float], found: Floats, order: Ints | None) -> array[float]:
    merged = array("d", [0.0]) * (len(own) + len(found))
    target = np.frombuffer(merged)
    target[: len(own)], target[len(own) :] = own, found
    if order is not None:
        target[:] = target[order]
    return merged
