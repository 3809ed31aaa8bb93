"""The self-test itself: what counts as found, what as an alarm, what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from mldiag.artifacts import Metrics, Series, Source, floats
from mldiag.errors import NotApplicable
from mldiag.faults import Fault, as_fault, fault
from mldiag.faults.planting import curve, rewritten, with_series
from mldiag.findings import Finding, Severity
from mldiag.rules import Rule, as_rule, rule
from mldiag.run import Run
from mldiag.selftest import Host, Selftest, selftest


@rule("TST001", severity="warning")
def too_high(metrics: Metrics, *, limit: float = 5.0) -> Iterator[Finding]:
    """A value is high."""
    top = max(metrics.require("train/loss").data)
    if top > limit:
        yield Finding(f"{top:g}", severity=Severity.INFO if top < 2 * limit else None)


@rule("TST002", severity="warning", gives_way_to=("TST001",))
def above_zero(metrics: Metrics) -> Iterator[Finding]:
    """A value is above three."""
    if max(metrics.require("train/loss").data) > 3:
        yield Finding("above")


@rule("TST003", severity="error")
def broken(metrics: Metrics) -> Iterator[Finding]:
    """Fails."""
    raise RuntimeError("no")


@fault(caught_by=("too-high",), size=20, unit="nat", sizes=(1, 6, 20))
def bump(run: Run, rng: Random, size: float) -> Run:
    """One value is high."""
    found = curve(run, "train/loss")
    return with_series(run, rewritten(found, [*found.values[:-1], size]))


@fault(caught_by=("too-high",), size=6, unit="nat", sizes=(6,), least="info")
def small_bump(run: Run, rng: Random, size: float) -> Run:
    """One value is a little high."""
    return bump(run, rng, size)


@fault(caught_by=("not-there",), size=1, unit="nat", sizes=(1,))
def unheard_of(run: Run, rng: Random, size: float) -> Run:
    """Of no rule."""
    return run


@fault(caught_by=("too-high",), size=1, unit="nat", sizes=(1,))
def nowhere(run: Run, rng: Random, size: float) -> Run:
    """Fits no run."""
    raise NotApplicable("it has no wheels")


RULES = [as_rule(r, "tests") for r in (too_high, above_zero)]


def host(value: float = 1.0, name: str = "one", *, simulated: bool = True) -> Host:
    def simulate(seed: int) -> Run:
        from mldiag.parts import facts_in

        series = Series("train/loss", "loss", floats([value] * 4), Source("log"), floats(range(4)))
        return Run(Path(), ".", metrics=Metrics((series,)), facts={f.type: f for f in facts_in("mldiag.facts")})

    return Host(name, simulate, simulated=simulated)


def outcome(
    *faults: object, hosts: list[Host] | None = None, rules: list[Rule] | None = None, seeds: int = 5
) -> Selftest:
    made: list[Fault] = [as_fault(f) for f in faults]  # type: ignore[arg-type]
    return selftest([host()] if hosts is None else hosts, made, RULES if rules is None else rules, seeds, others=True)


def test_the_stated_size_is_tried_for_every_seed_and_others_for_some() -> None:
    catch = outcome(bump).catches[0]
    assert [(s.size, s.tried, s.found) for s in catch.sizes] == [(1, 1, 0), (6, 1, 0), (20, 5, 5)]
    assert catch.stated.by_rule == {"TST001": 5}
    assert catch.from_size == 20
    assert not catch.failed


def test_every_size_is_tried_for_every_seed_on_a_run_of_the_user() -> None:
    catch = outcome(bump, hosts=[host(simulated=False)]).catches[0]
    assert [s.tried for s in catch.sizes] == [5, 5, 5]


def test_an_information_counts_only_where_the_fault_says_so() -> None:
    assert outcome(small_bump).catches[0].stated.found == 5
    assert outcome(bump).catches[0].sizes[1].found == 0


def test_a_fault_without_a_rule_is_listed_and_not_judged() -> None:
    test = outcome(unheard_of)
    assert test.catches[0].absent == ("not-there",)
    assert not test.judged


def test_why_a_fault_was_not_planted_is_told() -> None:
    test = outcome(nowhere)
    assert test.catches[0].unfit == {"one": "it has no wheels"}
    assert not test.judged


def test_a_rule_that_has_a_finding_already_is_not_tested() -> None:
    test = outcome(bump, hosts=[host(50.0, "bad", simulated=False), host(1.0, "good", simulated=False)])
    catch = test.catches[0]
    assert catch.stated.tried == 5
    assert catch.unfit == {"bad": "TST001 has a finding on the run as it is"}
    assert test.alarms.found == {"bad": ("TST001",), "good": ()}
    assert test.alarms.runs == 0


def test_alarms_are_counted_by_run_and_by_rule() -> None:
    test = outcome(bump, hosts=[host(50.0, "loud"), host(4.0, "other"), host(1.0, "quiet")], seeds=1)
    assert (test.alarms.alarmed, test.alarms.runs) == (2, 3)
    # TST002 gives way to TST001 on the loud one.
    assert test.alarms.by_rule == {"TST001": 1, "TST002": 1}
    assert test.alarms.messages == {("TST001", "loud"): "50", ("TST002", "other"): "above"}
    assert test.alarms.failed


def test_what_other_rules_say_is_told_apart() -> None:
    catch = outcome(small_bump).catches[0]
    assert catch.also == {"TST002": 1}
    assert catch.hosts == 1


def test_a_rule_that_breaks_is_a_defect() -> None:
    test = outcome(bump, rules=[*RULES, as_rule(broken, "tests")])
    assert test.defects == ["rule TST003 failed: RuntimeError: no"]


def test_a_fault_that_breaks_is_a_defect_and_costs_only_itself() -> None:
    @fault(caught_by=("too-high",), size=1, unit="nat", sizes=(1,))
    def clumsy(run: Run, rng: Random, size: float) -> Run:
        """Breaks."""
        raise ValueError("oops")

    test = outcome(clumsy, bump)
    assert test.defects == ["fault clumsy broke: ValueError: oops"]
    assert test.judged[0].fault.name == "bump"


@pytest.mark.parametrize(("found", "tried", "failed"), [(95, 100, False), (94, 100, True), (0, 0, False)])
def test_nineteen_of_twenty_have_to_be_found(found: int, tried: int, failed: bool) -> None:
    catch = outcome(bump, hosts=[]).catches[0]
    catch.stated.found, catch.stated.tried = found, tried
    assert catch.failed is failed
