"""Where the level of a series changes, without an assumption on its noise but that it is independent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mldiag.stats.levels import binned

BINS = 512
"""Values that are looked at; a longer series is binned to as many medians."""


def level_change(values: Sequence[float]) -> tuple[int, float]:
    """The place where the values before and after differ most, and the probability that chance does as much.

    Pettitt 1979, Appl. Statist. 28, 126-135: the largest rank-sum statistic K over all places, with
    p = 2 exp(-6 K² / (n³ + n²)), which is good where it is small. Ranks only: heavy tails do no harm. Noise that is
    correlated makes p too small: of AR(1) with coefficient r the fluctuations grow by sqrt((1 + r) / (1 - r)).

    Returns:
        Position of the first value after the change, and p; (0, 1.0) for fewer than four values.
    """
    n = len(values)
    if n < 4:
        return 0, 1.0
    ranks = midranks(values)
    highest, place, total = 0.0, 0, 0.0
    for i in range(n - 1):
        total += ranks[i]
        k = abs(2 * total - (i + 1) * (n + 1))
        if k > highest:
            highest, place = k, i + 1
    return place, min(1.0, 2 * math.exp(-6 * highest**2 / (n**3 + n**2)))


def level_changes(values: Sequence[float], alpha: float = 0.01, least: int = 5) -> list[int]:
    """Positions at which the level changes, rising: binary segmentation by `level_change`.

    Vostrikova 1981, Soviet Math. Dokl. 24, 55-59. Each part is tested at `alpha`; parts of fewer than `least` values
    are not cut off. A long series is binned first, so positions are known to n / `BINS` only.
    """
    data = binned(values, BINS)
    found: list[int] = []
    parts = [(0, len(data))]
    while parts:
        a, b = parts.pop()
        if b - a < 2 * least:
            continue
        place, p = level_change(data[a:b])
        if p <= alpha and least <= place <= b - a - least:
            found.append(a + place)
            parts += [(a, a + place), (a + place, b)]
    return sorted(i * len(values) // len(data) for i in found)


def midranks(values: Sequence[float]) -> list[float]:
    """Rank of each value, from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    i = 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in range(i, j + 1):
            ranks[order[k]] = (i + j) / 2 + 1
        i = j + 1
    return ranks
