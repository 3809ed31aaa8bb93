"""SCH006: the learning rate is zero, or next to it, for a part of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from mldiag.api import Evidence, Finding, Fix, NotApplicable, Schedule, ScheduleKind, Severity, rule, stats

# Their low end is what was asked for, stage by stage; it is told, not warned of.
_MIN_STRETCH = 3
_BY_DESIGN = (ScheduleKind.STEP, ScheduleKind.EXPONENTIAL)


@rule("SCH006", severity="warning", explains=("CUR003", "CUR007"), gives_way_to=("SCH005",))
def dead_learning_rate(
    schedule: Schedule,
    *,
    max_ratio: float = 1e-3,
    min_share: float = 0.1,
) -> Iterator[Finding]:
    """The learning rate was so low for a part of the run that nothing was learned there.

    ## What it checks
    The longest stretch of the logged run, of three points or more, in which the rate is zero or at most a thousandth of
    its peak. Zeros that the rounding
    of the log makes (`0.0000` of a rate of 2e-5) count only where the rounding is finer than that limit. A rate that
    went down in steps, or by a factor, to such values was asked to: that is an information.

    ## Why it matters
    These steps cost as much as the others and change nothing. Usual reasons: a decay that is shorter than the run, a
    scheduler that is stepped too often, a patience that is too short.

    ## Inputs
    Series `lr`, ten points or more, with steps or epochs where the log has them.

    ## Options
    - `max_ratio` (1e-3): highest rate / peak that is next to nothing. A cosine to zero is below it for its last 2 %, a
      quadratic one for 3 %.
    - `min_share` (0.1): smallest share of the run.

    ## Fix
    Shown: let the decay end with the run, or stop the run where the rate reaches its floor.

    ## When to ignore
    Runs that are kept going at rate zero to average or to measure.

    ## Source
    The limit of the tail follows from (1 + cos πu) / 2 ≤ 0.001 at u ≥ 0.98. Measured on 189 labelled runs with ten
    rates or more: the stretch is at most 2 % in all with a smooth schedule, but 76 % in two that were stepped too
    often; 22 to 60 % in five that went down in steps, of which one is labelled healthy.
    """
    lr = schedule.lr
    shape = lr.shape
    if shape.kind is ScheduleKind.RISING:
        return  # the beginning of a warm-up, or of a range test
    limit = max_ratio * shape.peak
    if shape.grain.unit / 2 > limit and min(lr.values) <= 0:
        raise NotApplicable(
            f"rates are logged in units of {shape.grain.unit:g}, too coarse to tell zero from {limit:.2g}"
        )
    share, first, last = _dead(lr.axis, lr.values, limit)
    if share < min_share:
        return
    place = lr.axis[first]
    # A step to exactly zero was not asked for, unless the log rounded what was left.
    stepped = shape.kind in _BY_DESIGN or _by_factor(lr.values)
    designed = stepped and (lr.values[-1] > 0 or shape.grain.unit > 0)
    low = lr.values[first]
    message = f"the learning rate was at most {max_ratio:g} of its peak for {100 * share:.0f} % of the run"
    message += (
        f", from {lr.unit} {place:,.0f} on"
        if last == len(lr.values) - 1
        else f", from {lr.unit} {place:,.0f} to {lr.axis[last]:,.0f}"
    )
    if designed:
        message += f"; it went down step by step, to {lr.values[-1]:.2g}"
    yield Finding(
        message,
        at=lr.curve.source,
        evidence=(
            Evidence("share of the run", share, min_share, lr.curve.source),
            Evidence("lr / peak there", low / shape.peak, max_ratio, lr.curve.source),
            Evidence("peak lr", shape.peak, at=lr.curve.source),
            Evidence("last lr", lr.values[-1], at=lr.curve.source),
            Evidence("from", place, at=lr.curve.source, unit=lr.unit),
            Evidence("to", lr.axis[last], at=lr.curve.source, unit=lr.unit),
        ),
        severity=Severity.INFO if designed else None,
        fix=Fix.show("let the decay end with the run, above zero"),
    )


def _by_factor(values: Sequence[float]) -> bool:
    """Whether the rate goes down by one factor again and again, as plateau and step schedulers do; the last may differ.

    Every other way down has drops of all factors. Long series are looked at in a sample: their levels are longer.
    """
    some = values[:: max(1, len(values) // 2000)]
    peak = max(range(len(some)), key=some.__getitem__)
    ratios = [b / a for a, b in pairwise(some[peak:]) if a > 0 and b != a]
    if len(ratios) < 3:
        return False
    usual = stats.median(ratios)
    # Nearer to one the drops of a straight line are alike, too.
    return usual <= 0.9 and sum(abs(r - usual) <= 0.03 * usual for r in ratios) >= 0.75 * len(ratios)


def _dead(axis: Sequence[float], values: Sequence[float], limit: float) -> tuple[float, int, int]:
    """The longest stretch of rates at or below the limit: its share of the axis, its first and its last point.

    Single zeros between other rates are rows in which no rate was logged.
    """
    whole = axis[-1] - axis[0]
    longest, first, last = 0.0, 0, 0
    for a, b in _stretches(values, limit):
        reach = axis[min(b + 1, len(axis) - 1)] - axis[a]
        if b - a + 1 >= _MIN_STRETCH and reach > longest:
            longest, first, last = reach, a, b
    return longest / whole, first, last


def _stretches(values: Sequence[float], limit: float) -> list[tuple[int, int]]:
    """First and last position of each run of values at or below the limit."""
    if len(values) >= stats.LONG:
        import numpy as np

        low = np.concatenate(([False], np.asarray(values, np.float64) <= limit, [False]))
        edges = np.flatnonzero(low[1:] != low[:-1]).tolist()
    else:
        flags = [False, *(v <= limit for v in values), False]
        edges = [i for i in range(len(values) + 1) if flags[i] != flags[i + 1]]
    return [(a, b - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
