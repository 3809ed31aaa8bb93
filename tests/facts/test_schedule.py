"""The shape of logged learning rates, and the speed at which they run through the planned schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from given import run, series
from hypothesis import given as given_that, settings, strategies as st

from mldiag.errors import NotApplicable
from mldiag.facts._schedules import grain_of, kind_of, recognised
from mldiag.facts.schedule import Schedule, ScheduleCause, ScheduleKind as Kind

SMOOTH: dict[Kind, Callable[[float], float]] = {
    Kind.LINEAR: lambda u: 1 - u,
    Kind.COSINE: lambda u: 0.5 * (1 + math.cos(math.pi * u)),
    Kind.POLYNOMIAL: lambda u: (1 - u) ** 0.9,
}
PEAKS = st.sampled_from([2.5e-5, 1e-4, 3e-4, 6e-4, 1e-3, 0.02, 0.1])


def written(value: float, digits: int) -> float:
    """A rate as a log with so many significant digits gives it back."""
    return float(f"{value:.{digits - 1}e}")


def rates(kind: Kind, steps: Sequence[float], total: float, warmup: float, peak: float = 1e-3, floor: float = 0.0):
    """A schedule at some steps: a straight warm-up, then the decay to `floor` × peak at `total`."""
    found = []
    for step in steps:
        if step < warmup:
            found.append(peak * step / warmup)
        elif kind is Kind.CONSTANT:
            found.append(peak)
        elif kind is Kind.EXPONENTIAL:
            found.append(peak * math.exp(-3 * (step - warmup) / total))
        elif kind is Kind.INVERSE_SQRT:
            found.append(peak * math.sqrt(warmup / step))
        else:
            u = min((step - warmup) / (total - warmup), 1.0)
            found.append(peak * (floor + (1 - floor) * SMOOTH[kind](u)))
    return found


@st.composite
def places(draw: st.DrawFn, end: float, least: int = 30, most: int = 200) -> list[int]:
    """Steps logged irregularly up to about an end: each somewhere within its interval."""
    count = draw(st.integers(least, most))
    rng = draw(st.randoms(use_true_random=False))
    return sorted({max(1, round(end * (i + rng.random()) / count)) for i in range(count)})


@settings(max_examples=60)
@given_that(st.data())
def test_a_smooth_decay_is_recognised_with_its_end(data):
    kind = data.draw(st.sampled_from(list(SMOOTH)))
    total = data.draw(st.sampled_from([500, 3000, 20000]))
    warmup = total * data.draw(st.sampled_from([0, 0.03, 0.1]))
    steps = data.draw(places(total * data.draw(st.floats(0.6, 1.4))))
    digits = data.draw(st.sampled_from([3, 4, 7]))
    logged = [written(v, digits) if v else 0.0 for v in rates(kind, steps, total, warmup, data.draw(PEAKS))]
    shape = recognised(steps, logged)
    wanted = {kind, Kind.POLYNOMIAL} if kind is Kind.LINEAR else {kind, Kind.LINEAR}
    assert shape.kind in (wanted if kind is not Kind.COSINE else {kind})
    assert shape.end == pytest.approx(total, rel=0.04)


@settings(max_examples=40)
@given_that(st.data())
def test_a_floor_that_is_reached_is_seen(data):
    total, share = 5000, data.draw(st.sampled_from([0.01, 0.1, 0.2]))
    kind = data.draw(st.sampled_from(list(SMOOTH)))
    steps = data.draw(places(total * data.draw(st.floats(1.2, 3.0)), least=60))
    shape = recognised(steps, [written(v, 4) for v in rates(kind, steps, total, 100, 1e-3, share)])
    assert shape.reached
    assert shape.floor == pytest.approx(share * 1e-3, rel=0.01)
    assert shape.end == pytest.approx(total, rel=0.05)


@settings(max_examples=40)
@given_that(st.data())
def test_a_decay_without_an_end_has_none(data):
    kind = data.draw(st.sampled_from([Kind.EXPONENTIAL, Kind.INVERSE_SQRT, Kind.CONSTANT]))
    steps = data.draw(places(20000))
    shape = recognised(steps, [written(v, 4) for v in rates(kind, steps, 20000, 1000, data.draw(PEAKS))])
    assert shape.kind is kind
    assert shape.end is None


@settings(max_examples=40)
@given_that(st.data())
def test_steps_are_recognised_with_their_places(data):
    factor = data.draw(st.sampled_from([0.1, 0.2, 0.5]))
    steps = data.draw(places(9000, least=60))
    at = (4000.0, 7000.0)
    shape = recognised(steps, [written(1e-2 * factor ** sum(s >= x for x in at), 4) for s in steps])
    assert shape.kind is Kind.STEP
    assert shape.jumps == pytest.approx(at, abs=2 * 9000 / len(steps) + 1)


@settings(max_examples=40)
@given_that(st.data())
def test_warm_restarts_are_recognised(data):
    steps = data.draw(places(6000, least=90))
    wave = [1e-3 * SMOOTH[Kind.COSINE]((s % 1500) / 1500) for s in steps]
    shape = recognised(steps, [written(v, 4) for v in wave])
    assert shape.kind is Kind.RESTARTS
    assert 3 <= len(shape.jumps) <= 4  # a point within a jump makes two of it


def test_a_one_cycle_rises_as_a_cosine():
    steps = range(10, 1010, 10)
    up, down = SMOOTH[Kind.COSINE], SMOOTH[Kind.COSINE]
    logged = [1e-2 * (0.04 + 0.96 * (1 - up(s / 300)) if s < 300 else down((s - 300) / 700)) for s in steps]
    shape = recognised(steps, logged)
    assert shape.kind is Kind.ONE_CYCLE
    assert shape.end == pytest.approx(1000, rel=0.02)


@settings(max_examples=60)
@given_that(
    st.sampled_from([137, 420, 1000]),
    st.sampled_from([0, 20]),
    st.sampled_from([2, 4, 8]),
    st.sampled_from([12, 30, 80]),
)
def test_a_cosine_that_was_stepped_past_its_end_comes_back(total, warmup, times, points):
    steps = range(total // points, total * times + 1, total // points)
    cosine = SMOOTH[Kind.COSINE]
    logged = [s / warmup if s < warmup else cosine((s - warmup) / (total - warmup)) for s in steps]
    shape = recognised(steps, [written(1e-3 * v, 4) for v in logged])
    assert shape.kind is Kind.COSINE
    assert shape.reached
    assert shape.end == pytest.approx(total, rel=0.03)


@settings(max_examples=60)
@given_that(st.lists(st.floats(0.1, 1.0), min_size=12, max_size=80))
def test_random_rates_are_no_schedule(values):
    shape = recognised(range(1, len(values) + 1), values)
    # Chance makes a level or a rise of few points, never a decay that is followed to its end.
    assert shape.end is None or shape.error < 0.03


def test_few_points_of_a_small_part_leave_the_end_open():
    shape = recognised(range(42), [written(0.01 * (1 - (i + 1) / 1000) ** 0.9, 4) for i in range(42)])
    assert shape.ends is not None
    low, high = shape.ends
    assert low < 999 < high
    assert shape.end == pytest.approx(999, rel=0.02)  # a round number of epochs before one that is not


def test_a_staircase_is_the_schedule_that_moves_once_per_level():
    steps = range(2, 702, 2)
    logged = [written(1e-3 * SMOOTH[Kind.COSINE](((s - 1) // 14) / 50), 5) for s in steps]
    shape = recognised(steps, logged)
    assert shape.rung == pytest.approx(14)
    assert shape.kind is Kind.COSINE
    assert shape.end == pytest.approx(700, rel=0.03)


@pytest.mark.parametrize("epochs", [3, 4, 5, 7, 8, 12])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("every", [1, 7])
def test_a_rise_in_few_even_steps_is_straight(epochs, first, every):
    steps = range(every, 120 * epochs + 1, every)
    shape = recognised(list(steps), [1e-3 * ((s - 1) // 120 + first) / 60 for s in steps])
    assert shape.kind is Kind.RISING
    assert shape.slope == pytest.approx(1e-3 / 60 / 120, rel=0.05)
    assert shape.rung == pytest.approx(120, rel=0.05)
    assert shape.risen == epochs - 1


@pytest.mark.parametrize(
    "level", [lambda k: 1e-3 * 2**k / 60, lambda k: 1e-3 * min(k + 1, 3) / 60, lambda k: 1e-3 * (k + 1 + (k > 2)) / 60]
)
def test_levels_that_do_not_rise_evenly_are_no_stairs(level):
    steps = list(range(1, 601))
    shape = recognised(steps, [level((s - 1) // 120) for s in steps])
    assert shape.slope == 0 or shape.kind is not Kind.RISING


def test_rounding_to_one_digit_is_no_staircase():
    steps = range(100, 10100, 100)
    shape = recognised(steps, [round(9e-4 * (1 - s / 12000), 4) for s in steps])
    assert shape.rung == 0
    assert shape.kind is not Kind.STEP


@pytest.mark.parametrize(
    ("values", "unit", "digits"),
    [([0.001, 0.0009, 0.0004], 1e-4, 1), ([3.9e-05, 4.12e-05], 1e-7, 3), ([1 / 3, 2 / 7], 0.0, 0)],
)
def test_the_rounding_of_a_log_is_seen(values, unit, digits):
    grain = grain_of(values)
    assert (grain.unit, grain.digits) == (pytest.approx(unit), digits)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cosine", "cosine"),
        ("CosineAnnealingLR", "cosine"),
        ("cosine_with_restarts", "restarts"),
        ("CosineAnnealingWarmRestarts", "restarts"),
        ("warmup_cosine", "cosine"),
        ("get_linear_schedule_with_warmup", "linear"),
        ("LinearLR", ""),
        ("polynomial_decay", "polynomial"),
        ("WarmupPolyLR", "polynomial"),
        ("WarmupMultiStepLR", "step"),
        ("StepLR", "step"),
        ("OneCycleLR", "one-cycle"),
        ("constant_with_warmup", "constant"),
        ("inverse_sqrt", "inverse-sqrt"),
        ("ReduceLROnPlateau", "plateau"),
        ("ExponentialLR", "exponential"),
        ("warmup_stable_decay", "stable-decay"),
        ("CosineDecayRestarts", "restarts"),
        ("none", "constant"),
        ("mine", ""),
    ],
)
def test_names_of_the_frameworks_are_known(name, kind):
    assert kind_of(name) == kind


def logged(values: Sequence[float], steps: Sequence[float], **stated) -> Schedule:
    return run(series("lr", values, steps=steps), **stated).get(Schedule)


@settings(max_examples=60)
@given_that(st.data())
def test_the_time_scale_is_found(data):
    kind = data.draw(st.sampled_from(list(SMOOTH)))
    speed = data.draw(st.sampled_from([1.0, 2.0, 3.0, 4.0, 8.0]))
    total = data.draw(st.sampled_from([800, 5000]))
    warmup = total * data.draw(st.sampled_from([0.04, 0.1]))
    steps = data.draw(places(total, least=80, most=250))
    values = [written(v, 4) for v in rates(kind, [min(s * speed, total) for s in steps], total, warmup)]
    found = logged(values, steps, warmup_steps=warmup, lr=1e-3, total_steps=total, grad_accum=int(speed))
    assert found.scale == pytest.approx(speed, rel=0.06)
    if speed > 1:
        assert found.cause is ScheduleCause.MICRO_BATCH


@settings(max_examples=30)
@given_that(st.integers(4, 40), st.integers(20, 60))
def test_a_scheduler_stepped_once_per_epoch_is_found(each, epochs):
    total, warmup = each * epochs, 2 * epochs
    steps = range(2, total + 1, 2)
    values = [1e-3 * min(((s - 1) // each + 1) / warmup, 1) for s in steps]
    found = logged(values, steps, total_steps=total, warmup_steps=warmup, lr=1e-3, epochs=epochs, steps_per_epoch=each)
    assert found.scale == pytest.approx(1 / each, rel=0.1)
    assert found.cause is ScheduleCause.EPOCH


def test_a_log_in_micro_batches_of_a_right_schedule_has_scale_one():
    steps = range(5, 1685, 5)
    values = rates(Kind.COSINE, [s / 4 for s in steps], 420, 20)
    found = logged(values, steps, total_steps=420, warmup_steps=20, lr=1e-3, grad_accum=4)
    assert found.scale == pytest.approx(1, rel=0.02)
    assert found.axis_per_step == 4


def test_the_same_log_of_an_interrupted_run_does_not_decide():
    steps = range(5, 900, 5)
    values = rates(Kind.COSINE, [s / 4 for s in steps], 420, 20)
    found = logged(values, steps, total_steps=420, warmup_steps=20, lr=1e-3, grad_accum=4)
    assert found.scale == pytest.approx(1, rel=0.05)
    assert not found.sure


def test_a_warmup_that_may_be_epochs_is_not_compared():
    steps = range(10, 3010, 10)
    values = rates(Kind.COSINE, steps, 3000, 500)
    found = logged(values, steps, total_steps=3000, warmup=5, warmup_steps=None, lr=1e-3, epochs=30)
    assert all(x.what != "warm-up" for x in found.landmarks)


def test_parts_that_contradict_each_other_give_no_scale():
    steps = range(10, 1010, 10)
    found = logged(rates(Kind.LINEAR, steps, 1000, 100), steps, total_steps=1000, warmup_steps=400, lr=1e-3)
    assert len(found.landmarks) == 2
    assert found.scale is None


@given_that(st.lists(st.floats(0, 1), min_size=10, max_size=80), st.integers(1, 5000), st.integers(0, 500))
def test_any_rates_give_a_schedule_or_a_reason(values, total, warmup):
    try:
        found = logged(values, range(1, len(values) + 1), total_steps=total, warmup_steps=warmup, lr=0.5, grad_accum=2)
    except NotApplicable:
        return
    assert found.scale is None or found.scale > 0
