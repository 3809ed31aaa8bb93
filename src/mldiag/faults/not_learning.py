"""Nothing is learnt: frozen parameters, a rate near zero, an answer that is a guess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from mldiag.errors import NotApplicable
from mldiag.facts.chance import Chance
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
    rewritten,
    scores,
    with_series,
    with_settings,
)
from mldiag.run import Run
from mldiag.stats import median

EXAMPLES = 1000
"""Examples on which a guess is measured, for its noise."""


@fault(caught_by=("not-learning",), size=1.0, unit="share of the progress that is missing", sizes=(0.8, 0.9, 0.95, 1.0))
def frozen_parameters(run: Run, rng: Random, size: float) -> Run:
    """The losses stay where they started, at their noise, and the scores with them."""
    train = objective(run, least=8)
    start = ends(train)[0]
    changed = [rewritten(train, _held(train.values, rng, size))]
    for found in outcomes(run):
        if found.name in ("val/loss", "test/loss"):
            changed.append(rewritten(found, [start + (v - found.values[0]) * (1 - size) for v in found.values]))
        elif found is not train:
            changed.append(
                rewritten(found, [found.values[0] + (1 - size) * (v - found.values[0]) for v in found.values])
            )
    return with_series(run, *changed)


@fault(
    caught_by=("not-learning", "learning-rate-range"),
    size=1e4,
    unit="times smaller than the run's rate",
    sizes=(1e3, 1e4, 1e5),
)
def tiny_learning_rate(run: Run, rng: Random, size: float) -> Run:
    """The learning rate is orders of magnitude too small, so that the losses stay where they started."""
    lr = rates(run, least=2)
    stated = run.settings.get("lr", float)
    frozen = frozen_parameters(run, rng, 1.0)
    slow = with_series(frozen, rewritten(lr, [v / size for v in lr.values]))
    return slow if stated is None else with_settings(slow, lr=stated / size)


@fault(
    caught_by=("chance-level",), size=1.0, unit="share of what was better than a guess that is lost",
    sizes=(0.5, 0.8, 0.9, 0.95, 1.0),
)  # fmt: skip
def chance_level(run: Run, rng: Random, size: float) -> Run:
    """The accuracy is that of a guess among the classes, and the losses stay at ln C."""
    chance: Chance = run.get(Chance)
    train = positive(objective(run))
    found = [s for s in scores(run, "train", "val", "test", least=3) if s.name.endswith("/accuracy")]
    if not found:
        raise NotApplicable("no accuracy with 3 values")
    changed = []
    for score in found:
        unit = 1.0 if max(score.values) <= 1.5 else 100.0
        error = math.sqrt(chance.accuracy * (1 - chance.accuracy) / EXAMPLES)
        guess = [max(0.0, chance.accuracy + rng.gauss(0, error)) * unit for _ in score.values]
        changed.append(
            rewritten(score, [g + (1 - size) * max(v - g, 0) for g, v in zip(guess, score.values, strict=True)])
        )
    changed.append(rewritten(train, moved(train.values, [_toward(v, chance.loss, size) for v in levels(train.values)])))
    for loss in evaluated(run):
        values = [_toward(v, chance.loss, size) * (1 + rng.gauss(0, 0.002)) for v in loss.values]
        changed.append(rewritten(loss, values))
    return with_series(run, *changed)


def _held(values: Sequence[float], rng: Random, size: float) -> list[float]:
    """A share `size` of the way from the start is taken back; the noise is that of an early part."""
    smooth = levels(values)
    start = median(smooth[: max(1, len(smooth) // 50)])
    early = range(len(values) // 10, max(len(values) // 3, 2))
    scaled = min(values) > 0
    noise = [(values[k] - smooth[k]) / (smooth[k] if scaled else 1.0) for k in early]
    held = (start + (1 - size) * (v - start) for v in smooth)
    return [v + rng.choice(noise) * (v if scaled else 1.0) for v in held]


def _toward(value: float, target: float, share: float) -> float:
    return value + share * (target - value)
