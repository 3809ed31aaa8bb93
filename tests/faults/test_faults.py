"""Every fault: planted by seed, without changing the run it is given, and of an effect that grows with its size."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mldiag.errors import NotApplicable
from mldiag.faults import Fault, as_fault, fault
from mldiag.faults.healthy import Family, families
from mldiag.plugins import load
from mldiag.run import Run

PLUGINS = load()
FAULTS = PLUGINS.faults()
FAMILIES = families()
NAME = re.compile(r"[a-z]+(-[a-z]+)*")


def hosts(each: Fault, seed: int = 0) -> Iterator[tuple[Family, Run, Run]]:
    """Runs that can show the fault, and with it."""
    for family in FAMILIES:
        given = family.run(seed, PLUGINS.facts)
        try:
            yield family, given, each.planted(given, random.Random(f"{each.name} {seed}"))
        except NotApplicable:
            continue


def content(run: Run) -> dict[str, object]:
    series: dict[str, object] = {s.name: (s.data, s.step_data, s.epoch_data, s.nulls) for s in run.metrics}
    return series | {f"setting {v.name}": v.value for v in run.settings}


def same(one: Run, other: Run) -> bool:
    return repr(content(one)) == repr(content(other))  # NaN is equal to itself here


@pytest.mark.parametrize("each", FAULTS.values(), ids=FAULTS)
def test_a_fault_says_what_it_is(each: Fault) -> None:
    assert each.summary.endswith(".")
    assert NAME.fullmatch(each.name)
    assert all(NAME.fullmatch(rule) for rule in each.caught_by)
    assert each.unit
    assert each.size in each.sizes
    assert list(each.sizes) == sorted(each.sizes)


@pytest.mark.parametrize("each", FAULTS.values(), ids=FAULTS)
def test_planting_gives_another_run_leaves_the_given_one_and_depends_on_the_seed_alone(each: Fault) -> None:
    planted = {family.name: (given, made) for family, given, made in hosts(each)}
    assert planted, "no family can show it"
    for family, _, again in hosts(each):
        given, made = planted[family.name]
        assert same(given, family.run(0, PLUGINS.facts))
        assert not same(made, given)
        assert same(made, again)


@pytest.mark.parametrize("each", [f for f in FAULTS.values() if len(f.sizes) > 1], ids=lambda f: f.name)
def test_each_size_makes_another_run(each: Fault) -> None:
    for family in FAMILIES:
        given = family.run(1, PLUGINS.facts)
        try:
            small, large = (each.planted(given, random.Random(1), size) for size in (each.sizes[0], each.sizes[-1]))
        except NotApplicable:
            continue
        assert not same(small, large), family.name
        return
    pytest.fail("no family can show it at both sizes")


def test_every_rule_that_is_named_is_loaded() -> None:
    named = {rule for each in FAULTS.values() for rule in each.caught_by}
    assert not named - {rule.name for rule in PLUGINS.rules.values()}


def test_the_families_of_rules_on_curves_schedule_and_job_have_a_fault_each() -> None:
    named = {rule for each in FAULTS.values() for rule in each.caught_by}
    silent = [
        r.code for r in PLUGINS.rules.values() if r.family in ("curves", "schedule", "run") and r.name not in named
    ]
    # RUN006 reads the text of a log, which a planted series has none of.
    assert set(silent) <= {"RUN006"}


def test_a_fault_whose_stated_size_is_not_tried_is_refused() -> None:
    with pytest.raises(ValueError, match="not among the sizes"):
        fault(caught_by=("x",), size=1, unit="nat", sizes=(2, 3))
    with pytest.raises(ValueError, match="names the rules"):
        fault(caught_by=(), size=1, unit="nat", sizes=(1,))


def test_a_function_becomes_a_fault_under_its_name() -> None:
    @fault(caught_by=("some-rule",), size=2, unit="nat", sizes=(1, 2), least="info")
    def lost_in_space(run: Run, rng: random.Random, size: float) -> Run:
        """The run is lost."""
        return run

    made = as_fault(lost_in_space)
    assert (made.name, made.caught_by, made.size, made.summary) == (
        "lost-in-space",
        ("some-rule",),
        2.0,
        "The run is lost.",
    )


def test_each_module_of_faults_has_one() -> None:
    import mldiag.faults

    modules = {p.stem for p in Path(mldiag.faults.__file__).parent.glob("*.py")} - {"__init__", "planting"}
    assert modules == {
        each.origin.rpartition(".")[2] for each in FAULTS.values() if each.origin.startswith("mldiag.faults")
    }
