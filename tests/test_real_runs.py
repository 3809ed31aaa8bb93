"""Real labelled runs that nobody here wrote, where they are at hand: no false alarm, no defect, no crash."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from mldiag.audit import Request, audit
from mldiag.findings import Finding
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


def test_every_figure_of_a_message_follows_from_its_evidence(reports: dict[str, Report]) -> None:
    """It is a number of the evidence, the line of one, or the sum, difference, product or ratio of two, rounded."""
    unproven = {
        f.message: missing
        for report in reports.values()
        for f in report.findings
        if (missing := [n for n in figures(_QUOTED.sub("", f.message)) if not follows(n, f)])
    }
    assert not unproven


_QUOTED = re.compile(r'"[^"]*"')
_FIGURE = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")


def figures(text: str) -> list[str]:
    return [n.replace(",", "") for n in _FIGURE.findall(text)]


def follows(figure: str, finding: Finding) -> bool:
    said = [x for e in finding.evidence for x in (e.label, e.value, e.limit) if x is not None]
    known = {float(n) for x in said for n in (figures(x) if isinstance(x, str) else [str(x)])}
    places = [at for at in (finding.at, *(e.at for e in finding.evidence)) if at]
    known |= {float(at.line) for at in places if at.line} | {float(n) for at in places for n in figures(at.path)}
    known = {x for x in known if math.isfinite(x)}
    pairs = {y for a in known for b in known for y in (a + b, a - b, a * b, *((a / b, (a - b) / b) if b else ()))}
    mantissa, _, exponent = figure.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    # Four digits are written of most numbers: 41653 steps in full, but 0.1234 and 1.234e+04.
    tolerance = max(0.501 * unit, 5e-4 * abs(float(figure)) if len(mantissa) > 3 else 0)
    return any(abs(scale * x - float(figure)) <= tolerance for x in known | pairs for scale in (1, 100, -1, -100))


def named(report: Report) -> set[str]:
    return {f.name for f in report.findings}
