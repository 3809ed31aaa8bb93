"""Which train and validation losses are put side by side, and what their levels are."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import given
import pytest
from msgspec.structs import replace

from mldiag.artifacts import Metrics, Series
from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curves, is_bounded_score
from mldiag.facts.loss_pair import LossPair, ScorePair, loss_pair, score_pair


def series(values: Sequence[float], name: str = "train/loss", **columns: Sequence[float]) -> Series:
    return given.series(name, values, **columns)


def losses(*found: Series) -> LossPair:
    return loss_pair(Curves(Metrics(found)))


def scores(*found: Series) -> ScorePair:
    return score_pair(Curves(Metrics(found)))


def test_the_founding_case_has_its_gaps_and_its_transfer() -> None:
    pair = losses(series([3.36, 2.93], epochs=[1, 2]), series([4.24, 4.20], "val/loss", epochs=[1, 2]))
    assert (pair.first_gap, pair.gap) == (pytest.approx(0.88), pytest.approx(1.27))
    assert pair.transfer == pytest.approx(0.04 / 0.43)
    assert pair.late_transfer is None
    assert pair.mismatch == ""


def test_the_train_level_is_the_mean_since_the_evaluation_before() -> None:
    pair = losses(series([4, 2, 1, 3], steps=[10, 20, 30, 40]), series([3.0, 2.5], "val/loss", steps=[20, 40]))
    assert list(pair.train_levels) == [3, 2]


def test_an_evaluation_before_the_training_has_no_train_level() -> None:
    pair = losses(series([4, 2, 1], steps=[10, 20, 30]), series([4.1, 2.2, 1.3], "val/loss", steps=[0, 20, 30]))
    assert list(pair.train_levels) == [3, 1]
    assert list(pair.val_levels) == [2.2, 1.3]
    assert [pair.place(0), pair.place(1)] == ["step 20", "step 30"]
    assert [pair.until(1).place(0), len(pair.until(1))] == ["step 20", 1]


def test_without_a_common_axis_equal_shares_of_the_run_are_equal_times() -> None:
    pair = losses(series([4, 3, 2, 1], steps=[1, 2, 3, 4]), series([4, 2], "val/loss", epochs=[1, 2]))
    assert list(pair.train_levels) == [3.5, 1.5]


def test_what_is_printed_while_evaluating_is_one_evaluation() -> None:
    val = series([2.0, 4.0, 3.0, 1.0, 2.0, 3.0], "val/loss", epochs=[1, 1, 1, 2, 2, 2])
    pair = losses(series([4, 2], epochs=[1, 2]), val)
    assert list(pair.val_levels) == [3, 2]
    assert [pair.place(0), pair.at(1)] == ["epoch 1", val.at(5)]


def test_a_sum_against_a_mean_is_a_mismatch() -> None:
    pair = losses(series([115.2, 60.4]), series([1.8, 1.2], "val/loss"))
    assert "not the same quantity" in pair.mismatch


def test_a_fast_start_is_no_mismatch() -> None:
    assert losses(series([2.3, 0.1, 0.05]), series([1.1, 0.9, 0.8], "val/loss")).mismatch == ""


def test_negative_losses_are_no_mismatch() -> None:
    assert losses(series([-0.1, -0.9]), series([-0.05, -0.8], "val/loss")).mismatch == ""


def test_a_component_is_not_held_against_the_total() -> None:
    with pytest.raises(NotApplicable):
        losses(series([6.2, 6.1]), series([0.3, 0.2], "train/loss/bce"), series([0.3, 0.2], "val/loss/bce"))


def test_an_evaluation_set_of_its_own_stands_for_the_split() -> None:
    pair = losses(series([2.0, 1.0]), series([2.1, 1.9], "val/loss/hard_set"))
    assert pair.val.name == "val/loss/hard_set"


def test_errors_stand_for_losses_where_there_is_no_loss() -> None:
    pair = losses(series([0.5, 0.1], "train/rmse"), series([0.6, 0.4], "val/rmse"))
    assert pair.quantity == "rmse"


def test_one_evaluation_is_no_pair() -> None:
    with pytest.raises(NotApplicable, match="at least twice"):
        losses(series([2.0, 1.0]), series([1.5], "val/loss"))


def test_a_train_loss_that_does_not_fall_has_no_transfer() -> None:
    assert losses(series([1.0, 1.1]), series([1.5, 1.2], "val/loss")).transfer is None


def test_a_late_rise_is_counted_in_its_errors() -> None:
    pair = losses(series([3, 2, 1.5, 1, 0.7, 0.5, 0.3, 0.2]), series([3, 2, 1.8, 1.7, 1.8, 2.0, 2.2, 2.5], "val/loss"))
    assert pair.late_transfer is not None
    assert pair.late_transfer < 0
    assert pair.late_rise > 2


def test_percent_are_fractions() -> None:
    pair = scores(series([60, 99], "train/accuracy"), series([58, 62], "val/accuracy"))
    assert pair.end == (pytest.approx(0.99), pytest.approx(0.62))
    assert pair.transfer == pytest.approx(4 / 39)


@pytest.mark.parametrize("name", ["val/accuracy", "val/f1", "test/384_acc1", "val/ndcg@10", "train/macro_f1"])
def test_scores_are_known_by_name(name: str) -> None:
    assert is_bounded_score(name)


@pytest.mark.parametrize("name", ["train/loss", "val/perplexity", "train/runtime", "train/accumulation", "val/mae"])
def test_other_quantities_are_no_scores(name: str) -> None:
    assert not is_bounded_score(name)


def test_of_a_train_loss_that_is_nothing_from_the_first_to_the_last_no_share_is_transferred() -> None:
    pair = losses(series([0.0, 0.0, 0.0]), series([1.0, 1.5, 2.0], "val/loss"))
    assert pair.transfer is None


def test_evaluations_counted_as_steps_are_spread_over_the_run() -> None:
    pair = losses(
        series([4, 3, 2, 1], steps=[100, 200, 300, 400]), series([4, 3, 2, 1], "val/loss", steps=[1, 2, 3, 4])
    )
    assert list(pair.train_levels) == [4, 3, 2, 1]


def test_training_counted_by_epoch_is_spread_over_the_steps_of_validation() -> None:
    pair = losses(series([4, 3, 2], steps=[0, 1, 2]), series([4, 3, 2], "val/loss", steps=[500, 1000, 1500]))
    assert list(pair.train_levels) == [4, 3, 2]


def test_an_evaluation_of_an_earlier_launch_has_no_train_level() -> None:
    pair = losses(
        series([2.0, 1.9, 1.8, 1.7], steps=[450, 460, 470, 480]),
        series([4.0, 3.0, 2.1, 1.8], "val/loss", steps=[250, 350, 460, 480]),
    )
    assert list(pair.val_levels) == [2.1, 1.8]


def test_launches_that_cannot_be_told_apart_are_no_pair() -> None:
    train = series([4, 3, 2, 4, 3, 2], steps=[1, 2, 3, 1, 2, 3])
    with pytest.raises(NotApplicable):
        losses(train, series([4, 3, 2], "val/loss", steps=[1, 2, 3]))


def test_lines_tell_which_launch_an_evaluation_belongs_to() -> None:
    def lined(name: str, values: list[float], steps: list[float], lines: list[int]) -> Series:
        found = series(values, name, steps=steps)
        return replace(found, lines=array("q", lines))

    train = lined("train/loss", [4, 3, 2, 5, 4, 3], [1, 2, 3, 1, 2, 3], [1, 2, 3, 6, 8, 10])
    val = lined("val/loss", [3.5, 3.1, 2.7, 2.2], [1.0, 2.0, 2.5, 3.0], [4, 9, 11, 12])
    pair = losses(train, val)
    assert list(pair.val_levels) == [3.1, 2.7, 2.2]
    assert list(pair.train_levels) == [4.5, 4, 3]


def test_of_several_evaluation_sets_the_nearest_to_training_is_judged() -> None:
    pair = losses(
        series([2.0, 1.0]), series([3.0, 2.9], "val/loss/another_country"), series([2.1, 1.2], "val/loss/same_street")
    )
    assert pair.val.name == "val/loss/same_street"
