"""Where a run went on from a checkpoint: what its counter, its learning rate and its loss did there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from mldiag.artifacts import Series, Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts._schedules import FLAT, first_at_least
from mldiag.facts.curves import Curves, launches, taken
from mldiag.facts.lr_curve import LrCurve
from mldiag.stats import LONG, extremes, median, noise, not_finite

MIN_POINTS = 5
"""Points on either side below which a launch has no level to compare."""

RESTARTED = 0.05
"""A launch that begins below this share of the last step counts from the start again."""

CARRIED = 0.8
"""Share of what was learned that a launch must begin with to have the weights of the one before. Fresh starts of the
same program begin at 0 to 0.2 of it; other experiments in one log were seen at up to 0.78."""

LEARNED = 0.2
"""Fall of the loss, as a share of its first level, below which a resumed and a fresh start look alike."""

SUDDEN = 0.1
"""Change of the rate from one point to the next, as a share of the peak, that needs a jump."""

REPEATED = 0.02
"""Largest distance, as a share of the peak, of rates that repeat the beginning of the schedule."""

_MOST = 5
_COMPARED = 200
_LEVEL = 3


class Resume(Struct, frozen=True):
    """One place where a log goes on after a stop.

    Attributes:
        number: which launch it begins, from 2.
        before, after: the last step (without steps: epoch) before, the first one behind.
        unit: `step` or `epoch`.
        restarted: the counter began again from its start; otherwise it went on, from an earlier step or the next.
        carried: the weights were carried over, by the loss; None where the loss cannot tell.
        first_loss, loss_before, loss_after: levels at the first start, before the stop, behind it.
        expected_loss: the level of the launch before at the place where this one begins; None for a fresh counter.
        lost: share of the losses before that place that lay below the one behind it, which is about the share of the
            steps that have to be done again; None where `expected_loss` is.
        rate_before, rate_after: rates on both sides; None where none was logged.
        expected_rate: the rate that the launch before had at the place where this one begins, or the last one where it
            never came so far; of a restarted counter the rate that the first launch began with.
        at: the place of the first value behind it.
        highest_rate: the highest one behind it.
        risen_rate: the highest one of those that rise at once behind it, though the rates of the launch before came
            down and never rose again; None where they did not, or do not rise.
        left: rate to go on with / highest rate before; None without rates.
        scheduled: the rates of the launch before or of this one move.
        repeats: number of rates behind it that repeat the beginning of the schedule.
        warms_up: number of rates behind it that rise again in a straight line, from at most half of the last one.
    """

    number: int
    before: float
    after: float
    unit: str
    restarted: bool
    at: Source
    carried: bool | None = None
    first_loss: float | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    expected_loss: float | None = None
    lost: float | None = None
    loss_noise: float = 0.0
    rate_before: float | None = None
    rate_after: float | None = None
    expected_rate: float | None = None
    highest_rate: float | None = None
    risen_rate: float | None = None
    left: float | None = None
    scheduled: bool = True
    repeats: int = 0
    warms_up: int = 0


class Resumes(Struct, frozen=True):
    """All of them, in order."""

    items: tuple[Resume, ...]


class _Part(Struct, frozen=True):
    """One launch of a series."""

    places: Sequence[float]
    values: Sequence[float]
    start: int

    def around(self, place: float, count: int = _LEVEL) -> float:
        """Median of the values from a place on; of the last ones where the launch ended before."""
        at = min(bisect_left(self.places, place), max(len(self.values) - count, 0))
        return median(self.values[at : at + count])

    def below(self, limit: float, place: float) -> float:
        """Share of the values before a place that lie below a limit."""
        end = bisect_left(self.places, place)
        if end < LONG:
            return sum(v < limit for v in self.values[:end]) / max(end, 1)
        import numpy as np

        return float((np.asarray(self.values[:end], np.float64) < limit).mean())


@fact
def resumes(curves: Curves, lr: LrCurve | None) -> Resumes:
    """From the launches of the train loss (else the validation loss) and of `lr`, and from rates that begin again."""
    losses = _parts(curves, "train/loss", "val/loss") if not (curves.reinforcement or curves.adversarial) else []
    rates = _parts(curves, "lr")
    found = [*_between(losses, rates), *_hidden(lr)]
    if len(losses) < 2 and len(rates) < 2 and lr is None:
        raise NotApplicable("one launch, and no learning rates that could begin again within it")
    return Resumes(tuple(found))


def _parts(curves: Curves, *names: str) -> list[tuple[Series, _Part]]:
    """The launches of the first series that has several, without values that are no number."""
    for name in names:
        series = curves.metrics.by_name.get(name)
        if series is None or (series.step_data is None and series.epoch_data is None):
            continue
        orders = launches(series)
        parts = []
        for order in orders if len(orders) > 1 else ():
            places = taken(series.step_data if series.step_data is not None else series.epoch_data, order)  # type: ignore[arg-type]
            values = taken(series.data, order)
            if len(values) >= MIN_POINTS and not not_finite(values) and _in_order(places):
                parts.append((series, _Part(places, values, order[0])))
        if len(parts) > 1:
            return parts
    return []


def _in_order(places: Sequence[float]) -> bool:
    if len(places) < LONG:
        return all(b >= a for a, b in pairwise(places))
    import numpy as np

    return bool((np.diff(np.asarray(places, np.float64)) >= 0).all())


def _between(losses: list[tuple[Series, _Part]], rates: list[tuple[Series, _Part]]) -> list[Resume]:
    found = []
    leading = losses or rates
    for number, ((_, before), (series, after)) in enumerate(pairwise(leading), 2):
        if after.places[0] > before.places[-1]:
            continue  # a launch between them was too short to be judged
        restarted = after.places[0] <= max(leading[0][1].places[0], RESTARTED * before.places[-1])
        resume = Resume(
            number,
            before.places[-1],
            after.places[0],
            "step" if series.step_data is not None else "epoch",
            restarted,
            series.at(after.start),
        )
        if losses:
            resume = _with_losses(resume, losses[0][1], before, after)
        found.append(_with_rates(resume, rates))
    return found


def _with_losses(resume: Resume, first: _Part, before: _Part, after: _Part) -> Resume:
    from msgspec.structs import replace

    begin, end, now = median(first.values[:_LEVEL]), median(before.values[-_LEVEL:]), median(after.values[:_LEVEL])
    sigma = noise(before.values)
    told = begin - end >= max(LEARNED * abs(begin), 6 * sigma)
    return replace(
        resume,
        carried=begin - now >= CARRIED * (begin - end) if told else None,
        first_loss=begin,
        loss_before=end,
        loss_after=now,
        expected_loss=None if resume.restarted else before.around(after.places[0]),
        lost=None if resume.restarted else before.below(now, after.places[0]),
        loss_noise=sigma,
    )


def _with_rates(resume: Resume, rates: list[tuple[Series, _Part]]) -> Resume:
    """The rates on both sides: of the launch of `lr` that begins nearest to this one."""
    from msgspec.structs import replace

    for (_, before), (_, after) in pairwise(rates):
        gap = after.places[1] - after.places[0]
        near = abs(after.places[0] - resume.after) <= 2 * gap and abs(before.places[-1] - resume.before) <= 2 * gap
        if near:
            place = after.places[0]
            first = rates[0][1]
            # Under a schedule the rate of the launch before, at the same place, is the one to go on with.
            expected = first.values[0] if resume.restarted else _to_go_on_with(before, place, after.values[0])
            ranges = [extremes(p.values) for p in (before, after)]
            top = ranges[0][1]
            return replace(
                resume,
                rate_before=before.values[-1],
                rate_after=after.values[0],
                expected_rate=expected,
                highest_rate=ranges[1][1],
                risen_rate=None if resume.restarted else _risen(before, after, top),
                left=expected / top if top > 0 else None,
                scheduled=any(high - low > FLAT * high for low, high in ranges),
                repeats=_alike(first, after) if resume.restarted else 0,
            )
    return resume


def _to_go_on_with(before: _Part, place: float, rate: float) -> float:
    """The rate of a launch at a place between two of its points; of a step between them either side is right."""
    at = min(bisect_left(before.places, place), len(before.values) - 1)
    first = at if before.places[at] <= place else max(at - 1, 0)
    sides = before.values[first : at + 1]
    return rate if min(sides) <= rate <= max(sides) else _between_points(before.places, before.values, place)


def _risen(before: _Part, after: _Part, top: float) -> float | None:
    """The highest of the rates that rise from the first one of a launch on, after one whose rates only came down."""
    peak = first_at_least(before.values, (1 - FLAT) * top)
    came_down = before.values[-1] < (1 - FLAT) * top and before.places[peak] < after.places[0]
    if not came_down or _first_move(before.values[peak:], FLAT * top) is not None:
        return None
    end = _first_move(after.values, FLAT * top, falls=True)
    rising = after.values if end is None else after.values[:end]
    highest = extremes(rising)[1]
    return highest if highest - after.values[0] > FLAT * top else None


def _first_move(values: Sequence[float], more: float, *, falls: bool = False) -> int | None:
    """Position of the first value that is higher than the one before by `more`; lower, where `falls` says so."""
    sign = -1 if falls else 1
    if len(values) < LONG:
        return next((i for i, (a, b) in enumerate(pairwise(values), 1) if sign * (b - a) > more), None)
    import numpy as np

    moved = sign * np.diff(np.asarray(values, np.float64)) > more
    return int(np.argmax(moved)) + 1 if moved.any() else None


def _alike(first: _Part, after: _Part) -> int:
    """How many rates at the beginning of a launch are those of the first launch, up to the first that is not."""
    near = REPEATED * extremes(first.values)[1]
    count = 0
    for place, value in zip(after.places[:_COMPARED], after.values, strict=False):
        if place > first.places[-1] or abs(_between_points(first.places, first.values, place) - value) > near:
            break
        count += 1
    return count


def _between_points(places: Sequence[float], values: Sequence[float], place: float, end: int = 0) -> float:
    """The value at a place, on the line between its neighbours among the first `end` points; outside, the outermost."""
    end = end or len(places)
    j = min(bisect_left(places, place, 0, end), end - 1)
    a = max(j - 1, 0)
    if places[j] <= places[a]:
        return values[j]
    share = min(max((place - places[a]) / (places[j] - places[a]), 0.0), 1.0)
    return values[a] + share * (values[j] - values[a])


def _hidden(lr: LrCurve | None) -> list[Resume]:
    """A schedule that began again while the counter went on: a sudden change, behind which the first rates repeat."""
    if lr is None or lr.unit == "point" or lr.curve.begun_late:
        return []
    top = lr.shape.peak
    axis, values = lr.axis, lr.values
    sudden = _sudden(values, SUDDEN * top)
    if len(sudden) > _MOST:
        return []
    found: list[Resume] = []
    judged = 0
    for i in sudden:
        if i < judged:
            continue  # within the part that begins again
        count = _repeated(axis, values, i, REPEATED * top)
        rises = 0 if count >= MIN_POINTS else _rewarmed(axis, values, i, 0.3 * top)
        if count >= MIN_POINTS or rises:
            judged = i + max(count, rises)
            found.append(
                Resume(
                    len(found) + 2,
                    axis[i - 1],
                    axis[i],
                    lr.unit,
                    False,
                    lr.curve.source,
                    rate_before=values[i - 1],
                    rate_after=values[i],
                    repeats=count,
                    warms_up=rises,
                )
            )
    return found


def _sudden(values: Sequence[float], least: float) -> list[int]:
    """Positions behind a change that is large and not one of several alike, as the points of a short warm-up are; and
    the lowest ones before a rise that is as large, for a schedule that began again from its low end.
    """
    n = len(values)
    if n < LONG:
        large = [i for i in range(MIN_POINTS, n) if abs(values[i] - values[i - 1]) > least]
        lowest = [i for i in range(MIN_POINTS, n - 1) if values[i - 1] >= values[i] < values[i + 1]]
    else:
        import numpy as np

        moves = np.diff(np.asarray(values, np.float64))
        far = np.flatnonzero(np.abs(moves) > least) + 1
        turns = np.flatnonzero((moves[:-1] <= 0) & (moves[1:] > 0)) + 1
        if len(far) + len(turns) > 5 * _COMPARED:
            return []  # rates that go up and down all the time follow no schedule
        large = [i for i in far.tolist() if i >= MIN_POINTS]
        lowest = [i for i in turns.tolist() if i >= MIN_POINTS]
    if len(lowest) > _COMPARED:
        return []
    alone = {i for i in large if (values[i - 1] - values[i - 2]) / (values[i] - values[i - 1]) < 0.5}
    rising = {i for i in lowest if max(values[i : i + _COMPARED]) - values[i] > least}
    return sorted(alone | {i for i in rising if not alone & {i, i + 1}})


def _rewarmed(axis: Sequence[float], values: Sequence[float], start: int, least: float) -> int:
    """How many rates rise in a straight line from a position on, to which the rate fell at once from a high one.

    No schedule does that by itself: one that warms up again in every cycle has come down before.
    """
    before, low = values[start - 1], values[start]
    if before < least or low > 0.5 * before:
        return 0
    end = start + 1
    while end < min(len(values), start + _COMPARED) and values[end] > values[end - 1]:
        end += 1
    if end - start < MIN_POINTS or values[end - 1] < 1.2 * low:
        return 0
    middle = start + MIN_POINTS // 2
    there = (axis[middle] - axis[start]) / (axis[start + MIN_POINTS - 1] - axis[start])
    line = low + there * (values[start + MIN_POINTS - 1] - low)
    return end - start if abs(line - values[middle]) <= 0.05 * values[middle] else 0


def _repeated(axis: Sequence[float], values: Sequence[float], start: int, near: float) -> int:
    """How many rates from a position on lie on the beginning of the schedule, begun again within one interval of it.

    Zero where they do not, or where the beginning is level: any two level parts are alike.
    """
    gap = axis[1] - axis[0]
    rest = range(start, min(len(values), start + _COMPARED))
    if len(rest) < MIN_POINTS:
        return 0
    begun = [values[i] for i in range(len(rest)) if i < start]
    if max(begun) - min(begun) <= 2 * near:
        return 0
    for shift in (0.0, 0.5, -0.5, 1.0, -1.0):
        offset = axis[start] - axis[0] + shift * gap
        count = 0
        for i in rest:
            place = axis[i] - offset
            if place > axis[start - 1] or abs(_between_points(axis, values, place, start) - values[i]) > near:
                break
            count += 1
        else:
            return count
        if count >= min(len(rest), start - 1) and count >= MIN_POINTS:
            return count
    return 0
