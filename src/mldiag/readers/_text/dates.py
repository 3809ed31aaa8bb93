"""Dates and times of day in text to seconds, thousands at once: the same floats as `_text_lines.seconds` gives.

Those of one logger have one shape (`2020-03-09 09:14:25,400`), in which only the digits change. Eight characters are
one 64-bit word: taken apart by the word of the shape, each is zero where the shape has a separator and at most nine
where it has a digit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from mldiag.patterns import lazily
from mldiag.readers._tables.fast_numbers import eight_digits, words
from mldiag.readers._text.lines import day_of, is_date

if TYPE_CHECKING:
    from mldiag.readers._tables.fast_numbers import Bytes, Floats, Ints, Mask, Words

LONGEST = 64
"""Characters of a shape."""

_U = np.uint64
_TOPS, _LOW, _BYTE = _U(0x8080808080808080), _U(0x7F7F7F7F7F7F7F7F), _U(0xFF)
_ZEROS = _U(0x3030303030303030)
_DIGITS = lazily(r"\d")
_DATED = lazily(r"\d{4}-\d\d-\d\d[T_ ](\d\d:\d\d:\d\d(?:[.,]\d{1,8})?)")
_TIME = lazily(r"\d{1,2}:\d\d:\d\d(?:[.,]\d{1,7})?")
_HOURS = lazily(r"\d{1,3}(:\d\d(?::\d\d)?(?:[.,]\d+)?)")
DATE_CHARACTERS = 10
"""Characters of a date in front of a time of day, `2020-03-09`."""
TIME_CHARACTERS = 8
_TIME_WORD = _U(int.from_bytes(b"00:00:00", "little"))


class Shape:
    """A date or time of day with its digits left open: `0000-00-00 00:00:00,000`."""

    def __init__(self, token: str) -> None:
        self.length = len(token)
        pattern = _DIGITS.sub("0", token).encode()
        # By how much each character may be above that of the pattern; `re` takes no minute above 59.
        above = bytes((5 if pattern[i - 1 : i] == b":" else 9) if c == ord("0") else 0 for i, c in enumerate(pattern))
        self._words: list[tuple[int, np.uint64, np.uint64, np.uint64]] = []
        for offset in range(0, self.length, 8):
            part, most = pattern[offset : offset + 8], above[offset : offset + 8]
            mask = _U(2 ** (8 * len(part)) - 1)
            room = bytes(0x7F - m for m in most)
            self._words.append((offset, _word(part), _word(room), mask))

    def fits(self, view: Words, at: Ints) -> Mask:
        """Whether it stands at each place."""
        bad: Words | None = None
        for offset, pattern, room, mask in self._words:
            found = view[at + offset] if offset else view[at]
            found ^= pattern
            found &= mask
            over = found & _LOW
            over += room
            over |= found
            bad = over if bad is None else bad | over
        assert bad is not None
        good: Mask = (bad & _TOPS) == 0
        return good


class Field(Struct, frozen=True):
    """The place of a date in a template.

    Attributes:
        shapes: those that it can have, of different lengths.
        part: what its seconds are of: `whole` of a date with a time of day or a time alone, `day` of a date whose time
            is the next number, `time` of that; empty where nobody asks.
        date: characters before the time of day; `decimals`: digits behind its seconds.
    """

    shapes: tuple[Shape, ...]
    part: str = ""
    date: int = 0
    decimals: int = 0

    def fits(self, view: Words, at: Ints, ends: Ints) -> Mask:
        """Whether one of the shapes stands in each place `[at, end)`."""
        if len(self.shapes) == 1:
            return self.shapes[0].fits(view, at)
        lengths = ends - at
        good = np.zeros(len(at), bool)
        for shape in self.shapes:
            own = np.flatnonzero(lengths == shape.length)
            good[own] = shape.fits(view, at[own])
        return good

    def seconds(self, buffer: Bytes, at: Ints, ends: Ints, base: Floats | None) -> tuple[Floats, Mask | None]:
        """Seconds of each, and which can be said (None: all). `base`: those of the day, for a `time`."""
        if self.part == "day":
            return days(buffer, at, ends)
        view = words(buffer)
        good: Mask | None = None
        stops = ends - self.decimals - bool(self.decimals)
        if self.date:
            base, good = days(buffer, at, at + DATE_CHARACTERS)
        short = _U(8) * np.maximum(at + self.date + TIME_CHARACTERS - stops, 0).astype(_U)
        time = view[stops - TIME_CHARACTERS] ^ _TIME_WORD
        time >>= short
        time <<= short
        fraction: Words | None = None
        if self.decimals:
            outside = _U(8 * (8 - self.decimals))
            fraction = ((view[ends - 8] ^ _ZEROS) >> outside) << outside
        return self.joined(time, fraction, base), good

    def joined(self, time: Words, fraction: Words | None, base: Floats | None) -> Floats:
        """Seconds of times of day; `time` and `fraction` are words of eight digits with zero for what is no digit."""
        pairs = time * _U(10)
        pairs += time >> _U(8)
        minutes = (pairs & _BYTE) * _U(60) + ((pairs >> _U(24)) & _BYTE)
        begun = (minutes * _U(60)).astype(np.float64)
        if base is not None:
            begun += base
        rest = (pairs >> _U(48)) & _BYTE
        if fraction is None:
            return begun + rest
        rest = rest * _U(10**self.decimals) + eight_digits(fraction)
        # One division of two whole numbers is rounded once, as `float` rounds the decimal.
        return begun + rest.astype(np.float64) / 10.0**self.decimals


def _word(text: bytes) -> np.uint64:
    return _U(int.from_bytes(text, "little"))


def days(buffer: Bytes, at: Ints, ends: Ints, *, same: bool = False) -> tuple[Floats, Mask | None]:
    """Seconds of the days that are written at some places, and which can be said; `same`: all have the same text."""
    if not len(at):
        return np.empty(0), None
    width = int(ends[0] - at[0])
    changes = np.zeros(len(at) - 1, bool)
    for offset in () if same else {0, max(width - 8, 0)}:
        found = words(buffer)[at + offset]
        if width < 8:
            found &= _U(2 ** (8 * width) - 1)
        changes |= found[1:] != found[:-1]
    first = np.r_[0, np.flatnonzero(changes) + 1]
    texts = (buffer[begin : begin + width].tobytes().decode("ascii") for begin in at[first].tolist())
    known = [day_of(text) for text in texts]
    counts = np.diff(np.r_[first, len(at)])
    values = np.repeat([0.0 if d is None else d for d in known], counts)
    return values, None if None not in known else np.repeat([d is not None for d in known], counts)


def fields(tokens: Sequence[str], behind: Sequence[str], clock: int | None) -> dict[int, Field] | None:
    """The dates of a line; None where some line of its template can be told by `re` alone.

    Args:
        tokens: its numbers. `behind`: the text behind each. `clock`: which of them says when the line was written.
    """
    found: dict[int, Field] = {}
    for index, token in enumerate(tokens):
        if not is_date(token):
            continue
        if len(token) > LONGEST or not token.isascii():
            return None
        # How a number is cut depends on what follows it, and how a date is, on the digits of the hour behind it.
        after_day = index > 0 and behind[index - 1] == " " and is_date(tokens[index - 1])
        hours = None if after_day or behind[index][:1] in (":", ".") else _HOURS.fullmatch(token)
        shapes = [token] if hours is None else [f"{h}{hours[1]}" for h in ("0", "00", "000")]
        found[index] = Field(tuple(map(Shape, shapes)))
    if clock is None:
        return found
    when = tokens[clock]
    if dated := _DATED.fullmatch(when):
        found[clock] = _timed(found[clock].shapes, "whole", when, len(when) - len(dated[1]))
    elif ":" in when:
        if not _TIME.fullmatch(when):
            return None
        found[clock] = _timed(found[clock].shapes, "whole", when)
    elif clock + 1 in found and _TIME.fullmatch(tokens[clock + 1]) and day_of(when) is not None:
        found[clock] = Field(found[clock].shapes, "day")
        found[clock + 1] = _timed(found[clock + 1].shapes, "time", tokens[clock + 1])
    else:
        return None
    return found


def _timed(shapes: Sequence[Shape], part: str, token: str, date: int = 0) -> Field:
    decimals = len(token) - 1 - max(token.rfind("."), token.rfind(",")) if re.search("[.,]", token) else 0
    longest = date + TIME_CHARACTERS + decimals + bool(decimals)
    return Field(tuple(s for s in shapes if s.length <= longest), part, date, decimals)
