"""`mldiag selftest`: what it prints, how it ends, and that the bundled runs and faults keep their promise."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mldiag.cli import main

RULES = '''
from mldiag.api import Finding, Metrics, rule

@rule("TST001", severity="error")
def always(metrics: Metrics):
    """Always.

    ## Fix
    Shown.
    """
    yield Finding("always")
'''


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [
        {
            "step": 10 * k,
            "loss": 1 + 3 * math.exp(-k / 20) + 0.02 * math.sin(7.3 * k),
            "val_loss": 1.05 + 3 * math.exp(-k / 20),
        }
        for k in range(1, 101)
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "run.sh").write_text("python train.py --lr 0.1\n")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "tst.py").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mldiag(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"}).invoke(main, ["selftest", *arguments])


def test_a_fault_is_shown_with_its_rules_and_the_share_found_at_each_size(work: Path) -> None:
    done = mldiag("run", "--fault", "nan-loss", "--seeds", "3")
    assert done.exit_code == 0
    assert done.stdout == (
        "── curves ──────────────────────────────────────────────────────────────────────────────────────────\n"
        "  nan-loss CUR005 non-finite\n"
        "    share of the run after it: 0.01 → 100 % · 0.05 → 100 % · 0.1 → 100 % of 3 · 0.5 → 100 % ·\n"
        "    0.9 → 100 %; found from 0.01 on\n\n"
        "── the runs as they are ────────────────────────────────────────────────────────────────────────────\n"
        "  run: nothing was found before planting\n\n"
        "1 of 1 fault found in 95 % or more at the stated size\n"
    )


def test_the_document_for_programs_has_counts_and_intervals(work: Path) -> None:
    done = mldiag("run", "--fault", "nan-loss", "--seeds", "2", "--format", "json")
    told = json.loads(done.stdout)
    assert (told["schema"], told["seeds"], told["problems"]) == (1, 2, [])
    (fault,) = told["faults"]
    assert (fault["name"], fault["passed"], fault["stated_size"]) == ("nan-loss", True, 0.1)
    stated = next(s for s in fault["sizes"] if s["size"] == 0.1)
    assert (stated["found"], stated["tried"], stated["by_rule"]) == (2, 2, {"CUR005": 2})
    assert told["already_found"] == {"run": []}


def test_a_rule_with_a_finding_on_the_run_is_not_tested_on_it(work: Path) -> None:
    log = work / "run" / "log.jsonl"
    log.write_text(log.read_text().replace('"step": 1000, "loss": 1.', '"step": 1000, "loss": NaN, "x": 1.'))
    done = mldiag("run", "--fault", "nan-loss,jump-to-plateau", "--seeds", "2", "-v")
    assert "nan-loss: CUR005 has a finding on the run as it is" in " ".join(done.stdout.split())
    assert "already found here, not tested: CUR005" in done.stdout


def test_a_fault_that_the_run_cannot_show_says_why(work: Path) -> None:
    done = mldiag("run", "--fault", "clip-saturation", "--seeds", "1")
    assert done.exit_code == 2
    assert "no fault could be planted" in done.stderr


def test_selected_rules_choose_the_faults(work: Path) -> None:
    told = json.loads(mldiag("run", "--select", "CUR005", "--seeds", "1", "--format", "json").stdout)
    assert {f["name"] for f in told["faults"]} == {"nan-loss", "infinite-loss", "null-loss"}


def test_a_rule_that_alarms_on_healthy_runs_fails_the_test(work: Path) -> None:
    done = mldiag("--rules", "rules", "--select", "TST001,CUR005", "--fault", "nan-loss", "--seeds", "1")
    assert done.exit_code == 1
    assert "TST001 pretraining: always" in done.stdout


def test_a_fault_that_is_not_found_fails_the_test(work: Path) -> None:
    (work / "mldiag.toml").write_text("[rules.no-validation]\nmin_points = 1000\n")
    done = mldiag("run", "--fault", "missing-validation", "--seeds", "2", "--verbose")
    assert done.exit_code == 1
    assert "; not missing-validation" in done.stdout
    assert "skipped: CUR011: 100 train losses; at least 1000 or two epochs make a trained run (2)" in done.stdout
    simulated = mldiag("--fault", "missing-validation", "--seeds", "1")
    assert simulated.exit_code == 1
    (work / "mldiag.toml").write_text("[rules.no-validation]\nmin_pints = 1000\n")
    assert mldiag("run", "--fault", "missing-validation").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "nan-los"], "no fault 'nan-los'; did you mean 'nan-loss'?"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["bare"], "no metrics were logged"),
        (["--select", "CUR999"], "CUR999"),
    ],
)
def test_what_cannot_be_tested_ends_with_two(work: Path, arguments: list[str], said: str) -> None:
    done = mldiag(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not done.stdout


def test_help_says_how_it_ends() -> None:
    out = " ".join(mldiag("--help").stdout.split())
    assert "Exit codes: 0 each fault that could be planted is found in 95 % at its stated size" in out
