"""The numerics against distributions whose answer is known."""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from mldiag import stats

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(values)
def test_median_is_that_of_the_standard_library(data: list[float]) -> None:
    assert stats.median(data) == pytest.approx(statistics.median(data))


def test_median_of_a_long_series_is_the_same_with_numpy() -> None:
    rng = random.Random(1)
    data = [rng.gauss(0, 1) for _ in range(stats.LONG + 1)]
    assert stats.median(data) == statistics.median(data)


def test_levels_of_nothing_are_errors() -> None:
    for function in (stats.median, stats.mean):
        with pytest.raises(ValueError, match="no values"):
            function([])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sigma", [0.01, 1.0, 40.0])
def test_spread_of_normal_values_is_their_standard_deviation(seed: int, sigma: float) -> None:
    rng = random.Random(seed)
    assert stats.spread([rng.gauss(7, sigma) for _ in range(4000)]) == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "curve", [lambda t: 0.0, lambda t: 5 - 4 * t, lambda t: 3 * math.exp(-4 * t), lambda t: math.sin(3 * t)]
)
def test_noise_is_found_under_a_trend(seed: int, curve: object) -> None:
    rng = random.Random(seed)
    assert callable(curve)
    data = [curve(i / 2000) + rng.gauss(0, 0.05) for i in range(2000)]
    assert stats.noise(data) == pytest.approx(0.05, rel=0.08)


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_moved_by_spikes(seed: int) -> None:
    rng = random.Random(seed)
    data = [2 + rng.gauss(0, 0.05) + (50 if i % 50 == 7 else 0) for i in range(2000)]
    assert stats.noise(data) == pytest.approx(0.05, rel=0.15)


def test_noise_of_a_long_series_is_the_same_with_numpy() -> None:
    rng = random.Random(3)
    data = [rng.gauss(0, 1) for _ in range(stats.LONG)]
    assert stats.noise(data) == pytest.approx(stats.noise(data[:-1]), rel=0.01)
    assert stats.noise(data) == pytest.approx(1.0, rel=0.04)


@given(st.floats(-100, 100), st.floats(-10, 10), st.integers(3, 40))
def test_a_straight_line_has_no_noise(start: float, slope: float, n: int) -> None:
    assert stats.noise([start + slope * i for i in range(n)]) == pytest.approx(0, abs=1e-9)


def test_two_values_tell_nothing_of_the_noise() -> None:
    assert stats.noise([1.0, 5.0]) == 0


@given(values, st.integers(1, 20))
def test_bins_stay_within_the_values_and_the_limit(data: list[float], limit: int) -> None:
    binned = stats.binned(data, limit)
    assert len(binned) == min(limit, len(data))
    assert min(data) <= min(binned) <= max(binned) <= max(data)


def test_bins_keep_the_level_through_a_spike() -> None:
    data = [1.0] * 5000
    data[777] = 1e6
    assert stats.binned(data) == [1.0] * 512


@given(st.integers(1, 500), st.floats(0, 1), st.integers(1, 20))
def test_a_window_is_never_empty_and_never_more_than_half(n: int, share: float, least: int) -> None:
    size = stats.window_size(n, share, least)
    assert 1 <= size <= max(1, n // 2)


def test_one_value_at_either_end_is_no_level() -> None:
    data = [9.0, 1, 1, 1, 1, 1, 1, 1, 1, 9.0]
    assert stats.head_level(data) == 1
    assert stats.tail_level(data) == 1


def test_two_values_are_levels_of_their_own() -> None:
    assert (stats.head_level([3.36, 2.93]), stats.tail_level([3.36, 2.93])) == (3.36, 2.93)


@given(values)
def test_the_best_level_is_no_lower_than_the_lowest_value(data: list[float]) -> None:
    place, level = stats.best_level(data)
    assert min(data) <= level <= max(data)
    assert 0 <= place < len(data)


def test_a_single_lucky_value_is_not_the_best_level() -> None:
    data = [5.0, 4, 3, 0.1, 3, 2, 2, 2, 3, 3, 3, 3]
    assert stats.best_level(data) == (7, 2)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_largest_rise_of_single_values_is_that_of_the_best_pair(data: list[float]) -> None:
    pairs = [b - a for i, a in enumerate(data) for b in data[i:]]
    assert stats.largest_rise(data, 1) == max(pairs)


@pytest.mark.parametrize("count", [3, 11, 51])
def test_the_error_of_a_level_is_that_of_simulated_medians(count: int) -> None:
    rng = random.Random(count)
    medians = [stats.median([rng.gauss(0, 2) for _ in range(count)]) for _ in range(3000)]
    assert stats.level_error(2, count) == pytest.approx(statistics.pstdev(medians), rel=0.1)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=100, unique=True))
def test_a_sorted_series_has_the_extreme_trend(data: list[int]) -> None:
    rising = sorted(float(v) for v in data)
    assert stats.trend(rising) == 1
    assert stats.trend(rising[::-1]) == -1


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_has_no_trend(seed: int) -> None:
    rng = random.Random(seed)
    n = 60
    deviation = math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))
    assert abs(stats.trend([rng.gauss(0, 1) for _ in range(n)])) < 4 * deviation


def test_constant_values_have_no_trend() -> None:
    assert stats.trend([1.0] * 20) == 0


@pytest.mark.parametrize("n", [20, 60, 400])
def test_noise_alone_is_said_to_fall_in_one_of_twenty(n: int) -> None:
    rng = random.Random(n)
    share = sum(stats.falls([rng.gauss(0, 1) for _ in range(n)]) for _ in range(400)) / 400
    assert share == pytest.approx(0.05, abs=0.035)


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_fall_under_noise_is_seen(seed: int) -> None:
    rng = random.Random(seed)
    data = [3 - 0.01 * i + rng.gauss(0, 0.3) for i in range(100)]
    assert stats.falls(data)
    assert not stats.noise_explains(data, 1.0)


def test_noise_explains_a_lucky_start() -> None:
    rng = random.Random(2)
    data = [3 + rng.gauss(0, 0.2) for _ in range(100)]
    assert stats.noise_explains(data, 0.3)
    assert not stats.noise_explains(data, 1.5)
    assert not stats.noise_explains(data[:10], 0.0)


def test_the_range_is_relative_to_the_first_value() -> None:
    assert stats.relative_range([2.0, 1.0, 3.0]) == 1
    assert stats.relative_range([0.0, 0.0]) == 0


def test_short_series_need_no_numpy() -> None:
    code = (
        "import sys; from mldiag import stats; d = [float(i % 7) for i in range(9000)];"
        "stats.noise(d); stats.binned(d); stats.best_level(stats.binned(d)); stats.trend(d);"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
