"""Task metrics that do not tell of the task: constant, or going another way than the loss."""

from __future__ import annotations

from random import Random

from mldiag.faults import fault
from mldiag.faults.planting import (
    held_out,
    levels,
    objective,
    positive,
    ramp,
    rewritten,
    scores,
    shares,
    with_series,
)
from mldiag.run import Run


@fault(caught_by=("constant-metric",), size=1.0, unit="share of the evaluations at one value", sizes=(0.5, 0.8, 1.0))
def constant_metric(run: Run, rng: Random, size: float) -> Run:
    """A score is the same at every evaluation: a wrong axis, a wrong average, a thresholded input."""
    changed = []
    for score in scores(run, "val", "test", least=10):
        first = len(score) - round(size * len(score))
        changed.append(rewritten(score, [v if k < first else score.values[first] for k, v in enumerate(score.values)]))
    return with_series(run, *changed)


@fault(
    caught_by=("metric-disagreement",),
    size=0.8,
    unit="share of the score's rise that it falls instead",
    sizes=(0.2, 0.5, 0.8, 1.0),
)
def metric_disagreement(run: Run, rng: Random, size: float) -> Run:
    """The held-out loss goes on falling while the scores on the same data get worse."""
    held_out(run, least=8)
    changed = []
    for score in scores(run, "val", "test", least=8):
        low, high = min(levels(score.values)), max(levels(score.values))
        places = shares(run, score)
        noise = [v - s for v, s in zip(score.values, levels(score.values), strict=True)]
        changed.append(
            rewritten(score, [high - size * (high - low) * p + n for p, n in zip(places, noise, strict=True)])
        )
    return with_series(run, *changed)


@fault(
    caught_by=("late-stop", "validation-rise", "generalization-gap"),
    size=0.8,
    unit="share of the run after the best validation",
    sizes=(0.3, 0.5, 0.7, 0.8, 0.9),
    least="info",
)
def late_stop(run: Run, rng: Random, size: float) -> Run:
    """Training goes on long after the best validation: the validation loss creeps up by a twentieth."""
    objective(run, least=10)
    val = positive(held_out(run, least=10))
    turn = 1 - size
    low = min(levels(val.values))
    start = max(val.values[0], 1.1 * low)
    values = []
    for share in shares(run, val):
        level = (
            start + (low - start) * ramp(share, 0.0, turn) if share <= turn else low * (1 + 0.05 * ramp(share, turn))
        )
        values.append(level * (1 + rng.gauss(0, 0.003)))
    return with_series(run, rewritten(val, values))
