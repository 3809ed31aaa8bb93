"""RUN001: the run became slower."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, NotApplicable, Pace, rule, stats

_WORDS = {
    "throughput": "the throughput ({})",
    "step time": "the speed by the time of a step ({})",
    "epoch time": "the speed by the time of an epoch ({})",
    "clock": "the speed by the clock ({})",
}


_BINS = 1024
"""Medians that a long series is reduced to."""


@rule("RUN001", severity="warning")
def throughput_decay(
    pace: Pace,
    *,
    max_last: float = 0.75,
    min_trend: float = 0.45,
    share: float = 0.2,
    warm_up: float = 0.05,
    errors: float = 4.0,
    min_points: int = 12,
) -> Iterator[Finding]:
    """Training became slower and slower.

    ## What it checks
    The median speed of the last fifth of the run against that of the first, without the first twentieth. It fires when
    the last is below 0.75 of the first, when the speed falls along the run (rank correlation with the order), and when
    even the fastest tenth of the last fifth is slower than that: a machine that is shared with other jobs is slow at
    times, a program that does more and more work is slow for good. A slow start (compilation, cold caches) is no decay,
    nor is one slow stretch.

    ## Why it matters
    A run that slows down costs a multiple of what its first hour promised. The usual reasons grow with the steps: a
    list of losses that keeps their graphs, a buffer or log that is read again at each step, a fragmented allocator, a
    loader whose workers leak, a device that throttles.

    ## Inputs
    The best of: a throughput (`tokens_per_s`, samples/s, it/s, `tflops`, `mfu`), the time of a step or an epoch, the
    clock beside the train loss (seconds per step between two values).

    ## Options
    - `max_last` (0.75): median speed of the last fifth / of the first.
    - `min_trend` (0.45): Kendall's tau of the speed against the order, negative.
    - `share` (0.2): part of the run that is first, and last.
    - `warm_up` (0.05): part of the run that is left out at its start, at least one value.
    - `errors` (4): fall in standard errors of the difference of two medians.
    - `min_points` (12): values of the speed.

    ## Fix
    Shown: what grew with the steps has to be looked for.

    ## When to ignore
    Work per step grows on purpose: longer sequences or larger images later in the run, episodes that last longer as an
    agent learns.

    ## Source
    Measured on 82 labelled runs with 13 values of a speed and more. Planted decays were at 0.61 and 0.22, with tau
    -0.55 and -0.58. Of the others 78 were at 0.82 or more; two at 0.79 and 0.69, with tau -0.25 and -0.14 and fast
    steps to the end. Kendall 1938, Biometrika 30, 81-93.
    """
    if len(pace) < min_points:
        raise NotApplicable(f"{len(pace)} values of the speed; at least {min_points} are needed")
    begin = max(1, round(warm_up * len(pace)))
    speeds = [1 / s for s in stats.binned(pace.seconds[begin:], _BINS)]
    size = stats.window_size(len(speeds), share, 3)
    first, last = stats.median(speeds[:size]), stats.median(speeds[-size:])
    ratio, tau = last / first, stats.trend(speeds)
    error = math.sqrt(2) * stats.level_error(stats.noise(speeds), size)
    fastest = sorted(speeds[-size:])[math.ceil(0.9 * size) - 1] / first
    if ratio >= max_last or tau > -min_trend or first - last <= errors * error or fastest >= max_last:
        return
    what = _WORDS[pace.basis].format(pace.name)
    shown = (first, last) if pace.falls else (1 / first, 1 / last)
    unit = f" {pace.unit}" if pace.unit else ""
    yield Finding(
        f"{what} fell to {100 * ratio:.0f} % of what it was: {_written(shown[0])} to {_written(shown[1])}{unit}"
        + f" between the first fifth of the run and the last ({len(pace) - begin:,} values)",
        at=pace.at(-1),
        evidence=(
            Evidence(f"{pace.name}, first fifth", shown[0], None, pace.at(begin), pace.unit),
            Evidence(f"{pace.name}, last fifth", shown[1], None, pace.at(-1), pace.unit),
            Evidence("speed, last / first fifth", ratio, max_last),
            Evidence("fastest tenth of the last fifth / first fifth", fastest, max_last),
            Evidence("rank trend (Kendall's tau)", tau, -min_trend),
            Evidence("values after the first ones", len(pace) - begin),
        ),
        fix=Fix.show(
            "look for what grows with the steps: kept graphs, a list or buffer that is read again, a leaking loader"
        ),
    )


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
