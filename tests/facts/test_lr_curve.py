"""The shape of the logged learning rate."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from given import run, series
from hypothesis import given as given_that, strategies as st

from mldiag.errors import NotApplicable
from mldiag.facts.lr_curve import LrCurve


def logged(rates, every: int = 10) -> LrCurve:
    rates = list(rates)
    return run(series("lr", rates, steps=[every * (i + 1) for i in range(len(rates))])).get(LrCurve)


def cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


@given_that(st.integers(20, 200), st.floats(1.3, 6.0))
def test_a_cut_linear_decay_is_followed_to_its_end(points, longer):
    length = longer * points
    # Round rates, such as 0.001 and 0.00099, may have been rounded: then other ways down fit as well.
    shape = logged(1e-3 / 3 * (1 - i / length) for i in range(points))
    assert shape.end == pytest.approx(10 * (length + 1), rel=0.01)


@given_that(st.integers(30, 200), st.floats(1.3, 4.0))
def test_a_cut_cosine_decay_is_followed_to_its_end(points, longer):
    length = longer * points
    shape = logged(1e-3 * cosine(i / length) for i in range(points))
    assert shape.end == pytest.approx(10 * length, rel=0.1)


@given_that(st.integers(20, 200), st.floats(0.02, 0.9))
def test_an_exponential_decay_has_no_end(points, last):
    assert logged(1e-3 * last ** (i / points) for i in range(points)).end is None


def test_a_decay_in_steps_and_a_constant_rate_have_no_end():
    assert logged([1e-3] * 20 + [1e-4] * 20).end is None
    assert logged([1e-3] * 40).end is None


def test_a_decay_after_a_warmup_and_a_level_part_is_followed_from_where_it_starts():
    rates = [1e-4 * i for i in range(1, 11)] + [1e-3] * 20 + [1e-3 * (1 - i / 100) for i in range(1, 31)]
    shape = logged(rates)
    assert shape.rises
    assert shape.peak == 9
    assert shape.end == pytest.approx(10 * (30 + 100), rel=0.01)


def test_the_peak_is_placed_from_the_first_logged_step():
    shape = logged([1e-4 * i for i in range(1, 7)] + [4e-4, 3e-4, 2e-4, 1e-4])
    assert shape.peak_share == pytest.approx(0.6)
    assert shape.last_ratio == pytest.approx(1 / 6)


def test_a_rate_that_starts_high_or_falls_on_its_way_does_not_rise():
    assert not logged([6e-4, 7e-4, 8e-4, 9e-4, 1e-3] + [9e-4] * 10).rises
    assert not logged([1e-4, 5e-4, 1e-4, 5e-4, 1e-3] + [9e-4] * 10).rises


def test_few_rates_show_no_shape():
    with pytest.raises(NotApplicable, match="only 5 learning rates"):
        logged([1e-3] * 5)


def test_rates_of_zero_show_no_shape():
    with pytest.raises(NotApplicable, match="never above zero"):
        logged([0.0] * 20)


@given_that(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60))
def test_any_rates_give_a_finite_shape_or_none(rates):
    try:
        shape = logged(rates)
    except NotApplicable:
        return
    assert 0 <= shape.peak_share <= 1
    assert shape.end is None or shape.end > 0


def test_a_rate_that_two_loggers_wrote_counts_once():
    rates = [1e-3 * (1 - i / 60) for i in range(20)]
    doubled = series(
        "lr", [r for r in rates for _ in range(2)], steps=[10.0 * i for i in range(1, 21) for _ in range(2)]
    )
    shape = run(doubled).get(LrCurve)
    assert len(shape.values) == 20
    assert shape.end == pytest.approx(610)


@given_that(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0.0, 1e-3, 5e-4, 1e-4])), min_size=10, max_size=40))
def test_rates_logged_several_times_at_one_step_are_no_defect(points):
    ordered = sorted(points)
    found = run(series("lr", [rate for _, rate in ordered], steps=[step for step, _ in ordered]))
    with suppress(NotApplicable):
        assert found.get(LrCurve).peak >= 0


@given_that(st.integers(60, 400), st.floats(2.5, 8.0))
def test_a_cut_polynomial_decay_is_followed_by_its_exponent(points, longer):
    length = round(longer * points)
    shape = logged(float(f"{0.01 * (1 - i / length) ** 0.9:.4e}") for i in range(points))
    assert shape.shape.power == pytest.approx(0.9, abs=0.11)
    assert shape.ends is not None
    low, high = shape.ends
    assert 0.98 * low <= 10 * (length + 1) <= 1.02 * high


def test_nnunets_decay_is_followed_to_a_thousand_epochs():
    rates = [float(f"{0.01 * (1 - (e + 1) / 1000) ** 0.9:.6f}") for e in range(262)]
    shape = run(series("lr", rates, epochs=range(262))).get(LrCurve)
    assert shape.end == pytest.approx(999, rel=0.01)


def test_rates_logged_often_in_an_epoch_lie_within_it():
    epochs = [e for e in range(5) for _ in range(8)]
    rates = [1e-3 * (1 - i / 80) for i in range(40)]
    shape = run(series("lr", rates, epochs=epochs)).get(LrCurve)
    assert len(shape.values) == 40
    assert shape.axis[9] == pytest.approx(1.125)
    assert shape.end == pytest.approx(10, rel=0.01)
