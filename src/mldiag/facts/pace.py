"""How fast a run went: from a logged throughput, from the time of a step, or from the clock beside the values."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from mldiag.artifacts import Series, Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.curves import Curve, Curves, taken
from mldiag.patterns import lazily
from mldiag.stats import LONG, median

_RATE = lazily(
    r"(?:perf_|charts_|throughput_|throughput_device_|speed_)?"
    r"(?:(?:tokens|toks?|words|samples|images|imgs?|examples|sequences|seqs?|records|frames|steps?|iters?|iterations|its?"
    r"|batch|batches|updates|env_steps)_(?:per_)?(?:gpu_|device_)?(?:per_)?(?:s|sec|secs|second)(?:_per_(?:gpu|device))?|tps|tgs|wps|ips|ups|fps"
    r"|sps|total_fps|throughput|throughput\(tps\)|training_speed)",
    words=("per", "_s", "tps", "tgs", "wps", "ips", "ups", "fps", "sps", "throughput", "speed"),
)
"""Work done in a second. Not `time/fps` of Stable-Baselines3, an average since the start."""
_WORK = lazily(r"mfu|tflops|tflops_per_gpu|tflops_per_device|speed", words=("mfu", "tflops", "speed"))
"""The same, of which the first has no unit and the last no certain one."""
_STEP = lazily(
    r"(?:perf_|time_|timing_|timer_)?(?:(?:train_)?(?:step|iter|iteration|batch|update)_(?:time|duration|cost|seconds)"
    r"|(?:time|seconds|secs?|s|ms|msec)_(?:per_)?(?:step|iter|iteration|it|batch|update)|elapsed_time_per_(?:step|iter|iteration|batch)|end_to_end|metrics_end_to_end|avg_batch_cost|dt)"
    r"(?:_(?:s|sec|seconds|ms|avg|mean))?|ms|timer|last_time",
    words=("step", "iter", "_it", "batch", "update", "end_to_end", "dt", "ms", "timer", "last_time"),
)
_EPOCH = lazily(
    r"(?:train_)?(?:epoch_(?:time|seconds|duration|cost|secs)|(?:time|seconds|secs)_(?:per_)?epoch"
    r"|time_taken|time_cost|time_this_iter)(?:_(?:s|sec|seconds))?",
    words=("epoch", "time_"),
)
_TOTAL = lazily(r".*(?:elapsed|passed|since|total|wall|timestamp|cumulative).*")
_ELAPSED = lazily(
    r"(?:time_)?(?:elapsed(?:_time)?|time_elapsed|wall_time|time_since_start|total_time|runtime)(?:_s|_seconds)?",
    words=("elapsed", "time"),
)
"""Seconds since the start: a clock that is logged as a series."""
_HELD_OUT = ("val/", "test/", "system/")

_FROM_ZERO = 3.0
"""First value / median difference of times that rise all the way, up to which they are counted from the start."""
_EPOCH_SECONDS = 1e8
"""Seconds above which a time is one of the calendar (1973) and not of a step."""

_RESOLUTION = 10.0
"""Ticks of the clock that an interval must last on average to be measured to a tenth."""
_LEAST_INTERVAL = 1.0
"""Seconds between two readings of the clock: over shorter ones it tells how busy the machine was, not the program. In
20 labelled runs of milliseconds a step the speed changed by up to twelve times, in 40 of seconds by 18 %."""

_READINGS = 10_000
"""Readings of the clock that are looked at; of more, evenly spread ones."""

_EVERY = 5
"""Points below which nothing is said."""


class Pace(Struct, frozen=True):
    """One measure of speed over the last launch.

    Attributes:
        basis: `throughput`, `step time`, `epoch time` (a step may be an epoch), or `clock`.
        name: what it was read from, in words of the file.
        seconds: time per unit of work, in any unit, at each point; above zero.
        values: the same in the unit of the file: work per second, or time.
        unit: of `values`, as far as it is known.
        points: positions in `curve` that the values stand at.
        falls: `values` become less when the run becomes slower.
    """

    basis: str
    name: str
    curve: Curve
    seconds: Sequence[float]
    values: Sequence[float]
    unit: str
    points: Sequence[int]
    falls: bool

    def __len__(self) -> int:
        return len(self.seconds)

    def at(self, index: int) -> Source:
        """The place of a value in its file."""
        return self.curve.at(self.points[index])

    def place(self, index: int) -> str:
        """`step 1,200`, `epoch 3` or `point 7`."""
        return self.curve.place(self.points[index])

    @property
    def per_step(self) -> bool:
        """Single steps, or the few between two logged values, can be told apart."""
        return self.basis in ("throughput", "step time")


@fact
def pace(curves: Curves) -> Pace:
    """The best measure there is: throughput, time of a step, time of an epoch, the clock.

    Throughput comes first, since steps may have unequal work. Times that add up (`elapsed`, CatBoost's `Passed`) are
    taken apart. Of the clock the seconds between two points of a training series are used, per step where steps are
    logged, over as many points as make ten ticks of the clock and a second.
    """
    for basis, pattern in (("throughput", _RATE), ("step time", _STEP), ("", None), ("throughput", _WORK)):
        for name in curves:
            bare = _bare(name)
            if bare is None or not (pattern.fullmatch(bare) if pattern else bare == "time"):
                continue
            curve = curves.get(name)
            found = _logged(curve, basis) if curve is not None else None
            if found is not None:
                return found
    for name in curves:
        bare = _bare(name)
        curve = curves.get(name) if bare is not None and _EPOCH.fullmatch(bare) else None
        found = _logged(curve, "epoch time") if curve is not None else None
        if found is not None:
            return found
    if curves.reinforcement:
        raise NotApplicable(f"no throughput or step time, and beside {curves.reinforcement} steps last as episodes do")
    for name in curves:
        curve = curves.get(name) if _ELAPSED.fullmatch(_bare(name) or "") else None
        if curve is not None and (found := _clocked(curve, curve.values)) is not None:
            return found
    for name in ("train/loss", "train/accuracy", "lr", *(n for n in curves if n.startswith("train/"))):
        curve = curves.get(name)
        if curve is not None and (found := _clocked(curve, _times(curve))) is not None:
            return found
    raise NotApplicable(f"no throughput, step time or clock with at least {_EVERY} values")


def _bare(name: str) -> str | None:
    """The quantity without what filed it under training; None for what is not of training."""
    if name.startswith(_HELD_OUT):
        return None
    return name.removeprefix("train/")


def _logged(curve: Curve, basis: str) -> Pace | None:
    """A series of rates or times; None where they are too few, or where a value is no speed."""
    values: Sequence[float] = curve.values
    points: Sequence[int] = range(len(values))
    unit = curve.series.unit or ""
    basis = basis or ("throughput" if unit.endswith("/s") else "step time")
    if basis != "throughput":
        if _adds_up(curve):
            values, points = [b - a for a, b in pairwise(values)], points[1:]
        elif max(values) > _EPOCH_SECONDS:
            return None
    if min(values) <= 0:
        kept = [k for k, v in enumerate(values) if v > 0]
        if len(kept) < 0.8 * len(values):
            return None
        values, points = [values[k] for k in kept], [points[k] for k in kept]
    if len(values) < _EVERY:
        return None
    falls = basis == "throughput"
    return Pace(basis, curve.series.raw_name, curve, _inverse(values) if falls else values, values, unit, points, falls)


def _inverse(values: Sequence[float]) -> Sequence[float]:
    if len(values) < LONG:
        return [1 / v for v in values]
    import numpy as np

    inverse = array("d")
    inverse.frombytes((1 / np.asarray(values, dtype=np.float64)).data.cast("B"))
    return inverse


def _adds_up(curve: Curve) -> bool:
    """Whether times are counted from the start of the run instead of from the last one."""
    values = curve.values
    if len(values) < _EVERY or not _rises(values):
        return False
    usual = median([b - a for a, b in pairwise(values)])
    named = _TOTAL.fullmatch(curve.series.raw_name.lower()) is not None
    return usual > 0 and (named or 0 <= values[0] <= _FROM_ZERO * usual)


def _rises(values: Sequence[float]) -> bool:
    return all(b >= a for a, b in pairwise(values))  # ends at the first that does not


def _clocked(curve: Curve, times: Sequence[float] | None) -> Pace | None:
    """Seconds per step (without steps: per point) between points of a series that has both."""
    steps = curve.axis("step")
    if times is None or len(times) < 2 * _EVERY:
        return None
    tick = 1.0 if all(t == int(t) for t in times[:200]) else 0.001
    # At most so many are looked at.
    every = -(-len(times) // _READINGS)
    times = times[::every]
    steps = steps[::every] if steps is not None else None
    if not _rises(times):
        return None  # several processes, or a clock that was set
    usual = (times[-1] - times[0]) / (len(times) - 1)
    if usual <= 0:
        return None
    size = max(1, math.ceil(max(_RESOLUTION * tick, _LEAST_INTERVAL) / usual))
    ends = range(size, len(times), size)
    seconds, points = [], []
    for k in ends:
        work = steps[k] - steps[k - size] if steps is not None else float(size * every)
        if work > 0:
            seconds.append((times[k] - times[k - size]) / work)
            points.append(k * every)
    if len(seconds) < 2 * _EVERY or min(seconds) <= 0:
        return None
    unit = "s/step" if steps is not None else "s"
    return Pace("clock", "time between values", curve, seconds, seconds, unit, points, False)


def _times(curve: Curve) -> Sequence[float] | None:
    """Wall times at the kept points."""
    series: Series = curve.series
    if series.time_data is None:
        return None
    return taken(series.time_data, curve.indices)
