"""Counts, means and medians; short series in plain Python, long ones with numpy."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise

LONG = 10_000
"""Points from which numpy pays for its import (about 100 ms) in the functions below."""

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation → standard deviation of a normal distribution: 1 / Φ⁻¹(3/4) (Hampel 1974, J. Amer. Statist.
Assoc. 69, 383-393)."""

MEDIAN_EFFICIENCY = 1.2533
"""Standard error of a median over that of a mean, normal data: √(π/2)."""


def finite(values: Iterable[float]) -> Sequence[float]:
    """The values that are neither NaN nor infinite, in their order."""
    if isinstance(values, array) and len(values) >= LONG:
        import numpy as np

        wide = np.frombuffer(values)
        return array("d", wide[np.isfinite(wide)].tobytes())
    return [v for v in values if math.isfinite(v)]


def count_finite(values: array[float]) -> int:
    """How many values are neither NaN nor infinite."""
    if len(values) < LONG:
        return sum(map(math.isfinite, values))
    import numpy as np

    return int(np.count_nonzero(np.isfinite(np.frombuffer(values))))


def always_rises(values: array[float]) -> bool:
    """Whether each value is above the one before it."""
    if len(values) < LONG:
        return all(b > a for a, b in pairwise(values))
    import numpy as np

    wide = np.frombuffer(values)
    return bool((wide[1:] > wide[:-1]).all())


def has_repeats(values: Sequence[float]) -> bool:
    """Whether a value is equal to the one before it."""
    if len(values) < LONG:
        return any(a == b for a, b in pairwise(values))
    import numpy as np

    wide = np.asarray(values, dtype=np.float64)
    return bool((wide[1:] == wide[:-1]).any())


def not_finite(values: Sequence[float]) -> list[int]:
    """Positions of the values that are NaN or infinite."""
    if len(values) < LONG:
        return [i for i, v in enumerate(values) if not math.isfinite(v)]
    import numpy as np

    found: list[int] = np.flatnonzero(~np.isfinite(np.asarray(values, dtype=np.float64))).tolist()
    return found


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; raises `ValueError` for no values."""
    if not values:
        raise ValueError("mean of no values")
    return math.fsum(values) / len(values)


def median(values: Sequence[float]) -> float:
    """Median; the mean of the two middle values for an even count. Raises `ValueError` for no values."""
    if not values:
        raise ValueError("median of no values")
    if len(values) >= LONG:
        import numpy as np

        return float(np.median(np.asarray(values, dtype=np.float64)))
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values: Sequence[float]) -> float:
    """Robust standard deviation about the median: 1.4826 × median absolute deviation; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    center = median(values)
    return MAD_TO_SIGMA * median([abs(v - center) for v in values])


def extremes(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest of finite values; raises `ValueError` for none."""
    if len(values) < LONG:
        return min(values), max(values)
    import numpy as np

    wide = np.asarray(values, dtype=np.float64)
    return float(wide.min()), float(wide.max())


def first_lowest(values: Sequence[float], *, highest: bool = False) -> int:
    """Position of the lowest (or highest) of finite values; of equal ones the first."""
    if len(values) < LONG:
        return (max if highest else min)(range(len(values)), key=values.__getitem__)
    import numpy as np

    wide = np.asarray(values, dtype=np.float64)
    return int(wide.argmax() if highest else wide.argmin())


def relative_range(values: Sequence[float]) -> float:
    """(Highest - lowest value) / |first value|; of a series that starts at zero the range itself."""
    low, high = extremes(values)
    width = high - low
    return width / abs(values[0]) if values[0] else width
