"""`mldiag plugins`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mldiag.cli import complain, known_plugins, rules_option
from mldiag.errors import BROKEN


@click.command()
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@rules_option
def command(format_: str, rules: tuple[Path, ...]) -> int:
    """Lists what is loaded, from where, and what could not be.

    Exits with 2 if a plugin, or a part of one, was left out.
    """
    from msgspec.structs import asdict

    from mldiag.terminal import Page, Screen, counted, write

    plugins = known_plugins(rules)
    if format_ == "json":
        from mldiag.reporters.json import SCHEMA, document

        loaded = [asdict(plugin) for plugin in plugins.loaded]
        write(document({"schema": SCHEMA, "loaded": loaded, "broken": plugins.broken}))
        return BROKEN if plugins.broken else 0
    page = Page(Screen.of(sys.stdout))
    for plugin in plugins.loaded:
        parts = [
            (plugin.rules, "rule"),
            (plugin.readers, "reader"),
            (plugin.facts, "fact"),
            (plugin.reporters, "format"),
        ]
        offers = ", ".join(counted(count, noun) for count, noun in parts if count) or "nothing"
        page.flow((plugin.name, "strong"), (f": {offers}", ""), rest="  ")
        page.flow((plugin.origin, "place"), first="  ")
    write(page.text())
    for line in plugins.broken:
        complain(line)
    return BROKEN if plugins.broken else 0
