"""Run: how the job went, apart from what it learnt: speed, memory, failures, the log itself."""

from __future__ import annotations

from mldiag.api import Rule, hookimpl, rules_in


@hookimpl
def mldiag_rules() -> list[Rule]:
    return rules_in(__name__)
