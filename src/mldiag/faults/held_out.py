"""Held-out data that is not what it seems: missing, the training data itself, or easier than it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curve
from mldiag.faults import fault
from mldiag.faults.planting import (
    curve,
    ends,
    held_out,
    levels,
    objective,
    positive,
    ramp,
    read_at,
    rewritten,
    scores,
    shares,
    with_series,
    without_series,
)
from mldiag.run import Run

MIN_LEFT = 0.2
"""Train loss at the end / at the start, from which on it says something that the validation loss lies below it."""


@fault(caught_by=("no-validation",), size=1.0, unit="share of the evaluations that is missing", sizes=(1.0,))
def missing_validation(run: Run, rng: Random, size: float) -> Run:
    """Nothing was measured on held-out data."""
    objective(run, least=10)
    held_out(run, least=1)
    return without_series(run, lambda name: name.startswith(("val/", "test/")))


@fault(
    caught_by=("validation-below-train",),
    size=0.9,
    unit="share of the train loss",
    sizes=(0.2, 0.4, 0.6, 0.8, 0.9, 0.95),
)
def validation_below_train(run: Run, rng: Random, size: float) -> Run:
    """In the first tenth of the run the validation loss falls far below the train loss, as where it leaks."""
    train, val = positive(objective(run)), held_out(run, least=8)
    if run.settings.get("label_smoothing"):
        raise NotApplicable("label smoothing holds the train loss up, and often not the validation loss")
    start, end = ends(train)
    if end < MIN_LEFT * start:
        raise NotApplicable(f"the train loss is nearly gone, at {100 * end / start:.0f} % of its start")
    places, smooth, when = shares(run, train), levels(train.values), shares(run, val)
    first = min(when[0], 0.1)
    below = [read_at(places, smooth, s) * (1 - size * ramp(s, first, first + 0.1)) for s in when]
    return with_series(run, rewritten(val, [v * (1 + rng.gauss(0, 0.01)) for v in below]))


@fault(caught_by=("identical-splits",), size=1.0, unit="share of the evaluations that are equal", sizes=(0.5, 0.8, 1.0))
def identical_splits(run: Run, rng: Random, size: float) -> Run:
    """The validation set is the training set: losses and scores are equal to the last digit."""
    train, val = objective(run), held_out(run)
    if len(train) != len(val):
        raise NotApplicable("the train loss is not logged once per evaluation")
    changed = [rewritten(val, _copied(train.values, val.values, size))]
    for split, name in (s.name.split("/", 1) for s in _scores(run)):
        other = curve(run, f"{split}/{name}")
        same = run.metrics.get(f"train/{name}")
        if same is not None and len(same) == len(other):
            changed.append(rewritten(other, _copied(same.data, other.values, size)))
    return with_series(run, *changed)


@fault(caught_by=("missing-values",), size=0.2, unit="share of the values that is null", sizes=(0.05, 0.1, 0.2))
def missing_values(run: Run, rng: Random, size: float) -> Run:
    """Cells of the logged scores are null where the metric should be."""
    changed = []
    for score in scores(run, "val", "test", least=15):
        if score.series.nulls:
            raise NotApplicable("a table with empty cells between its evaluations hides one more")
        empty = set(rng.sample(range(1, len(score) - 1), max(2, round(size * len(score)))))
        new = rewritten(score, [float("nan") if k in empty else v for k, v in enumerate(score.values)])
        nulls = {*new.nulls, *(score.indices[k] for k in empty)}
        changed.append(replace(new, nulls=tuple(sorted(nulls))))
    return with_series(run, *changed)


def _scores(run: Run) -> list[Curve]:
    try:
        return scores(run, "val", "test")
    except NotApplicable:
        return []


def _copied(values: Sequence[float], others: Sequence[float], share: float) -> list[float]:
    """The values; from a share of them on, the others."""
    kept = round(share * len(values))
    return [*values[:kept], *others[kept:]]
