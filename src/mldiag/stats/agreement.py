"""Whether two series hold the same numbers, as far as their digits tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from mldiag.stats.basics import LONG

_DOUBLE_DIGITS = 7
"""Digits that a value keeps on its way through float32; differences beyond them are of the arithmetic."""

_LOOKED_AT = 500
"""Values that tell how many digits are written: a last digit is zero in all of 500 with probability 10^-500."""


def written_unit(values: Sequence[float]) -> float:
    """One unit of the last decimal that finite values are written with, at least that of seven digits of the largest.

    `0.25, 0.375` have a unit of 0.001. Values as `%.3g` writes them have that of their smallest.
    """
    step = max(1, len(values) // _LOOKED_AT)
    decimals = max((_decimals(v) for v in values[::step]), default=0)
    largest = max((abs(v) for v in values[::step]), default=0.0)
    least = math.floor(math.log10(largest)) - _DOUBLE_DIGITS + 1 if largest > 0 else -12
    return 10.0 ** max(-decimals, least)


def same_digits(first: Sequence[float], second: Sequence[float]) -> float:
    """How many decimal digits in all say that two series of one length are the same; 0 where they are not.

    They are where no pair differs by more than one unit of the coarser of the two. Each pair of another value than the
    pair before then agrees by chance with a probability of about unit / range, so that `k` such pairs are worth
    k log10(range / unit) digits. Series of a single value are worth none.
    """
    if len(first) != len(second) or not len(first):
        return 0.0
    unit = max(written_unit(first), written_unit(second))
    if len(first) >= LONG:
        import numpy as np

        a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
        if (np.abs(a - b) > 1.0001 * unit).any():
            return 0.0
        width, moves = float(np.ptp(b)), int(np.count_nonzero(np.abs(np.diff(b)) > unit))
    else:
        if any(abs(a - b) > 1.0001 * unit for a, b in zip(first, second, strict=True)):
            return 0.0
        width = max(second) - min(second)
        moves = sum(abs(b - a) > unit for a, b in pairwise(second))
    return moves * math.log10(width / unit) if width > unit else 0.0


def _decimals(value: float) -> int:
    """Decimals of a value at its shortest: 0.25 has two, 1e-05 five, 300.0 none."""
    digits, _, exponent = repr(value).partition("e")
    fraction = digits.partition(".")[2].rstrip("0")
    return max(0, len(fraction) - int(exponent or 0))
