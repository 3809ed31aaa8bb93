"""One series per quantity: sessions joined, copies kept as places, contradictions told, other quantities left alone."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from mldiag.artifacts import Series, Source, floats
from mldiag.merging import Merged, merge

LOSSES = [2.51234567, 2.31234567, 2.21234567, 2.11234567, 2.01234567, 1.91234567]


def series(
    path: str,
    values: Sequence[float],
    steps: Sequence[float] | None = None,
    epochs: Sequence[float] | None = None,
    times: Sequence[float] | None = None,
    *,
    raw: str = "loss",
    unit: str | None = None,
) -> Series:
    x, e, t = (None if axis is None else floats(axis) for axis in (steps, epochs, times))
    return Series("", raw, floats(values), Source(path, key=raw), x, e, t, unit=unit)


def only(merged: Merged) -> Series:
    (kept,) = merged.series
    return kept


def steps(n: int) -> range:
    return range(10, 10 * n + 10, 10)


def test_sessions_of_one_folder_are_one_series_in_the_order_of_time() -> None:
    late = series("events.out.tfevents.1700000900.host.7.0", [2.0, 1.5], [20, 40], times=[900, 950])
    early = series("events.out.tfevents.1700000100.host.9.0", [3.0, 2.5], [10, 30], times=[100, 150])
    kept = only(merge([late, early]))
    assert kept.data.tolist() == [3.0, 2.5, 2.0, 1.5]
    assert kept.steps is not None
    assert kept.steps.tolist() == [10, 30, 20, 40]  # the step that goes back tells where the second launch began
    assert kept.wall_times is not None
    assert kept.wall_times.tolist() == [100, 150, 900, 950]
    assert (kept.source.path, [p.path for p in kept.also]) == (late.source.path, [early.source.path])


def test_logs_with_a_date_in_their_name_are_sessions_in_its_order() -> None:
    names = ("training_log_2024_1_10_09_00_00.txt", "training_log_2024_1_9_09_00_00.txt")
    kept = only(merge([series(names[0], [1.0, 0.5], epochs=[2, 3]), series(names[1], [3.0, 2.0], epochs=[0, 1])]))
    assert kept.data.tolist() == [3.0, 2.0, 1.0, 0.5]


def test_folders_that_differ_in_a_time_hold_sessions_too() -> None:
    folders = ("runs/Dec16_07-00-00_host", "runs/Dec15_07-00-00_host")
    names = [f"{folder}/events.out.tfevents.{1_700_000_000 - i}.host.{i}.0" for i, folder in enumerate(folders)]
    kept = only(
        merge([series(names[0], [2, 1], [1, 2], times=[90, 91]), series(names[1], [4, 3], [1, 2], times=[10, 11])])
    )
    assert kept.data.tolist() == [4, 3, 2, 1]


def test_positions_of_nulls_move_with_their_session() -> None:
    first = Series("", "loss", floats([1, math.nan]), Source("20240101_000000.json"), floats([1, 2]), nulls=(1,))
    second = Series("", "loss", floats([math.nan, 2]), Source("20240102_000000.json"), floats([3, 4]), nulls=(0,))
    assert only(merge([first, second])).nulls == (1, 2)


def test_a_copied_session_counts_once() -> None:
    a = series("events.out.tfevents.1700000100.host.9.0", LOSSES, steps(6), times=range(6))
    b = series("events.out.tfevents.1700000200.host.9.0", LOSSES[:4], list(steps(6))[:4], times=range(4))
    kept = only(merge([a, b]))
    assert kept.data.tolist() == LOSSES
    assert [p.path for p in kept.also] == [b.source.path]


def test_a_launch_that_was_cut_early_is_no_copy_of_the_next_though_its_values_are_the_same() -> None:
    cut = series("events.out.tfevents.1700000100.host.9.0", LOSSES[:2], list(steps(6))[:2], times=range(2))
    whole = series("events.out.tfevents.1700000200.host.9.0", LOSSES, steps(6), times=range(50, 56))
    assert only(merge([cut, whole])).data.tolist() == [*LOSSES[:2], *LOSSES]


@pytest.mark.parametrize(
    ("one", "two"), [("fold1.csv", "fold2.csv"), ("rank0.log", "rank1.log"), ("0.monitor.csv", "1.monitor.csv")]
)
def test_folds_and_processes_are_no_sessions_and_contradict_nothing(one: str, two: str) -> None:
    other = [*LOSSES[:3], 9.0, 9.5, 9.7, 9.9]
    merged = merge([series(one, LOSSES, steps(6)), series(two, other, steps(7))])
    assert only(merged).data.tolist() == other
    assert [s.source.path for s in merged.passed_over] == [one]
    assert not merged.disagreements


def test_a_rounded_copy_becomes_a_place_of_the_exact_one_and_gives_it_its_axes() -> None:
    text = series("train.log", [round(v, 3) for v in LOSSES], epochs=range(1, 7), times=range(6))
    exact = series("metrics.json", LOSSES, steps(6))
    kept = only(merge([text, exact]))
    assert kept.data.tolist() == LOSSES
    assert [p.path for p in kept.also] == ["train.log"]
    assert kept.epoch_data == array("d", range(1, 7))
    assert kept.time_data == array("d", range(6))
    assert kept.step_data == array("d", steps(6))


def test_a_sparser_copy_is_a_place_and_gives_no_axes() -> None:
    merged = merge([
        series("events", LOSSES, steps(6)),
        series("log.txt", [round(v, 4) for v in LOSSES[::2]], list(steps(6))[::2], times=range(3)),
    ])  # fmt: skip
    assert [p.path for p in only(merged).also] == ["log.txt"]
    assert only(merged).time_data is None
    assert not merged.passed_over


def test_one_source_may_count_from_zero() -> None:
    merged = merge([series("a.csv", LOSSES, epochs=range(6)), series("b.log", LOSSES[:5], epochs=range(1, 6))])
    assert [p.path for p in only(merged).also] == ["b.log"]


def test_digits_are_counted_for_each_power_of_ten_since_progress_bars_mix_formats() -> None:
    exact = [0.98904049, 0.041234567, 0.0012345678, 0.00056789123]
    shown = [0.989, 0.0412, 0.0012, 5.6789e-04]
    merged = merge([series("history.json", exact, epochs=range(4)), series("out.log", shown, epochs=range(4))])
    assert [p.path for p in only(merged).also] == ["out.log"]


def test_percent_and_fraction_of_one_score_are_one() -> None:
    share = [0.51, 0.62, 0.73, 0.84]
    merged = merge([
        series("a.json", share, epochs=range(4), raw="val_acc"),
        series("b.log", [51.0, 62.0, 73.0, 84.0], epochs=range(4), raw="val_acc"),
    ])  # fmt: skip
    assert (only(merged).unit, len(only(merged).also)) == ("fraction", 1)


@pytest.mark.parametrize("index", [-1, 2])
def test_a_summary_repeats_the_last_value_or_the_best(index: int) -> None:
    merged = merge([series("run.wandb", LOSSES, steps(6)), series("wandb-summary.json", [LOSSES[index]])])
    assert [p.path for p in only(merged).also] == ["wandb-summary.json"]
    assert [s.data[0] for s in merge([series("a", LOSSES), series("s", [0.5])]).passed_over] == [0.5]


def test_what_is_passed_over_is_told_once() -> None:
    steps_and_epochs = [
        series("run.wandb", LOSSES, steps(6), raw="loss_step"),
        series("run.wandb", [2.2, 1.9], raw="loss"),
    ]
    merged = merge([*steps_and_epochs, series("wandb-summary.json", [1.9], raw="loss")])
    (over,) = merged.passed_over
    assert (over.raw_name, [p.path for p in over.also]) == ("loss", ["wandb-summary.json"])


def test_two_files_with_other_values_at_the_same_steps_disagree() -> None:
    edited = [*LOSSES[:3], 1.5, *LOSSES[4:]]
    merged = merge([series("metrics.json", LOSSES, steps(6)), series("log.csv", edited, steps(6))])
    (found,) = merged.disagreements
    assert (found.name, found.place, found.points, found.common) == ("train/loss", "step 40", 1, 6)
    assert (found.kept, found.other) == (LOSSES[3], 1.5)
    assert (found.kept_at.path, found.other_at.path) == ("metrics.json", "log.csv")
    assert not merged.passed_over


@pytest.mark.parametrize(
    ("raw", "path", "values"),
    [
        ("avg_loss", "log.csv", [*LOSSES[:3], 1.5, *LOSSES[4:]]),  # averaged otherwise
        ("loss", "other/metrics.json", [*LOSSES[:3], 1.5, *LOSSES[4:]]),  # the same file of another run
        ("loss", "log.csv", [v + 0.3 for v in LOSSES]),  # nothing agrees: another way of averaging
    ],
)
def test_what_only_shares_a_name_is_passed_over(raw: str, path: str, values: list[float]) -> None:
    merged = merge([series("metrics.json", LOSSES, steps(6)), series(path, values, steps(6), raw=raw)])
    assert not merged.disagreements
    assert [s.source.path for s in merged.passed_over] == [path]


def test_step_times_of_two_logs_are_no_contradiction() -> None:
    merged = merge([
        series("metrics.json", LOSSES, steps(6), raw="data_time"),
        series("log.csv", [*LOSSES[:5], 9.0], steps(6), raw="data_time"),
    ])  # fmt: skip
    assert not merged.disagreements


def test_a_launch_that_one_file_lacks_is_no_contradiction() -> None:
    first = [9.0, 8.0, 7.0]
    both = series("metrics.json", [*first, *LOSSES], [10, 20, 30, *steps(6)])
    assert not merge([both, series("log.csv", LOSSES, steps(6))]).disagreements
    assert not merge([series("events", LOSSES, steps(6)), both]).disagreements


@pytest.mark.parametrize(
    ("raw", "values", "unit"),
    [
        ("val_acc", [51.0, 60.5], "percent"),
        ("val_acc", [0.51, 0.6], "fraction"),
        ("val_acc", [0.51, 1.2], None),
        ("val_acc", [-3.0, 0.5], None),
        ("val_acc", [math.nan], None),
        ("val_loss", [0.51, 0.6], None),
        ("loss_dice", [4.9, 0.6], None),
        ("val_bpb", [0.9, 0.8], "bits"),
        ("acc (%)", [0.9, 0.8], "percent"),
    ],
)
def test_the_unit_is_what_the_name_says_or_a_score_shows(raw: str, values: list[float], unit: str | None) -> None:
    assert only(merge([series("a.csv", values, raw=raw)])).unit == unit


def test_a_unit_that_the_reader_knows_is_kept() -> None:
    assert only(merge([series("a.csv", [0.9], raw="val_acc", unit="percent")])).unit == "percent"


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-3, 3).map(float)
axes = st.none() | st.lists(st.integers(0, 6).map(float) | st.just(math.nan), min_size=8, max_size=8)


@st.composite
def any_series(draw: st.DrawFn) -> Series:
    values = draw(st.lists(numbers, max_size=8))
    path = draw(
        st.sampled_from(["a.csv", "b.log", "events.out.tfevents.17000001.h.1.0", "events.out.tfevents.17000002.h.1.0"])
    )
    x = [draw(axes) for _ in range(3)]
    steps, epochs, times = (None if axis is None else axis[: len(values)] for axis in x)
    return series(path, values, steps, epochs, times, raw=draw(st.sampled_from(["loss", "val_acc"])))


@given(st.lists(any_series(), max_size=5))
def test_any_series_merge_into_one_per_name_whose_columns_fit(found: list[Series]) -> None:
    merged = merge(found)
    names = [s.name for s in merged.series]
    assert len(names) == len(set(names)) == len({s.raw_name for s in found})
    for kept in merged.series:
        for axis in (kept.step_data, kept.epoch_data, kept.time_data):
            assert axis is None or len(axis) == len(kept)
    told = {p.path for s in (*merged.series, *merged.passed_over) for p in (s.source, *s.also)}
    told |= {d.other_at.path for d in merged.disagreements}
    assert told == {s.source.path for s in found}


def test_long_series_are_compared_at_points_spread_over_them() -> None:
    n = 30_000
    values = [0.5 + 0.4 * math.sin(i / 1000) for i in range(n)]
    exact = series("events", values, range(n), raw="val_acc")
    text = series("log.txt", [round(v, 4) for v in values], range(n), raw="val_acc")
    kept = only(merge([text, exact]))
    assert (kept.source.path, [p.path for p in kept.also], kept.unit) == ("events", ["log.txt"], "fraction")
    assert only(merge([series("a.csv", [math.nan] * n, raw="val_acc")])).unit is None
