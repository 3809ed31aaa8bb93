"""What faults are made of: the curves of a run, their levels, and new runs with other values in them."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from msgspec.structs import replace

from mldiag.artifacts import Metrics, Role, Scalar, Series, Settings, SettingValue, Source, floats
from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curve, Curves, is_bounded_score
from mldiag.facts.plan import Plan
from mldiag.run import Run
from mldiag.stats import head_level, tail_level

PLACE = Source("(planted)")
"""Where a planted setting stands."""

MAX_SCALE = 5.0
"""Most by which noise is made larger or smaller with the level that it lies about."""


def curve(run: Run, *names: str, least: int = 1) -> Curve:
    """The judged part of the first of the named series.

    Raises:
        NotApplicable: there is none with `least` values.
    """
    curves: Curves = run.get(Curves)
    found = curves.get(*names)
    if found is None or len(found) < least:
        raise NotApplicable(f"no series {' or '.join(names)} with {least} values")
    return found


def objective(run: Run, least: int = 3, *, learns: bool = True) -> Curve:
    """The train loss, where it measures progress.

    Args:
        learns: it has to have fallen by a tenth of its start (by anything at all where it is not above zero).
    """
    curves: Curves = run.get(Curves)
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    found = curve(run, "train/loss", least=least)
    start, end = ends(found)
    if learns and start - end <= (0.1 * start if end > 0 else 0):
        raise NotApplicable(f"the train loss went from {start:.3g} to {end:.3g}: nothing was learnt that could be lost")
    return found


def held_out(run: Run, least: int = 3) -> Curve:
    """The loss on held-out data."""
    objective(run)
    return curve(run, "val/loss", "test/loss", least=least)


def outcomes(run: Run) -> list[Curve]:
    """Everything that was measured of the model, on whatever data: losses, their parts, scores."""
    curves: Curves = run.get(Curves)
    found = (curves.get(n) for n in curves if n.startswith(("train/", "val/", "test/")))
    return [c for c in found if c is not None]


def evaluated(run: Run) -> list[Curve]:
    """The losses on held-out data, as far as there are any."""
    curves: Curves = run.get(Curves)
    found = (curves.get(name) for name in ("val/loss", "test/loss"))
    return [c for c in found if c is not None]


def scores(run: Run, *splits: str, least: int = 1) -> list[Curve]:
    """The bounded scores of some splits (`val/accuracy`)."""
    curves: Curves = run.get(Curves)
    found = [curves.get(n) for n in curves if n.partition("/")[0] in splits and is_bounded_score(n)]
    kept = [c for c in found if c is not None and len(c) >= least]
    if not kept:
        raise NotApplicable(f"no score on {' or '.join(splits)} with {least} values")
    return kept


def rates(run: Run, least: int = 10) -> Curve:
    """The learning rate, with steps or epochs, where it was ever above zero."""
    found = curve(run, "lr", least=least)
    if max(found.values) <= 0:
        raise NotApplicable("the learning rate was never above zero")
    return found


def plan_of(run: Run) -> Plan:
    """The plan of a run that reached its end."""
    plan: Plan = run.get(Plan)
    if not plan.complete:
        raise NotApplicable("the run did not reach its planned end")
    return plan


def ends(found: Curve) -> tuple[float, float]:
    """Level at the beginning and at the end."""
    return head_level(found.values, least=1), tail_level(found.values)


def positive(found: Curve) -> Curve:
    """The curve, where multiples of its values mean something."""
    if min(found.values) <= 0:
        raise NotApplicable(f"{found.name} is not above zero throughout")
    return found


def shares(run: Run, found: Curve) -> list[float]:
    """Where in the run each value lies, from 0 to 1: by steps, else by epochs, else by its place in the series."""
    for kind in ("step", "epoch"):
        axis = found.axis(kind)
        if axis is not None and axis[-1] > axis[0]:
            last = max(_last(series, kind) for series in run.metrics)
            return [x / last if last > 0 else 1.0 for x in axis]
    return [(i + 1) / len(found) for i in range(len(found))]


def _last(series: Series, kind: str) -> float:
    data = series.step_data if kind == "step" else series.epoch_data
    if not data:
        return 0.0
    # The largest of numbers with a NaN among them may be any.
    furthest = max(data)
    return furthest if math.isfinite(sum(data)) else max(filter(math.isfinite, data), default=0.0)


def levels(values: Sequence[float]) -> list[float]:
    """A smooth curve through the values: mean of a window that grows from nothing at the ends to a 25th of them."""
    n = len(values)
    sums = [0.0, *accumulate(values)]
    smooth = []
    for i in range(n):
        reach = min(i, n - 1 - i, n // 50)
        smooth.append((sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1) if reach else values[i])
    return smooth


def moved(values: Sequence[float], to: Sequence[float]) -> list[float]:
    """The values about other levels: their noise is kept, in proportion where everything is above zero."""
    smooth = levels(values)
    scaled = min(values) > 0 and min(to) > 0
    return [
        new + (value - old) * (min(max(new / old, 1 / MAX_SCALE), MAX_SCALE) if scaled else 1.0)
        for value, old, new in zip(values, smooth, to, strict=True)
    ]


def ramp(share: float, begin: float, end: float = 1.0) -> float:
    """0 up to `begin`, 1 from `end` on, a straight line between."""
    return min(max((share - begin) / (end - begin), 0.0), 1.0) if end > begin else float(share >= begin)


def read_at(places: Sequence[float], values: Sequence[float], where: float) -> float:
    """The value at a place between known ones, by a straight line; beyond the ends the value there."""
    k = bisect_left(places, where)
    if k == 0:
        return values[0]
    if k == len(places):
        return values[-1]
    left, right = places[k - 1], places[k]
    part = (where - left) / (right - left) if right > left else 1.0
    return values[k - 1] + part * (values[k] - values[k - 1])


def rewritten(found: Curve, values: Sequence[float]) -> Series:
    """The series with other values in place of the judged ones."""
    data = array("d", found.series.data)
    for index, value in zip(found.indices, values, strict=True):
        data[index] = value
    return replace(found.series, data=data)


def mapped(run: Run, found: Curve, change: Callable[[float, float], float]) -> Series:
    """The series with each judged value changed: `change(share of the run, value)`."""
    return rewritten(found, [change(s, v) for s, v in zip(shares(run, found), found.values, strict=True)])


def new_series(name: str, like: Curve, values: Iterable[float]) -> Series:
    """A series of its own beside another one, at the same places."""
    steps, epochs = like.axis("step"), like.axis("epoch")
    return Series(
        name,
        name,
        floats(values),
        like.source,
        None if steps is None else floats(steps),
        None if epochs is None else floats(epochs),
    )


def with_series(run: Run, *series: Series) -> Run:
    """The run with these series in place of those of their names, or beside the others."""
    new = {s.name: s for s in series}
    kept = [new.pop(s.name, s) for s in run.metrics]
    return _changed(run, metrics=replace(run.metrics, series=(*kept, *new.values())))


def without_series(run: Run, wanted: Callable[[str], bool]) -> Run:
    """The run without the series that have such a name."""
    kept = tuple(s for s in run.metrics if not wanted(s.name))
    return _changed(run, metrics=replace(run.metrics, series=kept))


def with_settings(run: Run, **values: Scalar) -> Run:
    """The run with these settings in place of everything that was said of them; None removes one."""
    kept = [v for v in run.settings if v.name not in values]
    new = [SettingValue(name, value, Role.FILE, PLACE) for name, value in values.items() if value is not None]
    ambiguous = {name: why for name, why in run.settings.ambiguous.items() if name not in values}
    return _changed(run, settings=Settings((*kept, *new), ambiguous))


def kept_rows(run: Run, wanted: Callable[[Series, int], bool]) -> Run:
    """The run with only some rows of each series."""
    return _changed(
        run,
        metrics=Metrics(tuple(taken(s, [i for i in range(len(s)) if wanted(s, i)]) for s in run.metrics)),
    )


def taken(series: Series, rows: Sequence[int]) -> Series:
    """Some rows of a series, in the given order; a row may come twice."""
    nulls = set(series.nulls)

    def column(data: array[float] | None) -> array[float] | None:
        return None if data is None else array("d", [data[i] for i in rows])

    return replace(
        series,
        data=array("d", [series.data[i] for i in rows]),
        step_data=column(series.step_data),
        epoch_data=column(series.epoch_data),
        time_data=column(series.time_data),
        nulls=tuple(k for k, i in enumerate(rows) if i in nulls),
        lines=None if series.lines is None else [series.lines[i] for i in rows],
    )


def cut(run: Run, share: float) -> Run:
    """The run as its log stands at a share of it."""
    places = {}
    for series in run.metrics:
        whole = Curve(series, range(len(series)), series.data)
        places[series.name] = shares(run, whole) if len(series) else []
    return kept_rows(run, lambda series, i: places[series.name][i] <= share + 1e-9)


def _changed(run: Run, **parts: object) -> Run:
    return replace(run, **parts, _derived={})
