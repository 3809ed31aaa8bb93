"""Comparing many runs: what it costs, and what equal runs are worth."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from mldiag.audit import Request, audit
from mldiag.findings import Finding
from mldiag.groups import Member
from mldiag.plugins import load


def compared(root: Path, rules: tuple[str, ...] = ("EVA006",)) -> list[Finding]:
    report = audit(Request((root,), rules), load())
    assert not report.problems
    return [finding for run in report.runs if run.members for finding in run.findings]


def write(folder: Path, rows: list[dict[str, float]], **settings: object) -> None:
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps({"epoch": e, **row}) + "\n" for e, row in enumerate(rows, 1)))
    (folder / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(("values", "digits"), [(4, 2), (5, 2), (8, 2), (6, 3)])
def test_runs_of_a_sweep_that_log_few_digits_are_no_copies_of_each_other(
    tmp_path: Path, values: int, digits: int
) -> None:
    """An accuracy of 0.80 says little: among 120 runs some agree in all of a few."""
    chance = random.Random(values * digits)
    levels = (0.62, 0.7, 0.75, 0.78, 0.8, 0.81, 0.82, 0.825)
    for run in range(120):
        rows = [{"val_accuracy": round(level + chance.gauss(0, 0.006), digits)} for level in levels[:values]]
        write(tmp_path / f"r{run}", rows, lr=0.001 * (run + 1))
    assert compared(tmp_path) == []


def test_a_sweep_that_drops_its_rate_is_one_finding_whatever_its_size(tmp_path: Path) -> None:
    rows = [{"train_loss": round(2 / e, 4), "val_loss": round(2.1 / e, 4)} for e in range(1, 9)]
    for run in range(40):
        write(tmp_path / f"r{run:02d}", rows, lr=0.001 * (run + 1))
    (found,) = compared(tmp_path)
    assert "40 runs have the same 8 values of val/loss" in found.message
    assert "lr of 0.001 to 0.04" in found.message
    assert len(found.evidence) < 20


def test_each_run_is_held_against_few_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work grows with the runs, not with their pairs."""
    from mldiag_evaluation import eva006_identical_runs as rule

    held: list[tuple[Member, Member]] = []
    same = rule._same

    def counted(one: Member, other: Member) -> bool:
        held.append((one, other))
        return same(one, other)

    monkeypatch.setattr(rule, "_same", counted)
    chance = random.Random(1)
    for run in range(150):
        rows = [{"val_loss": round(2 / e + chance.random(), 4)} for e in range(1, 6)]
        write(tmp_path / f"r{run:03d}", rows, lr=0.001 * (run + 1))
    assert compared(tmp_path) == []
    assert len(held) <= 150
