"""What the shell around a command can do to it: closed and full streams, odd paths, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mldiag.testing import write_files

SCRIPT = "python train.py \\\n  --epochs 2 \\\n  --steps_per_epoch 5000 \\\n  --total_steps 2000\n"
"""Cut short: an error that can be fixed."""
COMMAND = f'"{sys.executable}" -m mldiag'


@pytest.fixture
def work(tmp_path: Path) -> Path:
    write_files(tmp_path, {"runs/a b/run.sh": SCRIPT, "runs/é/run.sh": SCRIPT})
    return tmp_path


def shell(line: str, work: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of shell, in which `mldiag` is this one."""
    line = f'mldiag() {{ {COMMAND} "$@"; }}\n{line}'
    settings = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    return subprocess.run(
        ["bash", "-c", line],
        cwd=work,
        env=settings | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


@pytest.mark.parametrize("command", ["check runs", "fix runs", "rules", "plugins", "explain SCH001", "inspect runs"])
@pytest.mark.parametrize(
    ("stdout", "reason"), [(">&-", "stdout is closed"), (">/dev/full", "stdout: cannot be written")]
)
def test_a_result_that_cannot_be_written_is_2_in_one_line(work: Path, command: str, stdout: str, reason: str) -> None:
    if stdout == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    done = shell(f"mldiag {command} {stdout}", work)
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("mldiag: ")]
    assert len(said) == 1
    assert said[0].startswith(f"mldiag: {reason}")
    assert "Traceback" not in done.stderr


def test_without_a_stderr_the_result_is_still_pure(work: Path) -> None:
    done = shell("mldiag check absent runs --format json 2>&-", work)
    assert done.returncode == 2
    assert json.loads(done.stdout)["problems"] == ["absent: no such file or folder"]


def test_a_working_folder_that_is_gone_is_said_in_one_line(work: Path) -> None:
    done = shell("mkdir gone; cd gone; rmdir ../gone; mldiag rules", work)
    assert done.returncode == 2
    assert done.stderr == "mldiag: the working folder is gone or may not be entered; change to another one\n"


@pytest.mark.parametrize("command", ['check ""', 'fix --apply ""', 'fix --apply runs --output ""', 'inspect ""'])
def test_an_empty_path_is_not_the_working_folder(work: Path, command: str) -> None:
    before = sorted(work.rglob("*"))
    done = shell(f"mldiag {command}", work)
    assert done.returncode == 2
    assert "the path is empty" in done.stderr
    assert sorted(work.rglob("*")) == before


@pytest.mark.parametrize("paths", ["runs runs", "runs 'runs/a b'", "runs/é runs", "runs/é/../ runs ./runs"])
def test_a_run_that_several_paths_lead_to_is_checked_once(work: Path, paths: str) -> None:
    found = json.loads(shell(f"mldiag check {paths} --format json", work).stdout)
    assert sorted(run["name"] for run in found["runs"] if not run["members"]) == ["a b", "é"]


@pytest.mark.parametrize("path", ["runs", "./runs/", "../{0}/runs", "{1}/runs", "linked", "runs/é/run.sh", "linked/é"])
def test_the_places_in_json_lead_to_the_files_however_the_path_is_written(work: Path, path: str) -> None:
    (work / "linked").symlink_to("runs")
    found = json.loads(shell(f"mldiag check '{path.format(work.name, work)}' --format json", work).stdout)
    assert found["runs"]
    for run in (run for run in found["runs"] if not run["members"]):
        (finding,) = [f for f in run["findings"] if f["code"] == "SCH001"]
        for place in [finding["at"], *(e["at"] for e in finding["evidence"] if e["at"])]:
            assert not Path(place["path"]).is_absolute()
            assert (work / run["path"] / place["path"]).is_file()
        (edit,) = finding["fix"]["edits"]
        content = (work / run["path"] / edit["path"]).read_bytes()
        assert content[edit["start"] : edit["end"]].decode() == edit["old"]


def test_an_undo_of_a_path_that_is_not_there_takes_nothing_back(work: Path) -> None:
    assert shell("mldiag fix 'runs/a b' --apply", work).returncode == 0
    fixed = (work / "runs" / "a b" / "run.sh").read_text()
    done = shell("mldiag fix 'runs/a b/absent' --undo", work)
    assert done.returncode == 2
    assert "nothing was undone" in done.stderr
    assert (work / "runs" / "a b" / "run.sh").read_text() == fixed != SCRIPT


def test_where_nothing_is_left_to_apply_the_reason_is_said(work: Path) -> None:
    done = shell("mldiag check 'runs/é' --select SCH001 --ignore SCH", work)
    assert done.returncode == 2
    assert done.stderr == "mldiag: runs/é: no rule is left to apply; what is selected is ignored as well\n"


@pytest.mark.parametrize("command", ["", "check", "explain", "fix", "inspect", "plugins", "rules"])
def test_no_help_is_cut_in_the_middle_of_a_sentence(work: Path, command: str) -> None:
    assert "..." not in shell(f"mldiag {command} --help", work).stdout.replace("PATH...", "").replace("[ARGS]...", "")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mldiag che", {"check"}),
        ("mldiag explain SCH001", {"SCH001"}),
        ("mldiag explain truncated-s", {"truncated-schedule"}),
        ("mldiag check --select CFG001,truncated-s", {"CFG001,truncated-schedule"}),
        ("mldiag check --format j", {"json"}),
        ("mldiag check run", {"run"}),
    ],
)
def test_the_shell_completes_commands_rules_formats_and_files(work: Path, line: str, offered: set[str]) -> None:
    last = str(len(line.split()) - 1)
    done = shell("mldiag", work, _MLDIAG_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=last)
    assert {answer.partition(",")[2] for answer in done.stdout.splitlines()} == offered
