"""Where the steps of a log go back or repeat: several launches in one file, or several writers at a time."""

from __future__ import annotations

from array import array

from msgspec import Struct

from mldiag.artifacts import Metrics, Series
from mldiag.facts import fact
from mldiag.facts.curves import backward, launches, repeats_best
from mldiag.stats import LONG

MAX_REPEATED = 0.05
"""Share of steps that repeat the one before them, from which it is more than the last value of a run written twice."""


class Disorder(Struct, frozen=True):
    """What is out of order in one file.

    Attributes:
        series: the longest series of the file, in which it was seen.
        unit: `step` or `epoch`: what is counted.
        launches: how many there are; one where the file was written out of order.
        back: positions at which the counter goes back.
        repeated: values whose step was logged before, in the same launch.
        differing: of these, values that differ from the one of the same step.
        values: how many the series has.
    """

    series: Series
    unit: str
    launches: int
    back: tuple[int, ...]
    repeated: int
    differing: int
    values: int

    @property
    def axis(self) -> array[float]:
        """The counter."""
        axis = self.series.step_data if self.unit == "step" else self.series.epoch_data
        assert axis is not None
        return axis


class LogOrder(Struct, frozen=True):
    """One entry for each file with steps that go back or repeat; `judged` is how many files were looked at."""

    items: tuple[Disorder, ...]
    judged: int


@fact
def log_order(metrics: Metrics) -> LogOrder:
    """Looks at the longest series of each file, of training where there is one.

    A step at which every value is logged several times counts something coarser than values (validation measured
    three times, an epoch written as the step) and is in order.
    """
    longest: dict[str, Series] = {}
    for series in metrics:
        if series.step_data is None and series.epoch_data is None:
            continue
        known = longest.get(series.source.path)
        if known is None or _rank(series) > _rank(known):
            longest[series.source.path] = series
    found = [d for series in longest.values() if (d := _disorder(series)) is not None]
    return LogOrder(tuple(found), len(longest))


def _rank(series: Series) -> tuple[bool, int]:
    return not series.name.startswith(("val/", "test/")), len(series)


def _disorder(series: Series) -> Disorder | None:
    unit = "step" if series.step_data is not None else "epoch"
    axis = series.step_data if series.step_data is not None else series.epoch_data
    if axis is None or len(axis) < 2:
        return None
    back = backward(axis, series.epoch_data if unit == "step" else None)
    if repeats_best(axis, back):
        back.pop()
    parts = len(launches(series)) if back else 1
    repeated, differing = _repeated(series, axis, not back) if unit == "step" and parts == 1 else (0, 0)
    if not back and not repeated:
        return None
    return Disorder(series, unit, parts, tuple(back), repeated, differing, len(axis))


def _repeated(series: Series, axis: array[float], ordered: bool) -> tuple[int, int]:
    """Values whose step was logged before, and those of them that are another value; none where it is the rule."""
    n = len(axis)
    if ordered and series.epoch_data is not None:
        return 0, 0  # steps within an epoch, or rows of an epoch's end
    if n >= LONG:
        import numpy as np

        steps, data = np.frombuffer(axis), np.frombuffer(series.data)
        order = np.argsort(steps, kind="stable")
        steps, data = steps[order], data[order]
        same = steps[1:] == steps[:-1]
        count = int(same.sum())
        distinct, other = n - count, int((same & (data[1:] != data[:-1])).sum())
    else:
        first: dict[float, float] = {}
        count = other = 0
        for step, value in zip(axis, series.data, strict=True):
            if step in first:
                count += 1
                other += value != first[step]
            else:
                first[step] = value
        distinct = len(first)
    if count < MAX_REPEATED * n or (ordered and n >= 2 * distinct and n % distinct == 0):
        return 0, 0
    return count, other
