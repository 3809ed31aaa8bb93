"""Learning rates that do not follow their plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from mldiag.artifacts import Series
from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curve
from mldiag.faults import fault
from mldiag.faults.planting import mapped, plan_of, rates, read_at, rewritten, shares, with_series, with_settings
from mldiag.run import Run

ENDING = ("cosine", "linear", "poly")
"""Words of schedules that have an end."""


@fault(caught_by=("excessive-warmup",), size=0.3, unit="share of the run", sizes=(0.05, 0.1, 0.15, 0.2, 0.3, 0.5))
def excessive_warmup(run: Run, rng: Random, size: float) -> Run:
    """The warm-up takes a large part of the run; what is left of the schedule is pressed together behind it."""
    lr, steps = _scheduled(run), _steps(run)
    peak, top = _peak(run, lr)

    places = shares(run, lr)
    values = [
        peak * s / size if s < size else read_at(places, lr.values, top + (1 - top) * (s - size) / (1 - size))
        for s in places
    ]
    late = with_series(run, rewritten(lr, values))
    return with_settings(late, warmup_steps=round(size * steps), warmup_ratio=None)


@fault(
    caught_by=("endless-warmup", "excessive-warmup"),
    size=2.0,
    unit="warm-up / run",
    sizes=(1.0, 1.5, 2.0, 5.0, 20.0),
)
def endless_warmup(run: Run, rng: Random, size: float) -> Run:
    """The learning rate rises to the last step: the warm-up is longer than the run."""
    lr, steps = _scheduled(run), _steps(run)
    peak, _ = _peak(run, lr)
    rising = with_series(run, mapped(run, lr, lambda share, _: peak * share / size))
    return with_settings(rising, warmup_steps=round(size * steps), warmup_ratio=None)


@fault(
    caught_by=("schedule-mismatch", "dead-learning-rate"),
    size=4.0,
    unit="micro-batches per step",
    sizes=(2.0, 4.0, 8.0, 16.0),
)
def schedule_per_micro_batch(run: Run, rng: Random, size: float) -> Run:
    """The schedule is stepped once per micro-batch, so that it ends at a fraction of the run."""
    lr = _scheduled(run)
    fast = with_series(run, _along(run, lr, lambda share: min(1.0, share * size)))
    return with_settings(fast, grad_accum=round(size))


@fault(
    caught_by=("schedule-mismatch", "dead-learning-rate"), size=2.0, unit="steps of the schedule per step", sizes=(2.0,)
)
def schedule_twice(run: Run, rng: Random, size: float) -> Run:
    """The schedule is stepped twice per step, by the trainer and by the loop, and ends halfway."""
    lr = _scheduled(run)
    return with_series(run, _along(run, lr, lambda share: min(1.0, share * size)))


@fault(caught_by=("schedule-mismatch", "endless-warmup"), size=1.0, unit="times per epoch", sizes=(1.0,))
def schedule_per_epoch(run: Run, rng: Random, size: float) -> Run:
    """A schedule that counts steps is stepped once per epoch, so that it barely begins."""
    lr = _scheduled(run)
    each, epochs = run.settings.get("steps_per_epoch", float), run.settings.get("epochs", float)
    if each is None or epochs is None or each < 10:
        raise NotApplicable("the settings do not state epochs and steps per epoch, or those are fewer than ten")
    places = shares(run, lr)

    def rate(share: float) -> float:
        # Where the schedule is after as many steps as epochs are done.
        at = math.floor(share * epochs * size + 1) / (epochs * each)
        warming = lr.values[0] < 0.5 * max(lr.values)
        return lr.values[0] * at / places[0] if at < places[0] and warming else read_at(places, lr.values, at)

    return with_series(run, rewritten(lr, [rate(share) for share in places]))


@fault(
    caught_by=("learning-rate-range",),
    size=1e4,
    unit="times the run's rate",
    sizes=(10.0, 100.0, 1e3, 1e4),
    least="info",
)
def learning_rate_too_high(run: Run, rng: Random, size: float) -> Run:
    """The learning rate is far above what its optimizer is known to take, as when decimal places slipped."""
    lr = rates(run, least=2)
    stated, optimizer = run.settings.get("lr", float), run.settings.get("optimizer", str)
    if stated is None or optimizer is None or not optimizer.lower().startswith(("adam", "sgd")):
        raise NotApplicable("the settings do not state a learning rate for Adam or SGD")
    return with_settings(with_series(run, rewritten(lr, [v * size for v in lr.values])), lr=stated * size)


def _scheduled(run: Run) -> Curve:
    """A logged rate that follows a stated schedule, down to less than half of its peak."""
    lr = rates(run, least=20)
    plan_of(run)
    name = run.settings.get("lr_schedule", str)
    if name is None:
        raise NotApplicable("the settings do not state the schedule of the learning rate")
    if not any(word in name for word in ENDING) or "restart" in name:
        raise NotApplicable(f"a {name} schedule has no end of which it is known where it lies")
    if min(lr.values[len(lr) // 2 :]) > 0.5 * max(lr.values):
        raise NotApplicable("the learning rate does not fall to half of its peak")
    return lr


def _steps(run: Run) -> float:
    steps = plan_of(run).run_steps
    if steps is None:
        raise NotApplicable("nothing says how many steps the run has")
    return steps.value


def _peak(run: Run, lr: Curve) -> tuple[float, float]:
    """The highest rate, and where in the run it is left."""
    peak = max(lr.values)
    last = max(k for k, v in enumerate(lr.values) if v >= 0.999 * peak)
    return peak, shares(run, lr)[last]


def _along(run: Run, lr: Curve, when: Callable[[float], float]) -> Series:
    """The rate that the schedule had at another time: `when(share of the run)`."""
    places = shares(run, lr)
    return rewritten(lr, [read_at(places, lr.values, when(share)) for share in places])
