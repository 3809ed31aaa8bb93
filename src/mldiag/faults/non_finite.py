"""A loss that is no number from some step on: NaN, infinite, or the null of a strict JSON writer."""

from __future__ import annotations

import math
from random import Random

from msgspec.structs import replace

from mldiag.facts.curves import Curve, Curves
from mldiag.faults import fault
from mldiag.faults.planting import evaluated, objective, rewritten, shares, with_series
from mldiag.run import Run


@fault(caught_by=("non-finite",), size=0.1, unit="share of the run after it", sizes=(0.01, 0.05, 0.1, 0.5, 0.9))
def nan_loss(run: Run, rng: Random, size: float) -> Run:
    """The losses are NaN from some step on."""
    return _broken(run, math.nan, size)


@fault(caught_by=("non-finite",), size=0.1, unit="share of the run after it", sizes=(0.01, 0.05, 0.1, 0.5, 0.9))
def infinite_loss(run: Run, rng: Random, size: float) -> Run:
    """The losses are infinite from some step on."""
    return _broken(run, math.inf, size)


@fault(caught_by=("non-finite",), size=0.1, unit="share of the run after it", sizes=(0.01, 0.05, 0.1, 0.5, 0.9))
def null_loss(run: Run, rng: Random, size: float) -> Run:
    """The losses are null from some step on, as strict JSON writes NaN."""
    return _broken(run, math.nan, size, null=True)


def _broken(run: Run, value: float, size: float, *, null: bool = False) -> Run:
    norm = run.get(Curves).get("grad_norm")
    series = []
    for found in (objective(run, least=5, learns=False), *evaluated(run), *filter(None, [norm])):
        lost = _lost(run, found, size)
        new = rewritten(found, [value if k in lost else v for k, v in enumerate(found.values)])
        if null:
            new = replace(new, nulls=tuple(sorted({*new.nulls, *(found.indices[k] for k in lost)})))
        series.append(new)
    return with_series(run, *series)


def _lost(run: Run, found: Curve, size: float) -> set[int]:
    lost = {k for k, share in enumerate(shares(run, found)) if share > 1 - size}
    # A train loss always has a value after the break; an evaluation need not come any more.
    return lost or ({len(found) - 1} if found.name.startswith("train/") else set())
