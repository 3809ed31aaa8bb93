"""Every rule does what its case file says: finds, keeps quiet, skips, and is silent after its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.plugins import Plugins, load
from mldiag.testing import Case, check_case, load_cases

CASES = Path(__file__).parent / "cases"


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return load()


@pytest.mark.parametrize("case", load_cases(CASES), ids=str)
def test_case(case: Case, plugins: Plugins) -> None:
    check_case(case, plugins)


def test_every_rule_is_shown_to_find_to_keep_quiet_and_to_skip(plugins: Plugins) -> None:
    shown: dict[str, set[str]] = {}
    for case in load_cases(CASES):
        shown.setdefault(case.code, set()).add(case.outcome)
    lacking = {code: {"found", "clean", "skipped"} - shown.get(code, set()) for code in plugins.rules}
    assert not {c: o for c, o in lacking.items() if o}


def test_rule_file_case_file_and_code_share_their_stem(plugins: Plugins) -> None:
    for rule in plugins.rules.values():
        assert rule.origin.rsplit(".", 1)[-1] == rule.stem
        assert (CASES / f"{rule.stem}.toml").is_file(), rule.stem
