"""The job itself: throughput, slow steps, memory, waiting for data."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curve, Curves
from mldiag.faults import fault
from mldiag.faults.planting import curve, mapped, new_series, positive, ramp, rewritten, shares, with_series
from mldiag.run import Run

SPEEDS = ("tokens_per_s", "samples_per_second", "steps_per_second")
TIMES = ("step_time", "iter_time", "batch_time")
MEMORY = ("memory", "gpu_mem", "gpu_memory", "max_mem", "peak_memory")


@fault(
    caught_by=("throughput-decay",),
    size=0.5,
    unit="share of the throughput that is lost",
    sizes=(0.1, 0.2, 0.3, 0.5, 0.8),
)
def throughput_decay(run: Run, rng: Random, size: float) -> Run:
    """The job gets slower and slower."""
    return _slowed(run, 20, lambda k, share: 1 / (1 - size * ramp(share, 0.1)))


@fault(
    caught_by=("slow-steps",), size=10.0, unit="times the usual step", sizes=(2.0, 3.0, 5.0, 10.0, 30.0), least="info"
)
def slow_steps(run: Run, rng: Random, size: float) -> Run:
    """Every twelfth step or so takes many times as long as the others."""
    slow = set()
    at = rng.randint(5, 12)
    while at < max(len(series) for series in run.metrics):
        slow.add(at)
        at += rng.randint(8, 16)
    return _slowed(run, 50, lambda k, share: size if k in slow else 1.0)


@fault(caught_by=("memory-growth",), size=0.5, unit="growth / first level", sizes=(0.1, 0.2, 0.3, 0.5, 1.0, 3.0))
def memory_growth(run: Run, rng: Random, size: float) -> Run:
    """Memory grows steadily to the end: something is kept that should be let go."""
    memory = positive(curve(run, *MEMORY, least=20))
    return with_series(run, mapped(run, memory, lambda share, v: v * (1 + size * share)))


@fault(
    caught_by=("input-bound",), size=0.5, unit="share of a step that waits for data", sizes=(0.1, 0.2, 0.3, 0.5, 0.8)
)
def input_bound(run: Run, rng: Random, size: float) -> Run:
    """A large part of every step is spent waiting for data."""
    time = positive(curve(run, *TIMES, least=20))
    waits = [size * v * rng.uniform(0.9, 1.1) for v in time.values]
    return with_series(run, new_series("data_time", _like(run, time), waits))


def _slowed(run: Run, least: int, factor: Callable[[int, float], float]) -> Run:
    """Times of steps are longer, and throughputs lower, by `factor(number of the value, share of the run)`."""
    curves: Curves = run.get(Curves)
    found = [c for c in map(curves.get, (*SPEEDS, *TIMES)) if c is not None and len(c) >= least]
    if not found:
        raise NotApplicable(f"no throughput and no time of a step with {least} values")
    changed = []
    for each in map(positive, found):
        factors = [factor(k, share) for k, share in enumerate(shares(run, each))]
        if each.name in SPEEDS:
            factors = [1 / f for f in factors]
        changed.append(rewritten(each, [v * f for v, f in zip(each.values, factors, strict=True)]))
    return with_series(run, *changed)


def _like(run: Run, time: Curve) -> Curve:
    if "data_time" in run.metrics and len(curve(run, "data_time")) != len(time):
        raise NotApplicable("data times are logged at other places than step times")
    return time
