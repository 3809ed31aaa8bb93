"""Numerics shared by rules: robust level, noise and trend of short and long series.

Short series are worked on in plain Python, so that a small audit imports no numpy; from `LONG` points on numpy is used.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONG = 10_000
"""Points from which numpy pays for its import (about 100 ms) in the functions below."""

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation → standard deviation of a normal distribution: 1 / Φ⁻¹(3/4) (Hampel 1974, J. Amer. Statist.
Assoc. 69, 383-393)."""

MEDIAN_EFFICIENCY = 1.2533
"""Standard error of a median over that of a mean, normal data: √(π/2)."""


def finite(values: Iterable[float]) -> list[float]:
    """The values that are neither NaN nor infinite, in their order."""
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


def noise(values: Sequence[float]) -> float:
    """Standard deviation of the noise about a smooth curve, which is not known.

    A second difference x[i-1] - 2 x[i] + x[i+1] cancels a straight trend and has variance 6 σ² for independent noise
    (pseudo-residuals of Gasser, Sroka and Jennen-Steinmetz 1986, Biometrika 73, 625-633, for equal spacing). Its median
    absolute value / (0.6745 √6) is σ for normal noise and is not moved by spikes (as Davies and Kovac 2001, Ann.
    Statist. 29, 1-65, use first differences). Curvature makes the estimate larger, never smaller.

    Returns:
        σ in the unit of the values; 0 for fewer than three values, of which nothing can be told.
    """
    if len(values) < 3:
        return 0.0
    if len(values) >= LONG:
        import numpy as np

        data = np.asarray(values, dtype=np.float64)
        middle = float(np.median(np.abs(data[:-2] - 2 * data[1:-1] + data[2:])))
    else:
        middle = median([abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)])
    return MAD_TO_SIGMA * middle / math.sqrt(6)


def binned(values: Sequence[float], limit: int = 512) -> list[float]:
    """At most `limit` medians of contiguous, equally filled bins; a series that is short enough is returned as it is.

    A bin's median keeps its level through single spikes; the reduction keeps what follows independent of the length.
    """
    n = len(values)
    if n <= limit:
        return list(values)
    edges = [i * n // limit for i in range(limit + 1)]
    if n >= LONG:
        import numpy as np

        data = np.asarray(values, dtype=np.float64)
        return [float(np.median(data[a:b])) for a, b in pairwise(edges)]
    return [median(values[a:b]) for a, b in pairwise(edges)]


def window_size(n: int, share: float, least: int) -> int:
    """Points in a window of `share` of a series of `n`, at least `least` and at most half of the series (but one)."""
    return max(1, min(max(least, round(share * n)), n // 2))


def head_level(values: Sequence[float], share: float = 0.1, least: int = 3) -> float:
    """Median of the first `share` of the values, of at least `least` of them, and never of more than half."""
    return median(values[: window_size(len(values), share, least)])


def tail_level(values: Sequence[float], share: float = 0.1, least: int = 3) -> float:
    """Median of the last `share` of the values, of at least `least` of them, and never of more than half."""
    return median(values[len(values) - window_size(len(values), share, least) :])


def best_level(values: Sequence[float], share: float = 0.1, least: int = 3) -> tuple[int, float]:
    """The lowest median of a window, and the position of the window's middle; of equal ones the latest.

    Windows are as in `tail_level`, so that a single lucky value is no level; where half of the series is less than
    `least` values they shrink down to single values.
    """
    size = window_size(len(values), share, least)
    if len(values) >= LONG:
        medians = _window_medians(values, size)
        place = len(medians) - 1 - int(medians[::-1].argmin())
        return place + size // 2, float(medians[place])
    levels = _short_window_medians(values, size)
    place = min(range(len(levels)), key=lambda i: (levels[i], -i))
    return place + size // 2, levels[place]


def _short_window_medians(values: Sequence[float], size: int) -> list[float]:
    """Median of each window of `size` finite values in a row, which is kept in order from one to the next."""
    window = sorted(values[:size])
    low, high = (size - 1) // 2, size // 2
    levels = [(window[low] + window[high]) / 2 if low != high else window[low]]
    for left, entered in zip(values, values[size:], strict=False):
        del window[bisect_left(window, left)]
        insort(window, entered)
        levels.append((window[low] + window[high]) / 2 if low != high else window[low])
    return levels


def _window_medians(values: Sequence[float], size: int) -> NDArray[np.float64]:
    """Median of each window of `size` values in a row: the middle ranks of all windows at once, bit by bit.

    A wavelet matrix (Claude, Navarro and Ordóñez 2015, Information Systems 47, 15-32): n log n, where sorting each
    window is n² log n. Values must be finite.
    """
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    ordered = np.sort(data)
    ranks = np.searchsorted(ordered, data)  # the first of equal values: a rank is as good as the value
    begins = np.arange(len(data) - size + 1)
    wanted = np.array([(size - 1) // 2, size // 2])
    low = np.repeat(begins[None], 2, axis=0)
    high, left = low + size, np.repeat(wanted[:, None], len(begins), axis=1)
    middle = np.zeros_like(low)
    for bit in reversed(range(len(data).bit_length())):
        ones = (ranks >> bit & 1).astype(bool)
        zeros_before = np.concatenate(([0], np.cumsum(~ones)))
        zeros = int(zeros_before[-1])
        low_zeros, high_zeros = zeros_before[low], zeros_before[high]
        beyond = left >= high_zeros - low_zeros
        left -= np.where(beyond, high_zeros - low_zeros, 0)
        middle |= beyond.astype(np.int64) << bit
        low = np.where(beyond, zeros + low - low_zeros, low_zeros)
        high = np.where(beyond, zeros + high - high_zeros, high_zeros)
        ranks = np.concatenate((ranks[~ones], ranks[ones]))
    found = ordered[middle]
    return np.asarray((found[0] + found[1]) / 2)


def largest_rise(values: Sequence[float], window: int) -> float:
    """The largest rise of the median of `window` values in a row above an earlier one; 0 where it never rises."""
    lowest, largest = math.inf, 0.0
    for i in range(len(values) - window + 1):
        level = median(values[i : i + window])
        lowest = min(lowest, level)
        largest = max(largest, level - lowest)
    return largest


def level_error(sigma: float, count: int) -> float:
    """Standard error of the median of `count` values with noise `sigma`."""
    return MEDIAN_EFFICIENCY * sigma / math.sqrt(max(count, 1))


def trend(values: Sequence[float]) -> float:
    """Kendall's τ of the values against their order, -1 (always falling) to 1 (always rising); ties count for neither.

    Kendall 1938, Biometrika 30, 81-93. Longer series are binned to 128 medians first, so the cost is bounded.
    """
    data = binned(values, 128)
    n = len(data)
    if n < 2:
        return 0.0
    score = sum((data[j] > data[i]) - (data[j] < data[i]) for i in range(n) for j in range(i + 1, n))
    return score / (n * (n - 1) / 2)


def falls(values: Sequence[float]) -> bool:
    """Whether the values fall along their order: Mann-Kendall test, one-sided at 5 %, on at most 128 binned medians.

    z = τ / √(2 (2n + 5) / (9 n (n - 1))) < -1.645 (Mann 1945, Econometrica 13, 245-259). Needs independent noise.
    """
    n = min(len(values), 128)
    return n > 2 and trend(values) < -1.645 * math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))


def noise_explains(values: Sequence[float], fall: float, errors: float = 4.0) -> bool:
    """Whether a fall from the first three values to a later level is within the noise of at least twenty values.

    The fall must be below `errors` standard errors of a level of three (four, since the lowest of many levels is met),
    the outer thirds must not differ by more than two of theirs, the last tenth must not lie below the first by one of
    theirs, and the whole must not fall.
    """
    n = len(values)
    if n < 20 or falls(values):
        return False
    sigma, third = noise(values), n // 3
    apart = median(values[:third]) - median(values[-third:])
    ends = head_level(values) - tail_level(values)
    return (
        fall <= errors * level_error(sigma, 3)
        and apart <= 2 * math.sqrt(2) * level_error(sigma, third)
        and ends <= level_error(sigma, window_size(n, 0.1, 3))
    )


def relative_range(values: Sequence[float]) -> float:
    """(Highest - lowest value) / |first value|; of a series that starts at zero the range itself."""
    width = max(values) - min(values)
    return width / abs(values[0]) if values[0] else width
