"""Checkpoints: what the stored values say of the training."""

from __future__ import annotations

from mldiag.api import Rule, hookimpl, rules_in


@hookimpl
def mldiag_rules() -> list[Rule]:
    return rules_in(__name__)
