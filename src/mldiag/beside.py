"""Runs side by side as plain data: settings that differ, results, and how many findings each has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mldiag.findings import Severity
from mldiag.groups import Group, Member, Result, common_folder
from mldiag.quantities import is_lower_better
from mldiag.report import Report


def beside(members: Sequence[Member], report: Report) -> dict[str, Any]:
    """Members of one comparison, in the order of the paths.

    Args:
        report: the audit of the same runs.
    """
    folder, _ = common_folder(members)
    group = Group(tuple(m.seen_from(folder) for m in members))
    settings = [
        {"name": name, "values": [None if v is None else v.value for v in values]}
        for name, values in group.differing(group.members).items()
    ]
    metrics: list[dict[str, Any]] = [
        {"name": name, "values": [_result(member.results.get(name)) for member in members]} for name in group.common
    ]
    differ = any(len({None if v is None else (v["last"], v["best"]) for v in m["values"]}) > 1 for m in metrics)
    return {
        "runs": [{"path": m.path, "name": m.name, "findings": _findings(m, report)} for m in members],
        "settings": settings,
        "metrics": metrics,
        "same": not (settings or differ),
        "problems": list(report.problems),
    }


def _result(result: Result | None) -> dict[str, Any] | None:
    if result is None:
        return None
    best = result.lowest if is_lower_better(result.name) else result.highest
    return {"first": result.first, "last": result.last, "best": best, "points": result.count, "noise": result.noise}


def _findings(member: Member, report: Report) -> dict[str, int]:
    found = [r for r in report.runs if not r.members and (r.path, r.name) == (member.path, member.name)]
    return {s.value: sum(f.level is s for r in found for f in r.findings) for s in Severity}
