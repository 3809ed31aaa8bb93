"""What of a series is judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from mldiag.artifacts import Metrics, Series, Source, floats
from mldiag.facts import curves
from mldiag.facts.curves import Curves, is_bounded_score, launches, prepared

NAN = math.nan


def series(
    data: Sequence[float],
    name: str = "train/loss",
    steps: Sequence[float] | None = None,
    epochs: Sequence[float] | None = None,
    nulls: tuple[int, ...] = (),
) -> Series:
    return Series(
        name,
        name,
        floats(data),
        Source("log.csv"),
        None if steps is None else floats(steps),
        None if epochs is None else floats(epochs),
        nulls=nulls,
    )


def test_a_step_that_goes_back_starts_a_new_launch() -> None:
    curve = prepared(series([3, 2, 1, 3, 2.5], steps=[1, 2, 3, 1, 2]))
    assert list(curve.values) == [3, 2.5]
    assert (curve.launch, curve.launches) == (2, 2)
    assert curve.place(1) == "step 2"


def test_a_step_that_counts_within_the_epoch_starts_no_launch() -> None:
    assert len(launches(series([3, 2, 1, 0.5], steps=[10, 20, 10, 20], epochs=[1, 1, 2, 2]))) == 1


def test_two_writers_in_one_file_are_one_launch_put_in_order() -> None:
    steps = [s for i in range(0, 100, 2) for s in (i + 2, i + 1)]
    parts = launches(series([100.0 - s for s in steps], steps=steps))
    assert [steps[i] for i in parts[0]] == sorted(steps)
    assert len(parts) == 1


def test_the_axis_of_a_log_out_of_order_is_in_order() -> None:
    steps = [float(s) for i in range(0, 100, 2) for s in (i + 2, i + 1)]
    curve = prepared(series([100 - s for s in steps], steps=steps))
    assert curve.axis("step") == sorted(steps)
    assert list(curve.values) == sorted(curve.values, reverse=True)


def test_a_long_series_is_prepared_like_a_short_one() -> None:
    data = [3.0] * 20_000
    steps = [float(i % 15_000) for i in range(20_000)]
    assert len(prepared(series(data, steps=steps))) == 5_000
    assert prepared(series([*data, NAN, 1.0], steps=range(20_002))).broken == 20_000
    assert len(prepared(series(data, steps=range(20_000)))) == 20_000


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_every_point_is_in_exactly_one_launch(steps: list[int]) -> None:
    parts = launches(series([1.0] * len(steps), steps=[float(s) for s in steps]))
    held = sorted(i for part in parts for i in part)
    # But for a last row that repeats the best iteration.
    assert held == list(range(len(steps))) or (held == list(range(len(steps) - 1)) and steps[-1] < steps[-2])


def test_a_last_row_that_repeats_the_best_iteration_is_no_launch() -> None:
    curve = prepared(series([5, 4, 3, 3.5, 4, 2.9], steps=[5, 10, 15, 20, 25, 13]))
    assert (list(curve.values), curve.launches) == ([5, 4, 3, 3.5, 4], 1)
    resumed = prepared(series([5, 4, 3, 3.5, 4, 2.9, 2.8], steps=[5, 10, 15, 20, 25, 13, 18]))
    assert (list(resumed.values), resumed.launches) == ([2.9, 2.8], 2)
    begun = prepared(series([5, 4, 3, 5], steps=[0, 5, 10, 0]))
    assert (list(begun.values), begun.launches) == ([5], 2)


def test_only_what_comes_before_the_first_broken_value_is_judged() -> None:
    curve = prepared(series([3, 2, NAN, 1, 1]))
    assert list(curve.values) == [3, 2]
    assert curve.broken == 2


def test_rows_between_two_evaluations_are_no_break() -> None:
    data = [NAN, NAN, 3, NAN, NAN, 2, NAN, NAN, 1, NAN]
    curve = prepared(series(data, "val/loss", nulls=(0, 1, 3, 4, 6, 7, 9)))
    assert list(curve.values) == [3, 2, 1]
    assert curve.broken is None


def test_evaluations_that_end_too_soon_are_a_break() -> None:
    data = [3, NAN, 2, NAN, 1, NAN, NAN, NAN, NAN, NAN, NAN]
    assert prepared(series(data, "val/loss", nulls=(1, 3, 5, 6, 7, 8, 9, 10))).broken is not None


def test_a_series_of_nulls_is_broken_from_the_first() -> None:
    curve = prepared(series([NAN] * 10, nulls=tuple(range(10))))
    assert (len(curve), curve.broken) == (0, 0)


def test_zeros_between_evaluations_are_left_out() -> None:
    assert list(prepared(series([0, 0, 2.1, 0, 2.0, 0, 1.9], "val/loss")).values) == [2.1, 2.0, 1.9]


def test_a_loss_that_falls_to_zero_keeps_its_zeros() -> None:
    assert list(prepared(series([2, 1, 0.01, 0, 0], "val/loss")).values) == [2, 1, 0.01, 0, 0]


def test_preference_tuning_is_no_reinforcement_learning() -> None:
    tuned = Curves(Metrics((series([0.1], "train/rewards_chosen"), series([0.5], "train/rewards_margins"))))
    assert tuned.reinforcement == ""
    assert Curves(Metrics((series([1.0], "train/ep_rew_mean"),))).reinforcement == "train/ep_rew_mean"


def test_a_discriminator_tells_adversarial_training() -> None:
    assert Curves(Metrics((series([1.0], "train/loss/d"), series([1.0], "train/loss/g")))).adversarial == "train/loss/d"
    assert Curves(Metrics((series([1.0], "train/loss/dice"),))).adversarial == ""


def test_a_part_of_a_loss_is_no_score() -> None:
    assert is_bounded_score("val/dice")
    assert not is_bounded_score("val/loss/dice")


def test_common_points_are_those_of_the_same_step() -> None:
    one = prepared(series([4, 3, 2, 1], steps=[10, 20, 30, 40]))
    other = prepared(series([2.5, 1.5, 0.5], "val/loss", steps=[20, 40, 60]))
    assert [list(places) for places in one.common(other)] == [[1, 3], [0, 1]]


def test_series_without_axes_are_common_where_they_are_as_long() -> None:
    one, other = prepared(series([4, 3])), prepared(series([5, 4], "val/loss"))
    assert [list(places) for places in one.common(other)] == [[0, 1], [0, 1]]
    assert [list(places) for places in one.common(prepared(series([5, 4, 3])))] == [[], []]


STEPS = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=40).map(sorted)


@given(STEPS, STEPS)
def test_long_and_short_series_have_the_same_common_points(first: list[float], second: list[float]) -> None:
    one, other = (prepared(series([1.0] * len(s), steps=s)) for s in (first, second))
    short = [list(places) for places in one.common(other)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "LONG", 1)
        assert [list(places) for places in one.common(other)] == short
