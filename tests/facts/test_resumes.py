"""Where a log goes on after a stop, and what its counter, rate and loss did there."""

from __future__ import annotations

import math

import pytest
from given import run, series
from hypothesis import given as given_that, strategies as st

from mldiag.errors import NotApplicable
from mldiag.facts.resumes import Resume, Resumes


def decay(step: float, total: float = 400.0, warmup: float = 20.0) -> float:
    return 1e-3 * (
        step / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    )


def loss(step: float) -> float:
    return 0.5 + 3 / (1 + step / 50)


def found(steps, losses=None, rates=None) -> tuple[Resume, ...]:
    logs = [series("train/loss", losses, steps=steps)] if losses is not None else []
    logs += [series("lr", rates, steps=steps)] if rates is not None else []
    return run(*logs).get(Resumes).items


FIRST = list(range(10, 301, 10))


def test_a_counter_that_begins_again_with_the_weights_of_the_launch_before():
    steps = [*FIRST, *FIRST]
    (resume,) = found(steps, [loss(s) for s in FIRST] + [loss(300 + s) for s in FIRST], [decay(s) for s in steps])
    assert resume.restarted
    assert resume.carried
    assert (resume.before, resume.after) == (300, 10)
    assert resume.rate_before == pytest.approx(decay(300))
    assert resume.rate_after == pytest.approx(decay(10))
    assert resume.repeats == len(FIRST)


def test_a_fresh_start_carries_nothing():
    (resume,) = found([*FIRST, *FIRST], [loss(s) for s in FIRST] * 2)
    assert resume.carried is False


def test_a_loss_that_hardly_fell_does_not_tell():
    flat = [3.0 - 0.0005 * s for s in FIRST]
    (resume,) = found([*FIRST, *FIRST], flat * 2)
    assert resume.carried is None


def test_a_rollback_is_held_against_the_launch_before_at_the_same_step():
    back = list(range(215, 401, 10))  # between two steps of the first launch
    steps = [*FIRST, *back]
    (resume,) = found(steps, [loss(s) for s in steps], [decay(s) for s in steps])
    assert not resume.restarted
    assert resume.expected_loss == pytest.approx(resume.loss_after, rel=0.03)
    assert resume.expected_rate == pytest.approx(resume.rate_after, rel=0.01)
    assert resume.scheduled


def test_a_warmup_that_crosses_the_old_rate_is_followed_to_its_top():
    back = list(range(210, 401, 10))
    rates = [decay(s) for s in FIRST] + [5.2e-4, 7e-4, 1e-3, *(1e-3 - 1e-6 * s for s in back[3:])]
    (resume,) = found([*FIRST, *back], [loss(s) for s in [*FIRST, *back]], rates)
    assert resume.expected_rate == pytest.approx(resume.rate_after, rel=0.1)
    assert resume.risen_rate == pytest.approx(1e-3)
    assert resume.left == pytest.approx(0.5, abs=0.02)


def cyclic(step: float) -> float:
    return 0.5e-3 * (1 + math.cos(math.pi * (step % 160) / 160))


@pytest.mark.parametrize(
    "rate",
    [
        lambda s: 1e-6 * s,  # still in its warm-up
        decay,
        lambda s: 1e-3 if s < 250 else 1e-4,
        lambda s: 1e-3,
        cyclic,  # had cycles before
        lambda s: cyclic(s / 2.2),  # begins its second cycle later
    ],
)
def test_a_proper_resume_has_no_rate_that_rose_again(rate):
    for first in (210, 215, 290):
        back = list(range(first, 700, 10))
        steps = [*FIRST, *back]
        (resume, *hidden) = found(steps, [loss(s) for s in steps], [rate(s) for s in steps])
        assert resume.after == first
        assert all(r.risen_rate is None for r in [resume, *hidden])


def test_the_losses_that_were_lower_before_count_what_was_lost():
    back = list(range(210, 401, 10))
    losses = [loss(s) for s in FIRST] + [loss(s - 160) for s in back]
    (resume,) = found([*FIRST, *back], losses)
    assert resume.lost == pytest.approx(14 / 20, abs=0.05)


def test_long_logs_are_judged_as_short_ones():
    back = list(range(210, 401, 10))
    short = [*FIRST, *back]
    dense = [s / 1000 for s in range(10_000, 300_001, 10)] + [s / 1000 for s in range(210_000, 400_001, 10)]
    rate = {len(short): [], len(dense): []}
    for steps in (short, dense):
        split = next(i for i in range(1, len(steps)) if steps[i] < steps[i - 1])
        rate[len(steps)] = [decay(s) if i < split else decay(s - 200) for i, s in enumerate(steps)]
        losses = [loss(s) if i < split else loss(s - 160) for i, s in enumerate(steps)]
        (resume,) = found(steps, losses, rate[len(steps)])
        assert resume.risen_rate == pytest.approx(1e-3, rel=0.01)
        assert resume.lost == pytest.approx(0.7, abs=0.1)


def test_a_resume_between_two_points_may_lie_on_either_side_of_a_step():
    back = list(range(205, 401, 10))
    steps = [*FIRST, *back]
    for last_high in (203, 207):
        rates = [1e-2 if s <= last_high else 1e-3 for s in steps]
        (resume,) = found(steps, [loss(s) for s in steps], rates)
        assert resume.expected_rate == resume.rate_after


def test_rates_that_repeat_while_the_counter_goes_on():
    steps = [*FIRST, *range(310, 611, 10)]
    (resume,) = found(steps, rates=[decay(s if s <= 300 else s - 300) for s in steps])
    assert not resume.restarted
    assert resume.after == 310
    assert resume.repeats >= 30


def test_rates_that_warm_up_again_to_another_schedule():
    steps = [*FIRST, *range(310, 611, 10)]
    (resume,) = found(steps, rates=[1e-3 * s / 300 if s <= 300 else 1e-3 * s / 1000 for s in steps])
    assert resume.warms_up == 31
    assert not resume.repeats


@pytest.mark.parametrize("rates", [[1e-3] * 60, [1e-3 * 0.98**i for i in range(60)], [1e-3] * 30 + [1e-4] * 30])
def test_ordinary_rates_begin_nothing_again(rates):
    assert found(range(10, 610, 10), rates=rates) == ()


def test_one_launch_without_rates_has_nothing_to_compare():
    with pytest.raises(NotApplicable, match="one launch"):
        found(FIRST, [loss(s) for s in FIRST])


@given_that(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=80))
def test_any_log_gives_resumes_or_a_reason(rows):
    try:
        for resume in found([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]):
            assert resume.number >= 2
    except NotApplicable:
        return
