"""Whether events or values come back at regular distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from mldiag.stats.basics import mean

MAX_EVENTS = 64
"""Events that a period is looked for in; of more the first ones, as many tell it as surely."""

_DIVISORS = 4
"""Periods that the shortest gap can span: more and the events that are missing are most of them."""


class Period(Struct, frozen=True):
    """Events that come back.

    Attributes:
        length: distance from one to the next, in the unit of the positions.
        fitting: events that lie on the grid, of `events`.
        p_value: chance that as many events at random places lie as near to the best of all grids that were tried.
    """

    length: float
    fitting: int
    events: int
    p_value: float


def event_period(
    positions: Sequence[float], resolution: float = 1.0, alpha: float = 0.01, tolerance: float = 0.1
) -> Period | None:
    """The longest period of which most events lie at a multiple; None where chance explains it.

    Events at random places fall within ± d of a grid of period P with probability 2 d / P each. The number of those
    that do is binomial; its tail is multiplied by the number of grids tried (Bonferroni), and one event sets the phase
    and one the period, so they are not counted. Gaps may span several periods: an event need not come every time.

    Args:
        positions: rising.
        resolution: distance of two places where an event can be seen (steps between two logged values); an event is
            known to half of it.
        alpha: largest p-value.
        tolerance: an event fits within this share of the period, or a tenth of it (both are tried), or within the
            resolution where that is more.
    """
    events = list(positions[:MAX_EVENTS])
    n = len(events)
    gaps = [b - a for a, b in pairwise(events) if b > a]
    if n < 4 or len(gaps) < 3:
        return None
    parts = range(1, _DIVISORS + 1)
    tried = sorted({gap / k for gap in gaps for k in parts if gap / k >= 4 * resolution}, reverse=True)
    best: Period | None = None
    for length in tried:
        for share in (tolerance, tolerance / 10):
            found = _fit(events, length, max(share * length, resolution), 2 * len(tried))
            if found.p_value <= alpha and found.fitting >= 0.7 * n:
                best = found if best is None or found.p_value < 0.1 * best.p_value else best
    return best


def _fit(events: Sequence[float], length: float, reach: float, tried: int) -> Period:
    """How many events lie within `reach` of one grid, whose phase and exact length are fitted to them."""
    n, first, phase = len(events), length, events[0]
    for _ in range(2):
        turns = [round((t - phase) / length) for t in events]
        near = [(k, t) for k, t in zip(turns, events, strict=True) if abs(t - phase - k * length) <= reach]
        middle, center = mean([k for k, _ in near]), mean([t for _, t in near])
        width = math.fsum((k - middle) ** 2 for k, _ in near)
        if not width:
            break
        length = math.fsum((k - middle) * (t - center) for k, t in near) / width
        phase = center - middle * length
        if not 0.5 * first < length < 2 * first:
            return Period(first, 0, n, 1.0)
    fitting = sum(abs(t - phase - round((t - phase) / length) * length) <= reach for t in events)
    p = binomial_tail(n - 2, fitting - 2, min(1.0, 2 * reach / length))
    return Period(length, fitting, n, min(1.0, p * tried))


def binomial_tail(n: int, k: int, p: float) -> float:
    """Probability of at least `k` successes of `n`, each with probability `p`."""
    if k <= 0:
        return 1.0
    if p <= 0 or k > n:
        return 0.0
    return min(1.0, math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)))


def repetition(values: Sequence[float], longest: int = 1000, least: float = 0.8) -> int:
    """The lag, of at least three, at which a series repeats itself; 0 where at none.

    It repeats where the correlation of its differences (which have no trend) with themselves `lag` places later is at
    least `least` and stands above that at all shorter lags. Of white noise of n values the correlation is below
    3.3 / sqrt(n - lag) at a lag (1 in 1,000); only lags at which three whole periods are seen are looked at, so that
    40 values and more cannot reach `least` by chance.
    """
    n = len(values)
    if n < 12:
        return 0
    kept = list(values[-4 * longest :])
    changes = [b - a for a, b in pairwise(kept)]
    center = mean(changes)
    changes = [c - center for c in changes]
    found, highest = 0, max(least, _correlation(changes, 2) + 0.05)  # what alternates is back every other time
    for lag in range(3, min(longest, len(changes) // 3) + 1):
        if (r := _correlation(changes, lag)) > highest:
            found, highest = lag, r + 0.05
    return found


def _correlation(values: Sequence[float], lag: int) -> float:
    """Correlation of values around zero with those `lag` places later."""
    ahead, behind = values[lag:], values[:-lag]
    size = math.sqrt(math.fsum(a * a for a in ahead) * math.fsum(b * b for b in behind))
    return math.fsum(a * b for a, b in zip(ahead, behind, strict=True)) / size if size > 0 else 0.0
