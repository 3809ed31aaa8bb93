"""`mldiag fix`."""

from __future__ import annotations

import os.path
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from mldiag.cli import (
    NamedPath,
    complain,
    ignore_option,
    paths_argument,
    rule_folders,
    rules_option,
    select_option,
    stage_option,
)
from mldiag.errors import BROKEN

if TYPE_CHECKING:
    from mldiag.audit import Request
    from mldiag.findings import Severity
    from mldiag.fixes import Change, Fixing, Settled
    from mldiag.journal import Write
    from mldiag.plugins import Plugins
    from mldiag.report import Report


@click.command(short_help="Corrects what is wrong with runs: prints a diff, or writes it.")
@paths_argument
@click.option("--apply", is_flag=True, help="Write the corrections, in place unless --output or --suffix is given.")
@click.option("--output", metavar="DIR", type=NamedPath(), help="Write corrected copies below DIR.")
@click.option("--suffix", metavar="TEXT", help="Write corrected copies beside the originals (_fixed: run_fixed.sh).")
@click.option("--unsafe-fixes", is_flag=True, help="Also apply fixes after which the next run learns differently.")
@click.option("--undo", is_flag=True, help="Take back what was last written for PATH.")
@select_option
@ignore_option
@stage_option
@rules_option
def command(
    paths: tuple[Path, ...],
    apply: bool,
    output: Path | None,
    suffix: str | None,
    unsafe_fixes: bool,
    undo: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    stage: str,
    rules: tuple[Path, ...],
) -> int:
    """Corrects what is wrong with the runs at PATH: prints a diff, or writes it.

    Safe fixes restore what the run's other parts already say; fixes after which the next run learns differently need
    --unsafe-fixes. Each round of fixes is checked again before the next, until nothing is left to edit.

    What is written is kept in .mldiag/ of the checked folder, and --undo takes it back, byte for byte.

    Exit codes: 1 the diff is not empty, 0 there is nothing to change or it was written, 2 something could not be done.
    """
    from mldiag.audit import Request
    from mldiag.placement import check_suffix
    from mldiag.plugins import load

    if suffix is not None and output is not None:
        raise click.UsageError("--suffix and --output exclude each other")
    if undo:
        if apply or suffix is not None:
            raise click.UsageError("--undo goes with no option that writes")
        return _undo(paths, output)
    if suffix is not None:
        check_suffix(suffix)
    plugins = load(rule_folders(paths, rules))
    request = Request(paths, select, ignore, stage == "pre")
    return _fix(request, plugins, unsafe_fixes, apply, output, suffix)


def _fix(request: Request, plugins: Plugins, unsafe: bool, apply: bool, output: Path | None, suffix: str | None) -> int:
    from mldiag.audit import audit
    from mldiag.fixes import settle
    from mldiag.journal import recover, write

    if apply or output is not None or suffix is not None:
        for undone in recover([_folder(path) for path in request.paths if _mode(path)], output):
            _tell(undone.action, undone.path, request.paths)
            _say("an earlier fix was interrupted while it was written; what it had written was taken back")
    settled = settle(lambda overlay: audit(replace(request, overlay=overlay), plugins), unsafe=unsafe)
    for line in _troubles(settled.report):
        complain(line)
    if not settled.report.runs:
        return BROKEN
    code = settled.report.exit_code(None)
    if not apply and output is None and suffix is None:
        _show(settled.changes, request.paths)
        _explain(settled, unsafe, bool(settled.changes))
        if settled.changes:
            _say("nothing was written: --apply writes this in place, --suffix and --output write corrected copies")
        return code or int(bool(settled.changes))
    writes = _placed(settled, request, plugins, output, suffix)
    write(writes)
    for done in writes:
        _tell("edited" if done.copy_of is None else "wrote", done.path, request.paths)
    _explain(settled, unsafe, bool(writes))
    return code


def _placed(
    settled: Settled, request: Request, plugins: Plugins, output: Path | None, suffix: str | None
) -> list[Write]:
    """What is to be written, and where."""
    from mldiag.audit import read_runs
    from mldiag.placement import check_unchanged, copies, in_place
    from mldiag.retarget import retargeted

    check_unchanged(settled.changes)
    folders = [_folder(path) for path in request.paths if _mode(path)]
    contents = {change.path: change.after for change in settled.changes}
    if suffix is not None:
        runs = read_runs(replace(request, overlay=contents), plugins, []) if contents else ()
        return copies(retargeted(contents, runs, suffix), folders, suffix=suffix)
    if output is not None:
        return copies(contents, folders, output=output)
    return in_place(settled.changes, folders)


def _undo(paths: Sequence[Path], output: Path | None) -> int:
    from mldiag.errors import FixError
    from mldiag.journal import undo

    for path in paths:
        if not _mode(path):  # the journal beside a mistyped name is another path's
            raise FixError(f"{path}: there is no such file or folder, or it cannot be reached; nothing was undone")
    taken_back = undo([_folder(path) for path in paths], output)
    for undone in taken_back:
        _tell(undone.action, undone.path, paths)
    if not taken_back:
        _say("nothing had been written yet")
    return 0


def _folder(path: Path) -> Path:
    """The checked folder, whose journal keeps what is written for a path: for a file, the one it lies in."""
    return (path if stat.S_ISDIR(_mode(path)) else path.parent).resolve()


def _mode(path: Path) -> int:
    """What `stat` says of a path; 0 where it cannot be reached, which the audit has told already."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _shown(path: Path, given: Iterable[Path]) -> str:
    """A path as the user would write it: below one of the given paths, or in the working folder; else absolute."""
    for base in given:
        if not base.is_absolute() and path.is_relative_to(_folder(base)):
            named = base if stat.S_ISDIR(_mode(base)) else base.parent
            return os.path.normpath(named / path.relative_to(_folder(base)))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _show(changes: Iterable[Change], given: Sequence[Path]) -> None:
    from mldiag.diff import painted, unified
    from mldiag.terminal import Screen, write, write_bytes

    screen = Screen.of(sys.stdout)
    for change in changes:
        lines = unified(change.before, change.after, _shown(change.path, given))
        if screen.color or screen.terminal:
            write(painted(lines, screen))
        else:
            write_bytes(b"".join(lines))


def _explain(settled: Settled, unsafe: bool, pending: bool) -> None:
    """Says what the fixes do, which are held back, what only a person can do, and what is left."""
    from mldiag.findings import Safety, Severity
    from mldiag.terminal import counted

    several = len(settled.report.runs) > 1

    def line(fixing: Fixing, label: str = "") -> str:
        return f"{fixing.run + ': ' if several else ''}{label}{fixing.code}: {fixing.title}"

    if pending:
        for applied in settled.applied:
            _say(line(applied, f"{applied.safety} "))
    elif settled.changes:
        _say("nothing to change: the corrected copies are there")
    else:
        _say("nothing to change")
    held = [] if unsafe else settled.left(Safety.UNSAFE)
    if held:
        _say(f"{counted(len(held), 'unsafe fix', 'unsafe fixes')} held back; --unsafe-fixes applies them:")
        _say(*(f"  {line(fixing)}" for fixing in held))
    shown = settled.left(Safety.SHOW)
    if shown:
        _say("only a person can do this:")
        _say(*(f"  {line(fixing)}" for fixing in shown))
    left = " and ".join(_counted(settled.report, s) for s in (Severity.ERROR, Severity.WARNING))
    _say(f"checked again: {left} left" if settled.applied else f"{left} found")


def _counted(report: Report, severity: Severity) -> str:
    """`2 errors (CUR001, SMP002)`."""
    from mldiag.terminal import counted

    codes = dict.fromkeys(finding.code for finding in report.findings if finding.level is severity)
    return counted(report.count(severity), severity.value) + (f" ({', '.join(codes)})" if codes else "")


def _troubles(report: Report) -> list[str]:
    """Why the exit code is 2, where it is."""
    lines = list(report.problems)
    for run in report.runs:
        lines += [f"{run.path}/{unread}" for unread in run.unread if unread.known]
        lines += [f"{run.path}: rule {failed.code} failed: {failed.error}" for failed in run.failed]
    lines += [f"{run.path}: every rule was skipped" for run in report.unchecked]
    return lines


def _tell(action: str, path: Path, given: Iterable[Path]) -> None:
    from mldiag.terminal import escaped, write

    write(f"{action} {escaped(_shown(path, given))}\n")


def _say(*lines: str) -> None:
    from mldiag.terminal import note

    note(*lines)
