"""What faults are made of: nothing that is given is changed, and only what was meant is."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given as drawn, strategies as st

from mldiag.artifacts import Metrics, Series, Source, floats
from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curves
from mldiag.faults import planting
from mldiag.faults.healthy import families
from mldiag.plugins import load
from mldiag.run import Run

PLUGINS = load()
FAMILIES = {f.name: f for f in families()}


def run(name: str = "pretraining", seed: int = 0) -> Run:
    return FAMILIES[name].run(seed, PLUGINS.facts)


def test_levels_are_as_many_as_values_and_go_through_the_ends() -> None:
    values = [10 * math.exp(-i / 30) for i in range(200)]
    smooth = planting.levels(values)
    assert len(smooth) == 200
    assert (smooth[0], smooth[-1]) == (values[0], values[-1])
    assert max(abs(a - b) for a, b in zip(smooth, values, strict=True)) < 0.1


@drawn(st.lists(st.floats(0.1, 100), min_size=1, max_size=120))
def test_values_that_are_moved_nowhere_stay(values: list[float]) -> None:
    assert planting.moved(values, planting.levels(values)) == pytest.approx(values)


def test_noise_is_kept_in_proportion() -> None:
    rng = random.Random(0)
    values = [5 * (1 + 0.1 * rng.gauss(0, 1)) for _ in range(2000)]
    halved = planting.moved(values, [v / 2 for v in planting.levels(values)])
    assert halved == pytest.approx([v / 2 for v in values])


def test_a_value_between_two_places_lies_on_their_line() -> None:
    assert [planting.read_at([0, 1, 3], [5, 7, 3], x) for x in (-1, 0, 0.5, 2, 3, 9)] == [5, 5, 6, 5, 3, 3]


def test_only_the_last_launch_is_rewritten() -> None:
    series = Series("train/loss", "loss", floats([3, 2, 3, 2, 1]), Source("log"), floats([1, 2, 1, 2, 3]))
    given = Run(run().root, ".", metrics=Metrics((series,)), facts=PLUGINS.facts)
    found = planting.curve(given, "train/loss")
    assert planting.rewritten(found, [9, 8, 7]).data.tolist() == [3, 2, 9, 8, 7]
    assert series.data.tolist() == [3, 2, 3, 2, 1]


def test_a_new_run_derives_its_facts_anew() -> None:
    given = run()
    before = given.get(Curves).get("train/loss")
    train = planting.objective(given)
    changed = planting.with_series(given, planting.rewritten(train, [1.0] * len(train)))
    assert set(changed.get(Curves).get("train/loss").values) == {1.0}
    assert given.get(Curves).get("train/loss") is before


def test_settings_are_replaced_added_and_removed() -> None:
    given = run()
    changed = planting.with_settings(given, lr=0.5, warmup_steps=None, grad_accum=4)
    assert [changed.settings.get(n) for n in ("lr", "warmup_steps", "grad_accum")] == [0.5, None, 4]
    assert given.settings.get("grad_accum") is None


def test_a_run_is_cut_in_every_series() -> None:
    half = planting.cut(run(), 0.5)
    for series in half.metrics:
        assert series.step_data is not None
        assert max(series.step_data) <= 0.5 * run().settings.require("total_steps", int)


def test_nulls_keep_their_places_when_rows_are_taken() -> None:
    series = Series(
        "val/loss", "val", floats([1, math.nan, 2, math.nan]), Source("log"), nulls=(1, 3), lines=[1, 2, 3, 4]
    )
    taken = planting.taken(series, [1, 2, 1])
    assert (taken.nulls, taken.lines, taken.data[1]) == ((0, 2), [2, 3, 2], 2.0)


def test_a_loss_that_does_not_measure_progress_is_no_objective() -> None:
    for name in ("reinforcement", "adversarial"):
        with pytest.raises(NotApplicable):
            planting.objective(run(name))


def test_shares_are_those_of_the_longest_series() -> None:
    given = run()
    shares = planting.shares(given, planting.held_out(given))
    assert shares[-1] == 1.0
    assert shares[0] == pytest.approx(1 / len(shares))
