"""Whether two series hold the same numbers, and how little of that can be chance."""

from __future__ import annotations

import math
import random

import pytest

from mldiag import stats
from mldiag.stats import agreement


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([0.25, 0.375], 1e-3),
        ([1.0, 2.0], 1.0),
        ([1e-05, 0.5], 1e-5),
        ([300.0, 12.5], 0.1),
        ([math.pi, math.e], 1e-6),  # seven digits of the largest
        ([8.7e7, 2e3], 10.0),
        ([0.0, 0.0], 1.0),
    ],
)
def test_the_unit_is_that_of_the_last_written_digit(values: list[float], unit: float) -> None:
    assert stats.written_unit(values) == pytest.approx(unit)


def test_equal_series_agree_by_the_digits_of_their_moves() -> None:
    values = [1.0862, 0.8411, 0.6507]
    assert stats.same_digits(values, values) == pytest.approx(2 * math.log10(0.4355 / 1e-4))


def test_rounding_is_agreement_and_a_unit_more_is_not() -> None:
    fine = [1.08623, 0.84112, 0.65071]
    assert stats.same_digits(fine, [round(v, 2) for v in fine]) > 3
    assert stats.same_digits(fine, [1.09, 0.84, 0.67]) == 0


def test_a_constant_says_nothing() -> None:
    assert stats.same_digits([2.303] * 50, [2.303] * 50) == 0
    assert stats.same_digits([], []) == 0


def test_independent_readings_of_one_level_do_not_agree() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        first, second = ([round(rng.gauss(0.7, 0.02), 2) for _ in range(6)] for _ in range(2))
        assert stats.same_digits(first, second) < 8


def test_long_and_short_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    first = [round(rng.random(), 4) for _ in range(200)]
    second = [round(v, 3) for v in first]
    short = stats.same_digits(first, second)
    monkeypatch.setattr(agreement, "LONG", 1)
    assert stats.same_digits(first, second) == pytest.approx(short)
    assert stats.same_digits(first, [v + 0.01 for v in second]) == 0
