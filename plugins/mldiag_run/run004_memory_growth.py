"""RUN004: memory in use grew as long as the run lasted."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import Curve, Curves, Evidence, Finding, Fix, NotApplicable, lazily, rule, stats

_MEMORY = lazily(
    r"(?:^|[/_])(?:mem|memory|vram|ram|rss|rssmb|memoryallocated(?:bytes)?|memoryused)(?:$|[/_])|(?:gpu|cuda|max|peak)_?mem",
    words=("mem", "ram", "rss"),
)
_NOT_IN_USE = lazily(
    r"(?:^|[/_])(?:free|available|availablemb|left|limit|budget|total|size|time|loss|acc\w*|bank)(?:$|[/_])"
    r"|gpu_\d+_memory$"  # of Weights & Biases: how busy the memory is
)


@rule("RUN004", severity="warning")
def memory_growth(
    curves: Curves,
    *,
    min_growth: float = 0.2,
    min_trend: float = 0.8,
    max_bend: float = 0.25,
    warm_up: float = 0.1,
    min_points: int = 20,
) -> Iterator[Finding]:
    """The memory in use rose from the beginning of the run to its end.

    ## What it checks
    Behind the first tenth of the run, and in its second half: the median of the last tenth against that of the first,
    the rank correlation of the memory with the order of the steps, and how far the growth strays from a steady one. A
    leak goes on at the same speed. The highest value so far (`max_mem`) of a program whose batches differ in size rises
    as well, but in few steps and less and less. Allocation at the start, a single step up (a larger batch, an
    evaluation), and memory that is freed again are no growth.

    ## Why it matters
    Such a run ends with an out-of-memory error, after hours. The usual reason is something that keeps the graph of
    each step: a loss that is summed as a tensor, outputs kept in a list, a hook; on the host a loader that copies.

    ## Inputs
    Series of memory in use, of the device or the host, in any unit (`memory`, `max_mem`, `gpu_mem`, `rss`); not free
    or available memory.

    ## Options
    - `min_growth` (0.2): growth / level behind the warm-up.
    - `min_trend` (0.8): Kendall's tau of the memory against the order, binned to 64 medians.
    - `max_bend` (0.25): largest distance from the line between both levels / growth; of a step it is at least a half.
    - `warm_up` (0.1): part of the run that is left out at its start.
    - `min_points` (20): values.

    ## Fix
    Shown: what is kept from step to step has to be looked for.

    ## When to ignore
    A replay buffer or a cache fills up on purpose; sequences become longer during the run.

    ## Source
    Growth of 20 % with a rank correlation of 0.8: as in Runmedic's memory rule. The line: chosen on simulated leaks and
    simulated records of batches that differ (lognormal, sigma 0.5). In 15 labelled runs that log memory it grew by
    0.5 % at most.
    """
    judged = False
    for name in curves:
        if not _MEMORY.search(name) or _NOT_IN_USE.search(name) or name.startswith(("val/", "test/")):
            continue
        curve = curves.get(name)
        if curve is None or len(curve) < min_points or min(curve.values) < 0:
            continue
        judged = True
        spans = ((warm_up, "behind the first tenth of the run"), (0.5, "in the second half of the run"))
        for share, where in spans:
            begin = math.ceil(share * len(curve))
            if len(curve) - begin < min_points // 2:
                continue
            found = _grown(curve, begin, min_growth, min_trend, max_bend, where)
            if found is not None:
                yield found
                return
    if not judged:
        raise NotApplicable(f"no series of memory in use with {min_points} values or more")


def _grown(
    curve: Curve, begin: int, min_growth: float, min_trend: float, max_bend: float, where: str
) -> Finding | None:
    values = stats.binned(curve.values[begin:], 64)
    first, last = stats.head_level(values), stats.tail_level(values)
    window = stats.window_size(len(values), 0.1, 3)
    grown, tau = last - first, stats.trend(values)
    error = math.sqrt(2) * stats.level_error(stats.noise(values), window)
    if first <= 0 or grown < min_growth * first or grown <= 4 * error or tau < _attainable(values, min_trend):
        return None
    bend = _bend(values, first, grown, window)
    if bend > max_bend:
        return None
    unit = curve.series.unit or ""
    return Finding(
        f"{curve.series.raw_name} grew by {100 * grown / first:.0f} % {where}, from {first:,.5g} to {last:,.5g}"
        f"{' ' + unit if unit else ''}, steadily to the end",
        at=curve.at(-1),
        evidence=(
            Evidence("level at first", first, None, curve.at(begin), unit),
            Evidence("level at the end", last, (1 + min_growth) * first, curve.at(-1), unit),
            Evidence("growth / level", grown / first, min_growth),
            Evidence("distance from steady growth / growth", bend, max_bend),
            Evidence("rank trend (Kendall's tau)", tau, min_trend),
            Evidence("logged values", len(curve)),
        ),
        fix=Fix.show("look for what is kept from step to step: summed losses that keep their graph, growing lists"),
    )


def _bend(values: list[float], first: float, grown: float, window: int) -> float:
    """Largest distance of the values, smoothed, from the line between both levels, as a share of the growth."""
    n, half = len(values), (window - 1) / 2
    line = [first + grown * min(max((i - half) / (n - 1 - 2 * half), 0.0), 1.0) for i in range(n)]
    smooth = [stats.median(values[max(0, i - 1) : i + 2]) for i in range(n)]
    return max(abs(v - x) for v, x in zip(smooth, line, strict=True)) / grown


def _attainable(values: list[float], least: float) -> float:
    """The limit of tau where values repeat: ties count for neither, so a staircase cannot reach 1.

    Of n values on m equal stairs all pairs but those on one stair count, a share of 1 - 1 / m.
    """
    counts = [values.count(v) for v in set(values)]
    n = len(values)
    return least * (1 - sum(c * (c - 1) for c in counts) / (n * (n - 1)))
