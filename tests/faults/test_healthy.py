"""The simulated healthy runs: many kinds, seeded, consistent with their settings."""

from __future__ import annotations

import math

import pytest

from mldiag.facts.plan import Plan
from mldiag.faults.healthy import Family, families
from mldiag.plugins import load

PLUGINS = load()
FAMILIES = {f.name: f for f in families()}


def test_there_are_at_least_twenty_kinds() -> None:
    assert len(FAMILIES) >= 20
    assert len({f.summary for f in FAMILIES.values()}) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_seed_gives_one_run_and_another_seed_another(family: Family) -> None:
    def content(seed: int) -> list[object]:
        return [(s.name, str(s.data)) for s in family.run(seed, PLUGINS.facts).metrics]

    assert content(3) == content(3) != content(4)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_columns_are_of_one_length_and_numbers_where_no_cell_is_empty(family: Family) -> None:
    for seed in range(3):
        for series in family.run(seed, PLUGINS.facts).metrics:
            assert {len(c) for c in (series.step_data, series.epoch_data) if c is not None} <= {len(series)}
            broken = {i for i, v in enumerate(series.data) if not math.isfinite(v)}
            assert broken == set(series.nulls), series.name


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_log_reaches_the_planned_end(family: Family) -> None:
    run = family.run(0, PLUGINS.facts)
    if not run.settings.found or run.settings.get("patience"):
        return
    plan = run.get(Plan)
    assert plan.complete
    total, derived = plan.total_steps, plan.derived_steps
    assert not (total and derived) or total.value == derived.value


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_steps_per_epoch_are_windows_over_batch_where_all_are_stated(family: Family) -> None:
    stated = family.run(0, PLUGINS.facts).settings
    each, windows, batch = (stated.get(n, int) for n in ("steps_per_epoch", "train_windows", "batch_size"))
    if each and windows and batch:
        assert each == math.ceil(windows / batch)


def test_they_hold_what_faults_need() -> None:
    names = {s.name for f in FAMILIES.values() for s in f.run(0, PLUGINS.facts).metrics}
    assert {"lr", "grad_norm", "tokens_per_s", "step_time", "memory", "val/loss", "val/accuracy"} <= names
