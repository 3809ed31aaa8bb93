"""Long logs of free text: lines of templates that are known already are read in numpy, all others one by one."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mldiag.files import Block
from mldiag.readers._fast_text import Found, Lines, Scanner
from mldiag.readers._text_lines import _NOISE as NOISE, has_decimal_comma
from mldiag.readers._text_templates import Learner, Template

if TYPE_CHECKING:
    from mldiag.readers._fast_numbers import Ints

SHARE = 0.05
"""Share of a block's lines from which on a template is worth a scanner."""
MOST = 8
"""Scanners of a log; each looks at the lines that those before it have left."""

_WORD = re.compile(r"[^\W\d_]")
_MARKS = [mark.encode() for mark in (*NOISE, "\b")]


class BulkLearner:
    """Reads blocks into a learner; what it learns is what `Learner.read` would learn from them."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._scanners: dict[int, tuple[Template, Scanner]] = {}
        self._tried: set[int] = set()
        self._paddings: dict[int, set[int]] = {}
        self._plain: bool | None = None

    def read(self, block: Block) -> None:
        """Takes the lines of a block."""
        if self._plain is None:
            self._plain = not has_decimal_comma(block.data[:65536])
        counts = [len(t.at) for t in self._learner.templates]
        if self._scanners and is_plain(block.data):
            self._scan(block)
        else:
            self._learner.read(block)
        if self._plain:
            self._prepare(counts, block.ends)

    def _prepare(self, counts: list[int], lines: int) -> None:
        """Makes scanners for templates that many lines of the last block belong to."""
        for index, template in enumerate(self._learner.templates):
            before = counts[index] if index < len(counts) else 0
            if index in self._tried or len(template.at) - before <= SHARE * lines or len(self._scanners) >= MOST:
                continue
            self._tried.add(index)
            # Of two templates with the same texts the other is for lines that have no numbers where this has some.
            if can_be_scanned(template) and self._learner._known.get(template.literals) is template:
                try:
                    self._scanners[index] = template, Scanner([text.encode() for text in template.literals])
                except ValueError:
                    continue

    def _scan(self, block: Block) -> None:
        lines = Lines(block.data)
        left = np.arange(len(lines))
        found: list[tuple[Template, int, Found]] = []
        for template, scanner in self._scanners.values():
            rows = self._without_new(template, scanner.scan(lines, left))
            if len(rows.lines):
                found.append((template, len(template.at), rows))
                others = np.ones(len(lines), bool)
                others[rows.lines] = False
                left = left[others[left]]
        self._read_others(block, lines, left)
        for template, before, rows in found:
            _append(template, before, rows, block.line)

    def _without_new(self, template: Template, found: Found) -> Found:
        """Without the first line of each way to pad the numbers with blanks: that one the learner shall see."""
        if found.padding is None or not len(found.lines):
            return found
        known = self._paddings.setdefault(id(template), {0})
        paddings, first = np.unique(found.padding, return_index=True)
        new = [row for padding, row in zip(paddings.tolist(), first.tolist(), strict=True) if padding not in known]
        known.update(paddings.tolist())
        return found.without(np.array(new)) if new else found

    def _read_others(self, block: Block, lines: Lines, left: Ints) -> None:
        """Hands runs of other lines to the learner, each as a block."""
        if not len(left):
            return
        cuts = np.flatnonzero(np.diff(left) != 1) + 1
        begins, ends = left[np.r_[0, cuts]], left[np.r_[cuts - 1, len(left) - 1]]
        for first, last in zip(begins.tolist(), ends.tolist(), strict=True):
            data = lines.text(first, last)
            self._learner.read(Block(data, block.line + first, last - first))


def is_plain(data: bytes) -> bool:
    """Whether nothing in a block may be a colour, a drawn bar or a line that was redrawn."""
    buffer = None
    for mark in _MARKS:
        if mark[:1] not in data:
            continue
        if len(mark) == 1:
            return False
        # Where the first byte is frequent, as `%` and `[` are, this is many times as fast as a search for both.
        buffer = np.frombuffer(data, np.uint8) if buffer is None else buffer
        if (buffer.take(np.flatnonzero(buffer == mark[0]) + 1, mode="clip") == mark[1]).any():
            return False
    return b"\r" not in data or data.count(b"\r") == data.count(b"\r\n")


def can_be_scanned(template: Template) -> bool:
    """Whether every line that has the literals of a template, and numbers between them, is one of its lines.

    Rows of tables depend on the header above them. Numbers that are joined by nothing but a sign can be read as a date
    or a time of day (`1:30`), with other values.
    """
    inner = template.literals[1:-1]
    if template.table or template.boxed or not template.needed:
        return False
    if template.clock is not None or not any(_WORD.search(t) for t in template.literals[:-1]):
        return False
    text = "\0".join(template.literals)
    if "\ufffd" in text or "\r" in text or any(mark in text for mark in (*NOISE, "\b")):
        return False
    if any(t.strip() in (":", "-", ".", ",", "_") for t in inner):
        return False
    return not any(a == "/" and b in ("/", " ", "T") for a, b in pairwise((*inner, "")))


def _append(template: Template, before: int, found: Found, first: int) -> None:
    """Adds rows to a template; those of the same block that were read one by one lie behind `before`."""
    width = len(template.needed)
    at = (found.lines + first).astype(np.float64)
    values = np.empty((len(at), width))
    for column, index in enumerate(template.needed):
        values[:, column] = found.columns[index]
    if len(template.at) > before:
        at = np.concatenate([np.array(template.at[before:]), at])
        values = np.concatenate([np.array(template.values[before * width :]).reshape(-1, width), values])
        order = np.argsort(at, kind="stable")
        at, values = at[order], values[order]
        del template.at[before:], template.values[before * width :]
    template.at.frombytes(at.tobytes())
    template.values.frombytes(values.tobytes())
