"""Loss spikes, plateaus, oscillation and constant metrics on simulated runs: silent on noise, found at their sizes."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mldiag.artifacts import Metrics, Series, Source, floats
from mldiag.engine import apply_rules
from mldiag.findings import Finding, Severity
from mldiag.plugins import Plugins, load
from mldiag.run import Run

RULES = ("CUR006", "CUR007", "CUR008", "CUR013")


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def findings(plugins: Plugins, codes: Sequence[str], **series: Sequence[float]) -> list[Finding]:
    """What the rules say of series named with two underscores for a slash (`val__loss`)."""
    metrics = Metrics(tuple(_series(name.replace("__", "/"), values) for name, values in series.items()))
    report = apply_rules(Run(Path(), ".", metrics=metrics, facts=plugins.facts), [plugins.rules[c] for c in codes])
    assert not report.failed
    return list(report.findings)


def _series(name: str, values: Sequence[float]) -> Series:
    return Series(name, name, floats(values), Source("log.jsonl"), floats(range(1, len(values) + 1)))


def noisy(rng: random.Random, kind: str, sigma: float) -> list[float]:
    """A loss that decays to a floor, with noise that is a share of its level."""
    n = rng.choice([30, 100, 300, 1000])
    start, tau, x, values = rng.choice([0.69, 2.3, 6.5, 10.8]), n * rng.uniform(0.05, 0.3), 0.0, []
    floor = start * rng.choice([0.01, 0.1, 0.5])
    for i in range(n):
        level, shock = floor + (start - floor) * math.exp(-i / tau), rng.gauss(0, 1)
        if kind == "heavy":
            shock /= math.sqrt(rng.gammavariate(1.25, 1 / 1.25))
        if kind == "wandering":
            x = shock = 0.9 * x + math.sqrt(1 - 0.81) * shock
        factor = rng.gammavariate(1 / sigma**2, sigma**2) if kind == "skewed" else 1 + sigma * shock
        values.append(max(1e-4, level * factor))
    return values


@pytest.mark.parametrize("kind", ["normal", "heavy", "wandering", "skewed"])
@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3, 0.6])
def test_noise_is_no_fault(kind: str, sigma: float, plugins: Plugins) -> None:
    alarms = []
    for seed in range(25):
        found = findings(plugins, RULES, train__loss=noisy(random.Random(f"{kind} {seed}"), kind, sigma))
        alarms += [f.message for f in found if f.level is not Severity.INFO]
    assert alarms == []


@pytest.mark.parametrize("size", [3.0, 5.0])
def test_five_spikes_of_three_times_the_loss_are_found(size: float, plugins: Plugins) -> None:
    found = 0
    for seed in range(40):
        rng = random.Random(seed)
        n = rng.choice([60, 200, 800])
        values = [(2 + 3 * math.exp(-6 * i / n)) * (1 + 0.08 * rng.gauss(0, 1)) for i in range(n)]
        for place in rng.sample(range(n // 5, n - 5, 4), 5):
            values[place] *= size
        found += any(f.level is Severity.WARNING for f in findings(plugins, ["CUR006"], train__loss=values))
    assert found >= 38


@pytest.mark.parametrize("evaluations", [12, 20, 60])
def test_a_validation_loss_that_swings_by_half_is_found(evaluations: int, plugins: Plugins) -> None:
    found = 0
    for seed in range(40):
        rng = random.Random(seed)
        val = [
            (1 + 2 * math.exp(-6 * i / evaluations)) * (1 + 0.5 * (-1) ** i * rng.uniform(0.6, 1))
            for i in range(evaluations)
        ]
        found += bool(findings(plugins, ["CUR008"], val__loss=val))
    assert found >= 38


def test_a_validation_loss_that_wavers_by_a_tenth_is_not(plugins: Plugins) -> None:
    for seed in range(100):
        rng = random.Random(seed)
        n = rng.choice([10, 20, 60])
        val = [(1 + 2 * math.exp(-6 * i / n)) * (1 + 0.1 * rng.gauss(0, 1)) for i in range(n)]
        assert not findings(plugins, ["CUR008"], val__loss=val)


def test_the_last_sixty_percent_without_progress_are_told(plugins: Plugins) -> None:
    found = 0
    for seed in range(40):
        rng = random.Random(seed)
        n = rng.choice([30, 100, 400])
        values = [3 + 2 * max(0.0, 1 - i / (0.4 * n)) ** 1.5 + 0.04 * rng.gauss(0, 1) for i in range(n)]
        found += bool(findings(plugins, ["CUR007"], train__loss=values, lr=[1e-3] * n))
    assert found >= 38


def test_a_loss_that_falls_to_the_end_is_no_plateau(plugins: Plugins) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        n = rng.choice([30, 100, 400])
        values = [(1 + 2 * (1 - i / n)) * (1 + 0.02 * rng.gauss(0, 1)) for i in range(n)]
        assert not findings(plugins, ["CUR007"], train__loss=values, lr=[1e-3] * n)


def test_what_broke_is_neither_a_spike_nor_a_constant(plugins: Plugins) -> None:
    values = [2.0, 1.8, 1.7, 1.6, 1.5, 1.4, 1.35, 1.3, 1.3, 9.0] + [math.nan] * 20
    accuracy = [0.5 + 0.02 * i for i in range(10)] + [0.1] * 20
    found = findings(plugins, [*RULES, "CUR005"], train__loss=values, val__accuracy=accuracy)
    assert [f.code for f in found] == ["CUR005"]


@pytest.mark.parametrize("code", RULES)
def test_a_million_points_take_a_fraction_of_a_second(code: str, plugins: Plugins) -> None:
    n, rng = 1_000_000, np.random.default_rng(1)
    loss = 2 + 8 * np.exp(-np.arange(n) / 1e5) + 0.1 * rng.standard_normal(n)
    metrics = Metrics((_series("train/loss", loss.tolist()), _series("val/accuracy", [0.5] * n)))
    run = Run(Path(), ".", metrics=metrics, facts=plugins.facts)
    begun = time.process_time()
    apply_rules(run, [plugins.rules[code]])
    assert time.process_time() - begun < 0.5  # with numpy's import and the preparation of the series
