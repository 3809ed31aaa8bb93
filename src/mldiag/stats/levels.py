"""Robust levels of a series: of its beginning, its end and its best stretch."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from mldiag.stats.basics import LONG, median

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
