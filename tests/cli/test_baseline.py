"""Accepted findings, figures to be held against, and runs side by side, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.test_check import RULES, mldiag


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a rule, and two runs of which one has an error and a warning."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "tst.py").write_text(RULES)
    for name, script in (("bad", "--lr 0.5"), ("good", "--lr 0.01 --run_name a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.sh").write_text(f"# the launch\npython train.py {script}\n")
    return tmp_path


def check(work: Path, *options: str | Path) -> tuple[int, str, str]:
    done = mldiag("check", *options, "--rules", "rules", "--select", "TST001,TST002", cwd=work)
    return done.returncode, done.stdout, done.stderr


def test_what_is_accepted_passes_and_is_counted(work: Path) -> None:
    assert check(work, "bad", "good")[0] == 1
    code, _, said = check(work, "bad", "good", "--write-baseline", "--baseline", "known.json")
    assert (code, "2 findings are accepted" in said) == (0, True)
    code, shown, _ = check(work, "bad", "good", "--baseline", "known.json")
    assert code == 0
    assert "2 findings accepted by the baseline" in " ".join(shown.replace("\xa0", " ").split())
    report = json.loads(check(work, "bad", "--baseline", "known.json", "--format", "json")[1])
    assert [(run["findings"], run["accepted"]) for run in report["runs"]] == [([], 2)]


def test_a_line_that_moved_is_known_again_and_one_that_changed_is_not(work: Path) -> None:
    check(work, "bad", "--write-baseline", "--baseline", "known.json")
    script = work / "bad" / "run.sh"
    script.write_text("# one\n# two\n" + script.read_text())
    assert check(work, "bad", "--baseline", "known.json")[0] == 0
    script.write_text(script.read_text().replace("0.5", "0.9"))
    code, _, said = check(work, "bad", "--baseline", "known.json")
    assert code == 1
    assert "1 accepted findings are gone" in said


def test_the_place_from_which_it_is_called_does_not_matter(work: Path) -> None:
    check(work, "bad", "--write-baseline", "--baseline", "known.json")
    done = mldiag(
        "check", ".", "--baseline", "../known.json", "--rules", "../rules", "--select", "TST001", cwd=work / "bad"
    )
    assert done.returncode == 0, done.stdout


def test_the_baseline_can_be_configured(work: Path) -> None:
    (work / "mldiag.toml").write_text('baseline = "known.json"\n')
    assert check(work, "bad")[0] == 2  # there is none yet
    assert check(work, "bad", "--write-baseline")[0] == 0
    assert (work / "known.json").is_file()
    assert check(work, "bad")[0] == 0


def test_rules_that_were_not_applied_have_no_finding_gone(work: Path) -> None:
    check(work, "bad", "--write-baseline", "--baseline", "known.json")
    done = mldiag("check", "bad", "--rules", "rules", "--select", "TST002", "--baseline", "known.json", cwd=work)
    assert (done.returncode, done.stderr) == (0, "")


def test_accepting_a_part_keeps_what_is_accepted_of_the_rest(work: Path) -> None:
    (work / "worse").mkdir()
    (work / "worse" / "run.sh").write_text((work / "bad" / "run.sh").read_text())
    check(work, "bad", "worse", "--write-baseline", "--baseline", "known.json")
    whole = (work / "known.json").read_text()
    assert check(work, "bad", "--write-baseline", "--baseline", "known.json")[0] == 0
    assert (work / "known.json").read_text() == whole
    (work / "bad" / "run.sh").write_text("# the launch\npython train.py --lr 0.01 --run_name a\n")
    check(work, "bad", "--write-baseline", "--baseline", "known.json")
    assert '"bad"' not in (work / "known.json").read_text()
    assert '"worse"' in (work / "known.json").read_text()


def test_a_run_that_was_renamed_is_new_and_the_old_one_is_told(work: Path) -> None:
    check(work, "bad", "good", "--write-baseline", "--baseline", "known.json")
    (work / "bad").rename(work / "better")
    code, _, said = check(work, "better", "good", "--baseline", "known.json")
    assert code == 1
    assert "accepts findings of runs that are not there any more: bad" in said
    check(work, "better", "good", "--write-baseline", "--baseline", "known.json")
    assert '"bad"' not in (work / "known.json").read_text()


def test_a_file_that_is_no_baseline_is_not_overwritten(work: Path) -> None:
    config = work / "config.json"
    config.write_text('{"lr": 0.1}')
    code, _, said = check(work, "bad", "--write-baseline", "--baseline", "config.json")
    assert (code, "was not overwritten" in said) == (2, True)
    assert config.read_text() == '{"lr": 0.1}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no baseline file; mldiag check --write-baseline makes one"),
        ("", "is no baseline file"),
        ('{"runs": []}', 'expected an object with "mldiag-baseline": 1'),
        ('{"mldiag-baseline": 1, "accepted": [{"run": "a"}]}', "is no baseline file"),
        (
            '{"mldiag-baseline": 1, "accepted": [{"run":"a","code":"A","path":"","key":"","line":"","count":0}]}',
            "count",
        ),
    ],
)
def test_a_file_that_is_no_baseline_is_one_line_and_exit_2(work: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (work / "known.json").write_text(content)
    code, _, said = check(work, "bad", "--baseline", "known.json")
    assert code == 2
    assert reason in said
    assert said.count("\n") == 1


def test_nothing_is_accepted_while_something_cannot_be_checked(work: Path) -> None:
    (work / "bad" / "config.json").write_text('{"lr": 0.5, "epochs": ')
    code, _, said = check(work, "bad", "--write-baseline", "--baseline", "known.json")
    assert code == 2
    assert "was not written" in said
    assert not (work / "known.json").exists()


LOG = "".join(
    f'{{"epoch": {e}, "train_loss": {1 / e:.4f}, "val_loss": {1.1 / e:.4f}, "val_accuracy": {0.8 - 0.3 / e:.4f}}}\n'
    for e in range(1, 9)
)


def trained(folder: Path, log: str = LOG, **settings: float) -> None:
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text(log)
    (folder / "config.json").write_text(json.dumps({"epochs": 8, "batch_size": 32, **settings}))


def test_runs_are_compared_in_a_report_of_their_own(tmp_path: Path) -> None:
    trained(tmp_path / "sweep" / "a", lr=0.001)
    trained(tmp_path / "sweep" / "b", lr=0.003)
    done = mldiag("check", "sweep", "--select", "EVA006", "--format", "json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["summary"]["runs"] == 2
    together = report["runs"][-1]
    assert (together["path"], together["members"]) == ("sweep", ["sweep/a", "sweep/b"])
    assert together["findings"][0]["at"]["path"] == "b/config.json"
    assert all(not run["findings"] and not run["members"] for run in report["runs"][:-1])
    shown = mldiag("check", "sweep", "--select", "EVA006", cwd=tmp_path).stdout
    assert "sweep: 2 runs compared" in shown
    assert "2 runs: 1 error" in shown.replace("\xa0", " ")


def test_of_one_run_alone_a_comparison_is_skipped_with_the_reason(tmp_path: Path) -> None:
    trained(tmp_path / "a", lr=0.001)
    done = mldiag("check", "a", "--select", "EVA006,CUR005", "--show-skipped", cwd=tmp_path)
    assert "several runs are compared, and one was checked" in done.stdout
    required = mldiag("check", "a", "--require", "EVA006", "--fail-on", "never", cwd=tmp_path)
    assert required.returncode == 1


def test_a_required_comparison_is_asked_for_once_and_other_rules_of_every_run(tmp_path: Path) -> None:
    trained(tmp_path / "sweep" / "a", lr=0.001)
    trained(tmp_path / "sweep" / "b", log=LOG.replace("0.8", "0.9"), lr=0.003)
    done = mldiag("check", "sweep", "--require", "EVA006", "--require", "CUR005", "--fail-on", "never", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_run_is_held_against_another_that_lies_elsewhere(tmp_path: Path) -> None:
    trained(tmp_path / "good", lr=0.001)
    trained(tmp_path / "new", log=LOG.replace('"val_accuracy": 0.', '"val_accuracy": 0.0'), lr=0.001)
    done = mldiag("check", "new", "--against", "good", "--select", "EVA008", "--fail-on", "warning", cwd=tmp_path)
    assert done.returncode == 1
    assert "(run good)" in " ".join(done.stdout.split())
    assert "../good/log.jsonl" in done.stdout


@pytest.mark.parametrize("against", ["nowhere", "empty"])
def test_a_baseline_run_that_is_not_there_is_one_line_and_exit_2(tmp_path: Path, against: str) -> None:
    trained(tmp_path / "new", lr=0.001)
    (tmp_path / "empty").mkdir()
    done = mldiag("check", "new", "--against", against, "--select", "EVA008,CUR005", cwd=tmp_path)
    assert done.returncode == 2
    assert against in done.stderr
    assert "Traceback" not in done.stderr


def test_overrides_hold_for_their_runs_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        trained(tmp_path / "runs" / name, lr=0.001)
    (tmp_path / "mldiag.toml").write_text(
        '[[expect]]\nmetric = "val/loss"\nbelow = 0.1\n[[overrides]]\nruns = ["runs/b"]\nignore = ["EVA009"]\n'
    )
    report = json.loads(mldiag("check", "runs", "--select", "EVA009,CUR005", "--format", "json", cwd=tmp_path).stdout)
    assert [len(run["findings"]) for run in report["runs"] if not run["members"]] == [1, 0]


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    trained(tmp_path / "a", lr=0.001)
    done = mldiag("check", "a", "--against", "a", "--select", "EVA007,CUR005", "--format", "json", cwd=tmp_path)
    assert [run["members"] for run in json.loads(done.stdout)["runs"]] == [[]]
    trained(tmp_path / "b", lr=0.002)
    done = mldiag("check", "a", "--against", "b", "--select", "EVA006", "--show-skipped", cwd=tmp_path)
    assert "a: held against another run" in done.stdout
    assert "several runs are compared, and one was checked" in done.stdout
