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

STRIDES = 1000
"""Windows that are tried first, in the length of one: more cost more, fewer rule out less."""


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
        return _long_best_level(values, size)
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


def _long_best_level(values: Sequence[float], size: int) -> tuple[int, float]:
    """The same as `best_level`: windows at a stride are tried, then those about them that can be lower.

    A window that begins less than a stride away shares all but so many values with the one that was tried, so its
    median is no lower than that one's value of a rank so much lower.
    """
    import numpy as np

    windows = _Windows(np.asarray(values, dtype=np.float64), size)
    stride = max(1, size // STRIDES)
    tried = np.arange(0, windows.count, stride)
    lowest = windows.medians(tried).min()
    bounds = windows.ranked(tried, max((size - 1) // 2 - (stride - 1), 0))
    begins = (tried[bounds <= lowest][:, None] + np.arange(stride)).ravel()
    begins = begins[begins < windows.count]
    medians = windows.medians(begins)
    place = len(medians) - 1 - int(medians[::-1].argmin())
    return int(begins[place]) + size // 2, float(medians[place])


def _window_medians(values: Sequence[float], size: int) -> NDArray[np.float64]:
    """Median of each window of `size` values in a row."""
    import numpy as np

    windows = _Windows(np.asarray(values, dtype=np.float64), size)
    return windows.medians(np.arange(windows.count))


class _Windows:
    """Any rank in any windows of one size, for many windows at once, bit by bit of the rank among all values.

    A wavelet matrix (Claude, Navarro and Ordóñez 2015, Information Systems 47, 15-32): n log n to build and log n for
    each window, where sorting a window is n log n. Values must be finite.
    """

    def __init__(self, data: NDArray[np.float64], size: int) -> None:
        import numpy as np

        self.size = size
        self.count = len(data) - size + 1
        order = np.argsort(data, kind="stable")
        self._ordered = data[order]
        ranks = np.empty(len(data), dtype=np.int32)
        ranks[order] = np.arange(len(data), dtype=np.int32)
        self._zeros_before: list[tuple[int, NDArray[np.int32]]] = []
        for bit in reversed(range(len(data).bit_length())):
            ones = (ranks >> bit & 1).astype(bool)
            zeros = np.zeros(len(data) + 1, dtype=np.int32)
            np.cumsum(~ones, out=zeros[1:], dtype=np.int32)
            self._zeros_before.append((bit, zeros))
            ranks = np.concatenate((ranks[~ones], ranks[ones]))

    def ranked(self, begins: NDArray[np.int64], rank: int) -> NDArray[np.float64]:
        """The value of a rank, from 0, in each of the windows that begin there."""
        import numpy as np

        low, high = begins, begins + self.size
        left, found = np.full(len(begins), rank), np.zeros(len(begins), dtype=np.int64)
        for bit, zeros_before in self._zeros_before:
            low_zeros, high_zeros, zeros = zeros_before[low], zeros_before[high], int(zeros_before[-1])
            beyond = left >= high_zeros - low_zeros
            left = left - np.where(beyond, high_zeros - low_zeros, 0)
            found |= beyond.astype(np.int64) << bit
            low = np.where(beyond, zeros + low - low_zeros, low_zeros)
            high = np.where(beyond, zeros + high - high_zeros, high_zeros)
        return np.asarray(self._ordered[found])

    def medians(self, begins: NDArray[np.int64]) -> NDArray[np.float64]:
        """The median of each of the windows that begin there."""
        import numpy as np

        lower = self.ranked(begins, (self.size - 1) // 2)
        return lower if self.size % 2 else np.asarray((lower + self.ranked(begins, self.size // 2)) / 2)


def largest_rise(values: Sequence[float], window: int) -> float:
    """The largest rise of the median of `window` values in a row above an earlier one; 0 where it never rises."""
    lowest, largest = math.inf, 0.0
    for i in range(len(values) - window + 1):
        level = median(values[i : i + window])
        lowest = min(lowest, level)
        largest = max(largest, level - lowest)
    return largest
