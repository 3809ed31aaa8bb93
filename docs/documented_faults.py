"""The page of the faults that the field notes name: each with what its rule says of the example."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mldiag.audit import Request, audit
from mldiag.findings import Finding
from mldiag.plugins import Plugins

ROOT = Path(__file__).parents[1]
_INTRODUCTION = """# Documented faults

mldiag grew out of field notes on real projects whose training went wrong; `examples/` rebuilds them. Each fault that
the notes name is found in its example by the named rule, from the files alone. What they state and what does not hold
is in [wrong-claims.md](wrong-claims.md). The last column is printed by `mldiag check` on the example.
"""


def page(notes: Mapping[str, Any], plugins: Plugins) -> str:
    """The page as Markdown.

    Args:
        notes: by name: `title`, `example` and `faults`, each with `section`, `fault` and `rule`, and optionally `says`
            (in the message), `shows` (a label of the evidence) and `run` (in the run's path).

    Raises:
        SystemExit: a rule does not find what it is named for.
    """
    parts = [_INTRODUCTION]
    for each in notes.values():
        found = list(_found(each["example"], plugins))
        rows = [_row(fault, found, plugins, each["example"]) for fault in each["faults"]]
        title = f"## {each['title']}\n\nExample: [{each['example']}](../{each['example']})\n"
        parts.append(f"{title}\n| section | fault | rule | evidence |\n|---|---|---|---|\n{''.join(rows)}")
    return "\n".join(parts)


def _found(example: str, plugins: Plugins) -> Iterator[tuple[str, Finding]]:
    here = Path.cwd()
    os.chdir(ROOT)  # paths in reports are as they were given
    try:
        for run in audit(Request((Path(example),)), plugins).runs:
            yield from ((run.path, finding) for finding in run.findings)
    finally:
        os.chdir(here)


def _row(fault: Mapping[str, str], found: list[tuple[str, Finding]], plugins: Plugins, example: str) -> str:
    said = next(
        (
            (path, finding)
            for path, finding in found
            if finding.code == fault["rule"]
            and fault.get("says", "") in finding.message
            and fault.get("run", "") in path
            and ("shows" not in fault or any(e.label == fault["shows"] for e in finding.evidence))
        ),
        None,
    )
    if said is None:
        raise SystemExit(f"docs: {fault['rule']} does not find {fault['fault']!r} in {example}")
    path, finding = said
    rule = plugins.rules[finding.code]
    inside = os.path.relpath(path, example)
    place = str(finding.at) if finding.at else ""
    if inside != ".":
        place = os.path.normpath(f"{inside}/{place}")
    message = re.sub(r"([|*_<>])", r"\\\1", finding.message)
    return (
        f"| {fault['section']} | {fault['fault']} | [{rule.code}](rules/{rule.stem}.md) {rule.name} | "
        f"`{place}`: {message} |\n"
    )
