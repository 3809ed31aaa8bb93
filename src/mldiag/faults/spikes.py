"""Single steps whose loss is far off."""

from __future__ import annotations

from random import Random

from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curve
from mldiag.faults import fault
from mldiag.faults.planting import levels, objective, positive, rewritten, with_series
from mldiag.run import Run
from mldiag.stats import noise

COUNT = 5
"""Spikes at random places."""
EVERY = 12
"""Spikes at regular places: one in this share of the run."""


@fault(caught_by=("loss-spikes",), size=5.0, unit="times the loss", sizes=(1.5, 2.0, 3.0, 5.0, 10.0))
def random_spikes(run: Run, rng: Random, size: float) -> Run:
    """The train loss jumps up for one or two values at random places and comes back."""
    train = _quiet(run)
    values = list(train.values)
    for begin in rng.sample(range(len(values) // 5, len(values) - 5, 3), COUNT):
        for k in range(begin, begin + rng.randint(1, 2)):
            values[k] *= size
    return with_series(run, rewritten(train, values))


@fault(caught_by=("loss-spikes",), size=5.0, unit="times the loss", sizes=(1.5, 2.0, 3.0, 5.0, 10.0))
def periodic_spikes(run: Run, rng: Random, size: float) -> Run:
    """The train loss jumps up at regular places, as where an epoch or a shard of data begins."""
    train = _quiet(run)
    values = list(train.values)
    step = max(6, len(values) // EVERY)
    for k in range(step - 1 + rng.randrange(step // 2), len(values) - 3, step):
        values[k] *= size
    return with_series(run, rewritten(train, values))


MIN_LEFT = 0.1
"""Loss at the jump / at the start, from which on a loss of several times that is no loss that is gone all the same."""


@fault(caught_by=("loss-spikes", "divergence"), size=3.0, unit="times the loss", sizes=(1.2, 1.5, 2.0, 3.0, 5.0))
def lasting_spike(run: Run, rng: Random, size: float) -> Run:
    """The train loss jumps up once and does not come back down for the rest of the run."""
    train = _quiet(run)
    begin = round(len(train) * rng.uniform(0.5, 0.8))
    if levels(train.values)[begin] < MIN_LEFT * train.values[0]:
        raise NotApplicable("the train loss is nearly gone where it would jump")
    return with_series(run, rewritten(train, [v * (size if k >= begin else 1) for k, v in enumerate(train.values)]))


def _quiet(run: Run) -> Curve:
    """A train loss on which such a spike is one: the noise of single batches is well below it."""
    train = positive(objective(run, least=50))
    tail = train.values[-len(train) // 2 :]
    level = sorted(tail)[len(tail) // 2]
    if noise(tail) > 0.15 * level:
        raise NotApplicable("single batches waver by more than 15 % of the loss")
    return train
