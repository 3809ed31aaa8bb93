"""How finely logged rates were written: what a difference between two of them can mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

_SAMPLE = 200
_DECIMALS = range(1, 9)
_DIGITS = range(1, 7)


class Grain(Struct, frozen=True):
    """The rounding of logged rates.

    Attributes:
        unit: 10^-d where every value has at most d decimals (`0.0004`), else 0.
        digits: significant digits where every value has at most so many (`3.9e-05`), else 0.
    """

    unit: float = 0.0
    digits: int = 0

    def half(self, value: float) -> float:
        """The largest error that rounding gives to a value; 0 where it was written in full."""
        errors = [self.unit / 2] if self.unit else []
        if self.digits and value:
            errors.append(0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - self.digits + 1))
        return min(errors, default=0.0)


def grain_of(values: Sequence[float]) -> Grain:
    """The coarsest rounding that explains the values: d decimals, or m significant digits, or neither.

    Single precision is none of these: 0.001 stored in 32 bits reads 0.0010000000474974513.
    """
    step = max(1, len(values) // _SAMPLE)
    some = {abs(v) for v in values[::step] if v}
    if not some:
        return Grain()
    unit = next((10.0**-d for d in _DECIMALS if all(_is_multiple(v, d) for v in some)), 0.0)
    digits = next((m for m in _DIGITS if all(_has_digits(v, m) for v in some)), 0)
    return Grain(unit, digits)


def _is_multiple(value: float, decimals: int) -> bool:
    scaled = value * 10.0**decimals
    return round(scaled) > 0 and abs(scaled - round(scaled)) <= 1e-9 * scaled


def _has_digits(value: float, digits: int) -> bool:
    return math.isclose(float(f"{value:.{digits - 1}e}"), value, rel_tol=1e-12)
