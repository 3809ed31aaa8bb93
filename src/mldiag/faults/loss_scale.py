"""Losses that are sums where means belong, and labels that are smoothed away."""

from __future__ import annotations

from random import Random

from mldiag.errors import NotApplicable
from mldiag.facts.chance import Chance
from mldiag.faults import fault
from mldiag.faults.planting import (
    ends,
    evaluated,
    held_out,
    mapped,
    objective,
    positive,
    rewritten,
    with_series,
    with_settings,
)
from mldiag.run import Run
from mldiag.stats.smoothing import smoothing_floor


@fault(caught_by=("accumulation-scale",), size=4.0, unit="micro-batches to a step", sizes=(2.0, 3.0, 4.0, 8.0, 32.0))
def accumulation_scale(run: Run, rng: Random, size: float) -> Run:
    """The logged train loss is the sum over the micro-batches of a step."""
    train = positive(objective(run))
    positive(held_out(run))
    planted = with_settings(run, grad_accum=round(size))
    return with_series(planted, mapped(run, train, lambda _, v: v * round(size)))


@fault(caught_by=("sum-reduction",), size=64.0, unit="examples in a batch", sizes=(8.0, 16.0, 64.0, 512.0))
def sum_reduction(run: Run, rng: Random, size: float) -> Run:
    """The train loss is the sum over the examples of a batch, the validation loss their mean."""
    train = positive(objective(run))
    positive(held_out(run))
    planted = with_settings(run, batch_size=round(size))
    return with_series(planted, mapped(run, train, lambda _, v: v * round(size)))


@fault(
    caught_by=("smoothing-misapplied",),
    size=0.9,
    unit="label smoothing",
    sizes=(0.4, 0.6, 0.8, 0.9, 0.99),
    least="error",
)
def smoothing_misapplied(run: Run, rng: Random, size: float) -> Run:
    """The labels are smoothed until the losses have next to no room below a guess."""
    chance: Chance = run.get(Chance)
    train = positive(objective(run))
    floor = smoothing_floor(size, chance.classes)
    start, end = max(ends(train)[0], 1e-9), max(ends(train)[1], 1e-9)
    if not 0.5 <= start / chance.loss <= 1.5 or end > 0.9 * start:
        raise NotApplicable(f"the loss begins at {start:.3g}, which is no guess among {chance.classes} classes")
    room = max(chance.loss - floor, 0.0)

    def smoothed(value: float) -> float:
        return floor + room * min(max(value / start, 0.0), 1.2)

    planted = with_settings(run, label_smoothing=size)
    return with_series(
        planted, *(rewritten(found, [smoothed(v) for v in found.values]) for found in [train, *evaluated(run)])
    )
