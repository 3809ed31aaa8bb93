"""Ordinary runs, simulated: rules must keep quiet whatever the kind of run, the noise, the length and the spacing."""

from __future__ import annotations

import pytest

from mldiag.engine import apply_rules
from mldiag.faults.healthy import Family, families
from mldiag.findings import Severity
from mldiag.plugins import load

PLUGINS = load()
FAMILIES = {family.name: family for family in families()}


def alarms(family: Family, seed: int) -> list[str]:
    """Errors and warnings of every rule on one run."""
    report = apply_rules(family.run(seed, PLUGINS.facts), list(PLUGINS.rules.values()))
    assert not report.failed
    return [f"{family.name} {seed}: {f.code} {f.message}" for f in report.findings if f.level is not Severity.INFO]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_healthy_run_has_no_error_and_no_warning(family: Family) -> None:
    assert [alarm for seed in range(10) for alarm in alarms(family, seed)] == []


@pytest.mark.parametrize("seed", range(10, 120))
def test_a_loss_of_any_height_noise_and_length_that_falls_has_none(seed: int) -> None:
    assert alarms(FAMILIES["any-loss"], seed) == []
