"""Lines of one literal template (`iter 10: loss 2.5, time 3.1ms`) read in numpy, thousands at once.

Of every line each literal is compared and each number is read to its last character, so a line either is of the
template or is handed back. Runs of blanks beside a number may be of any length, since numbers are padded to a width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct

from mldiag.readers._fast_numbers import MARGIN, parsed, words

if TYPE_CHECKING:
    from mldiag.readers._fast_numbers import Bytes, Floats, Ints, Mask, Words

    _Chunk = tuple[int, np.uint64, np.uint64 | None]

NUMBER_CHARACTERS = frozenset(b"0123456789.+-eE")
"""A literal must not begin with one of these behind a number: its end could not be told."""

LONGEST_LITERAL = 2048
"""Bytes; so much lies behind the last line, since literals are compared before a line is known to be so long."""

_U = np.uint64
_ONES, _TOPS = _U(0x0101010101010101), _U(0x8080808080808080)
_INDEX = _U(0x0001020304050607)
_PRIME = 1_000_003
# Words that are looked through for the end of a number; longer ones are no numbers that are read here.
_WORDS = 4
_BLANK = ord(" ")
_BLANK_WORD, _BYTE, _ONE, _EIGHT = _U(_BLANK), _U(0xFF), _U(1), _U(8)
_NEWLINE = 10


class Lines:
    """The lines of a block of text.

    Attributes:
        buffer: the text between margins of line feeds. `view`: its words at every offset.
        starts, stops: offsets in it of each line, without its end.
    """

    def __init__(self, data: bytes) -> None:
        body = data if data.endswith(b"\n") else data + b"\n"
        self.buffer: Bytes = np.frombuffer(b"\n" * MARGIN + body + b"\n" * (LONGEST_LITERAL + 2 * MARGIN), np.uint8)
        self.view: Words = words(self.buffer)
        ends = np.flatnonzero(self.buffer[MARGIN : MARGIN + len(body)] == _NEWLINE)
        self.stops: Ints = ends + MARGIN
        self.starts: Ints = np.empty_like(self.stops)
        self.starts[:1], self.starts[1:] = MARGIN, self.stops[:-1] + 1
        if b"\r\n" in body:
            self.stops -= (self.buffer.take(self.stops - 1) == ord("\r")) & (self.stops > self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, line: int, last: int | None = None) -> bytes:
        """One line without its end, or the lines up to another."""
        return self.buffer[int(self.starts[line]) : int(self.stops[line if last is None else last])].tobytes()


class Found(NamedTuple):
    """The lines of a template, ascending.

    Attributes:
        columns: for each number of the line its values.
        padding: a number for each line that is another where the blanks beside its numbers are; 0 for those of the
            literals themselves. None where all are 0.
    """

    lines: Ints
    columns: list[Floats]
    padding: Ints | None

    def without(self, rows: Ints) -> Found:
        """The others than some rows."""
        kept = np.delete(np.arange(len(self.lines)), rows)
        padding = None if self.padding is None else self.padding[kept]
        return Found(self.lines[kept], [c[kept] for c in self.columns], padding)


class _Literal(Struct, frozen=True):
    """A text beside numbers.

    Attributes:
        whole: the words of the text as it is, to compare. `length`: its characters.
        core: the words of it without the blanks beside numbers. `core_length`: its characters.
        before, behind: whether there are such blanks; then there may be any number of them.
    """

    whole: list[_Chunk]
    length: int
    core: list[_Chunk]
    core_length: int
    before: bool
    behind: bool


def _literal(text: bytes, *, first: bool, last: bool) -> _Literal:
    core = text if first else text.lstrip(b" ")
    core = core if last else core.rstrip(b" ")
    before = not first and text[:1] == b" "
    behind = not last and text[-1:] == b" " and (first or bool(core))
    return _Literal(_chunks(text), len(text), _chunks(core), len(core), before, behind)


class Scanner:
    """Reads the lines of one template.

    Args:
        literals: the texts before, between and behind the numbers of a line: one more than numbers.

    Raises:
        ValueError: the end of a number cannot be told by the first character of the literal behind it, there is no
            number, or a literal is longer than `LONGEST_LITERAL`.
    """

    def __init__(self, literals: Sequence[bytes]) -> None:
        if len(literals) < 2 or max(map(len, literals)) > LONGEST_LITERAL:
            raise ValueError("no number, or a literal that is too long")
        last = len(literals) - 1
        self._literals = [_literal(text, first=not at, last=at == last) for at, text in enumerate(literals)]
        self._stops = [text[0] if text else -1 for text in literals[1:]]
        if any(s < 0 for s in self._stops[:-1]) or any(s in NUMBER_CHARACTERS for s in self._stops):
            raise ValueError("a number without an end")

    def scan(self, lines: Lines, candidates: Ints | None = None) -> Found:
        """The lines of the template, among some lines or all."""
        chosen = np.arange(len(lines)) if candidates is None else candidates
        at = lines.starts[chosen]
        columns: list[Floats] = []
        padding: Ints | None = None
        for index, literal in enumerate(self._literals):
            at, good, blanks = _behind_literal(lines.view, at, literal)
            if blanks is not None or padding is not None:
                blanks = np.zeros(len(at), np.int64) if blanks is None else blanks
                padding = blanks if padding is None else padding * _PRIME + blanks
            if not good.all():
                padding = None if padding is None else padding[good]
                chosen, at, columns = _kept(good, chosen, at, columns)
            if index == len(self._literals) - 1:
                break
            stop = self._stops[index]
            ends = lines.stops[chosen] if stop < 0 else at + _length(lines.view, at, stop)
            values, good = parsed(lines.buffer, at, ends)
            columns.append(values)
            at = ends
            if not good.all():
                padding = None if padding is None else padding[good]
                chosen, at, columns = _kept(good, chosen, at, columns)
        whole = at == lines.stops[chosen]
        if not whole.all():
            padding = None if padding is None else padding[whole]
            chosen, at, columns = _kept(whole, chosen, at, columns)
        return Found(chosen, columns, padding)


def _behind_literal(view: Words, at: Ints, literal: _Literal) -> tuple[Ints, Mask, Ints | None]:
    """Behind the literal that begins at each place, where it does, and which blanks there are beyond its own."""
    good = _matches(view, at, literal.whole)
    after = at + literal.length
    blanks: Ints | None = None
    if not (literal.before or literal.behind):
        return after, good, None
    if literal.behind:
        padded = np.flatnonzero((view[after] & _BYTE) == _BLANK_WORD)
        if len(padded):
            blanks = np.zeros(len(at), np.int64)
            after[padded], _ = _over_blanks(view, after[padded])
            blanks[padded] = after[padded] - at[padded] - literal.length
    rest = np.flatnonzero(~good)
    if len(rest):
        own = at[rest]
        fits = np.ones(len(rest), bool)
        if literal.before:
            own, fits = _over_blanks(view, own)
        before = own - at[rest]
        fits &= _matches(view, own, literal.core)
        own = own + literal.core_length
        if literal.behind:
            own, some = _over_blanks(view, own)
            fits &= some
        after[rest], good[rest] = own, fits
        if fits.any():
            blanks = np.zeros(len(at), np.int64) if blanks is None else blanks
            blanks[rest] = (before + 1) * 2**20 + (own - at[rest])
    return after, good, blanks


def _matches(view: Words, at: Ints, chunks: Sequence[_Chunk]) -> Mask:
    good = np.ones(len(at), bool)
    for offset, value, mask in chunks:
        here = view[at + offset] if offset else view[at]
        good &= (here == value) if mask is None else ((here & mask) == value)
    return good


def _kept(good: Mask, chosen: Ints, at: Ints, columns: list[Floats]) -> tuple[Ints, Ints, list[Floats]]:
    return chosen[good], at[good], [c[good] for c in columns]


def _chunks(text: bytes) -> list[_Chunk]:
    """A text as words to compare: offset, value, and the bits that count."""
    if len(text) < 8:
        mask = _U(2 ** (8 * len(text)) - 1)
        return [(0, _U(int.from_bytes(text, "little")), mask)] if text else []
    offsets = [*range(0, len(text) - 7, 8)]
    if len(text) % 8:
        offsets.append(len(text) - 8)
    return [(o, _U(int.from_bytes(text[o : o + 8], "little")), None) for o in offsets]


def _first_zero(word: Words) -> Words:
    """Index of the first byte that is zero; 8 where there is none."""
    marks = (word - _ONES) & ~word
    marks &= _TOPS
    first = (marks & (_U(0) - marks)) >> _U(7)
    index = (first * _INDEX) >> _U(56)
    index += _EIGHT
    index -= np.minimum(first, _ONE) * _EIGHT
    return index


def _length(view: Words, at: Ints, stop: int) -> Ints:
    """Characters before the next `stop`."""
    stops = _U(stop) * _ONES
    found = _first_zero(view[at] ^ stops).view(np.int64)
    for word in range(1, _WORDS):
        longer = np.flatnonzero(found == 8 * word)
        if not len(longer):
            break
        found[longer] += _first_zero(view[at[longer] + 8 * word] ^ stops).view(np.int64)
    return found


def _over_blanks(view: Words, at: Ints) -> tuple[Ints, Mask]:
    """Behind the blanks that begin at each place, and where there is at least one."""
    blanks = _U(_BLANK) * _ONES
    spread = view[at] ^ blanks
    # Blanks are zero now; of all others some bit is set, and the lowest of these marks the first.
    lowest = spread & (_U(0) - spread)
    count = np.zeros(len(at), np.int64)
    for byte in range(1, 8):
        more = lowest >= _U(1 << (8 * byte))
        if not more.any():
            break
        count += more
    full = np.flatnonzero(spread == 0)
    count[full] = 8
    after = at + count
    while len(full):
        more = view[after[full]] == blanks
        full = full[more]
        after[full] += 8
    rest = np.flatnonzero(count == 8)
    for _ in range(8):
        if not len(rest):
            break
        rest = rest[(view[after[rest]] & _BYTE) == _BLANK_WORD]
        after[rest] += 1
    return after, count > 0
