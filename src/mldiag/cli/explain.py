"""`mldiag explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mldiag.cli import known_plugins, rule_words, rules_option

if TYPE_CHECKING:
    from mldiag.rules import Rule
    from mldiag.terminal import Screen


@click.command()
@click.argument("rule", shell_complete=rule_words)
@rules_option
def command(rule: str, rules: tuple[Path, ...]) -> None:
    """Prints the page of a rule.

    It says what the rule checks, why that matters, what its options are and what its fix does. RULE is a code
    (SCH001) or a name (truncated-schedule).
    """
    from mldiag.terminal import Screen, write

    page = _page(known_plugins(rules).rule(rule))
    screen = Screen.of(sys.stdout)
    write(_drawn(page, screen) if screen.color else _wrapped(page, screen))


def _page(rule: Rule) -> str:
    """The rule's page as Markdown: its facts, its documentation, its options."""
    from mldiag.cli.rules import stage_of

    facts = [
        f"- severity: {rule.severity.value}",
        f"- family: {rule.family}",
        f"- stage: {stage_of(rule)}",
        f"- fix: {rule.fix.value if rule.fix else 'none'}",
    ]
    if rule.explains:
        facts.append(f"- can cause: {', '.join(rule.explains)}")
    if rule.gives_way_to:
        facts.append(f"- gives way to: {', '.join(rule.gives_way_to)}")
    lines = [f"# {rule.code} {rule.name}", "", *facts, "", rule.doc.strip()]
    if rule.options:
        settings = [f"- {name} = {_toml(default)}" for name, default in rule.options.items()]
        lines += ["", f"## Defaults, in [tool.mldiag.rules.{rule.name}]", "", *settings]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _wrapped(page: str, screen: Screen) -> str:
    """Markdown stays Markdown; paragraphs and list items are wrapped to the width, code and tables are left alone."""
    from itertools import groupby

    from mldiag.terminal import Page

    out = Page(screen)
    code = False
    blocks: list[tuple[str, str]] = []
    for line in page.splitlines():
        code ^= line.startswith("```")
        bare = line.strip()
        if code or line.startswith(("```", "    ", "#", "|")):
            blocks.append(("as it is", line))
        elif not bare:
            blocks.append(("gap", ""))
        elif bare.startswith(("- ", "* ")):
            blocks.append((f"item {len(blocks)}", line))
        else:
            blocks.append((blocks[-1][0] if blocks and blocks[-1][0].startswith("item") else "paragraph", line))
    for kind, group in groupby(blocks, key=lambda block: block[0]):
        lines = [line for _, line in group]
        if kind == "gap":
            out.blank()
        elif kind == "as it is":
            for line in lines:
                out.line((line, ""))
        else:
            out.flow((" ".join(lines), ""), rest="  " if kind.startswith("item") else "")
    return out.text()


def _drawn(page: str, screen: Screen) -> str:
    import io

    from rich.console import Console
    from rich.markdown import Markdown

    out = io.StringIO()
    console = Console(file=out, width=screen.width, force_terminal=True, legacy_windows=False, color_system="standard")
    console.print(Markdown(page))
    return out.getvalue()
