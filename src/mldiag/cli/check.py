"""`mldiag check`."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldiag.cli import (
    complain,
    ignore_option,
    known_plugins,
    paths_argument,
    rule_folders,
    rule_words,
    rules_option,
    select_option,
    stage_option,
    words,
)
from mldiag.errors import BROKEN

if TYPE_CHECKING:
    from mldiag.findings import Severity
    from mldiag.plugins import Plugins
    from mldiag.report import Report, Style

_TERMINAL = "text"
"""The format that tells everything itself, unread files too."""


class _Outputs(click.Command):
    """Pairs each `--format` with the `--output` next to it, in the order they were written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        rest = super().parse_args(ctx, args)
        values = {name: iter(ctx.params[name]) for name in ("format", "output")}
        ctx.params["outputs"] = _paired([(p.name, next(values[p.name])) for p in order if p.name in values])
        del ctx.params["format"], ctx.params["output"]
        return rest


def _paired(order: Sequence[tuple[str, str]]) -> tuple[tuple[str, str | None], ...]:
    """`(format, file)` pairs; a file of None is stdout."""
    pairs: list[tuple[str | None, str | None]] = []
    for option, word in order:
        name, file = pairs[-1] if pairs else (_TERMINAL, "")
        if option == "format" and name is None:
            pairs[-1] = (word, file)
        elif option == "output" and file is None:
            pairs[-1] = (name, word)
        else:
            pairs.append((word, None) if option == "format" else (None, word))
    found = tuple((name or _TERMINAL, file) for name, file in pairs) or ((_TERMINAL, None),)
    if sum(file is None for _, file in found) > 1:
        raise click.UsageError("only one --format can go to stdout; give each of the others its own --output")
    return found


def _formats(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in sorted(known_plugins([]).reporters) if name.startswith(incomplete)]


@click.command(cls=_Outputs, short_help="Says what is wrong with runs, with numbers and places.")
@paths_argument
@select_option
@ignore_option
@stage_option
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    help="Lowest severity that makes the exit code 1 (default: error).",
)
@click.option(
    "--require",
    multiple=True,
    metavar="RULE",
    callback=words,
    shell_complete=rule_words,
    help="Exit with 1 if this rule was not applied to every run; may be repeated.",
)
@click.option(
    "--format",
    "format",
    multiple=True,
    metavar="NAME",
    shell_complete=_formats,
    help="Output format: text (default), json, or one of a plugin.",
)
@click.option(
    "--output",
    "-o",
    multiple=True,
    metavar="FILE",
    type=click.Path(),
    help="Write the format beside it to FILE instead of stdout; the pair may be repeated.",
)
@click.option(
    "--against",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Hold the results against those of this run, such as the last good one.",
)
@click.option(
    "--baseline",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Leave out the findings that FILE accepts (default: as configured).",
)
@click.option(
    "--write-baseline",
    is_flag=True,
    help="Accept all that is found now: write it to the baseline file (default: mldiag-baseline.json).",
)
@click.option(
    "--show-skipped", is_flag=True, help="List the rules that were skipped, with the reason, and those that are clean."
)
@click.option("--verbose", "-v", is_flag=True, help="Show all the evidence of symptoms and infos as well.")
@click.option("--quiet", "-q", is_flag=True, help="Print findings only.")
@click.option("--strict", is_flag=True, help="Check nothing if a plugin is broken.")
@rules_option
def command(
    paths: tuple[Path, ...],
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    stage: str,
    fail_on: str | None,
    require: tuple[str, ...],
    outputs: tuple[tuple[str, str | None], ...],
    against: Path | None,
    baseline: Path | None,
    write_baseline: bool,
    rules: tuple[Path, ...],
    **flags: Any,
) -> int:
    """Says what is wrong with the runs at PATH, with numbers and places.

    PATH is a run's folder, a folder of runs, or a single file: a log, configuration, launch script or samples file.
    """
    from mldiag.audit import Request, audit
    from mldiag.errors import MldiagError
    from mldiag.plugins import load

    plugins = load(rule_folders(paths, rules))
    if flags["strict"] and plugins.broken:
        for line in plugins.broken:
            complain(line)
        return BROKEN
    required = [plugins.rule(word).code for word in require]
    for name, _ in outputs:
        if name not in plugins.reporters:
            raise MldiagError(f"no format {name!r}; there are {', '.join(sorted(plugins.reporters))}")
    gate = _gate(paths, fail_on)
    baseline = baseline or _configured_baseline(paths)
    accepted = None
    if baseline is not None and not write_baseline:
        from mldiag import accepted as baselines

        accepted = baselines.read(baseline)
    report = audit(Request(paths, select, ignore, stage == "pre", against=against), plugins)
    if write_baseline:
        return _write_baseline(report, baseline)
    gone = 0
    if accepted is not None:
        report, gone = baselines.apply(report, accepted)
    for name, file in outputs:
        _print(plugins, report, name, file, gate, flags)
    for line in report.problems:
        complain(line)
    if (_TERMINAL, None) not in outputs:
        for run in report.runs:
            for unread in run.unread:
                if unread.known:
                    complain(posixpath.join(run.path, str(unread)))
    unmet = _unmet(report, required)
    for line in unmet:
        complain(line)
    if gone and not flags["quiet"]:
        complain(f"{baseline}: {gone:,} accepted findings are gone; --write-baseline takes them out")
    if accepted is not None and not flags["quiet"] and (lost := baselines.lost(accepted)):
        named = ", ".join(lost[:3]) + (f" and {len(lost) - 3:,} more" if len(lost) > 3 else "")
        complain(f"{baseline}: accepts findings of runs that are not there any more: {named}")
    return report.exit_code(gate) or int(bool(unmet))


def _gate(paths: Sequence[Path], fail_on: str | None) -> Severity | None:
    """The gate of the command line, else the strictest that is configured for a path."""
    from mldiag import settings
    from mldiag.findings import Severity

    if fail_on:
        return None if fail_on == "never" else Severity(fail_on)
    gates = [gate for path in paths if (gate := settings.find(path).fail_on)]
    return max(gates, key=lambda gate: gate.rank, default=None)


def _configured_baseline(paths: Sequence[Path]) -> Path | None:
    """The baseline file that the configuration of the paths names; of several the first."""
    from mldiag import settings

    return next((found for path in paths if (found := settings.find(path).baseline)), None)


def _write_baseline(report: Report, path: Path | None) -> int:
    """Writes the baseline file, unless something could not be checked: that would be accepted unseen."""
    from mldiag import accepted
    from mldiag.errors import MldiagError, os_reason

    path = path or accepted.DEFAULT
    before = None
    if path.exists():
        try:
            before = accepted.read(path)
        except MldiagError as error:
            raise MldiagError(f"{path}: was not overwritten, since it is no baseline file; remove it first") from error
    for line in report.problems:
        complain(line)
    code = report.exit_code(None)
    if code:
        complain(f"{path}: was not written, since something could not be checked")
        return code
    try:
        path.write_text(accepted.written(report, path, before), encoding="utf-8", newline="\n")
    except OSError as error:
        raise MldiagError(f"{path}: cannot be written: {os_reason(error)}") from error
    count = sum(len(run.findings) for run in report.runs)
    complain(f"{path}: {count:,} findings are accepted")
    return code


def _print(
    plugins: Plugins, report: Report, name: str, file: str | None, gate: Severity | None, flags: dict[str, Any]
) -> None:
    from mldiag.errors import MldiagError, os_reason
    from mldiag.terminal import Screen, write

    render = plugins.reporters[name].render
    if file is None:
        write(render(report, _style(Screen.of(sys.stdout), gate, flags)))
        return
    try:
        Path(file).write_bytes(render(report, _style(Screen(), gate, flags)).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise MldiagError(f"{file}: cannot be written: {os_reason(error)}") from error


def _style(screen: Any, gate: Severity | None, flags: dict[str, Any]) -> Style:
    from mldiag.report import Style

    return Style(
        width=screen.width,
        color=screen.color,
        encoding=screen.encoding,
        skipped=flags["show_skipped"],
        verbose=flags["verbose"],
        quiet=flags["quiet"],
        fail_on=gate,
    )


def _unmet(report: Report, required: Sequence[str]) -> list[str]:
    """Why a required rule does not count as applied, one line per run and rule."""
    names = {rule.code: rule.name for rule in report.rules}
    comparing = {rule.code for rule in report.rules if rule.compares}
    together = any(run.members for run in report.runs)
    lines = []
    for run in report.runs:
        decided = {*run.clean, *(f.code for f in (*run.findings, *run.suppressed, *run.accepted))}
        reasons = {s.code: f"was skipped: {s.reason}" for s in run.skipped} | {f.code: "failed" for f in run.failed}
        for code in required:
            # What looks at several runs is told once for all of them, the rest for each.
            elsewhere = together and (code in comparing) != bool(run.members)
            if code not in decided and not elsewhere:
                why = reasons.get(code, "was not selected")
                lines.append(f"{run.path}: {code} {names.get(code, '')} is required and {why}")
    return lines
