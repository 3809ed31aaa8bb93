"""Real labelled runs that nobody here wrote, where they are at hand: no false alarm, no defect, no crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mldiag.audit import Request, audit
from mldiag.plugins import Plugins, load
from mldiag.report import Report

SHARED = Path(__file__).parents[2] / "shared"

TRUE_OF_HEALTHY_RUNS = {
    "no-validation",
    "missing-safeguards",
    "unseeded-run",
    "interrupted-run",
    "tokens-per-parameter",
}
"""What is rightly said of many a healthy run: it lacks something without having come to harm."""

EXPLAINED_BY_LABEL = {"degenerate_samples": {"broken-words", "repetition"}}
"""Labels that are true besides, and the rules that say so."""


def labelled() -> list[tuple[Path, dict[str, Any]]]:
    rows = []
    for folder in ("corpus", "faults"):
        labels = SHARED / folder / "labels.jsonl"
        if labels.is_file():
            for line in labels.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                rows.append((SHARED / folder / "runs" / row["id"], row))
    return rows


RUNS = labelled()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RUNS, reason="the labelled runs are not part of the repository"),
]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


@pytest.fixture(scope="module")
def reports(plugins: Plugins) -> dict[str, Report]:
    return {row["id"]: audit(Request((path,)), plugins) for path, row in RUNS}


def is_healthy(row: dict[str, Any]) -> bool:
    sure = row.get("confidence", "high") in ("high", "medium")
    return sure and (row.get("healthy") is True or row.get("labels") == ["healthy"])


def test_no_rule_breaks_on_any_run(reports: dict[str, Report]) -> None:
    failed = {name: [f.error for run in report.runs for f in run.failed] for name, report in reports.items()}
    assert not {name: errors for name, errors in failed.items() if errors}


def test_healthy_runs_raise_no_alarm(reports: dict[str, Report]) -> None:
    alarms = {}
    for _, row in RUNS:
        excused = TRUE_OF_HEALTHY_RUNS.union(*(EXPLAINED_BY_LABEL.get(x, set()) for x in row.get("also_true") or []))
        cried = {f.name for f in reports[row["id"]].findings if f.level != "info"} - excused
        if is_healthy(row) and cried:
            alarms[row["id"]] = cried
    assert not alarms


@pytest.mark.parametrize(
    ("fault", "names", "least"),
    [
        ("overfitting", {"generalization-gap", "validation-rise"}, 5),
        ("nan_loss", {"non-finite"}, 1),
        ("lr_too_low", {"not-learning"}, 2),
        ("frozen_parameters", {"not-learning"}, 2),
        ("truncated_schedule", {"truncated-schedule"}, 1),
        ("warmup_too_long", {"excessive-warmup"}, 2),
        ("seq_len_mismatch", {"conflicting-values", "sequence-exceeds-positions"}, 2),
        ("degenerate_samples", {"repetition", "broken-words"}, 1),
    ],
)
def test_planted_faults_are_found_by_their_own_rule(
    reports: dict[str, Report], fault: str, names: set[str], least: int
) -> None:
    """At least as many as have artifacts in a format that is read."""
    found = [row["id"] for _, row in RUNS if fault in (row.get("faults") or []) and names & named(reports[row["id"]])]
    assert len(found) >= least


def named(report: Report) -> set[str]:
    return {f.name for f in report.findings}
