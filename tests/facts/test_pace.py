"""How fast a run went, by whatever it logged of that."""

from __future__ import annotations

import pytest
from given import run, series

from mldiag.artifacts import Series, Source, floats
from mldiag.errors import NotApplicable
from mldiag.facts.pace import Pace
from mldiag.vocabulary import series_name

STEPS = list(range(10, 410, 10))


def named(raw: str, values: list[float], unit: str | None = None) -> Series:
    return Series(series_name(raw), raw, floats(values), Source("log.jsonl"), floats(STEPS[: len(values)]), unit=unit)


@pytest.mark.parametrize(
    "raw",
    ["tokens_per_s", "tok/s", "samples/sec", "img/s", "it/s", "throughput(tps)", "tgs", "charts/SPS", "fps", "mfu"],
)
def test_work_per_second_is_a_throughput(raw: str) -> None:
    found = run(named(raw, [2.0] * 40)).get(Pace)
    assert (found.basis, found.falls, found.seconds[0]) == ("throughput", True, 0.5)


@pytest.mark.parametrize(
    "raw",
    [
        "step_time",
        "iter_time",
        "batch time",
        "ms/step",
        "dt",
        "elapsed time per iteration (ms)",
        "perf/step_time",
        "s/it",
    ],
)
def test_the_time_of_a_step(raw: str) -> None:
    found = run(named(raw, [2.0, 3.0] * 20)).get(Pace)
    assert (found.basis, found.falls, found.seconds[0]) == ("step time", False, 2.0)


def test_throughput_goes_before_the_time_of_a_step_which_goes_before_that_of_an_epoch() -> None:
    logged = [named("epoch_time", [60.0, 61.0] * 5), named("step_time", [0.5, 0.6] * 5)]
    assert run(*logged).get(Pace).name == "step_time"
    assert run(logged[0]).get(Pace).basis == "epoch time"
    assert run(*logged, named("tokens_per_s", [100.0] * 10)).get(Pace).name == "tokens_per_s"


def test_times_that_add_up_are_taken_apart() -> None:
    found = (
        run(named("Passed", [0.5 * (i + 1) for i in range(40)])).get(Pace) if series_name("Passed") == "time" else None
    )
    found = found or run(named("time", [0.5 * (i + 1) for i in range(40)])).get(Pace)
    assert list(found.seconds) == pytest.approx([0.5] * 39)


def test_a_step_that_takes_longer_and_longer_does_not_add_up() -> None:
    values = [2.0 + 0.05 * i for i in range(40)]
    assert list(run(named("step_time", values)).get(Pace).seconds) == values


@pytest.mark.parametrize(
    "raw", ["val/samples_per_second", "eval_steps_per_second", "time/fps", "lr", "data_time", "eta"]
)
def test_what_is_no_speed_of_training(raw: str) -> None:
    with pytest.raises(NotApplicable):
        run(named(raw, [2.0, 3.0] * 20)).get(Pace)


def test_the_clock_beside_the_loss_gives_seconds_per_step() -> None:
    loss = series("train/loss", [1.0] * 40, steps=STEPS, times=[100 + 0.31 * s for s in STEPS])
    found = run(loss).get(Pace)
    assert found.basis == "clock"
    assert list(found.seconds) == pytest.approx([0.31] * len(found))


def test_a_clock_of_whole_seconds_is_read_over_ten_of_them() -> None:
    loss = series("train/loss", [1.0] * 400, steps=range(400), times=[float(round(0.7 * i)) for i in range(400)])
    assert list(run(loss).get(Pace).seconds) == pytest.approx([0.7] * 26, rel=0.1)


def test_seconds_since_the_start_are_a_clock() -> None:
    found = run(named("time/time_elapsed", [3.1 * i + 40.5 for i in range(40)])).get(Pace)
    assert found.basis == "clock"
    assert list(found.seconds) == pytest.approx([0.31] * 39)


@pytest.mark.parametrize("times", [[0.01 * i for i in range(40)], [float(i % 7) for i in range(40)]])
def test_a_clock_of_milliseconds_or_one_that_goes_back_says_nothing(times: list[float]) -> None:
    with pytest.raises(NotApplicable):
        run(series("train/loss", [1.0] * 40, steps=STEPS, times=times)).get(Pace)


def test_steps_of_an_agent_last_as_its_episodes_do() -> None:
    logged = series("train/loss", [1.0] * 40, steps=STEPS, times=STEPS), series("train/reward", [1.0] * 40, steps=STEPS)
    with pytest.raises(NotApplicable, match="episodes"):
        run(*logged).get(Pace)
