"""The baseline file: today's findings, accepted, so that a gate stops only what is new.

A finding is known again by its run, its rule, and the place it points at: the file, the key and the text of the line,
not the line's number, which moves when something is inserted above. Several findings of one fingerprint are counted;
one more than accepted is new. The file is JSON, sorted, a line per fingerprint, so that it merges and reads well in a
review.
"""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mldiag.errors import SettingsError
from mldiag.findings import Finding
from mldiag.report import Report

DEFAULT = Path("mldiag-baseline.json")
_VERSION = 1
_SIZE_LIMIT = 64 * 2**20

Fingerprint = tuple[str, str, str, str, str]
"""Run, code, path, key and the line's text; the run as a path from the baseline's folder."""


class Accepted(Struct, frozen=True):
    """What a baseline file accepts.

    Attributes:
        path: the file.
        counts: how many findings of each fingerprint.
    """

    path: Path
    counts: Mapping[Fingerprint, int]


def read(path: Path) -> Accepted:
    """Reads a baseline file.

    Raises:
        SettingsError: it is missing or not such a file, with what to do.
    """
    import json

    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise ValueError(f"it has more than {_SIZE_LIMIT:,} bytes")
        table = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict) or table.get("mldiag-baseline") != _VERSION:
            raise ValueError(f'expected an object with "mldiag-baseline": {_VERSION}')
        counts = {_fingerprint_in(entry): _count(entry) for entry in table["accepted"]}
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no baseline file; mldiag check --write-baseline makes one") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: is no baseline file: {reason}; --write-baseline makes one") from error
    return Accepted(path, counts)


def apply(report: Report, accepted: Accepted) -> tuple[Report, int]:
    """The report without accepted findings, and how many accepted ones of the checked runs are gone."""
    left = Counter(accepted.counts)
    runs = []
    for run in report.runs:
        new: list[Finding] = []
        known: list[Finding] = []
        for finding in run.findings:
            mark = _fingerprint(run.path, finding, accepted.path)
            (known if left[mark] > 0 else new).append(finding)
            left[mark] -= 1
        runs.append(replace(run, findings=tuple(new), accepted=tuple(known)))
    decided = _decided(report, accepted.path)
    gone = sum(count for mark, count in left.items() if count > 0 and mark[:2] in decided)
    return replace(report, runs=tuple(runs)), gone


def lost(accepted: Accepted) -> list[str]:
    """The runs whose findings are accepted and whose folders are not there any more, though those around them are."""
    folder = accepted.path.parent
    runs = dict.fromkeys(mark[0] for mark in accepted.counts)
    return [r for r in runs if not os.path.lexists(folder / r) and (folder / r).parent.is_dir()]


def written(report: Report, path: Path, before: Accepted | None = None) -> str:
    """The content of a baseline file that accepts all that a report found.

    Args:
        before: what the file accepted so far; what the report does not decide, of other runs and of rules that were
            not applied, stays accepted, but for runs that are not there any more.
    """
    import json

    counts = Counter(_fingerprint(run.path, f, path) for run in report.runs for f in (*run.findings, *run.accepted))
    if before is not None:
        decided, missing = _decided(report, path), {*lost(before)}
        for mark, count in before.counts.items():
            if mark[:2] not in decided and mark[0] not in missing:
                counts[mark] = max(count, counts[mark])
    names = ("run", "code", "path", "key", "line")
    entries = [
        json.dumps({**dict(zip(names, mark, strict=True)), "count": count}, ensure_ascii=True)
        for mark, count in sorted(counts.items())
    ]
    body = ",\n  ".join(entries)
    return (
        f'{{"mldiag-baseline": {_VERSION},\n "accepted": [\n  {body}\n ]}}\n'
        if entries
        else (f'{{"mldiag-baseline": {_VERSION},\n "accepted": []}}\n')
    )


def _decided(report: Report, baseline: Path) -> set[tuple[str, str]]:
    """Which rule was applied to which run."""
    return {
        (_run_of(run.path, baseline), code)
        for run in report.runs
        for code in (*run.clean, *(f.code for f in (*run.findings, *run.accepted, *run.suppressed)))
    }


def _fingerprint(run: str, finding: Finding, baseline: Path) -> Fingerprint:
    at = finding.at
    if at is None:
        return (_run_of(run, baseline), finding.code, "", "", "")
    # A line of a log is another one in the next run; of what people write, the line is what was accepted.
    line = " ".join((at.excerpt or "").split())[:200]
    text = line.encode("utf-8", "backslashreplace").decode()
    return (_run_of(run, baseline), finding.code, at.path, at.key or "", text)


def _run_of(path: str, baseline: Path) -> str:
    return Path(os.path.relpath(os.path.realpath(path), os.path.realpath(baseline.parent))).as_posix()


def _fingerprint_in(entry: Mapping[str, Any]) -> Fingerprint:
    parts = tuple(entry[name] for name in ("run", "code", "path", "key", "line"))
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"an entry holds something that is no text: {entry!r}"[:200])
    run, code, path, key, line = parts
    return run, code, path, key, line


def _count(entry: Mapping[str, Any]) -> int:
    count = entry["count"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"a count is {count!r}")
    return count
