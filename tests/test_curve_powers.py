"""The curve rules, simulated over many seeds: silent on ordinary runs, found at the size of effect that they state."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mldiag.artifacts import Metrics, Series, Source, floats
from mldiag.engine import apply_rules
from mldiag.findings import Severity
from mldiag.plugins import load
from mldiag.run import Run

PLUGINS = load()
RULES = [PLUGINS.rules[code] for code in ("CUR001", "CUR002", "CUR003", "CUR004", "CUR005")]
SEEDS = 60


def series(name: str, values: Sequence[float], steps: Sequence[int] | None = None) -> Series:
    at = floats(steps or range(1, len(values) + 1))
    return Series(name, name, floats(values), Source("log.csv", key=name), step_data=at)


def found(*runs: Series) -> set[str]:
    """Codes of the warnings and errors."""
    report = apply_rules(Run(Path(), ".", metrics=Metrics(runs), facts=PLUGINS.facts), RULES)
    assert not report.failed
    return {f.code for f in report.findings if f.level is not Severity.INFO}


def noisy(rng: random.Random, values: Sequence[float], sigma: float) -> list[float]:
    return [v * (1 + sigma * rng.gauss(0, 1)) for v in values]


def decay(n: int, start: float, floor: float, time: float) -> list[float]:
    return [floor + (start - floor) * math.exp(-i / (n * time)) for i in range(n)]


@pytest.mark.parametrize("block", range(4))
def test_a_run_that_generalises_has_no_finding(block: int) -> None:
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        rng = random.Random(seed)
        n = rng.choice([12, 30, 100, 400, 2000])
        start = rng.uniform(1, 10)
        level = decay(n, start, start * rng.uniform(0.02, 0.8), rng.uniform(0.05, 0.5))
        count = max(6, n // rng.choice([1, 4, 10]))
        steps = [(k + 1) * n // count for k in range(count)]
        gap = rng.choice([0.95, 1.0, 1.05, 1.1, 1.2])
        val = noisy(rng, [gap * level[i - 1] for i in steps], rng.choice([0.005, 0.02, 0.05]))
        train = noisy(rng, level, rng.choice([0.01, 0.05, 0.15]))
        assert found(series("train/loss", train), series("val/loss", val, steps)) == set(), seed


def constant_gap(rng: random.Random) -> tuple[Series, ...]:
    level = decay(rng.choice([20, 200, 2000]), 4.5, 1.5, 1 / 6)
    train, val = noisy(rng, level, rng.choice([0.01, 0.05])), noisy(rng, [1.45 * v for v in level], 0.01)
    return series("train/loss", train), series("val/loss", val)


def rising_validation(rng: random.Random) -> tuple[Series, ...]:
    n = rng.choice([20, 60, 400])
    train = decay(n, 3.0, 0.3, 0.3)
    val = [v + 0.5 * max(0.0, i / n - 0.4) for i, v in enumerate(decay(n, 3.0, 1.5, 0.12))]
    return series("train/loss", noisy(rng, train, 0.02)), series("val/loss", noisy(rng, val, 0.01))


def flat_loss(rng: random.Random) -> tuple[Series, ...]:
    return (series("train/loss", noisy(rng, [math.log(10)] * rng.choice([30, 100, 1000]), 0.005)),)


def slow_divergence(rng: random.Random) -> tuple[Series, ...]:
    n = rng.choice([60, 200, 1000])
    values = [v + 0.25 * max(0.0, i / n - 0.3) / 0.7 for i, v in enumerate(decay(n, 1.5, 0.5, 0.05))]
    return (series("train/loss", noisy(rng, values, 0.01)),)


def broken(rng: random.Random) -> tuple[Series, ...]:
    n, at = 400, rng.randint(40, 380)
    values = noisy(rng, decay(n, 4.5, 1.5, 1 / 6), 0.02)
    return (series("train/loss", [*values[:at], *[math.nan] * (n - at)]),)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (constant_gap, "CUR001"),
        (rising_validation, "CUR002"),
        (flat_loss, "CUR003"),
        (slow_divergence, "CUR004"),
        (broken, "CUR005"),
    ],
)
def test_a_fault_is_found_at_its_stated_size(fault: Callable[[random.Random], tuple[Series, ...]], code: str) -> None:
    told = [found(*fault(random.Random(seed))) for seed in range(SEEDS)]
    assert sum(code in codes for codes in told) >= 0.95 * SEEDS
    if code in ("CUR003", "CUR004", "CUR005"):
        assert all(codes <= {code} for codes in told)


def returns(rng: random.Random, rise: float) -> set[str]:
    n = rng.choice([300, 1000, 3000])
    return found(series("train/reward", [rng.gauss(-18, 3) + rise * i / n for i in range(n)]))


def test_returns_that_rise_are_never_told_and_those_that_do_not_are_mostly() -> None:
    assert not any(returns(random.Random(seed), 4.0) for seed in range(SEEDS))
    assert sum(bool(returns(random.Random(seed), 0.0)) for seed in range(SEEDS)) >= 0.7 * SEEDS
