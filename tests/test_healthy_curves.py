"""Ordinary runs, simulated: the curve rules must keep quiet whatever the noise, the length and the spacing."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from mldiag.artifacts import Metrics, Series, Source, floats
from mldiag.engine import apply_rules
from mldiag.findings import Severity
from mldiag.plugins import Plugins, load
from mldiag.run import Run

RULES = ("CUR001", "CUR002", "CUR003", "CUR004", "CUR005", "CUR011", "CUR014")


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


@pytest.mark.parametrize("seed", range(120))
def test_a_run_that_learns_has_no_finding(seed: int, plugins: Plugins) -> None:
    run = Run(Path(), ".", metrics=learning(random.Random(seed)), facts=plugins.facts)
    report = apply_rules(run, [plugins.rules[code] for code in RULES])
    assert not report.failed
    assert [f.message for f in report.findings if f.level is not Severity.INFO] == []


def learning(rng: random.Random) -> Metrics:
    """A loss that decays to a floor, logged with multiplicative noise, some of it heavy-tailed, and its validation."""
    start = rng.choice([math.log(2), 1.1, 2.3, 4.2, 6.5, 10.8])
    floor = start * rng.uniform(0.02, 0.75)
    epochs, per_epoch = rng.randint(3, 60), rng.choice([1, 5, 20, 50])
    n = epochs * per_epoch
    time = rng.uniform(0.06, 0.4) * n
    exponential, heavy = rng.random() < 0.5, rng.random() < 0.3
    sigma, gap = rng.choice([0.01, 0.05, 0.15, 0.35]), rng.choice([0.85, 1.0, 1.05, 1.12, 1.2])

    def level(step: float) -> float:
        return floor + (start - floor) * (math.exp(-step / time) if exponential else 1 / (1 + 2 * step / time))

    def shock() -> float:
        tail = math.sqrt(max(1e-3, rng.gammavariate(1.5, 1 / 1.5))) if heavy else 1.0
        return max(-2.5, min(rng.gauss(0, 1) / tail, 8.0))

    train = [max(0.0, level(i) * (1 + sigma * shock())) for i in range(n)]
    at = [(e + 1) * per_epoch - 1 for e in range(epochs)]
    val = [level(i) * gap * (1 + 0.01 * rng.gauss(0, 1)) for i in at]
    return Metrics((_series("train/loss", train, range(1, n + 1)), _series("val/loss", val, [i + 1 for i in at])))


def _series(name: str, values: list[float], steps: range | list[int]) -> Series:
    return Series(name, name, floats(values), Source("log.jsonl"), floats(steps))
