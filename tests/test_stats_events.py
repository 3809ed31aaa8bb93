"""Spikes, periods and changes of level: silent on noise of known distributions, found at known sizes."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from itertools import accumulate

import numpy as np
import pytest

from mldiag import stats
from mldiag.artifacts import floats

Noise = Callable[[random.Random], float]

NOISES: dict[str, Noise] = {
    "normal": lambda r: r.gauss(0, 1),
    "t with 3 degrees": lambda r: r.gauss(0, 1) / math.sqrt(r.gammavariate(1.5, 1 / 1.5)),
    "t with 2 degrees": lambda r: r.gauss(0, 1) / math.sqrt(r.gammavariate(1, 1)),
    "Laplace": lambda r: r.expovariate(1) * r.choice((-1, 1)),
}


def falling(n: int, sigma: float, noise: Noise, rng: random.Random) -> list[float]:
    """A loss from 5 to 2 with noise that is a share of its level."""
    return [(2 + 3 * math.exp(-8 * i / n)) * max(0.02, 1 + sigma * noise(rng)) for i in range(n)]


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3])
def test_noise_holds_no_spikes_that_are_apart_from_it(kind: str, sigma: float) -> None:
    wrong = 0
    for seed in range(50):
        rng = random.Random(seed)
        found = stats.excursions(falling(rng.choice([60, 300, 1000]), sigma, NOISES[kind], rng))
        wrong += len(found.spikes) >= 3 and found.apart
    assert wrong <= 1


def test_normal_and_lognormal_noise_rises_above_the_limit_nowhere() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        assert not stats.excursions(falling(1000, 0.1, NOISES["normal"], rng)).spikes
        assert not stats.excursions([2 * rng.lognormvariate(0, 0.2) for _ in range(1000)]).spikes


def test_wandering_is_noise() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        wander = list(accumulate((rng.gauss(0, 0.44) for _ in range(800)), lambda x, e: 0.9 * x + e))
        assert not stats.excursions([2 * (1 + 0.08 * x) for x in wander]).spikes


@pytest.mark.parametrize(
    ("n", "sigma", "size"), [(50, 0.05, 3.0), (200, 0.1, 3.0), (2000, 0.1, 3.0), (20_000, 0.1, 3.0)]
)
def test_spikes_are_found_with_their_places(n: int, sigma: float, size: float) -> None:
    complete = 0
    for seed in range(20):
        rng = random.Random(seed)
        values = falling(n, sigma, NOISES["normal"], rng)
        places = [n // 3, n // 2, 4 * n // 5]
        for place in places:
            values[place] *= size
        found = stats.excursions(values)
        complete += [s.peak for s in found.spikes] == places and found.apart
        assert all(s.end is not None for s in found.spikes)
    assert complete >= 19


def test_a_decay_is_no_spike_at_its_beginning() -> None:
    assert not stats.excursions([10 * math.exp(-i / 3) + 0.1 for i in range(100)]).spikes


def test_one_that_never_comes_back_has_no_end() -> None:
    rng = random.Random(1)
    values = [(1 if i < 60 else 5) * (1 + 0.02 * rng.gauss(0, 1)) for i in range(100)]
    (spike,) = stats.excursions(values).spikes
    assert (spike.start, spike.end) == (60, None)
    assert spike.level == pytest.approx(1, rel=0.05)


def test_a_loss_that_changes_sign_is_held_against_its_own_range() -> None:
    rng = random.Random(2)
    values = [1 - 2 * (1 - math.exp(-i / 20)) + 0.02 * rng.gauss(0, 1) for i in range(100)]
    values[70] = 3.0
    found = stats.excursions(values)
    assert not found.relative
    assert [s.peak for s in found.spikes] == [70]


def test_a_million_values_take_less_than_a_fifth_of_a_second() -> None:
    rng = np.random.default_rng(0)
    data = 2 + 8 * np.exp(-np.arange(1_000_000) / 1e5) + 0.1 * rng.standard_normal(1_000_000)
    places = [400_000, 600_000, 900_000]
    data[places] = 9.0
    values = floats(data.tolist())
    begun = time.process_time()
    found = stats.excursions(values)
    assert time.process_time() - begun < 0.2
    assert [s.peak for s in found.spikes] == places


@pytest.mark.parametrize("count", [4, 5, 8, 20])
@pytest.mark.parametrize("grid", [1, 10])
def test_random_places_have_no_period(count: int, grid: int) -> None:
    wrong = 0
    for seed in range(100):
        rng = random.Random(seed)
        events = sorted(grid * x for x in rng.sample(range(5000 // grid), count))
        wrong += stats.event_period(events, grid) is not None
    assert wrong <= 3  # 1 % of 100 and twice its standard error


@pytest.mark.parametrize("count", [6, 8, 12, 30])
def test_a_period_is_found_though_events_are_missing_and_inexact(count: int) -> None:
    right = 0
    for seed in range(60):
        rng = random.Random(seed)
        events = sorted(rng.sample([37 + 500 * k + rng.randint(-2, 2) for k in range(count + 2)], count))
        period = stats.event_period(events)
        right += period is not None and abs(period.length - 500) < 3
    assert right >= 54


def test_a_period_holds_events_at_its_multiples_only() -> None:
    period = stats.event_period([100, 200, 300, 400, 500, 600, 650, 700])
    assert period is not None
    assert (round(period.length), period.fitting, period.events) == (100, 7, 8)
    assert stats.event_period([10, 20]) is None


@pytest.mark.parametrize("n", [12, 20, 54, 200])
def test_noise_does_not_repeat_itself(n: int) -> None:
    repeated = 0
    for seed in range(100):
        rng = random.Random(seed)
        repeated += stats.repetition([rng.gauss(0, 1) for _ in range(n)]) > 0
    assert repeated <= 1


def test_what_repeats_itself_is_told_from_what_alternates() -> None:
    rng = random.Random(3)
    batches = [0.12, 0.19, 0.13, 0.18, 0.12, 0.09, 0.2, 0.17, 0.13]
    assert stats.repetition([batches[i % 9] + 0.003 * rng.gauss(0, 1) for i in range(54)]) == 9
    assert stats.repetition([1 + 0.5 * (-1) ** i + 0.01 * rng.gauss(0, 1) for i in range(54)]) == 0
    assert stats.repetition([1.0] * 40) == 0


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("n", [10, 50, 200])
def test_the_level_of_noise_does_not_change(kind: str, n: int) -> None:
    changed = 0
    for seed in range(200):
        rng = random.Random(seed)
        changed += stats.level_change([NOISES[kind](rng) for _ in range(n)])[1] <= 0.01
    assert changed <= 5


def test_changes_of_level_are_found_where_they_are() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        values = [level + 0.3 * rng.gauss(0, 1) for level in (0, 2, 1) for _ in range(40)]
        found = stats.level_changes(values)
        assert len(found) >= 2
        assert all(min(abs(place - true) for true in (40, 80)) <= 3 for place in found[:2])
    assert stats.level_changes([1.0] * 100) == []
    long = [0.0] * 6000 + [1.0] * 6000
    assert abs(stats.level_changes(long)[0] - 6000) <= 12000 // 512 + 1
