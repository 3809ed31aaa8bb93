"""House rules: what this team has agreed on."""

from mldiag.api import Rule, hookimpl, rules_in


@hookimpl
def mldiag_rules() -> list[Rule]:
    return rules_in(__name__)
