"""Weights of a sum, by numbers that were rounded before they were written."""

from __future__ import annotations

import math
import random

import pytest

from mldiag.stats.sums import nonnegative_weights, rounding, unexplained, weight_errors


def test_a_column_of_decimals_shares_one_unit() -> None:
    assert rounding([0.1234, 12.5123, 1.0]) == pytest.approx([5e-5, 5e-5, 5e-5])


def test_a_column_of_digits_has_a_unit_for_each_value() -> None:
    values = [float(f"{v:.3g}") for v in (0.1234, 12.345, 123.45, 0.5678)]
    assert rounding(values) == pytest.approx([5e-4, 0.05, 0.5, 5e-4])


def test_digits_beyond_float32_say_nothing() -> None:
    assert rounding([1 / 3, 200 / 3])[1] == pytest.approx(5e-7)


def test_zero_has_the_unit_of_the_decimals() -> None:
    assert rounding([0.0, 0.25])[0] == pytest.approx(0.005)


@pytest.mark.parametrize("seed", range(20))
def test_least_squares_finds_the_weights_of_noisy_columns(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.randint(1, 10)
    columns = [[10 ** rng.uniform(-2, 2) * rng.uniform(0.5, 1.5) for _ in range(60)] for _ in range(count)]
    true = [rng.choice([0.0, 0.1, 0.5, 1.0, 5.0]) for _ in range(count)]
    total = [math.fsum(w * c[i] for w, c in zip(true, columns, strict=True)) for i in range(60)]
    assert nonnegative_weights(total, columns, [1e-6] * 60) == pytest.approx(true, abs=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_the_weights_are_those_of_scipy(seed: int) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    import numpy as np

    rng = np.random.default_rng(seed)
    matrix, total = rng.normal(size=(40, 6)), rng.normal(size=40)
    found = nonnegative_weights(total.tolist(), matrix.T.tolist(), [1.0] * 40)
    expected, residual = optimize.nnls(matrix, total)
    assert np.linalg.norm(matrix @ np.array(found) - total) == pytest.approx(residual, rel=1e-6)
    assert found == pytest.approx(expected.tolist(), abs=1e-6)


def test_no_weight_is_below_zero() -> None:
    assert nonnegative_weights([1.0, 2.0, 3.0], [[-1.0, -2.0, -3.0]], [1.0] * 3) == [0.0]


def test_collinear_columns_end_and_explain_the_total() -> None:
    first = [1.0, 2.0, 4.0, 8.0]
    columns = [first, [2 * v for v in first], [0.5 * v for v in first]]
    found = nonnegative_weights([3 * v for v in first], columns, [1e-6] * 4)
    assert max(unexplained([3 * v for v in first], columns, found, [rounding(first)] * 4)) <= 1
    assert max(weight_errors(columns, [1e-6] * 4)) == math.inf


def test_what_rounding_explains_is_at_most_one() -> None:
    rng = random.Random(1)
    a, b = ([rng.uniform(0, 5) for _ in range(500)] for _ in range(2))
    total = [round(x + 2.5 * y, 3) for x, y in zip(a, b, strict=True)]
    a, b = [round(x, 3) for x in a], [round(y, 3) for y in b]
    errors = [rounding(c) for c in (total, a, b)]
    assert max(unexplained(total, [a, b], [1.0, 2.5], errors)) <= 1.0
    assert max(unexplained(total, [a, b], [1.0, 2.6], errors)) > 10
