"""The logged learning rate as one shape: a rise, a peak, and where its decay was heading."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.curves import Curve, Curves
from mldiag.stats import LONG, median

_NOT_IN_ORDER = "the learning rates are not logged in order"

MIN_POINTS = 10
"""Fewer logged rates show no shape."""

FLAT = 0.001
"""Relative change of the rate below which it counts as level: logs round to 3 or 4 digits."""

MAX_JUMP = 4.0
"""Largest drop between two points, in median drops, of a schedule that goes down smoothly; steps and restarts are
above it. A cosine's steepest drop is pi/2 times its mean one."""

LINEAR = 0.97
"""Second half of the decay / first half, in drop, from which the decay is linear or bends down (cosine, polynomial
below 1) and so has an end. An exponential decay to 90 % has 0.95, one to 50 % has 0.71, and has none."""


class LrCurve(Struct, frozen=True):
    """The learning rate of the last launch.

    Attributes:
        curve: where the rates come from; `values`: one rate for each place on the `axis`, which holds steps, else
            epochs, else positions, as `unit` says.
        peak: index of the first rate at the peak.
        rises: the rate goes up to its peak without turning back, from at most half of it.
        peak_share: place of the peak as a share of what was logged, from 0 to 1.
        last_ratio: last / peak rate.
        end: where on the axis a linear or cosine decay that goes on as logged reaches zero; None for a constant,
            stepped, exponential or finished decay.
    """

    curve: Curve
    values: Sequence[float]
    axis: Sequence[float]
    unit: str
    peak: int
    rises: bool
    peak_share: float
    last_ratio: float
    end: float | None = None


@fact
def lr_curve(curves: Curves) -> LrCurve:
    """From the series `lr`."""
    curve = curves.require("lr")
    steps, epochs = curve.axis("step"), curve.axis("epoch")
    where: Sequence[float] = steps or epochs or range(1, len(curve) + 1)
    unit = "step" if steps else "epoch" if epochs else "point"
    shape = _shape if len(where) < LONG else _long_shape
    axis, values = shape(where, curve.values)
    if len(values) < MIN_POINTS:
        raise NotApplicable(f"only {len(values)} learning rates were logged, fewer than {MIN_POINTS}")
    top = max(values)
    if top <= 0:
        raise NotApplicable("the learning rate was never above zero")
    peak = next(i for i, v in enumerate(values) if v >= (1 - FLAT) * top)
    start = axis[0] - (axis[1] - axis[0])
    rises = values[0] <= 0.5 * top and _never_turns_back(values[: peak + 1])
    share = (axis[peak] - start) / (axis[-1] - start)
    return LrCurve(curve, values, axis, unit, peak, rises, share, values[-1] / top, _end(axis[peak:], values[peak:]))


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
    kept = np.append(further, True)
    return array("d", axis[kept].tobytes()), array("d", rates[kept].tobytes())


def _never_turns_back(values: Sequence[float]) -> bool:
    if len(values) < LONG:
        return all(b >= (1 - FLAT) * a for a, b in pairwise(values))
    import numpy as np

    rates = np.asarray(values, np.float64)
    return bool((rates[1:] >= (1 - FLAT) * rates[:-1]).all())


def _end(axis: Sequence[float], values: Sequence[float]) -> float | None:
    """Where the decay would reach zero: by its straight line, or by its half cosine where it bends down."""
    # The level part before a decay begins belongs to no decay.
    level = (1 - FLAT) * values[0]
    first = next((i for i in reversed(range(len(values))) if values[i] >= level), 0)
    axis, values = axis[first:], values[first:]
    if len(values) <= MIN_POINTS or values[-1] <= 0:
        return None
    unevenness = _is_uneven if len(values) < LONG else _is_long_uneven
    uneven = unevenness(axis, values)
    if uneven is None:
        return None
    middle = (axis[0] + axis[-1]) / 2
    half = bisect_left(axis, middle)
    if not axis[0] < axis[half] < axis[-1]:
        return None
    early = (values[0] - values[half]) / (axis[half] - axis[0])
    late = (values[half] - values[-1]) / (axis[-1] - axis[half])
    if uneven or early <= 0 or late / early < LINEAR:
        return None
    ratio = values[-1] / values[0]
    # A half cosine falls to `ratio` at acos(2·ratio - 1) / pi of its length; it bends by more than a line can be noisy.
    part = math.acos(2 * ratio - 1) / math.pi if late / early > 1 / LINEAR else 1 - ratio
    return axis[0] + (axis[-1] - axis[0]) / part


def _is_uneven(axis: Sequence[float], values: Sequence[float]) -> bool | None:
    """Whether some drop is too large for a smooth decay; None where the rate rises again."""
    drops = [a - b for a, b in pairwise(values)]
    if min(drops) < 0:
        return None
    usual = median(drops)
    gaps = [b - a for a, b in pairwise(axis)]
    gap = median(gaps) or 1.0
    return any(d > MAX_JUMP * usual * max(1.0, g / gap) for d, g in zip(drops, gaps, strict=True))


def _is_long_uneven(axis: Sequence[float], values: Sequence[float]) -> bool | None:
    import numpy as np

    rates, places = np.asarray(values, np.float64), np.asarray(axis, np.float64)
    drops = rates[:-1] - rates[1:]
    if drops.min() < 0:
        return None
    gaps = np.diff(places)
    gap = float(np.median(gaps)) or 1.0
    return bool((drops > MAX_JUMP * float(np.median(drops)) * np.maximum(1.0, gaps / gap)).any())
