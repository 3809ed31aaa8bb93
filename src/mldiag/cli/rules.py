"""`mldiag rules`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mldiag.cli import known_plugins, rules_option

if TYPE_CHECKING:
    from mldiag.rules import Rule


@click.command()
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@rules_option
def command(format_: str, rules: tuple[Path, ...]) -> None:
    """Lists every rule: code, name, severity, stage, and what it says."""
    from mldiag.terminal import Page, Screen, counted, write

    known = sorted(known_plugins(rules).rules.values(), key=lambda rule: (rule.family, rule.code))
    if format_ == "json":
        from mldiag.reporters.json import SCHEMA, document

        write(document({"schema": SCHEMA, "rules": [_described(rule) for rule in known]}))
        return
    page = Page(Screen.of(sys.stdout))
    for family in dict.fromkeys(rule.family for rule in known):
        page.rule(family)
        page.table([
            [(rule.code, "strong"), (rule.severity.value, rule.severity.value), ("pre" if rule.pre else "post", "dim"),
             (rule.name, ""), (rule.summary, "dim")]
            for rule in known if rule.family == family
        ])  # fmt: skip
    page.blank()
    page.flow((f"{counted(len(known), 'rule')}; those marked pre are applied with --stage pre too", "dim"))
    write(page.text())


def _described(rule: Rule) -> dict[str, object]:
    return {
        "code": rule.code,
        "name": rule.name,
        "family": rule.family,
        "severity": rule.severity.value,
        "pre": rule.pre,
        "summary": rule.summary,
        "explains": list(rule.explains),
        "fix": rule.fix.value if rule.fix else None,
        "options": dict(rule.options),
        "origin": rule.origin,
    }


def stage_of(rule: Rule) -> str:
    """When what the rule looks at is known, for people."""
    return "pre: known before training" if rule.pre else "post: needs what training writes"
