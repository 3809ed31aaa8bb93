"""Gradient norms that explode, vanish, or sit at the clip limit."""

from __future__ import annotations

from random import Random

from mldiag.errors import NotApplicable
from mldiag.faults import fault
from mldiag.faults.planting import (
    curve,
    ends,
    levels,
    mapped,
    moved,
    objective,
    positive,
    ramp,
    rewritten,
    shares,
    with_series,
    with_settings,
)
from mldiag.run import Run
from mldiag.stats import median, noise


@fault(caught_by=("gradient-explosion",), size=50.0, unit="times the usual norm", sizes=(3.0, 10.0, 30.0, 50.0, 200.0))
def gradient_explosion(run: Run, rng: Random, size: float) -> Run:
    """From two thirds of the run on the gradient norm grows many times over, and the loss rises with it."""
    norm, train = positive(curve(run, "grad_norm", least=20)), objective(run, least=20)
    begin = 2 / 3
    start, low = ends(train)
    rise = 0.3 * max(start - low, 0.0)
    return with_series(
        run,
        mapped(run, norm, lambda share, v: v * size ** ramp(share, begin, begin + 0.1)),
        mapped(run, train, lambda share, v: v + rise * ramp(share, begin, begin + 0.1)),
    )


MAX_NOISE = 0.2
"""Noise of single losses / their level."""


@fault(caught_by=("gradient-vanishing",), size=100.0, unit="times smaller", sizes=(5.0, 20.0, 100.0, 1e4, 1e8))
def gradient_vanishing(run: Run, rng: Random, size: float) -> Run:
    """The gradient norm dies away in the first third of the run, and the loss stays high."""
    norm, train = positive(curve(run, "grad_norm", least=20)), positive(objective(run, least=20))
    start, end = ends(train)
    if noise([v / level for v, level in zip(train.values, levels(train.values), strict=True)]) > MAX_NOISE:
        raise NotApplicable("single losses waver by more than a fifth, so that a loss that stays high is not seen")
    smooth = [start + 0.04 * ramp(s, 0.0, 0.3) * (end - start) for s in shares(run, train)]
    return with_series(
        run,
        mapped(run, norm, lambda share, v: v * size ** -ramp(share, 0.1, 0.35)),
        rewritten(train, moved(train.values, smooth)),
    )


@fault(
    caught_by=("clip-saturation",),
    size=0.95,
    unit="share of the norms at the limit",
    sizes=(0.5, 0.7, 0.8, 0.9, 0.95, 1.0),
)
def clip_saturation(run: Run, rng: Random, size: float) -> Run:
    """Nearly every gradient is cut: the norms that are logged after clipping equal the clip limit."""
    norm = positive(curve(run, "grad_norm", least=20))
    stated = run.settings.get("clip_norm", float)
    limit = stated if stated is not None and stated > 0 else float(f"{median(norm.values):.1g}")
    below = set(rng.sample(range(len(norm)), round((1 - size) * len(norm))))
    values = [limit * rng.uniform(0.5, 0.95) if k in below else limit for k in range(len(norm))]
    return with_settings(with_series(run, rewritten(norm, values)), clip_norm=limit)
