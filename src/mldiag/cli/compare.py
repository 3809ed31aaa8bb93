"""`mldiag compare`: two checkpoints, or runs side by side, by what the paths are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldiag.cli import complain, paths_argument
from mldiag.errors import BROKEN, FOUND, OK

if TYPE_CHECKING:
    from mldiag.groups import Member
    from mldiag.plugins import Plugins
    from mldiag.run import Run
    from mldiag.terminal import Page, Part
    from mldiag.weights import Opened

_FEW = 12
_BESIDE = 6
"""Runs that stand beside each other in one table; more are told in further ones."""


@click.command(short_help="Says in what two checkpoints, or several runs, differ.")
@paths_argument
@click.option(
    "--sort",
    type=click.Choice(["distance", "max", "cosine", "size", "name"]),
    default="distance",
    help="Of checkpoints: which tensors come first (default: those that are farthest apart).",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Of checkpoints: the first N tensors in that order."
)
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Output format.")
def command(paths: tuple[Path, ...], sort: str, limit: int | None, format_: str) -> int:
    """Says in what the checkpoints or the runs at PATH differ.

    Two checkpoints, each a file of any format or a folder with its pieces: names that only one has, shapes and types
    that differ, and of each tensor how far its values are apart, as float64: relative to the norm of the first one,
    largest and mean difference, cosine. NaN is the same as NaN. What wrappers put before names (`module.`,
    `_orig_mod.`, `model.`, `state_dict/`) is left aside. Values are read in pieces; no framework is imported.

    Two runs or more, or a folder of runs: settings that differ, last and best value of each loss and score, findings.

    Exit codes: 0 the same (of checkpoints: names but for wrappers, shapes, types and every bit), 1 they differ,
    2 something could not be compared.
    """
    from mldiag.errors import MldiagError
    from mldiag.plugins import load
    from mldiag.terminal import Page, Screen, write

    plugins = load()
    for line in plugins.broken:
        complain(line)
    sides = [_side(path, plugins) for path in paths]
    checkpoints = [(path, side) for path, side in zip(paths, sides, strict=True) if not isinstance(side, list)]
    if checkpoints and len(checkpoints) < len(sides):
        run = next(path for path, side in zip(paths, sides, strict=True) if isinstance(side, list))
        raise MldiagError(f"{checkpoints[0][0]} is a checkpoint and {run} is not; compare checkpoints, or runs")
    page = Page(Screen.of(sys.stdout))
    if checkpoints:
        if len(checkpoints) != 2:
            raise MldiagError(f"checkpoints are compared two at a time; found {len(checkpoints):,}")
        from mldiag.weights.comparison import compared
        from mldiag.weights.pages import show_comparison

        found = compared(checkpoints[0][1], checkpoints[1][1], sort=sort, limit=limit or 0)
        complete, same = found["summary"]["complete"], found["summary"]["same"]
        show_comparison(page, found)
        found = {"kind": "checkpoints", **found}
    else:
        members = [member for side in sides if isinstance(side, list) for member in side]
        found = {"kind": "runs", **_runs(paths, members, plugins)}
        complete, same = not found["problems"], found["same"]
        _show_runs(page, found)
        for line in found["problems"]:
            complain(line)
    if format_ == "json":
        from mldiag.reporters.json import SCHEMA, document

        write(document({"schema": SCHEMA, **found}))
    else:
        write(page.text())
    return BROKEN if plugins.broken or not complete else OK if same else FOUND


def _side(path: Path, plugins: Plugins) -> Opened | list[Member]:
    """What lies at a path: one checkpoint, or runs.

    Raises:
        MldiagError: neither; the reason in one line.
    """
    from mldiag import weights
    from mldiag.audit import Request, read_runs
    from mldiag.errors import MldiagError, ReadError
    from mldiag.groups import member_of

    try:
        shard = weights.shard(path)
    except ReadError as error:
        raise MldiagError(f"{path}: {error.reason}") from error
    if shard:
        return shard
    problems: list[str] = []
    members = []
    runs = 0
    for run in read_runs(Request((path,)), plugins, problems):
        runs += 1
        if weights.is_weights(run) or weights.is_model(run):
            return next(weights.opened(run))
        if reason := _nothing_in(run):
            raise MldiagError(f"{path}: {reason}")
        members.append(member_of(run))
    if problems:
        raise MldiagError(problems[0])
    if not runs:
        raise MldiagError(f"{path}: neither a checkpoint nor a run was found")
    return members


def _nothing_in(run: Run) -> str:
    """Why a path is neither a checkpoint nor a run; empty where it may be one."""
    from mldiag import weights

    if weights.is_file(run):
        known = [u.reason for u in run.unread if u.known]
        if known and run.empty:
            return known[0]
        return "" if run.metrics.series or run.settings.found else "neither a checkpoint nor a log or configuration"
    names = [found.checkpoint.path for found in weights.opened(run)]
    if names and not (run.metrics.series or run.settings.found or run.program.launch):
        more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
        return f"{len(names):,} checkpoints and no run; name one of them: {', '.join(names[:_FEW])}{more}"
    return ""


def _runs(paths: Sequence[Path], members: Sequence[Member], plugins: Plugins) -> dict[str, Any]:
    from mldiag.audit import Request, audit
    from mldiag.beside import beside
    from mldiag.errors import MldiagError

    if len(members) < 2:
        raise MldiagError(f"{paths[0]}: one run; name at least two runs, or two checkpoints")
    report = audit(Request(tuple(paths)), plugins)
    return beside(members, report)


def _show_runs(page: Page, found: Mapping[str, Any]) -> None:
    from mldiag.matrix import letters

    runs = found["runs"]
    named = [next(names) for names in [letters()] for _ in runs]
    page.rule(f"{len(runs):,} runs")
    page.table(
        [[(letter, "strong"), (run["path"], "place"), _findings(run)] for letter, run in zip(named, runs, strict=True)]
    )
    sections = (
        ("settings that differ", found["settings"], _setting),
        ("last value, and the best where it is another", found["metrics"], _result),
    )
    for title, rows, cell in sections:
        if not rows:
            continue
        page.blank()
        page.line((title, "strong"))
        for start in range(0, len(runs), _BESIDE):
            part = slice(start, start + _BESIDE)
            table: list[list[Part]] = [[("", ""), *((letter, "strong") for letter in named[part])]]
            table += [[(row["name"], ""), *((cell(value), "") for value in row["values"][part])] for row in rows]
            page.table(table, indent=2)
    if not found["settings"]:
        page.blank()
        page.flow(("no setting differs among those that are stated", "good"))
    elif len(found["settings"]) > 1 and found["metrics"]:
        page.flow(
            (f"{len(found['settings']):,} settings differ: no one of them explains a difference", "dim"), first="  "
        )


def _findings(run: Mapping[str, Any]) -> Part:
    counts = [
        f"{count:,} {name}{'s' if count != 1 and name != 'info' else ''}"
        for name, count in run["findings"].items()
        if count
    ]
    style = "error" if run["findings"]["error"] else "warning" if run["findings"]["warning"] else "good"
    return ", ".join(counts) or "nothing found", style


def _setting(value: Any) -> str:
    from mldiag.terminal import number

    if value is None:
        return "not stated"
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else number(value)
    return text.replace(" ", "\xa0") if len(text) < _BESIDE * 4 else text


def _result(value: Mapping[str, float] | None) -> str:
    if value is None:
        return "none"
    last, best = f"{value['last']:.5g}", f"{value['best']:.5g}"
    return last if last == best else f"{last}\xa0({best})"
