"""Simulated jobs: speeds, memory and gradient norms, silent where nothing is wrong, found at the stated size."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mldiag.artifacts import Metrics, Role, Series, Settings, SettingValue, Source, floats
from mldiag.engine import apply_rules
from mldiag.findings import Finding, Severity
from mldiag.plugins import load
from mldiag.run import Run

PLUGINS = load()
CODES = ("RUN001", "RUN002", "RUN003", "RUN004", "RUN005", "RUN007", "CUR017", "CUR018", "CUR019")
SEEDS = range(40)


def series(
    name: str, values: Sequence[float], steps: Sequence[float] | None = None, times: Sequence[float] = ()
) -> Series:
    at = floats(range(10, 10 * len(values) + 1, 10) if steps is None else steps)
    return Series(name, name, floats(values), Source("log.jsonl"), at, None, floats(times) if times else None)


def findings(*logged: Series, clip: float | None = None, codes: Sequence[str] = CODES) -> list[Finding]:
    settings = (SettingValue("clip_norm", clip, Role.FILE, Source("c.json", key="max_grad_norm")),) if clip else ()
    run = Run(Path(), ".", metrics=Metrics(logged), settings=Settings(settings), facts=PLUGINS.facts)
    report = apply_rules(run, [PLUGINS.rules[c] for c in codes])
    assert not report.failed
    return list(report.findings)


def names(found: Sequence[Finding]) -> list[str]:
    return [f.name for f in found if f.level is not Severity.INFO]


def wander(rng: random.Random, n: int, sigma: float, memory: float) -> list[float]:
    """Factors around 1 that wander back and forth: a machine that is shared."""
    x, out = 0.0, []
    for _ in range(n):
        x = memory * x + rng.gauss(0, sigma * math.sqrt(1 - memory**2))
        out.append(math.exp(x))
    return out


def falling(n: int, rng: random.Random) -> list[float]:
    return [0.5 + 2 * math.exp(-4 * i / n) + rng.gauss(0, 0.02) for i in range(n)]


def share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


SPEEDS: dict[str, Callable[[random.Random, int], list[float]]] = {
    "a machine of its own": lambda r, n: [3e4 * math.exp(r.gauss(0, 0.03)) for _ in range(n)],
    "a slow start": lambda r, n: [3e4 * (0.1 if i < n // 30 + 1 else 1) * math.exp(r.gauss(0, 0.05)) for i in range(n)],
    "a fast start": lambda r, n: [3e4 * (3 if i < n // 30 + 1 else 1) * math.exp(r.gauss(0, 0.05)) for i in range(n)],
    "evaluations": lambda r, n: [3e4 / (12 if i % 10 == 9 else 1) * math.exp(r.gauss(0, 0.05)) for i in range(n)],
    "heavy tails": lambda r, n: [3e4 / (1 + 0.1 * r.paretovariate(2.5)) for _ in range(n)],
    "15 % slower at the end": lambda r, n: [3e4 * (1 - 0.15 * i / n) * math.exp(r.gauss(0, 0.03)) for i in range(n)],
    "a slow hour": lambda r, n: [
        3e4 * (0.4 if 0.4 < i / n < 0.6 else 1) * math.exp(r.gauss(0, 0.05)) for i in range(n)
    ],
}


@pytest.mark.parametrize("kind", SPEEDS)
def test_the_speed_of_an_ordinary_job_is_no_finding(kind: str) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        n = rng.choice([15, 30, 100, 400])
        for name, values in (
            ("tokens_per_s", SPEEDS[kind](rng, n)),
            ("step_time", [1 / v for v in SPEEDS[kind](rng, n)]),
        ):
            assert names(findings(series(name, values))) == [], (seed, name)


def test_a_shared_machine_is_rarely_taken_for_a_decay() -> None:
    hits = []
    for seed in range(200):
        rng = random.Random(seed)
        n = rng.choice([30, 100, 250])
        speeds = [1e4 * f for f in wander(rng, n, 0.3, 0.8)]
        hits.append("throughput-decay" in names(findings(series("tokens_per_s", speeds), codes=("RUN001",))))
    assert share(hits) <= 0.02


@pytest.mark.parametrize("end", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("basis", ["tokens_per_s", "step_time", "clock"])
def test_a_job_that_becomes_slower_and_slower_is_found(end: float, basis: str) -> None:
    hits = []
    for seed in SEEDS:
        rng = random.Random(seed)
        n = rng.choice([30, 100, 400])
        # The last fifth at `end` of the first: work grows in proportion to the steps.
        grown = [1 + (1 / end - 1) * i / n / 0.75 for i in range(n)]
        took = [2.0 * g * math.exp(rng.gauss(0, 0.06)) for g in grown]
        if basis == "clock":
            times = [sum(took[: i + 1]) for i in range(n)]
            found = findings(series("train/loss", falling(n, rng), times=times), codes=("RUN001",))
        else:
            found = findings(
                series(basis, [1e4 / t for t in took] if basis == "tokens_per_s" else took), codes=("RUN001",)
            )
        hits.append(names(found) == ["throughput-decay"])
    assert share(hits) >= 0.95


def test_steps_that_stall_at_random_are_told_from_evaluations() -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        stalls = set(rng.sample(range(20, 300), 12))
        times = [0.5 * math.exp(rng.gauss(0, 0.05)) * (15 if i in stalls else 1) for i in range(300)]
        (found,) = findings(series("step_time", times), codes=("RUN002",))
        assert found.level is Severity.WARNING, seed
        regular = [0.5 * math.exp(rng.gauss(0, 0.05)) * (15 if i % 25 == 24 else 1) for i in range(300)]
        (found,) = findings(series("step_time", regular), codes=("RUN002",))
        assert found.level is Severity.INFO, seed
        assert "every 250 steps" in found.message


MEMORY: dict[str, Callable[[random.Random, int], list[float]]] = {
    "level": lambda r, n: [8000 + r.gauss(0, 30) for _ in range(n)],
    "filled in the first tenth": lambda r, n: [8000 * min(1, 0.3 + 8 * i / n) for i in range(n)],
    "one step up, early": lambda r, n: [8000 * (1.6 if i > 0.3 * n else 1) for i in range(n)],
    "one step up, and level behind it": lambda r, n: [8000 * (1.6 if i > 0.55 * n else 1) for i in range(n)],
    "grows and is freed": lambda r, n: [8000 * (1 + 0.5 * (7 * i / n % 1)) for i in range(n)],
    "10 % more": lambda r, n: [8000 * (1 + 0.1 * i / n) for i in range(n)],
}


@pytest.mark.parametrize("kind", MEMORY)
def test_the_memory_of_an_ordinary_job_is_no_finding(kind: str) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        assert names(findings(series("memory", MEMORY[kind](rng, rng.choice([40, 200, 1000]))))) == [], seed


def test_the_highest_memory_so_far_of_batches_that_differ_is_rarely_a_leak() -> None:
    hits = []
    for seed in range(200):
        rng = random.Random(seed)
        highest, values = 0.0, []
        for _ in range(rng.choice([40, 200, 1000])):
            highest = max(highest, 4000 * math.exp(rng.gauss(0, 0.5)))
            values.append(highest)
        hits.append(bool(names(findings(series("max_mem", values)))))
    assert share(hits) <= 0.02


@pytest.mark.parametrize("name", ["memory", "max_mem", "train/gpu_mem_gb", "system/proc_memory_rssmb"])
def test_a_leak_is_found(name: str) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        n = rng.choice([40, 200, 1000])
        values = [8000 * (1 + 0.3 * i / n) + rng.gauss(0, 60) for i in range(n)]
        if name == "max_mem":
            values = [max(values[: i + 1]) for i in range(n)]
        assert names(findings(series(name, values))) == ["memory-growth"], seed


NORMS: dict[str, Callable[[random.Random, int], list[float]]] = {
    "falls from a high start": lambda r, n: [
        (0.3 + 20 * math.exp(-30 * i / n)) * math.exp(r.gauss(0, 0.3)) for i in range(n)
    ],
    "grows five times": lambda r, n: [(0.5 + 2 * i / n) * math.exp(r.gauss(0, 0.4)) for i in range(n)],
    "noisy batches": lambda r, n: [math.exp(r.gauss(0, 0.8)) for _ in range(n)],
    "heavy tails": lambda r, n: [r.paretovariate(1.5) for _ in range(n)],
    "falls with the loss": lambda r, n: [3 * math.exp(-6 * i / n) * math.exp(r.gauss(0, 0.3)) for i in range(n)],
    "single peaks": lambda r, n: [math.exp(r.gauss(0, 0.2)) * (30 if r.random() < 0.02 else 1) for _ in range(n)],
}


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("clip", [None, 1.0, 5.0])
def test_ordinary_gradient_norms_are_no_finding(kind: str, clip: float | None) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        n = rng.choice([15, 40, 200, 1000])
        logged = series("train/loss", falling(n, rng)), series("grad_norm", NORMS[kind](rng, n))
        assert names(findings(*logged, clip=clip)) == [], seed


@pytest.mark.parametrize("shape", ["jump", "slow", "back"])
def test_an_explosion_is_found(shape: str) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        n = rng.choice([40, 200, 1000])
        at = rng.uniform(0.4, 0.7)

        def factor(u: float, at: float = at) -> float:
            if shape == "jump":
                return 20.0 if u > at else 1.0
            if shape == "back":
                return 40.0 if at < u < at + 0.15 else 1.0
            return math.exp(5 * max(0.0, u - at) / (1 - at))

        norms = [math.exp(rng.gauss(0, 0.3)) * factor(i / n) for i in range(n)]
        (found,) = findings(series("train/loss", falling(n, rng)), series("grad_norm", norms))
        assert found.name == "gradient-explosion", seed
        assert found.level is (Severity.WARNING if shape == "back" else Severity.ERROR)


@pytest.mark.parametrize("left", [0.02, 1e-9])
def test_a_gradient_that_vanishes_is_found(left: float) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        n = rng.choice([20, 100, 1000])
        norms = [max(left, math.exp(-25 * max(0.0, i / n - 0.2))) * math.exp(rng.gauss(0, 0.3)) for i in range(n)]
        losses = [2.3 - 0.1 * min(1, 5 * i / n) + rng.gauss(0, 0.02) for i in range(n)]
        assert names(findings(series("train/loss", losses), series("grad_norm", norms))) == ["gradient-vanishing"], seed


@pytest.mark.parametrize("after", [True, False])
def test_a_limit_that_binds_is_found_on_either_side_of_the_clipping(after: bool) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        raw = [20 * math.exp(rng.gauss(0, 0.4)) for _ in range(rng.choice([25, 100, 1000]))]
        norms = [min(v, 1.0) for v in raw] if after else raw
        (found,) = findings(series("grad_norm", norms), clip=1.0)
        assert found.name == "clip-saturation", seed
        assert found.level is Severity.WARNING
        assert ("after the clipping" if after else "before the clipping") in found.message


def test_a_million_values_cost_little() -> None:
    rng = random.Random(0)
    n = 1_000_000
    steps = floats(range(n))
    noise = [math.exp(rng.gauss(0, 0.3)) for _ in range(10_000)] * (n // 10_000)
    logged = (
        series("train/loss", [0.5 + 2 / (1 + i / 1000) for i in range(n)], steps, [0.5 * i for i in range(n)]),
        series("grad_norm", noise, steps),
        series("tokens_per_s", [1e4 * x for x in noise], steps),
        series("data_time", [0.01 * x for x in noise], steps),
        series("time", noise, steps),
        series("memory", [8000.0] * n, steps),
    )
    findings(*(series(s.name, s.data[:20_000], steps[:20_000]) for s in logged))  # imports
    spent = {}
    for code in CODES:
        start = time.process_time()
        findings(*logged, clip=1.0, codes=(code,))
        spent[code] = time.process_time() - start
    assert max(spent.values()) < 0.3, spent
