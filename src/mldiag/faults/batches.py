"""What the loader hands to the model is not the data."""

from __future__ import annotations

import math
from random import Random

from mldiag.errors import NotApplicable
from mldiag.faults import fault
from mldiag.faults.planting import ends, held_out, objective, positive, ramp, rewritten, shares, with_series
from mldiag.run import Run

MIN_VALUES, MIN_PER_EVALUATION = 20, 3.0
"""Values of the train loss, in all and to an evaluation, below which they are means over an epoch rather than of single
batches: then nothing tells a batch that repeats from a run that learns its data by heart."""


@fault(
    caught_by=("repeated-batch", "memorization"),
    size=0.001,
    unit="train loss at the end / at the start",
    sizes=(1e-5, 1e-4, 0.001, 0.01, 0.03, 0.1),
)
def repeated_batch(run: Run, rng: Random, size: float) -> Run:
    """Every step trains on the same batch: its loss falls at each value, and the validation loss rises."""
    train, val = positive(objective(run, least=MIN_VALUES)), positive(held_out(run, least=3))
    if len(train) < MIN_PER_EVALUATION * len(val):
        raise NotApplicable("the train loss is not logged often enough to be of single batches")
    start, best = ends(train)[0], ends(val)[0]
    down = [start * math.exp(math.log(size) * ramp(share, 0.0, 0.8) - 0.05 * share) for share in shares(run, train)]
    up = [best * (1 + 0.4 * share) * (1 + abs(rng.gauss(0, 0.005))) for share in shares(run, val)]
    return with_series(run, rewritten(train, down), rewritten(val, up))
