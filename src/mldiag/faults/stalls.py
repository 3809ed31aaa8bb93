"""A loss that stops falling or swings: a plateau at a high rate, oscillation, a rate that died."""

from __future__ import annotations

from random import Random

from mldiag.artifacts import Series
from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curve
from mldiag.faults import fault
from mldiag.faults.planting import (
    ends,
    evaluated,
    levels,
    moved,
    objective,
    outcomes,
    positive,
    rates,
    read_at,
    rewritten,
    shares,
    with_series,
    with_settings,
)
from mldiag.run import Run


@fault(
    caught_by=("plateau",),
    size=0.7,
    unit="share of the run that is flat",
    sizes=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    least="info",
)
def plateau(run: Run, rng: Random, size: float) -> Run:
    """The losses stand still halfway down while the learning rate stays at its peak."""
    positive(objective(run, least=20))
    lr = rates(run)
    peak = max(lr.values)
    top = next(k for k, v in enumerate(lr.values) if v == peak)
    held = rewritten(lr, [v if k < top else peak for k, v in enumerate(lr.values)])
    changed = [_stopped_halfway(run, c, 1 - size) for c in outcomes(run)]
    return with_settings(with_series(run, held, *changed), lr_schedule="constant")


@fault(caught_by=("oscillation",), size=0.5, unit="amplitude / loss", sizes=(0.1, 0.2, 0.3, 0.5, 0.8))
def oscillation(run: Run, rng: Random, size: float) -> Run:
    """The losses swing up and down from one evaluation to the next, far beyond their noise."""
    train = positive(objective(run, least=10))
    changed = []
    for found in (train, *evaluated(run)):
        if found is train and len(train) > 300:
            continue
        values = positive(found).values
        changed.append(
            rewritten(found, [v * (1 + size * (-1) ** k * rng.uniform(0.7, 1)) for k, v in enumerate(values)])
        )
    if not changed or len(changed[0]) < 10:
        raise NotApplicable("fewer than 10 values per epoch or evaluation")
    return with_series(run, *changed)


MIN_DIFFERENT = 10
"""Different rates that show how finely a log writes them."""


@fault(
    caught_by=("dead-learning-rate", "schedule-mismatch"),
    size=0.3,
    unit="share of the run at rate zero",
    sizes=(0.05, 0.1, 0.2, 0.3, 0.5),
)
def dead_learning_rate(run: Run, rng: Random, size: float) -> Run:
    """The learning rate is zero for the last part of the run, and the losses stand still."""
    lr = rates(run)
    if len(set(lr.values)) < MIN_DIFFERENT:
        raise NotApplicable("the logged rates are too few different ones to tell a zero from a rounded value")
    places = shares(run, lr)
    dead = rewritten(lr, [0.0 if s > 1 - size else v for s, v in zip(places, lr.values, strict=True)])
    return with_series(run, dead, *(_stopped(run, c, 1 - size) for c in (objective(run), *evaluated(run))))


def _stopped(run: Run, found: Curve, turn: float) -> Series:
    smooth, places = levels(found.values), shares(run, found)
    level = read_at(places, smooth, turn)
    return rewritten(
        found, moved(found.values, [v if s <= turn else level for s, v in zip(places, smooth, strict=True)])
    )


def _stopped_halfway(run: Run, found: Curve, turn: float) -> Series:
    """Falls steadily to half of what it had gained, and stays there."""
    start, end = ends(found)
    half = start + 0.5 * (end - start)
    places = shares(run, found)
    return rewritten(
        found, moved(found.values, [half + (start - half) * max(0.0, 1 - s / turn) ** 1.5 for s in places])
    )
