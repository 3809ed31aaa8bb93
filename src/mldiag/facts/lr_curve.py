"""The logged learning rate as one shape: a rise, a peak, and where its decay was heading."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from mldiag.artifacts import Settings
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts._schedules import FLAT, POWERS, ScheduleKind, Shape, first_at_least, recognised
from mldiag.facts.curves import Curve, Curves
from mldiag.stats import LONG, extremes

_NOT_IN_ORDER = "the learning rates are not logged in order"

MIN_POINTS = 10
"""Fewer logged rates show no shape."""

OPEN = 2.0
"""Ends of equally good fits that are further apart than this factor are no end that the rates tell."""


class LrCurve(Struct, frozen=True):
    """The learning rate of the last launch.

    Attributes:
        curve: where the rates come from; `values`: one rate for each place on the `axis`, which holds steps, else
            epochs, else positions, as `unit` says.
        peak: index of the first rate at the peak.
        rises: the rate goes up to its peak without turning back, from at most half of it.
        peak_share: place of the peak as a share of what was logged, from 0 to 1.
        last_ratio: last / peak rate.
        shape: the schedule that the rates follow, as far as they tell.
        end: where on the axis a decay that goes on as logged reaches its floor; None for a constant, stepped,
            exponential or finished one. `ends`: the lowest and the highest end of all shapes that fit as well.
    """

    curve: Curve
    values: Sequence[float]
    axis: Sequence[float]
    unit: str
    peak: int
    rises: bool
    peak_share: float
    last_ratio: float
    shape: Shape
    end: float | None = None
    ends: tuple[float, float] | None = None


@fact
def lr_curve(curves: Curves, settings: Settings | None) -> LrCurve:
    """From the series `lr`, and `min_lr` as a floor that its decay may have."""
    curve = curves.require("lr")
    steps, epochs = curve.axis("step"), curve.axis("epoch")
    where: Sequence[float] = steps or (_spread(epochs) if epochs else range(1, len(curve) + 1))
    unit = "step" if steps else "epoch" if epochs else "point"
    cleaned = _shape if len(where) < LONG else _long_shape
    axis, values = cleaned(where, curve.values)
    if len(values) < MIN_POINTS:
        raise NotApplicable(f"only {len(values)} learning rates were logged, fewer than {MIN_POINTS}")
    _, top = extremes(values)
    if top <= 0:
        raise NotApplicable("the learning rate was never above zero")
    peak = first_at_least(values, (1 - FLAT) * top)
    start = axis[0] - (axis[1] - axis[0])
    rises = values[0] <= 0.5 * top and _never_turns_back(values[: peak + 1])
    share = (axis[peak] - start) / (axis[-1] - start)
    floor = settings.get("min_lr", float) if settings else None
    shape = recognised(axis, values, (floor,) if floor else ())
    ahead = shape.end is not None and not shape.reached and values[-1] > 0 and len(values) - peak > MIN_POINTS
    told = ahead and shape.ends is not None and shape.ends[1] <= OPEN * shape.ends[0] and _is_heading(shape)
    end, ends = (shape.end, shape.ends) if told else (None, None)
    return LrCurve(curve, values, axis, unit, peak, rises, share, values[-1] / top, shape, end, ends)


def _is_heading(shape: Shape) -> bool:
    """A kind that has an end, as recipes name it: a power that only bends with the rates has no end to be trusted."""
    if shape.kind is ScheduleKind.POLYNOMIAL:
        return shape.power in POWERS
    return shape.kind in (ScheduleKind.LINEAR, ScheduleKind.COSINE, ScheduleKind.ONE_CYCLE)


def _spread(epochs: Sequence[float]) -> Sequence[float]:
    """Places of rates logged several times in an epoch that only its number tells: evenly over the epoch."""
    n = len(epochs)
    if n >= LONG:
        import numpy as np

        wide = np.asarray(epochs, np.float64)
        first = np.flatnonzero(np.concatenate(([True], wide[1:] != wide[:-1])))
        if 2 * len(first) > n or not np.isfinite(wide).all():
            return epochs
        counts = np.diff(np.append(first, n))
        inside = np.arange(n) - np.repeat(first, counts)
        return array("d", (wide + inside / np.repeat(counts, counts)).tobytes())
    edges = [0, *(i for i in range(1, n) if epochs[i] != epochs[i - 1]), n]
    if 2 * (len(edges) - 1) > n or not all(math.isfinite(e) and e == int(e) for e in epochs):
        return epochs
    return [epochs[a] + j / (b - a) for a, b in pairwise(edges) for j in range(b - a)]


def _shape(where: Sequence[float], values: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """Places and rates; where several loggers, or several points of one epoch, repeat a place, its last rate."""
    if any(b < a for a, b in pairwise(where)) or not all(math.isfinite(x) for x in where):
        raise NotApplicable(_NOT_IN_ORDER)
    kept = [i for i in range(len(where)) if i + 1 == len(where) or where[i + 1] > where[i]]
    return [where[i] for i in kept], [values[i] for i in kept]


def _long_shape(where: Sequence[float], values: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    import numpy as np

    axis, rates = np.asarray(where, np.float64), np.asarray(values, np.float64)
    further = axis[1:] > axis[:-1]
    if (axis[1:] < axis[:-1]).any() or not np.isfinite(axis).all():
        raise NotApplicable(_NOT_IN_ORDER)
    if further.all():
        return where, values
    kept = np.append(further, True)
    return array("d", axis[kept].tobytes()), array("d", rates[kept].tobytes())


def _never_turns_back(values: Sequence[float]) -> bool:
    if len(values) < LONG:
        return all(b >= (1 - FLAT) * a for a, b in pairwise(values))
    import numpy as np

    rates = np.asarray(values, np.float64)
    return bool((rates[1:] >= (1 - FLAT) * rates[:-1]).all())
