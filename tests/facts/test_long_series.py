"""Long series are worked on with numpy, short ones without: both ways say the same."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag import stats
from mldiag.artifacts import Metrics, Series, Source
from mldiag.errors import NotApplicable
from mldiag.facts import breaks, curves, loss_pair, lr_curve, plan
from mldiag.run import Run
from mldiag.stats import basics, levels

MODULES = (stats, basics, breaks, curves, lr_curve, plan)
VALUES = st.floats(0, 2) | st.sampled_from([0.0, 0.5, 1.0, math.nan, math.inf, 1e-3])
MOVES = st.sampled_from([0.0, 1.0, 1.0, 1.0, 2.5, -1.0, -40.0])


@st.composite
def logs(draw: st.DrawFn, name: str = "train/loss") -> Series:
    """A series with or without axes that rise, stand, or go back."""
    if draw(st.booleans()):
        data = draw(st.lists(VALUES, min_size=1, max_size=40))
    else:
        top, count = draw(st.floats(0.1, 1)), draw(st.integers(12, 60))
        data = [top * min(1.0, (i + 1) / 5) * (1 - i / (count + 3)) for i in range(count)]
    moves = draw(st.lists(MOVES, min_size=len(data), max_size=len(data)) | st.just([1.0] * len(data)))
    steps = array("d", accumulate(moves)) if draw(st.booleans()) else None
    epochs = array("d", (i // 5 for i in range(len(data)))) if draw(st.booleans()) else None
    nulls = tuple(i for i, v in enumerate(data) if math.isnan(v) and draw(st.booleans()))
    return Series(name, name, array("d", data), Source("log.csv"), steps, epochs, None, nulls)


def plain(value: object) -> str:
    """What a value shows, whatever it is kept in."""
    if isinstance(value, array | range | list | tuple):
        return repr([plain(v) for v in value])
    if isinstance(value, int | float):
        return repr(float(value) + 0.0)
    names = getattr(value, "__struct_fields__", ())
    return repr({name: plain(getattr(value, name)) for name in names}) if names else repr(value)


def said(derive: Callable[[], object]) -> str:
    try:
        return plain(derive())
    except NotApplicable as reason:
        return str(reason)


def both_ways_agree(derive: Callable[[], object]) -> None:
    short = said(derive)
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            patch.setattr(module, "LONG", 1, raising=False)
        assert said(derive) == short


@settings(max_examples=150)
@given(logs())
def test_prepared_curves_agree(series: Series) -> None:
    both_ways_agree(lambda: curves.prepared(series))


@settings(max_examples=80)
@given(logs("val/loss"))
def test_evaluated_curves_agree(series: Series) -> None:
    both_ways_agree(lambda: curves.prepared(series))


@settings(max_examples=100)
@given(logs(), st.sampled_from(["csv_table", "text_log"]))
def test_breaks_agree(series: Series, reader: str) -> None:
    run = Run(Path(), ".", files={"log.csv": reader})
    both_ways_agree(lambda: breaks.breaks(run, Metrics((series,)), None))


@settings(max_examples=150)
@given(logs(), logs("val/loss"))
def test_pairs_of_losses_agree(train: Series, val: Series) -> None:
    def levels_of() -> tuple[list[float], list[float]]:
        pair = loss_pair.loss_pair(curves.Curves(Metrics((train, val))))
        return list(pair.train_levels), list(pair.val_levels)

    try:
        short = levels_of()
    except NotApplicable:
        short = ([], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_pair, "LONG", 1)
        try:
            long = levels_of()
        except NotApplicable:
            long = ([], [])
    # Sums that are taken once for all evaluations round otherwise.
    assert long[0] == pytest.approx(short[0], rel=1e-9, abs=1e-9)
    assert long[1] == short[1]


@given(st.lists(st.floats(-5, 5) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=40), st.booleans())
def test_extremes_agree(values: list[float], highest: bool) -> None:
    both_ways_agree(lambda: stats.extremes(values))
    both_ways_agree(lambda: stats.first_lowest(values, highest=highest))
    assert values[stats.first_lowest(values, highest=highest)] == stats.extremes(values)[highest]


@settings(max_examples=150)
@given(logs("lr"))
def test_learning_rates_agree(series: Series) -> None:
    both_ways_agree(lambda: lr_curve.lr_curve(curves.Curves(Metrics((series,))), None))


@settings(max_examples=100)
@given(logs())
def test_plans_agree(series: Series) -> None:
    both_ways_agree(lambda: plan.plan(None, Metrics((series,)), None))


@given(st.lists(st.floats(-5, 5) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=60), st.floats(0, 1))
def test_best_levels_agree(values: list[float], share: float) -> None:
    both_ways_agree(lambda: stats.best_level(values, share))


@given(st.lists(st.floats(-5, 5) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=40), st.data())
def test_window_medians_are_those_of_the_windows(values: list[float], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(values)))
    wanted = [stats.median(values[i : i + size]) for i in range(len(values) - size + 1)]
    assert levels._short_window_medians(values, size) == wanted
    assert levels._window_medians(values, size).tolist() == wanted
