"""Lines of one literal template (`iter 10: loss 2.5, time 3.1ms`) read in numpy, thousands at once.

Of every line each literal is compared and each number is read to its last character, so a line either is of the
template or is handed back. Runs of blanks beside a number may be of any length, since numbers are padded to a width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct

from mldiag.readers._tables.fast_numbers import MARGIN, eight_digits, parsed, words

if TYPE_CHECKING:
    from mldiag.readers._tables.fast_numbers import Bytes, Floats, Ints, Mask, Words
    from mldiag.readers._text.dates import Field

    _Chunk = tuple[int, np.uint64, np.uint64 | None]

NUMBER_CHARACTERS = frozenset(b"0123456789.+-eE")
"""A literal must not begin with one of these behind a number: its end could not be told."""

LONGEST_LITERAL = 2048
"""Bytes; so much lies behind the last line, since literals are compared before a line is known to be so long."""

NOTHING: Floats = np.empty(0)
"""The column of a number whose values nobody wants."""

_U = np.uint64
_ONES, _TOPS = _U(0x0101010101010101), _U(0x8080808080808080)
_INDEX = _U(0x0001020304050607)
_BEFORE, _BEHIND = b"\n" * MARGIN, b"\n" * (1 + LONGEST_LITERAL + 2 * MARGIN)
_PRIME = 1_000_003
# Words that are looked through for the end of a number; longer ones are no numbers that are read here.
_WORDS = 4
_BLANK = ord(" ")
_BLANK_WORD, _BYTE, _ONE, _EIGHT = _U(_BLANK), _U(0xFF), _U(1), _U(8)
_NEWLINE, _ZERO = 10, 0x30
_GROUPS = _U(int.from_bytes(b",000,000", "little"))
_OVER_GROUPS = _U(int.from_bytes(bytes([0x7F, 0x76, 0x76, 0x76, 0x7F, 0x76, 0x76, 0x76]), "little"))
_MIDDLE_GROUP, _LAST_GROUP = _U(0xFFFFFF00), _U(0xFFFFFF0000000000)


class Lines:
    """The lines of a block of text.

    Attributes:
        buffer: the text between margins of line feeds. `view`: its words at every offset.
        starts, stops: offsets in it of each line, without its end.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.buffer: Bytes = np.frombuffer(b"".join((_BEFORE, data, _BEHIND)), np.uint8)
        self.view: Words = words(self.buffer)
        count = len(data) + (not data.endswith(b"\n"))
        self.stops: Ints = np.flatnonzero(self.buffer[MARGIN : MARGIN + count] == _NEWLINE)
        self.stops += MARGIN
        self.starts: Ints = np.empty_like(self.stops)
        self.starts[:1], self.starts[1:] = MARGIN, self.stops[:-1] + 1
        if b"\r" in data:  # one character is looked for many times as fast as two
            self.stops -= (self.buffer.take(self.stops - 1) == ord("\r")) & (self.stops > self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Ints:
        """Characters of each line."""
        return self.stops - self.starts

    def texts(self, chosen: Ints) -> list[bytes]:
        """Some lines, without their ends."""
        data = self._data
        begins, ends = self.starts[chosen] - MARGIN, self.stops[chosen] - MARGIN
        return [data[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


class Found(NamedTuple):
    """The lines of a template, ascending.

    Attributes:
        columns: for each number of the line its values; for a date its seconds, if they are asked for, or nothing.
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
        return Found(self.lines[kept], [c[kept] if len(c) else c for c in self.columns], padding)


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
        dates: which of the numbers are dates or times of day.
        wanted: the numbers whose values are kept, None for all.

    Attributes:
        clock: the column that holds the times of the lines, or None.

    Raises:
        ValueError: the end of a number cannot be told by the first character of the literal behind it, there is no
            number, or a literal is longer than `LONGEST_LITERAL`.
    """

    def __init__(
        self,
        literals: Sequence[bytes],
        dates: Mapping[int, Field] | None = None,
        wanted: Collection[int] | None = None,
    ) -> None:
        if len(literals) < 2 or max(map(len, literals)) > LONGEST_LITERAL:
            raise ValueError("no number, or a literal that is too long")
        last = len(literals) - 1
        self._literals = [_literal(text, first=not at, last=at == last) for at, text in enumerate(literals)]
        self._stops = [text[0] if text else -1 for text in literals[1:]]
        self.dates = dates or {}
        self.wanted = range(last) if wanted is None else wanted
        # Of a date and the time of day behind it the latter's column holds both.
        self.clock = next((i for i, d in self.dates.items() if d.part in ("whole", "time")), None)
        if any(s < 0 for s in self._stops[:-1]) or any(s in NUMBER_CHARACTERS for s in self._stops):
            raise ValueError("a number without an end")

    def scan(self, lines: Lines, candidates: Ints | None = None, few: int = 0) -> Found:
        """The lines of the template, among some lines or all; none if fewer than `few` begin like one."""
        rows = _Rows(lines, np.arange(len(lines)) if candidates is None else candidates)
        for index, literal in enumerate(self._literals):
            rows.pass_over(literal)
            if len(rows.chosen) < few:
                return Found(rows.chosen[:0], [NOTHING] * len(self._stops), None)
            if index < len(self._stops):
                rows.take_number(self._stops[index], self.dates.get(index), kept=index in self.wanted)
        rows.keep(rows.at == lines.stops[rows.chosen])
        rows.take_times()
        return Found(rows.chosen, rows.columns, rows.padding)


class _Rows:
    """Those of some lines that are of a template as far as they were read.

    Attributes:
        chosen: which lines. `at`: up to where each is read. `word`: the eight characters there, behind a literal.
        columns, padding: as in `Found`.
    """

    def __init__(self, lines: Lines, chosen: Ints) -> None:
        self._lines = lines
        self.chosen = chosen
        self.at = lines.starts[chosen]
        self.word: Words = np.empty(0, _U)
        self.columns: list[Floats] = []
        self.padding: Ints | None = None
        self._dates: list[tuple[int, Field, Ints, Ints]] = []

    def keep(self, good: Mask) -> None:
        """Drops the others."""
        if good.all():
            return
        self.chosen, self.at = self.chosen[good], self.at[good]
        self.columns = [c[good] if len(c) else c for c in self.columns]
        self.padding = None if self.padding is None else self.padding[good]
        self._dates = [(index, date, begins[good], ends[good]) for index, date, begins, ends in self._dates]

    def pass_over(self, literal: _Literal) -> None:
        """Goes behind the literal that begins at each place; drops rows where none does."""
        view = self._lines.view
        good = _matches(view, self.at, literal.whole)
        after = self.at + literal.length
        word: Words = view[after]
        blanks: Ints | None = None
        if literal.behind:
            padded = np.flatnonzero(((word & _BYTE) == _BLANK_WORD) & good)
            if len(padded):
                blanks = np.zeros(len(after), np.int64)
                after[padded], _ = _over_blanks(view, after[padded])
                blanks[padded] = after[padded] - self.at[padded] - literal.length
                word[padded] = view[after[padded]]
        if (literal.before or literal.behind) and not good.all():
            rest = np.flatnonzero(~good)
            own, fits = self.at[rest], np.ones(len(rest), bool)
            if literal.before:
                own, fits = _over_blanks(view, own)
            before = own - self.at[rest]
            fits &= _matches(view, own, literal.core)
            own = own + literal.core_length
            if literal.behind:
                own, some = _over_blanks(view, own)
                fits &= some
            if fits.any():
                blanks = np.zeros(len(after), np.int64) if blanks is None else blanks
                blanks[rest] = (before + 1) * 2**20 + (own - self.at[rest])
            after[rest], good[rest], word[rest] = own, fits, view[own]
        if blanks is not None or self.padding is not None:
            blanks = np.zeros(len(after), np.int64) if blanks is None else blanks
            self.padding = blanks if self.padding is None else self.padding * _PRIME + blanks
        self.at, self.word = after, word if good.all() else word[good]
        self.keep(good)

    def take_number(self, stop: int, date: Field | None, *, kept: bool) -> None:
        """Reads the number, or date, that begins at each place and ends before `stop`; drops rows without one."""
        lines, begins = self._lines, self.at
        if date is not None and len(date.shapes) == 1:
            self.at = begins + date.shapes[0].length
        elif stop < 0:
            self.at = lines.stops[self.chosen]
        else:
            self.at = begins + _length(lines.view, begins, stop, self.word)
        if date is None:
            values, good = parsed(lines.buffer, begins, self.at)
            if not good.all():
                rest = np.flatnonzero(~good)
                values[rest], good[rest] = grouped(lines.buffer, begins[rest], self.at[rest])
            self.columns.append(values if kept else NOTHING)
            self.keep(good)
            return
        self.columns.append(NOTHING)
        if date.part:
            self._dates.append((len(self.columns) - 1, date, begins, self.at))
        self.keep(date.fits(lines.view, begins, self.at))

    def take_times(self) -> None:
        """Reads the seconds of dates, now that the other rows have gone."""
        base: Floats | None = None
        good = np.ones(len(self.at), bool)
        for index, date, begins, ends in self._dates:
            base, said = date.seconds(self._lines.buffer, begins, ends, base)
            self.columns[index] = base
            good = good if said is None else good & said
        self.keep(good)


def _matches(view: Words, at: Ints, chunks: Sequence[_Chunk]) -> Mask:
    good: Mask | None = None
    for offset, value, mask in chunks:
        here = view[at + offset] if offset else view[at]
        if mask is not None:
            here &= mask
        same = here == value
        good = same if good is None else good & same
    return np.ones(len(at), bool) if good is None else good


def grouped(buffer: Bytes, begins: Ints, ends: Ints) -> tuple[Floats, Mask]:
    """Whole numbers in groups of three digits (`1,234,567`), of up to three groups, and which fields are such.

    None begins with a zero: `0,123` has a decimal comma.
    """
    lengths = ends - begins
    outside = np.clip(8 - lengths, 0, 7).astype(_U) << _U(3)
    tail = (words(buffer)[ends - 8] ^ _GROUPS) >> outside << outside
    good = (((tail & ~_TOPS) + _OVER_GROUPS | tail) & _TOPS) == 0
    good &= ((lengths >= 5) & (lengths <= 7)) | ((lengths >= 9) & (lengths <= 11))
    good &= buffer[begins] != _ZERO
    # The digits before the comma go over it, then all that is left of the first comma is none of them.
    digits = (tail & _LAST_GROUP) | ((tail & _MIDDLE_GROUP) << _EIGHT)
    values = eight_digits(digits).astype(np.float64)
    long = np.flatnonzero(good & (lengths > 8))
    if len(long):
        left = ends[long] - 8
        for place in range(3):
            digit = buffer[np.minimum(begins[long] + place, left - 1)] - np.uint8(_ZERO)
            good[long] &= digit <= 9
        values[long] += parsed(buffer, begins[long], left)[0] * 1e6
    return values, good


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


def _length(view: Words, at: Ints, stop: int, first: Words) -> Ints:
    """Characters before the next `stop`, where the `first` eight are at hand."""
    stops = _U(stop) * _ONES
    found = _first_zero(first ^ stops).view(np.int64)
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
