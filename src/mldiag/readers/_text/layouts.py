"""Lines of one template whose numbers are all as long as each other's: there every character has its place.

Most lines of a log have one of a few such layouts (`loss 0.1234, time 98.2ms` and `loss 0.1234, time 102.5ms`). All
lines of a layout are taken apart by the same words: eight characters at a time are compared with those of the layout,
what is left is zero or a digit, and a number is found without a search for its end. That is four times as fast as
`Scanner.scan`, which takes what no layout fits and says what the lines of a layout mean.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mldiag.patterns import lazily
from mldiag.readers._tables.columns import number
from mldiag.readers._tables.fast_numbers import eight_digits, parsed
from mldiag.readers._text.dates import DATE_CHARACTERS, TIME_CHARACTERS, days
from mldiag.readers._text.scanner import NOTHING, Found, Lines, Scanner, grouped

if TYPE_CHECKING:
    from mldiag.readers._tables.fast_numbers import Bytes, Floats, Ints, Mask, Words
    from mldiag.readers._text.dates import Field

LONGEST = 512
"""Characters of a line; those of longer ones vary in too many ways."""
FEWEST = 64
"""Lines of one length from which on a layout is looked for among them: to try one costs as much as to scan these."""
MOST = 32
"""Layouts of a template that are kept from block to block."""
TRIES = 8
"""Layouts that are looked for in one block. `SAMPLED`: lines that are looked at for each."""
SAMPLED = 4
PATIENCE = 3
"""Blocks of which layouts may take less than half of the lines before no more are looked for."""

_U = np.uint64
_TOPS = _U(0x8080808080808080)
_ALL, _DIGIT, _MINUTE = 0x7F, 0x7F - 9, 0x7F - 5
_PLAIN = lazily(rb"-?(?:\d+(?:\.\d*)?|\.\d+)")
_EXACT_DIGITS = 15
"""Digits of the numbers that floats hold exactly, whatever they are."""


class _Place(NamedTuple):
    """Where the digits of a number without exponent stand: `[begin, end)`, the decimals, the sign."""

    begin: int
    end: int
    decimals: int
    pointed: bool
    negative: bool


class Layout:
    """One layout.

    Args:
        text: a line of it. `spans`: where each number begins and ends there.
        dates: which of the numbers are dates or times of day. `wanted`: those whose values are kept.

    Attributes:
        length: characters of its lines. `taken`: how many lines of the last block were of it.
    """

    def __init__(
        self,
        text: bytes,
        spans: Sequence[tuple[int, int]],
        dates: Mapping[int, Field],
        wanted: Collection[int],
    ) -> None:
        self.length, self.taken = len(text), 0
        self._spans, self._dates, self._wanted = spans, dates, wanted
        self._words = -(-len(text) // 8)
        pattern, room = bytearray(text), bytearray([_ALL]) * len(text)
        for index, (begin, end) in enumerate(spans):
            for at in range(begin, end):
                if text[at] in b"0123456789":
                    # As in `dates.Shape`: no minute is above 59.
                    room[at] = _MINUTE if index in dates and at > begin and text[at - 1] == ord(":") else _DIGIT
                    pattern[at] = ord("0")
        filling = bytes(8 * self._words - len(text))
        self._pattern = np.frombuffer(bytes(pattern) + filling, "<u8")[:, None]
        self._room = np.frombuffer(bytes(room) + filling, "<u8")[:, None]
        self._last = _U(2 ** (8 * (8 - len(filling))) - 1) if filling else None
        self._places = [
            _place(text, *span) if index in wanted and index not in dates else None for index, span in enumerate(spans)
        ]

    def read(self, lines: Lines, chosen: Ints) -> tuple[Mask, list[Floats]]:
        """Which of some lines of its length are of the layout, and the columns of these, as in `Found`."""
        size = 8 * self._words
        starts = lines.starts[chosen]
        # Eight characters or eighty take the same time to fetch.
        view = np.ndarray((len(lines.buffer) - size + 1,), f"V{size}", lines.buffer, strides=(1,))
        rest = np.ascontiguousarray(view[starts].view("<u8").reshape(-1, self._words).T)
        rest ^= self._pattern
        if self._last is not None:
            rest[-1] &= self._last
        over = rest + self._room
        over |= rest
        wrong = np.bitwise_or.reduce(over, axis=0)
        wrong &= _TOPS
        good: Mask = wrong == 0
        if not good.all():
            starts, rest = starts[good], rest[:, good]
        columns, sound = self._columns(lines.buffer, starts, rest)
        if sound is not None and not sound.all():
            good[good] = sound
            columns = [c[sound] if len(c) else c for c in columns]
        return good, columns

    def _columns(self, buffer: Bytes, starts: Ints, rest: Words) -> tuple[list[Floats], Mask | None]:
        columns: list[Floats] = []
        sound: Mask | None = None
        base: Floats | None = None
        for index, (span, place) in enumerate(zip(self._spans, self._places, strict=True)):
            said: Mask | None = None
            values: Floats = NOTHING
            if place is not None:
                values = _number(rest, place)
            elif index in self._dates:
                date = self._dates[index]
                if date.part:
                    values, said = _seconds(date, buffer, starts, rest, span, base)
                    base = values
            elif index in self._wanted:
                values, said = self._unusual(buffer, starts, rest, span)
            columns.append(values)
            if said is not None:
                sound = said if sound is None else sound & said
        return columns, sound

    def _unusual(self, buffer: Bytes, starts: Ints, rest: Words, span: tuple[int, int]) -> tuple[Floats, Mask | None]:
        """Values of a number with an exponent, with digits in groups or with many; often all are the same."""
        begin, end = span
        if _are_same(rest, begin, end):
            value = number(buffer[starts[0] + begin : starts[0] + end].tobytes().decode())
            return np.full(len(starts), value), None if value is not None else np.zeros(len(starts), bool)
        values, good = parsed(buffer, starts + begin, starts + end)
        if not good.all():
            odd = np.flatnonzero(~good)
            values[odd], good[odd] = grouped(buffer, starts[odd] + begin, starts[odd] + end)
        return values, good


def _seconds(
    date: Field, buffer: Bytes, starts: Ints, rest: Words, span: tuple[int, int], base: Floats | None
) -> tuple[Floats, Mask | None]:
    """As `Field.seconds`, from words that are taken apart already."""
    begin, end = span
    said: Mask | None = None
    if date.part == "day" or date.date:
        stop = end if date.part == "day" else begin + DATE_CHARACTERS
        base, said = days(buffer, starts + begin, starts + stop, same=_are_same(rest, begin, stop))
        if date.part == "day":
            return base, said
    stop = end - date.decimals - bool(date.decimals)
    time = _word(rest, max(begin + date.date, stop - TIME_CHARACTERS), stop)
    fraction = _word(rest, end - date.decimals, end) if date.decimals else None
    return date.joined(time, fraction, base), said


def _place(text: bytes, begin: int, end: int) -> _Place | None:
    """The place of a number that is read without a rounding but that of one division; None of others."""
    found = _PLAIN.fullmatch(text, begin, end)
    if found is None:
        return None
    negative = text[begin : begin + 1] == b"-"
    token = text[begin + negative : end]
    pointed = b"." in token
    if len(token) - pointed > _EXACT_DIGITS:
        return None
    return _Place(begin + negative, end, len(token.partition(b".")[2]), pointed, negative)


def _number(rest: Words, place: _Place) -> Floats:
    begin, end, decimals, pointed, negative = place
    behind = decimals  # digits behind the point, which are the last of the word
    total: Words
    low = _word(rest, max(begin, end - 8), end)
    if end - begin <= 8:
        if pointed:
            _close(low, behind)
        total = eight_digits(low)
    else:
        high = _word(rest, begin, end - 8)
        if pointed and behind < 8:
            _close(low, behind)
            low |= high >> _U(56)
            high <<= _U(8)
        elif pointed:
            _close(high, behind - 8)
        total = eight_digits(low)
        total += eight_digits(high) * _U(10**8)
    values = total.view(np.int64).astype(np.float64)
    if decimals:
        values /= 10.0**decimals
    return np.negative(values, out=values) if negative else values


def _word(rest: Words, begin: int, end: int) -> Words:
    """The characters `[begin, end)`, at most eight, the last of them highest and zeros before the first."""
    index, offset = divmod(begin, 8)
    length = end - begin
    if offset + length <= 8:
        word: Words = rest[index] << _U(8 * (8 - offset - length))
        if offset:
            word &= _U((2 ** (8 * length) - 1) << (8 * (8 - length)))
        return word
    word = rest[index] >> _U(8 * offset)
    word |= rest[index + 1] << _U(8 * (8 - offset))
    if length < 8:
        word <<= _U(8 * (8 - length))
    return word


def _close(word: Words, behind: int) -> None:
    """Moves the digits before the point over it; `behind` are behind it."""
    before = word & _U(2 ** (8 * (7 - behind)) - 1)
    before *= _U(0xFF)
    word += before


def _are_same(rest: Words, begin: int, end: int) -> bool:
    """Whether the characters `[begin, end)` are the same in all lines; not if there are none."""
    parts = (_word(rest, at, min(at + 8, end)) for at in range(begin, end, 8))
    return all(len(part) and bool((part == part[0]).all()) for part in parts)


class Lengths:
    """Some lines by their lengths."""

    def __init__(self, lines: Lines, chosen: Ints) -> None:
        self._chosen = chosen
        self._lengths = lines.lengths[chosen]
        self._counts = np.bincount(np.minimum(self._lengths, LONGEST + 1), minlength=LONGEST + 2)[: LONGEST + 1]
        self._left: dict[int, Ints] = {}

    def usual(self) -> list[int]:
        """The lengths of many lines, the most frequent first."""
        found = np.flatnonzero(self._counts >= FEWEST)
        return [int(length) for length in found[np.argsort(-self._counts[found], kind="stable")] if length]

    def rows(self, length: int) -> Ints:
        """The lines of a length that were not taken."""
        if length not in self._left:
            self._left[length] = self._chosen[self._lengths == length] if self._counts[length] else self._chosen[:0]
        return self._left[length]

    def take(self, length: int, good: Mask) -> Ints:
        """Takes some of the lines of a length."""
        rows = self._left[length]
        every = bool(good.all())
        self._left[length] = rows[:0] if every else rows[~good]
        return rows if every else rows[good]


class Layouts:
    """The lines of a template, by their layouts and, where these end, by its scanner.

    Args:
        layout_of: the layout of a line, if that is of the template.
    """

    def __init__(self, scanner: Scanner, layout_of: Callable[[bytes], Layout | None]) -> None:
        self._scanner = scanner
        self._layout_of = layout_of
        self._paddings = {0}
        self._layouts: list[Layout] = []
        self._patience = PATIENCE
        self._foreign: dict[int, int] = {}  # lines of each length among which no layout was found

    def scan(self, lines: Lines, left: Ints) -> Found:
        """The lines of the template among some, ascending.

        The first line of each way to pad the numbers is left out, as are the last few that no layout fits: there are
        faster ways to read these.
        """
        parts: list[tuple[Ints, list[Floats]]] = []
        if self._patience:
            lengths = Lengths(lines, left)
            self._use(lines, lengths, parts)
            self._learn(lines, lengths, parts)
        taken = sum(len(rows) for rows, _ in parts)
        if taken:
            free = np.zeros(len(lines), bool)
            free[left] = True
            for rows, _ in parts:
                free[rows] = False
            left = np.flatnonzero(free)
        found = self._without_new(self._scanner.scan(lines, left, few=FEWEST // 2))
        if self._patience:
            self._patience = self._patience - 1 if len(found.lines) > max(taken, FEWEST) else PATIENCE
        if len(found.lines):
            parts.append((found.lines, found.columns))
        return _joined(parts, len(lines)) if parts else found

    def _use(self, lines: Lines, lengths: Lengths, parts: list[tuple[Ints, list[Floats]]]) -> None:
        """Takes the lines of the layouts that are known."""
        for layout in self._layouts:
            layout.taken = _take(layout, lines, lengths, parts)
        self._layouts.sort(key=lambda layout: layout.taken, reverse=True)
        del self._layouts[MOST:]

    def _learn(self, lines: Lines, lengths: Lengths, parts: list[tuple[Ints, list[Floats]]]) -> None:
        """Looks for layouts among the other lines, and takes theirs."""
        tries = TRIES
        for length in lengths.usual():
            while tries and len(rows := lengths.rows(length)) >= max(FEWEST, 2 * self._foreign.get(length, 0)):
                tries -= 1
                layout = self._layout(lines, rows)
                if layout is not None:
                    layout.taken = _take(layout, lines, lengths, parts)
                if layout is None or not layout.taken:
                    self._foreign[length] = len(rows)
                    break
                self._layouts.append(layout)

    def _layout(self, lines: Lines, rows: Ints) -> Layout | None:
        """The layout of one of some lines that is of the template."""
        few = rows[:: max(1, len(rows) // SAMPLED)]
        return next(filter(None, map(self._layout_of, lines.texts(few))), None)

    def _without_new(self, found: Found) -> Found:
        """Without the first line of each way to pad the numbers with blanks: that one the learner shall see."""
        if found.padding is None or not len(found.lines):
            return found
        paddings, first = np.unique(found.padding, return_index=True)
        new = [row for code, row in zip(paddings.tolist(), first.tolist(), strict=True) if code not in self._paddings]
        self._paddings.update(paddings.tolist())
        return found.without(np.array(new)) if new else found


def _take(layout: Layout, lines: Lines, lengths: Lengths, parts: list[tuple[Ints, list[Floats]]]) -> int:
    """Takes the lines of a layout; returns how many there are."""
    rows = lengths.rows(layout.length)
    if not len(rows):
        return 0
    good, columns = layout.read(lines, rows)
    if not good.any():
        return 0
    rows = lengths.take(layout.length, good)
    parts.append((rows, columns))
    return len(rows)


def _joined(parts: Sequence[tuple[Ints, list[Floats]]], count: int) -> Found:
    """Some of so many lines, in their order."""
    if len(parts) == 1:
        return Found(*parts[0], None)
    chosen = np.zeros(count, bool)
    for rows, _ in parts:
        chosen[rows] = True
    columns: list[Floats] = []
    for own in zip(*(columns for _, columns in parts), strict=True):
        if not len(own[0]):
            columns.append(NOTHING)
            continue
        every = np.empty(count)
        for (rows, _), values in zip(parts, own, strict=True):
            every[rows] = values
        columns.append(every[chosen])
    return Found(np.flatnonzero(chosen), columns, None)
