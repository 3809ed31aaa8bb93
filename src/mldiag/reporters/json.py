r"""The report for programs: one strict JSON document, schema 1; within a schema keys are added, never changed.

Plain ASCII, so that no locale, terminal or parser can trip over it: other characters are `\u` escapes. NaN and the
infinities, which JSON lacks, are the strings `NaN`, `Infinity` and `-Infinity`; halves of surrogate pairs, which come
from file names that are no text, are spelled out.
"""

from __future__ import annotations

import math
from typing import Any

from mldiag.artifacts import Source, Unread
from mldiag.findings import Edit, Evidence, Finding, Fix, Severity
from mldiag.report import Report, RunReport, Style
from mldiag.reporters import reporter

SCHEMA = 1


@reporter("json")
def json(report: Report, style: Style) -> str:
    """The whole report; paths are relative to the path of their run."""
    return document(
        {
            "schema": SCHEMA,
            "tool": {"name": "mldiag", "version": report.version},
            "runs": [_run(run) for run in report.runs],
            "problems": list(report.problems),
            "summary": {
                "runs": len(report.single),
                **{severity.value: report.count(severity) for severity in Severity},
                "fixable": report.fixable,
                "seconds": round(report.seconds, 3),
            },
        }
    )


def document(value: Any) -> str:
    """A value made of dicts, sequences and scalars as a strict JSON document, ending in a newline."""
    import json as standard

    return standard.dumps(_strict(value), indent=2, allow_nan=False) + "\n"


def at(source: Source | None) -> dict[str, Any] | None:
    """A place; always the same keys, null where it has none."""
    if source is None:
        return None
    return {"path": source.path, "line": source.line, "column": source.column, "key": source.key}


def unread(part: Unread) -> dict[str, Any]:
    """A file, or a part of one, that could not be used."""
    return {"path": part.path, "reason": part.reason, "line": part.line, "partial": part.partial, "known": part.known}


def _strict(value: Any) -> Any:
    if isinstance(value, str):
        # By their code points alone: an enum's member is written as its value.
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        # Python refuses to write out more than 4,300 decimal digits.
        return int(value) if value.bit_length() < 14_000 else hex(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {_strict(str(key)): _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    return _strict(str(value))


def _run(run: RunReport) -> dict[str, Any]:
    return {
        "path": run.path,
        "name": run.name,
        "findings": [_finding(finding) for finding in run.findings],
        "clean": list(run.clean),
        "skipped": [{"code": s.code, "reason": s.reason} for s in run.skipped],
        "failed": [{"code": f.code, "error": f.error} for f in run.failed],
        "unread": [unread(u) for u in run.unread],
        "suppressed": len(run.suppressed),
        "unused_suppressions": [{"rule": u.rule, "reason": u.reason, "at": at(u.at)} for u in run.unused],
        "accepted": len(run.accepted),
        "members": list(run.members),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "name": finding.name,
        "family": finding.family,
        "severity": finding.level.value,
        "message": finding.message,
        "advice": finding.advice,
        "explains": list(finding.explains or ()),
        "explained_by": list(finding.explained_by),
        "at": at(finding.at),
        "evidence": [_evidence(evidence) for evidence in finding.evidence],
        "fix": _fix(finding.fix),
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "label": evidence.label,
        "value": evidence.value,
        "limit": evidence.limit,
        "unit": evidence.unit,
        "at": at(evidence.at),
    }


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {"safety": fix.safety.value, "title": fix.title, "edits": [_edit(edit) for edit in fix.edits]}


def _edit(edit: Edit) -> dict[str, Any]:
    return {"path": edit.path, "start": edit.start, "end": edit.end, "old": edit.old, "new": edit.new}
