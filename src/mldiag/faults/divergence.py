"""The loss goes back up: slowly, or at once to a plateau."""

from __future__ import annotations

from random import Random

from mldiag.facts.curves import Curve
from mldiag.faults import fault
from mldiag.faults.planting import ends, evaluated, levels, moved, objective, ramp, rewritten, shares, with_series
from mldiag.run import Run


@fault(
    caught_by=("divergence",), size=0.75, unit="share of the gain given back", sizes=(0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
)
def slow_divergence(run: Run, rng: Random, size: float) -> Run:
    """From half of the run on the losses rise steadily."""
    return _risen(run, size, 0.5, 1.0)


@fault(caught_by=("divergence",), size=1.0, unit="share of the gain given back", sizes=(0.25, 0.5, 0.75, 1.0))
def jump_to_plateau(run: Run, rng: Random, size: float) -> Run:
    """Between a third and two thirds of the run the losses jump up and stay there."""
    turn = rng.uniform(1 / 3, 2 / 3)
    return _risen(run, size, turn, turn)


def _risen(run: Run, size: float, begin: float, end: float) -> Run:
    risen = (objective(run, least=12), *evaluated(run))
    return with_series(run, *(rewritten(c, _back_up(run, c, size, begin, end)) for c in risen))


def _back_up(run: Run, found: Curve, size: float, begin: float, end: float) -> list[float]:
    smooth, places = levels(found.values), shares(run, found)
    start, _ = ends(found)
    turn = next((k for k, share in enumerate(places) if share >= begin), len(places) - 1)
    # The fall that was still to come does not happen.
    low = smooth[turn]
    high = low + size * max(start - low, 0.0)
    return moved(
        found.values,
        [v if k < turn else low + (high - low) * ramp(places[k], begin, end) for k, v in enumerate(smooth)],
    )
