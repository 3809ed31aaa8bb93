"""Validation against training, simulated: silent on ordinary runs, found at the stated size, whatever the noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from mldiag.artifacts import Metrics, Series, Source, floats
from mldiag.engine import apply_rules
from mldiag.findings import Severity
from mldiag.plugins import Plugins, load
from mldiag.run import Run

RULES = ("CUR009", "CUR010", "CUR012", "CUR015", "CUR016")


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def series(name: str, values: Sequence[float]) -> Series:
    return Series(name, name, floats(values), Source("history.csv"), epoch_data=floats(range(1, len(values) + 1)))


def found(plugins: Plugins, *runs: Series) -> set[str]:
    """Codes of the warnings and errors."""
    run = Run(Path(), ".", metrics=Metrics(runs), facts=plugins.facts)
    report = apply_rules(run, [plugins.rules[code] for code in RULES])
    assert not report.failed
    return {f.code for f in report.findings if f.level is not Severity.INFO}


def noisy(rng: random.Random, values: Sequence[float], sigma: float) -> list[float]:
    return [max(0.0, v * (1 + sigma * rng.gauss(0, 1))) for v in values]


def decay(start: float, floor: float, time: float, n: int) -> list[float]:
    return [floor + (start - floor) * math.exp(-i / time) for i in range(n)]


def healthy(rng: random.Random) -> tuple[Series, ...]:
    """A classifier with dropout: mean over the epoch, validation below or above, an accuracy that follows the loss."""
    n, classes = rng.randint(6, 80), rng.choice([2, 4, 10, 100])
    start = math.log(classes)
    level = decay(start, start * rng.uniform(0.02, 0.6), n * rng.uniform(0.05, 0.5), n + 1)
    dropout, gap = rng.choice([1.0, 1.2, 1.6, 2.2]), rng.choice([0.9, 1.0, 1.1, 1.3])
    train = [dropout * (a + b) / 2 for a, b in pairwise(level)]
    val = [gap * v for v in level[1:]]
    examples = rng.choice([200, 1000, 10_000])
    right = [math.exp(-v) for v in val]
    accuracy = [min(1.0, max(0.0, rng.gauss(p, math.sqrt(p * (1 - p) / examples)))) for p in right]
    return (
        series("train/loss", noisy(rng, train, 0.02)),
        series("val/loss", noisy(rng, val, rng.choice([0.01, 0.05]))),
        series("val/accuracy", accuracy),
    )


@pytest.mark.parametrize("seed", range(150))
def test_an_ordinary_run_has_no_finding(seed: int, plugins: Plugins) -> None:
    assert found(plugins, *healthy(random.Random(seed))) == set()


def copied(rng: random.Random) -> tuple[Series, ...]:
    values = [round(v, 4) for v in noisy(rng, decay(2.3, 0.4, 4, rng.randint(4, 40)), 0.02)]
    digits = rng.choice([3, 4])
    return series("train/loss", values), series("val/loss", [round(v, digits) for v in values])


def permuted(rng: random.Random) -> tuple[Series, ...]:
    classes, n = rng.choice([3, 10, 100, 1000]), rng.randint(8, 80)
    start = math.log(classes)
    train = [start * (0.01 + 0.99 * (1 - (i + 0.5) / n) ** 3) for i in range(n)]
    val = [start * (1.01 + 1.5 * (i / n)) for i in range(n)]
    accuracy = [1 / classes * (1 + 0.1 * rng.gauss(0, 1)) for _ in range(n)]
    return (
        series("train/loss", noisy(rng, [start, *train[1:]], 0.005)),
        series("val/loss", noisy(rng, val, 0.005)),
        series("val/accuracy", accuracy),
    )


def without_the_score(rng: random.Random) -> tuple[Series, ...]:
    n = rng.randint(20, 60)
    score = [0.6 - 0.12 * i / n + 0.01 * rng.gauss(0, 1) for i in range(n)]
    loss = noisy(rng, decay(2.0, 1.2, n / 4, n), 0.01)
    return series("train/loss", loss), series("val/loss", noisy(rng, loss, 0.01)), series("val/accuracy", score)


def too_sure(rng: random.Random) -> tuple[Series, ...]:
    n = rng.randint(20, 60)
    loss = [0.5 + 0.4 * math.exp(-i / 2) + 0.4 * i / n for i in range(n)]
    score = [0.7 + 0.1 * (1 - math.exp(-3 * i / n)) + 0.004 * rng.gauss(0, 1) for i in range(n)]
    return (
        series("train/loss", decay(1.0, 0.01, n / 5, n)),
        series("val/loss", noisy(rng, loss, 0.01)),
        series("val/accuracy", score),
    )


def late(rng: random.Random) -> tuple[Series, ...]:
    n = rng.randint(20, 80)
    best = rng.randint(3, n // 4)
    val = [0.5 + 0.5 * (1 - i / best) ** 2 if i < best else 0.5 + 0.3 * (i - best) / n for i in range(n)]
    return series("train/loss", decay(1.0, 0.01, n / 5, n)), series("val/loss", noisy(rng, val, 0.02))


def far_below(rng: random.Random) -> tuple[Series, ...]:
    n = rng.randint(12, 60)
    train = decay(2.3, 0.9, 3, n)
    val = [2.2, 1.5, *(0.12 * v for v in train[2:])]
    return series("train/loss", noisy(rng, train, 0.03)), series("val/loss", noisy(rng, val, 0.1))


@pytest.mark.parametrize(
    ("code", "planted"),
    [
        ("CUR009", far_below),
        ("CUR010", copied),
        ("CUR012", permuted),
        ("CUR015", without_the_score),
        ("CUR015", too_sure),
        ("CUR016", late),
    ],
)
def test_a_fault_of_the_stated_size_is_found(
    code: str, planted: Callable[[random.Random], tuple[Series, ...]], plugins: Plugins
) -> None:
    missed = [seed for seed in range(60) if code not in found(plugins, *planted(random.Random(seed)))]
    assert len(missed) <= 3, missed
