"""Fixes: from findings to edited files, in rounds, each audited before the next, until nothing is left to edit.

Nothing is written here. `settle` works on copies of the files in memory; `placement` says where the result may go and
`journal` writes it.
"""

from __future__ import annotations

import hashlib
import os.path
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from mldiag.errors import FixError, ReadError
from mldiag.files import File, Folder
from mldiag.findings import Edit, Finding, Fix, Safety
from mldiag.report import Report

MAX_ROUNDS = 100
"""Rounds after which fixes that still find something to edit are given up. Each unsafe fix takes a round of its own and
each conflict one more; no real run has more than some tens of findings."""

Audit = Callable[[Mapping[Path, bytes]], Report]
"""Audits with some files replaced: absolute path → content."""


class Change(Struct, frozen=True):
    """A file as it is on disk and as the fixes leave it; `path` is absolute, links in its last part not resolved."""

    path: Path
    before: bytes
    after: bytes


class Fixing(Struct, frozen=True):
    """What a fix does, to which run, and whose it is."""

    run: str
    code: str
    title: str
    safety: Safety


class Settled(Struct, frozen=True):
    """The fixed point.

    Attributes:
        changes: the files that differ, sorted by path.
        applied: the fixes behind them, in the order in which they were applied.
        report: the audit of the result.
    """

    changes: tuple[Change, ...]
    applied: tuple[Fixing, ...]
    report: Report

    def left(self, safety: Safety) -> list[Fixing]:
        """The fixes of the result that were not applied: unsafe ones held back, or those that can only be shown."""
        return [
            Fixing(run.path, finding.code, finding.fix.title, safety)
            for run in self.report.runs
            for finding in run.findings
            if finding.fix is not None and finding.fix.safety is safety
        ]


def settle(audit: Audit, *, unsafe: bool = False) -> Settled:
    """Applies fixes in rounds until the audit asks for no further edit.

    A round applies all safe fixes of the report, causes first, except one that touches bytes of a fix already applied
    in the round: it waits for the next. Only where no safe fix is left, and `unsafe` is set, a round applies the first
    unsafe fix of each run.

    Raises:
        FixError: fixes undo each other, do not come to an end, or leave something that cannot be audited any more.
    """
    originals: dict[Path, bytes] = {}
    overlay: dict[Path, bytes] = {}
    rounds: list[list[Fixing]] = []
    report = audit({})
    troubles = _troubles(report)
    seen = {_state(overlay): 0}
    while chosen := _next(report, unsafe):
        if len(rounds) == MAX_ROUNDS:
            codes = _codes(rounds[MAX_ROUNDS // 2 :])
            raise FixError(f"{codes} still found something to edit after {MAX_ROUNDS} rounds; nothing was written")
        rounds.append(_apply(chosen, originals, overlay))
        known = seen.setdefault(_state(overlay), len(rounds))
        if known < len(rounds):
            raise FixError(f"the fixes of {_codes(rounds[known:])} undo each other; nothing was written")
        report = audit(overlay)
        new = [t for t in _troubles(report) if t not in troubles]
        if new:
            raise FixError(f"after the fixes of {_codes(rounds[-1:])}: {new[0]}; nothing was written")
    changes = tuple(Change(path, originals[path], overlay[path]) for path in sorted(overlay))
    return Settled(changes, tuple(a for applied in rounds for a in applied), report)


class _Pending(Struct, frozen=True):
    """A fix that has something to edit, with the edits' paths made absolute."""

    run: str
    finding: Finding
    fix: Fix


def _next(report: Report, unsafe: bool) -> list[_Pending]:
    """The fixes of the next round: every safe one, else the first unsafe one of each run."""
    pending = []
    for run in report.runs:
        root = Path(run.path).resolve()
        for finding in run.findings:
            if finding.fix is not None and any(e.old != e.new for e in finding.fix.edits):
                edits = tuple(replace(e, path=os.path.normpath(root / e.path)) for e in finding.fix.edits)
                pending.append(_Pending(run.path, finding, replace(finding.fix, edits=edits)))
    safe = [p for p in pending if p.fix.safety is Safety.SAFE]
    if safe or not unsafe:
        return safe
    first = {p.run: p for p in reversed(pending) if p.fix.safety is Safety.UNSAFE}
    return [p for p in pending if first.get(p.run) is p]


def _apply(chosen: Sequence[_Pending], originals: dict[Path, bytes], overlay: dict[Path, bytes]) -> list[Fixing]:
    """Applies to the overlay what goes together; the rest is found again in the next round."""
    accepted: dict[Edit, None] = {}
    applied = []
    for pending in chosen:
        if not any(_touch(mine, other) for mine in pending.fix.edits for other in accepted):
            accepted |= dict.fromkeys(pending.fix.edits)
            finding, fix = pending.finding, pending.fix
            applied.append(Fixing(pending.run, finding.code, fix.title, fix.safety))
    for path in {Path(e.path) for e in accepted} - originals.keys():
        originals[path] = _content(File(path.parent, path.name))
    now = {str(path): overlay.get(path, original) for path, original in originals.items()}
    for name, content in apply_edits(accepted, Folder(Path("/"), (), now)).items():
        path = Path(name)
        overlay[path] = content
        if content == originals[path]:
            del overlay[path]
    return applied


def _touch(mine: Edit, other: Edit) -> bool:
    """Whether two edits get into each other's way; identical ones do not, they are one."""
    return mine != other and mine.path == other.path and mine.start <= other.end and other.start <= mine.end


def _state(overlay: Mapping[Path, bytes]) -> frozenset[tuple[Path, bytes]]:
    return frozenset((path, hashlib.sha256(content).digest()) for path, content in overlay.items())


def _codes(rounds: Iterable[Iterable[Fixing]]) -> str:
    codes = sorted({a.code for applied in rounds for a in applied})
    return " and ".join(filter(None, (", ".join(codes[:-1]), codes[-1])))


def _troubles(report: Report) -> dict[str, None]:
    """What could not be audited; without line numbers, which an edit may shift."""
    found = dict.fromkeys(report.problems)
    for run in report.runs:
        found |= dict.fromkeys(f"{run.path}/{u.path}: {u.reason}" for u in run.unread if u.known)
        found |= dict.fromkeys(f"{run.path}: rule {f.code} failed" for f in run.failed)
    return found


def apply_edits(edits: Iterable[Edit], folder: Folder) -> dict[str, bytes]:
    """The edited files, path → new content; nothing is written. Insertions at one place stay in the given order.

    Raises:
        FixError: a span does not hold the text the edit expects, or two edits overlap.
    """
    by_path: dict[str, list[Edit]] = {}
    for edit in dict.fromkeys(edits):
        by_path.setdefault(edit.path, []).append(edit)
    return {path: _edited(folder[path], changes) for path, changes in by_path.items()}


def _edited(file: File, edits: Iterable[Edit]) -> bytes:
    data, codec = _content(file), file.codec
    pieces, at = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        if not 0 <= edit.start <= edit.end <= len(data) or data[edit.start : edit.end] != edit.old.encode(codec):
            raise FixError(f"{file.path}: the file changed since it was read: {edit.old!r} is not at byte {edit.start}")
        if edit.start < at:
            raise FixError(f"{file.path}: two edits touch the same bytes {edit.start}-{at}")
        try:
            pieces += [data[at : edit.start], edit.new.encode(codec)]
        except UnicodeEncodeError as error:
            raise FixError(f"{file.path}: {edit.new!r} cannot be written in {codec.upper()}, as the file is") from error
        at = edit.end
    return b"".join([*pieces, data[at:]])


def _content(file: File) -> bytes:
    try:
        return file.data
    except ReadError as error:
        raise FixError(f"{file.root / file.path}: {error}") from error
