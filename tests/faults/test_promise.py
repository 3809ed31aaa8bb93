"""The bundled faults are found in the bundled runs at their stated sizes: the fast part of `mldiag selftest`."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest

from mldiag.faults.healthy import families
from mldiag.plugins import load
from mldiag.selftest import MIN_FOUND, Catch, Host, Selftest, selftest
from mldiag.stats import wilson_interval

PLUGINS = load()
FAULTS = PLUGINS.faults()


@pytest.fixture(scope="module")
def test_run() -> Selftest:
    """One seed of every family; sizes other than the stated one are tried on every tenth run."""
    hosts = [Host(f.name, partial(f.run, facts=PLUGINS.facts)) for f in families()]
    return selftest(hosts, FAULTS.values(), list(PLUGINS.rules.values()), 1)


def test_nothing_breaks_and_no_healthy_run_raises_an_alarm(test_run: Selftest) -> None:
    assert not test_run.defects
    assert not test_run.alarms.messages


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_as_often_as_promised(name: str, test_run: Selftest) -> None:
    catch: Catch = next(c for c in test_run.catches if c.fault.name == name)
    assert not catch.absent
    stated = catch.stated
    assert stated.tried >= 3
    # One seed is a small sample: it must not show that fewer are found.
    assert wilson_interval(stated.found, stated.tried)[1] >= MIN_FOUND, (
        f"{stated.found} of {stated.tried}: {catch.missed}"
    )


def test_larger_effects_are_not_found_less_often(test_run: Selftest) -> None:
    for catch in test_run.judged:
        tried = [s for s in catch.sizes if s.tried]
        for smaller, larger in pairwise(tried):
            least, most = (
                wilson_interval(smaller.found, smaller.tried)[0],
                wilson_interval(larger.found, larger.tried)[1],
            )
            assert least <= most, f"{catch.fault.name} at {smaller.size:g} and {larger.size:g}"
