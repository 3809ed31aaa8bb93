"""What was learnt did not carry over: validation above train."""

from __future__ import annotations

from random import Random

from mldiag.errors import NotApplicable
from mldiag.faults import fault
from mldiag.faults.planting import (
    ends,
    held_out,
    levels,
    mapped,
    moved,
    objective,
    positive,
    ramp,
    read_at,
    rewritten,
    shares,
    with_series,
)
from mldiag.run import Run

MIN_LEFT = 0.4
"""Train loss at the end / at the start, from which on a share of it is a gap worth its name."""


@fault(caught_by=("generalization-gap",), size=1.0, unit="gap / train loss", sizes=(0.1, 0.2, 0.45, 0.6, 1.0, 2.0))
def constant_gap(run: Run, rng: Random, size: float) -> Run:
    """The validation loss lies above the train loss by the same share of it from the first evaluation on."""
    train, val = positive(objective(run)), held_out(run)
    start, end = ends(train)
    if end < MIN_LEFT * start:
        raise NotApplicable(f"the train loss is nearly gone, at {100 * end / start:.0f} % of its start: so is any gap")
    places, smooth = shares(run, train), levels(train.values)
    above = [read_at(places, smooth, share) * (1 + size) for share in shares(run, val)]
    return with_series(run, rewritten(val, [v * (1 + rng.gauss(0, 0.005)) for v in above]))


@fault(
    caught_by=("generalization-gap", "validation-rise"),
    size=0.9,
    unit="share of learning that did not carry over",
    sizes=(0.25, 0.5, 0.75, 0.9, 1.0),
)
def growing_gap(run: Run, rng: Random, size: float) -> Run:
    """After the first evaluation the validation loss follows only a small part of the fall of the train loss."""
    train, val = positive(objective(run)), positive(held_out(run))
    # A first evaluation at the end of all learning leaves nothing that could fail to carry over.
    smooth = levels(val.values)
    start = max(smooth[0], 0.85 * ends(train)[0])
    return with_series(run, rewritten(val, moved(val.values, [start - (1 - size) * max(start - v, 0) for v in smooth])))


@fault(
    caught_by=("validation-rise", "generalization-gap"),
    size=0.3,
    unit="rise / best loss",
    sizes=(0.02, 0.05, 0.1, 0.2, 0.3, 0.5),
)
def validation_rise(run: Run, rng: Random, size: float) -> Run:
    """From two fifths of the run on the validation loss rises while the train loss goes on to half of its level."""
    train, val = positive(objective(run, least=10)), positive(held_out(run, least=8))
    turn = 0.4
    best = read_at(shares(run, val), levels(val.values), turn)
    if best < 0.1 * ends(val)[0]:
        raise NotApplicable("the validation loss is nearly gone when it would begin to rise")
    risen = [
        v if share <= turn else best * (1 + size * ramp(share, turn))
        for share, v in zip(shares(run, val), levels(val.values), strict=True)
    ]
    return with_series(
        run,
        rewritten(val, moved(val.values, risen)),
        mapped(run, train, lambda share, v: v * (1 - 0.5 * ramp(share, turn))),
    )


@fault(
    caught_by=("memorization", "generalization-gap"),
    size=0.97,
    unit="share of the train loss that was learnt by heart",
    sizes=(0.5, 0.8, 0.9, 0.97, 0.99),
)
def memorization(run: Run, rng: Random, size: float) -> Run:
    """The train loss goes to nothing while the validation loss stays where it began."""
    train, val = positive(objective(run, least=8)), positive(held_out(run))
    start = ends(train)[0]
    down = [start * (1 - size) ** ramp(share, 0.05, 0.8) for share in shares(run, train)]
    return with_series(
        run,
        rewritten(train, moved(train.values, down)),
        rewritten(val, [start * (1 + rng.gauss(0, 0.01)) for _ in val.values]),
    )
