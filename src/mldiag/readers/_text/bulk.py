"""Long logs of free text: lines of templates that are known already are read in numpy, all others one by one."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct, field

from mldiag.files import Block
from mldiag.patterns import lazily
from mldiag.readers._text.arrays import as_array
from mldiag.readers._text.dates import fields
from mldiag.readers._text.lines import COLOURS, is_drawn, splitter
from mldiag.readers._text.scanner import NOTHING, Found, Lines, Scanner
from mldiag.readers._text.templates import Learner, Template

if TYPE_CHECKING:
    from mldiag.readers._tables.fast_numbers import Ints

LEARNT_FROM = 2**15
"""Bytes that are read line by line before it is asked again whether there are templates to be scanned."""
SHARE = 0.05
"""Share of a block's lines from which on a template is worth a scanner."""
MOST = 8
"""Scanners of a log; each looks at the lines that those before it have left."""

_JOINTS = frozenset(":-.,_")
_WORD = lazily(r"[^\W\d_]")


class _Scanned(Struct):
    """A template and its scanner.

    Attributes:
        clock: the column that holds the times of the rows, if there are any.
        paddings: the ways to pad its numbers that the learner has seen.
        taken: lines of the last block.
        found: rows, each with the number of their block's first line.
    """

    template: Template
    scanner: Scanner
    clock: int | None
    paddings: set[int] = field(default_factory=lambda: {0})
    taken: int = 0
    found: list[tuple[int, Found]] = field(default_factory=list)


class BulkLearner:
    """Reads blocks into a learner; what it learns is what `Learner.read` would learn from them.

    The rows that are read in numpy come to their templates at the end, with `finish`.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._scanned: list[_Scanned] = []
        self._tried: set[int] = set()

    def read(self, block: Block) -> None:
        """Takes the lines of a block."""
        cut = 0 if self._scanned else block.data.find(b"\n", LEARNT_FROM) + 1
        if 0 < cut < len(block.data):
            ends = block.data.count(b"\n", 0, cut)
            self._read(Block(block.data[:cut], block.line, ends))
            self.read(Block(block.data[cut:], block.line + ends, block.ends - ends))
        else:
            self._read(block)

    def _read(self, block: Block) -> None:
        counts = [len(t.at) for t in self._learner.templates]
        if self._scanned:
            self._scan(block)
        else:
            self._learner.read(block)
        if not self._learner.decimal_comma:
            self._prepare(counts, block)

    def finish(self) -> None:
        """Gives the templates their rows."""
        for scanned in self._scanned:
            if scanned.found:
                _append(scanned)
                scanned.found.clear()

    def _prepare(self, counts: Sequence[int], block: Block) -> None:
        """Makes scanners for templates that many lines of the last block belong to."""
        for index, template in enumerate(self._learner.templates):
            before = counts[index] if index < len(counts) else 0
            if index in self._tried or len(template.at) - before <= SHARE * block.ends or len(self._scanned) >= MOST:
                continue
            self._tried.add(index)
            # Of two templates with the same texts the other is for lines that have no numbers where this has some.
            number = int(template.at[-1]) - block.line
            line = block.data.split(b"\n", number + 1)[number].removesuffix(b"\r").decode(errors="replace")
            if (scanner := scanner_of(template, line)) and self._learner.is_first(template):
                self._scanned.append(_Scanned(template, scanner, scanner.clock))

    def _scan(self, block: Block) -> None:
        lines = Lines(block.data)
        left = np.arange(len(lines))
        self._scanned.sort(key=lambda s: s.taken, reverse=True)
        for scanned in self._scanned:
            rows = _without_new(scanned, scanned.scanner.scan(lines, left))
            scanned.taken = len(rows.lines)
            if scanned.taken:
                scanned.found.append((block.line, rows))
                others = np.ones(len(lines), bool)
                others[rows.lines] = False
                left = left[others[left]]
        if len(left):
            self._learner.take(lines.texts(left), (left + block.line).tolist())


def _without_new(scanned: _Scanned, found: Found) -> Found:
    """Without the first line of each way to pad the numbers with blanks: that one the learner shall see."""
    if found.padding is None or not len(found.lines):
        return found
    paddings, first = np.unique(found.padding, return_index=True)
    new = [
        row for padding, row in zip(paddings.tolist(), first.tolist(), strict=True) if padding not in scanned.paddings
    ]
    scanned.paddings.update(paddings.tolist())
    return found.without(np.array(new)) if new else found


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
    at = np.concatenate([np.asarray(template.at), *(rows.lines + first for first, rows in found)])
    # Those that the learner has read stand before all others.
    order = np.argsort(at, kind="stable") if (at[1:] < at[:-1]).any() else None
    own = {index: template.column(index) for index in template.needed}
    for index, read in own.items():
        template.columns[index] = _merged(read, index, found, order)
    if scanned.clock is not None:
        template.times = _merged(template.times, scanned.clock, found, order)
    template.at = as_array(at if order is None else at[order])
    template.values = array("d")


def _merged(own: array[float], column: int, found: Sequence[tuple[int, Found]], order: Ints | None) -> array[float]:
    parts = [np.asarray(own), *(rows.columns[column] for _, rows in found)]
    for _, rows in found:
        rows.columns[column] = NOTHING  # of a long log the next column has its place
    merged = array("d", [0.0]) * sum(map(len, parts))
    target = np.frombuffer(merged)
    np.concatenate(parts, out=target)
    if order is not None:
        target[:] = target[order]
    return merged
