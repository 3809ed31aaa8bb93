"""The plan: stated, derived and done steps, each with what it rests on."""

from __future__ import annotations

import math

import pytest
from given import run, series, value, with_settings
from hypothesis import given as given_that, strategies as st

from mldiag.artifacts import Launch, Program, Role, Source
from mldiag.errors import NotApplicable
from mldiag.facts.plan import Plan


def plan_of(*args, **kwargs) -> Plan:
    found = run(*args, **kwargs).get(Plan)
    assert isinstance(found, Plan)
    return found


def test_epochs_times_steps_per_epoch_is_the_derived_length():
    plan = plan_of(total_steps=10_000, epochs=2, steps_per_epoch=41_653)
    assert plan.total_steps.value == 10_000
    assert plan.derived_steps.value == 83_306
    assert plan.derived_steps.how == "2 epochs × 41,653 steps"
    assert plan.run_steps.value == 10_000


@pytest.mark.parametrize("unset", [0, -1, 2**63 - 1, None, "auto", True, float("nan")])
def test_a_total_that_is_no_positive_count_is_derived_from_the_epochs(unset):
    plan = plan_of(total_steps=unset, epochs=2, steps_per_epoch=31_523)
    assert plan.total_steps is None
    assert plan.run_steps.value == 63_046


def test_what_the_run_recorded_stands_for_a_total_that_is_not_set():
    recorded = value("total_steps", 9411, key="max_steps", record=True)
    plan = with_settings(value("total_steps", -1, key="max_steps", record=True), recorded).get(Plan)
    assert plan.total_steps.value == 9411


def test_a_flag_of_zero_is_not_replaced_by_the_default_in_the_source():
    flag, default = value("total_steps", 0, Role.FLAG), value("total_steps", 10_000, Role.DEFAULT)
    plan = with_settings(flag, default, value("epochs", 2)).get(Plan)
    assert plan.total_steps is None


def test_a_default_is_certain_only_where_the_launch_is_known():
    assert not plan_of(epochs=10, role=Role.DEFAULT).epochs.certain
    launch = Launch("train.py", "python", (), Source("run.sh"))
    assert plan_of(epochs=10, role=Role.DEFAULT, program=Program(launch)).epochs.certain


def test_the_epochs_that_a_framework_lists_by_default_are_nobodys_choice():
    listed = with_settings(value("epochs", 3, key="num_train_epochs", record=True)).get(Plan)
    chosen = with_settings(value("epochs", 3, Role.FLAG, key="--num_train_epochs")).get(Plan)
    assert not listed.epochs.by_user
    assert chosen.epochs.by_user


def test_windows_batch_devices_and_accumulation_make_the_steps_of_an_epoch():
    plan = plan_of(train_windows=1000, batch_size=8, devices=2, grad_accum=4, epochs=3)
    assert plan.steps_per_epoch.value == 16  # ceil(ceil(1000 / 16) / 4)
    assert plan.derived_steps.value == 48


def test_the_log_tells_the_steps_of_an_epoch_where_nothing_states_them():
    plan = plan_of(series("val/loss", [1, 1, 1], steps=[7, 14, 21], epochs=[1, 2, 3]), epochs=25)
    assert plan.steps_per_epoch.value == 7
    assert plan.derived_steps.value == 175


def test_a_step_that_starts_again_each_epoch_does_not_count_as_progress():
    log = series("train/loss", [1] * 4, steps=[100, 200, 100, 200], epochs=[1, 1, 2, 2])
    plan = plan_of(log, total_steps=400)
    assert plan.done_steps is None
    assert plan.done_epochs.value == 2


def test_epochs_counted_from_zero_are_one_more_than_the_last_number():
    assert plan_of(series("val/loss", [1, 1, 1], epochs=[0, 1, 2])).done_epochs.value == 3
    assert plan_of(series("val/loss", [1, 1, 1], epochs=[1, 2, 3])).done_epochs.value == 3
    assert plan_of(series("val/loss", [1, 1, 1], epochs=[0, 0.5, 1.5])).done_epochs.value == 1.5


def test_an_epoch_that_a_summary_names_alone_may_be_counted_from_zero():
    assert plan_of(series("train/loss", [0.5], epochs=[4]), epochs=5).finished
    assert not plan_of(series("train/loss", [0.5], epochs=[3]), epochs=5).finished
    assert not plan_of(series("train/loss", [0.7, 0.5], epochs=[3, 4]), epochs=5).finished


def test_a_run_that_did_all_its_epochs_is_as_long_as_its_log():
    log = series("train/loss", [1] * 30, steps=[7 * i for i in range(1, 31)], epochs=range(1, 31))
    assert plan_of(log, epochs=30).run_steps.value == 210
    cut = series("train/loss", [1] * 10, steps=[7 * i for i in range(1, 11)])
    assert plan_of(cut, epochs=30).run_steps is None


def test_a_total_that_the_log_has_passed_is_not_the_length_of_the_run():
    plan = plan_of(series("train/loss", [1] * 3, steps=[100, 200, 300]), total_steps=50)
    assert plan.run_steps.value == 300


def test_a_warmup_ratio_is_taken_of_the_steps_that_run():
    plan = plan_of(warmup_ratio=0.1, total_steps=500)
    assert plan.warmup_steps.value == 50
    assert plan_of(warmup_steps=0.2, total_steps=500).warmup_steps.value == 100
    assert plan_of(warmup_steps=30, warmup_ratio=0.1, total_steps=500).warmup_steps.value == 30


def test_the_rising_part_of_a_one_cycle_schedule_is_no_warmup():
    plan = with_settings(value("warmup_ratio", 0.3, key="scheduler.pct_start"), value("total_steps", 100)).get(Plan)
    assert plan.warmup_steps is None


def test_without_any_length_there_is_no_plan():
    with pytest.raises(NotApplicable, match="how long the run is"):
        run(lr=0.1).get(Plan)


@given_that(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
def test_any_column_of_numbers_gives_a_finite_progress_or_none(column):
    try:
        plan = run(series("train/loss", [1.0] * len(column), steps=column, epochs=column)).get(Plan)
    except NotApplicable:
        return
    for amount in (plan.done_steps, plan.done_epochs):
        assert amount is None or (math.isfinite(amount.value) and amount.value > 0)
    assert plan.step_interval >= 0


def test_a_long_log_is_as_far_as_a_short_one():
    steps = [5.0 * i for i in range(1, 12_001)]
    plan = plan_of(series("train/loss", [1.0] * 12_000, steps=steps, epochs=[s / 6000 for s in steps]))
    assert plan.done_steps.value == 60_000
    assert plan.step_interval == 5
    assert plan.done_epochs.value == 10
