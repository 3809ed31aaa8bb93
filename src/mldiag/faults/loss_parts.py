"""Losses of several terms of which one drowns the others, and held-out losses that are another quantity."""

from __future__ import annotations

from random import Random

from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curves
from mldiag.faults import fault
from mldiag.faults.planting import (
    ends,
    held_out,
    mapped,
    new_series,
    objective,
    positive,
    rewritten,
    with_series,
)
from mldiag.run import Run


@fault(
    caught_by=("loss-scale-imbalance",),
    size=300.0,
    unit="times the loss of the task",
    sizes=(5.0, 30.0, 150.0, 300.0, 3000.0),
)
def loss_scale_imbalance(run: Run, rng: Random, size: float) -> Run:
    """A second task is added to the loss in units so large that the first one no longer learns."""
    train = positive(objective(run, least=10))
    if any(name.startswith("train/loss/") for name in run.get(Curves)):
        raise NotApplicable("the loss has terms already")
    start = ends(train)[0]
    task = [start * (1 + rng.gauss(0, 0.01)) for _ in train.values]
    other = [size * start * (1 - 0.3 * k / len(train)) * (1 + rng.gauss(0, 0.03)) for k in range(len(train))]
    total = rewritten(train, [a + b for a, b in zip(task, other, strict=True)])
    return with_series(
        run, total, new_series("train/loss/task", train, task), new_series("train/loss/pixels", train, other)
    )


@fault(
    caught_by=("objective-mismatch", "sum-reduction", "accumulation-scale"),
    size=300.0,
    unit="times the loss",
    sizes=(2.0, 10.0, 50.0, 300.0, 1000.0),
)
def objective_mismatch(run: Run, rng: Random, size: float) -> Run:
    """The held-out loss is another quantity, so much larger than the train loss."""
    positive(objective(run))
    val = positive(held_out(run))
    return with_series(run, mapped(run, val, lambda _, v: v * size))
