"""Decimal numbers in text to floats, thousands at once: the same bits as Python's `float`, or an honest no.

Eight characters are one 64-bit word, and a field is at most three of them, its last character in the highest byte of
the last word. Blank bytes, signs, points and digits are told apart by their bits in all eight characters at a time
(SIMD within a register), and all fields of a column are worked on by the same few numpy operations.

Exactness: a decimal of `m` (an integer of at most 2⁵³) over 10ᵏ, k ≤ 22, is one division of two numbers that floats
hold exactly, so that it is rounded once, as the nearest float must be (Clinger, "How to Read Floating Point Numbers
Accurately", PLDI 1990). Longer ones, of up to 19 digits, are divided in two parts with the exact remainder; where the
bound of that error could reach the middle between two floats, the field is left to the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]
    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

MARGIN = 32
"""Bytes that must lie before the first field: words are read backwards from the end of a field."""

LONGEST = 24
"""Longest mantissa, in characters, that is worked on here: a point and 19 digits, with room for leading zeros."""

_U = np.uint64
_ONE, _EIGHT, _BYTE = _U(1), _U(8), _U(0xFF)
_ZEROS = _U(0x3030303030303030)
_TENS = _U(0x7676767676767676)
_TOPS = _U(0x8080808080808080)
_MARKS = _U(0x1010101010101010)
_LETTERS = _U(0x4040404040404040)
_LOWER = _U(0x20)
# What `.`, `-`, `+` and `e` are once the bits of `0` are taken away, which leaves digits as their values.
_POINT, _MINUS, _PLUS, _E = (_U(ord(c) ^ 0x30) for c in ".-+e")
# A one in byte k, times one of these, has the number of bytes behind k (and k itself counted in the second) on top.
_BEHIND, _FROM = _U(0x0706050403020100), _U(0x0807060504030201)
_PAIRS, _PAIR_LOW, _PAIR_HIGH = _U(0x000000FF000000FF), _U(0x000F424000000064), _U(0x0000271000000001)
_1E8, _1E16 = _U(10**8), _U(10**16)
_EXACT = _U(2**53)
_POWERS = np.array([10.0**k for k in range(23)])
_LARGEST_POWER = len(_POWERS) - 1
_SPLITTER = float(2**27 + 1)
# Relative error of the correction in `_divided`: three roundings, 3 × 2⁻⁵³; this is more than twice that.
_SLACK = 2.0**-50


def padded(data: bytes) -> Bytes:
    """The bytes behind `MARGIN` others, as `parsed` wants them; offsets count from the margin's start."""
    return np.frombuffer(b"\n" * MARGIN + data, np.uint8)


def words(buffer: Bytes) -> Words:
    """The eight bytes from every offset on as a number, the first of them lowest; a view."""
    return np.ndarray((len(buffer) - 7,), "<u8", buffer, strides=(1,))


def parsed(buffer: Bytes, starts: Ints, ends: Ints) -> tuple[Floats, Mask]:
    """The numbers in the fields `[start, end)` of a buffer.

    Args:
        buffer: text; at least `MARGIN` bytes lie before the first field, and eight in all.
        starts, ends: offsets, shape (n,); an empty field is no number.

    Returns:
        float64 values, shape (n,), and which of them are exactly what Python's `float` makes of the field. The others
        are to be read by other means: longer ones, `nan`, `inf`, digits grouped by underscores, blanks, text.
    """
    if not len(starts):
        return np.empty(0), np.empty(0, bool)
    view = words(buffer)
    if _have_exponents(buffer, ends):
        return _signed(buffer, view, starts, ends)
    values, good = _unsigned(view, starts, ends, None)
    if not good.all():
        rest = np.flatnonzero(~good)
        values[rest], good[rest] = _signed(buffer, view, starts[rest], ends[rest])
    return values, good


def _have_exponents(buffer: Bytes, ends: Ints) -> bool:
    """Whether most of a few fields look like `1e-05`: then it is no use to try without exponents first."""
    few = ends[:: len(ends) // 16 + 1]
    found = sum((buffer.take(few - back) | 0x20) == ord("e") for back in (3, 4, 5))
    return 2 * int(np.count_nonzero(found)) > len(few)


def _signed(buffer: Bytes, view: Words, starts: Ints, ends: Ints) -> tuple[Floats, Mask]:
    first = buffer.take(starts, mode="clip")
    negative = (first == ord("-")) & (ends > starts)
    mantissa_ends, exponents, sound = _exponents(view, starts, ends)
    values, good = _unsigned(view, starts + negative, mantissa_ends, exponents)
    return np.where(negative, -values, values), good & sound


def _unsigned(view: Words, starts: Ints, ends: Ints, exponents: Ints | None) -> tuple[Floats, Mask]:
    """Fields of digits with at most one point, times ten to the exponents."""
    lengths = ends - starts
    longest = int(lengths.max())
    if longest <= 16:
        return _of_width(view, ends, lengths, 1 if longest <= 8 else 2, exponents)
    values, good = np.empty(len(ends)), np.empty(len(ends), bool)
    for rows, width in ((lengths <= 16, 2), (lengths > 16, 3)):
        at = np.flatnonzero(rows)
        if len(at):
            own = None if exponents is None else exponents[at]
            values[at], good[at] = _of_width(view, ends[at], lengths[at], width, own)
    return values, good


def _of_width(view: Words, ends: Ints, lengths: Ints, width: int, exponents: Ints | None) -> tuple[Floats, Mask]:
    mantissas, points, fractions, bad = _digits(view, ends, lengths, width)
    good = bad == 0
    # A lone point, nothing at all, and what is longer than what was looked at.
    if int(lengths.min()) <= 1:
        good &= lengths > (0 if points is None else points.view(np.int64))
    if width == 3:
        good &= lengths <= LONGEST
    if exponents is None and width == 1:
        values = mantissas.view(np.int64).astype(np.float64)
        if fractions is not None:
            values /= _POWERS.take(fractions.view(np.int64), mode="clip")
        return values, good
    if exponents is None:
        return _scaled(mantissas, None if fractions is None else -fractions.view(np.int64), good)
    return _scaled(mantissas, exponents if fractions is None else exponents - fractions.view(np.int64), good)


def _digits(view: Words, ends: Ints, lengths: Ints, width: int) -> tuple[Words, Words | None, Words | None, Words]:
    """All digits as one integer; whether there is a point, and the digits behind it (None: nowhere); what is wrong."""
    parts: list[Words] = []
    marks: list[Words] = []
    bad = None
    for index in range(width):
        right = width - 1 - index
        part = view[ends - 8 * (right + 1)]
        part ^= _ZEROS
        outside = (8 - np.minimum(lengths, 8) if not right else 8 - np.clip(lengths - 8 * right, 0, 8)).view(np.uint64)
        outside <<= _U(3)
        part >>= outside
        part <<= outside
        mark = (part & _MARKS) >> _U(4)
        part ^= mark * _POINT
        wrong = part + _TENS
        wrong |= part
        wrong &= _TOPS
        wrong |= part & (mark * _BYTE)
        wrong |= mark & (mark - _ONE)
        bad = wrong if bad is None else bad | wrong
        parts.append(part)
        marks.append(mark)
    assert bad is not None
    seen: Words | None = None
    fractions: Words | None = None
    for index in reversed(range(width)):
        mark = marks[index]
        if not mark.any():
            if seen is not None:
                low = parts[index] & (_U(0) - seen)
                _carry(parts, index, low)
            continue
        has = np.minimum(mark, _ONE)
        below = mark - has
        own = (mark * _BEHIND) >> _U(56)
        if index < width - 1:
            own += has * _U(8 * (width - 1 - index))
        if seen is None:
            seen, fractions = has, own
        else:
            assert fractions is not None
            bad |= has & seen
            below |= _U(0) - seen
            seen = seen | has
            fractions = fractions + own
        _carry(parts, index, parts[index] & below)
    total = eight_digits(parts[-1])
    if width > 1:
        total += eight_digits(parts[-2]) * _1E8
    if width > 2:
        left = eight_digits(parts[-3])
        bad |= (left >= _U(1000)).view(np.uint8)
        total += left * _1E16
    return total, seen, fractions, bad


def _carry(parts: list[Words], index: int, low: Words) -> None:
    """Moves the digits before the point one place to the right, over it, and the last of them into the next word."""
    parts[index] += low * _BYTE
    if index + 1 < len(parts):
        parts[index + 1] += low >> _U(56)


def eight_digits(part: Words) -> Words:
    """The number whose digits are the bytes, the first lowest."""
    pairs = part * _U(10)
    pairs += part >> _EIGHT
    high = pairs >> _U(16)
    pairs &= _PAIRS
    pairs *= _PAIR_LOW
    high &= _PAIRS
    high *= _PAIR_HIGH
    pairs += high
    pairs >>= _U(32)
    return pairs


def _exponents(view: Words, starts: Ints, ends: Ints) -> tuple[Ints, Ints, Mask]:
    """Where each mantissa ends, the exponent behind it (0: none), and whether that can be told."""
    tail = view[ends - 8] ^ _ZEROS
    outside = (8 - np.minimum(ends - starts, 8)).view(np.uint64) << _U(3)
    tail >>= outside
    tail <<= outside
    mark = (tail & _LETTERS) >> _U(6)
    sound = (mark & (mark - _ONE)) == 0
    if not mark.any():
        return ends, np.zeros(len(ends), np.int64), sound
    length = (mark * _FROM) >> _U(56)
    has = length > 0
    before = (_EIGHT - np.maximum(length, _ONE)) << _U(3)
    letter = (tail >> before) & _BYTE
    sign = ((tail >> before) >> _EIGHT) & _BYTE
    signed = (sign == _MINUS) | (sign == _PLUS)
    number_of = length - signed  # the letter and the digits
    cut = np.where(number_of > 1, (_U(9) - number_of) << _U(3), _U(0))
    digits = (tail >> cut) << cut
    right = ((letter | _LOWER) == (_E | _LOWER)) & (number_of > 1) & ((((digits + _TENS) | digits) & _TOPS) == 0)
    size = eight_digits(digits * right).view(np.int64)
    exponents = np.where(has & right, np.where(sign == _MINUS, -size, size), 0)
    return ends - length.view(np.int64), exponents, sound & (right | ~has)


def _scaled(mantissas: Words, exponents: Ints | None, good: Mask) -> tuple[Floats, Mask]:
    """Integers times powers of ten as the nearest floats; what cannot be said for certain is taken out of `good`."""
    values = mantissas.view(np.int64).astype(np.float64)
    if exponents is not None:
        values /= _POWERS.take(-exponents, mode="clip")
        largest = int(exponents.max())
        if largest > 0:
            values *= _POWERS.take(exponents, mode="clip")
        if largest > _LARGEST_POWER or int(exponents.min()) < -_LARGEST_POWER:
            good = good & ((np.abs(exponents) <= _LARGEST_POWER) | (mantissas == 0))
    large = mantissas > _EXACT
    if large.any():
        at = np.flatnonzero(large & good)
        if exponents is None:
            values[at] = mantissas[at].astype(np.float64)
        else:
            values[at], good[at] = _divided(mantissas[at], exponents[at])
    return values, good


def _divided(mantissas: Words, exponents: Ints) -> tuple[Floats, Mask]:
    """Integers of up to 19 digits over powers of ten: quotient, exact remainder, and the correction it asks for."""
    power = _POWERS.take(-exponents, mode="clip")
    high = mantissas.astype(np.float64)
    low = (mantissas - high.astype(np.uint64)).view(np.int64).astype(np.float64)
    quotient = high / power
    # Dekker's product: quotient × power as the sum of two floats, without error.
    product = quotient * power
    spread = quotient * _SPLITTER
    quotient_high = spread - (spread - quotient)
    quotient_low = quotient - quotient_high
    spread = power * _SPLITTER
    power_high = spread - (spread - power)
    power_low = power - power_high
    lost = (
        (quotient_high * power_high - product) + quotient_high * power_low + quotient_low * power_high
    ) + quotient_low * power_low
    correction = (((high - product) - lost) + low) / power
    value = quotient + correction
    certain = (quotient + correction * (1 - _SLACK) == value) & (quotient + correction * (1 + _SLACK) == value)
    whole = exponents == 0  # rounded once, when it became `high`; a tie looks uncertain here
    return np.where(whole, high, value), whole | (certain & (exponents < 0) & (exponents >= -_LARGEST_POWER))
