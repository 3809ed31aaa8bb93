"""RUN002: single steps took several times as long as the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from mldiag.api import Curves, Evidence, Finding, Fix, NotApplicable, Pace, Severity, rule, stats


@rule("RUN002", severity="warning")
def slow_steps(
    pace: Pace,
    curves: Curves,
    *,
    factor: float = 3.0,
    min_lost: float = 0.2,
    min_lost_info: float = 0.05,
    min_slow: int = 5,
    max_between: float = 0.5,
    warm_up: float = 0.05,
    min_points: int = 20,
) -> Iterator[Finding]:
    """Some steps took several times as long as the others, and much of the run's time.

    ## What it checks
    Times of single steps (or means over a few) above three times the median of their part of the run, behind its first
    twentieth. The share of the logged time that they took beyond the median has to be a fifth for a warning, and they
    have to be apart from the others: where half as many lie between half the factor and the factor, step times merely
    vary. Slow steps that come back every so many steps, or beside validation values, are evaluations, checkpoints or
    new epochs: they are an information, as are others that took a twentieth of the time.

    ## Why it matters
    Steps that are slow at random wait for something: a disk, a network, the slowest of many workers, garbage
    collection, another job on the machine. On many devices all wait for the slowest one.

    ## Inputs
    A throughput (`tokens_per_s`, samples/s, it/s) or the time of a step, logged at single steps; steps of validation
    values. Times of epochs and the clock are not judged: pauses between epochs are no steps.

    ## Options
    - `factor` (3): time of a slow step / median of its part of the run.
    - `min_lost` (0.2), `min_lost_info` (0.05): share of the logged time that slow steps took beyond the median, for a
      warning and for an information.
    - `min_slow` (5): slow steps; of fewer it cannot be told whether they are regular.
    - `max_between` (0.5): steps between half the factor and the factor / slow steps, for a warning.
    - `warm_up` (0.05): part of the run left out at its start, at least one value.
    - `min_points` (20): logged values.

    ## Fix
    Shown: what the slow steps wait for has to be looked for.

    ## When to ignore
    The program evaluates, saves or draws at times of its own. Steps have unequal work and a time is logged instead of
    a throughput.

    ## Source
    Three times the median: SageMaker Debugger's StepOutlier uses three standard deviations, which heavy tails break.
    Shares of time: of 47 labelled runs with a time or throughput of single steps, four had five slow ones and more
    that took a twentieth: three of them at evaluations, one on a machine that other jobs shared.
    """
    if not pace.per_step:
        raise NotApplicable("neither a throughput nor times of single steps were logged")
    begin = max(1, round(warm_up * len(pace)))
    times = pace.seconds[begin:]
    n = len(times)
    if n < min_points:
        raise NotApplicable(f"{n} times of steps; at least {min_points} are needed")
    levels = _levels(times)
    part = len(levels)
    edges = [-(-i * n // part) for i in range(part + 1)]
    above = [k for i, level in enumerate(levels) for k in _above(times, 0.5 * factor * level, edges[i], edges[i + 1])]
    slow = [k for k in above if times[k] > factor * levels[k * part // n]]
    if len(slow) < min_slow:
        return
    between = len(above) - len(slow)
    lost = math.fsum(times[k] - levels[k * part // n] for k in slow) / _sum(times)
    if lost < min_lost_info:
        return
    axis = pace.curve.axis("step")
    places = [axis[pace.points[begin + k]] if axis is not None else float(k) for k in slow]
    early = [axis[p] if axis is not None else float(p) for p in pace.points[begin : begin + 1000]]
    gap = stats.median([b - a for a, b in pairwise(early)]) or 1.0
    period = stats.event_period(places, gap)
    evaluated = _beside(curves, places, gap) if axis is not None else 0.0
    regular = period is not None or evaluated >= 0.7
    apart = between <= max_between * len(slow)
    why = ""
    if evaluated >= 0.7:
        why = ", beside validation values: evaluation took the time"
    elif period is not None:
        why = f", one every {period.length:,.4g} {'steps' if axis is not None else 'values'}: as for an evaluation, a "
        why += "checkpoint or a new epoch"
    elif not apart:
        why = f"; {between:,} more were between {0.5 * factor:g} and {factor:g} times it: step times vary a lot"
    level = Severity.INFO if regular or not apart or lost < min_lost else Severity.WARNING
    worst = max(slow, key=lambda k: times[k] / levels[k * part // n])
    ratio = times[worst] / levels[worst * part // n]
    yield Finding(
        f"{len(slow):,} of {n:,} logged steps took more than {factor:g} times the median, up to {ratio:.3g} times "
        f"({pace.place(begin + worst)}), and {100 * lost:.0f} % of the logged time{why}",
        at=pace.at(begin + worst),
        severity=level,
        evidence=(
            Evidence("slow steps", len(slow), min_slow),
            Evidence("logged steps after the first ones", n),
            Evidence("share of the logged time beyond the median", lost, min_lost),
            Evidence("longest / median time of a step", ratio, factor, pace.at(begin + worst)),
            Evidence("longest step at", pace.place(begin + worst), None, pace.at(begin + worst)),
            Evidence(f"steps between {0.5 * factor:g} and {factor:g} times the median", between),
            *([Evidence("distance of slow steps", period.length, None, None, "step")] if period else []),
            *([Evidence("share of slow steps beside validation values", evaluated, 0.7)] if evaluated else []),
        ),
        fix=Fix.show("evaluate and save less often, or in the background" if regular else "look at what they wait for"),
    )


def _levels(times: Sequence[float]) -> list[float]:
    """Median of each of up to 8 parts of at least 50 values."""
    n = len(times)
    parts = max(1, min(8, n // 50))
    return [stats.median(times[i * n // parts : (i + 1) * n // parts]) for i in range(parts)]


def _above(times: Sequence[float], limit: float, start: int, end: int) -> list[int]:
    """Positions from `start` to `end` of the times above a limit."""
    if end - start < stats.LONG:
        return [k for k in range(start, end) if times[k] > limit]
    import numpy as np

    found: list[int] = (np.flatnonzero(np.asarray(times, dtype=np.float64)[start:end] > limit) + start).tolist()
    return found


def _sum(times: Sequence[float]) -> float:
    if len(times) < stats.LONG:
        return math.fsum(times)
    import numpy as np

    return float(np.asarray(times, dtype=np.float64).sum())


def _beside(curves: Curves, slow: Sequence[float], gap: float) -> float:
    """Share of slow steps that lie within one logging interval of a validation value."""
    steps: set[int] = set()
    for name in curves:
        curve = curves.get(name) if name.startswith(("val/", "test/")) else None
        axis = curve.axis("step") if curve is not None else None
        if axis is not None:
            steps = {round(s / gap) for s in axis}
            break
    near = sum(1 for s in slow if any(round(s / gap) + d in steps for d in (-1, 0, 1)))
    return near / len(slow)
