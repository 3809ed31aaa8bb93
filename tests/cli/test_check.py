"""`mldiag check`: what goes where, and which exit code stands for what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RULES = '''
from mldiag.api import Finding, NotApplicable, Settings, rule

@rule("TST001", severity="error", pre=True)
def too_fast(settings: Settings, *, limit: float = 0.1):
    """The learning rate is high."""
    if settings.require("lr", float) > limit:
        yield Finding(f"lr is {settings.get('lr')}", at=settings.where("lr"))

@rule("TST002", severity="warning")
def no_name(settings: Settings):
    """The run has no name."""
    if "run_name" not in settings:
        yield Finding("no name")

@rule("TST003", severity="info")
def never(settings: Settings):
    """Is never applicable."""
    raise NotApplicable("never is")
    yield
'''


def mldiag(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM")}
    return subprocess.run(
        [sys.executable, "-m", "mldiag", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        env={**kept, "PYTHONUTF8": "1", **environment},
        timeout=60,
    )


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with rules, a run with an error and a warning, and one with neither."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "tst.py").write_text(RULES)
    for name, script in (("bad", "--lr 0.5"), ("good", "--lr 0.01 --run_name a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.sh").write_text(f"python train.py {script}\n")
    return tmp_path


def check(work: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return mldiag("check", "--rules", "rules", "--select", "TST", *arguments, cwd=work, **environment)


def test_an_error_makes_the_exit_code_1_and_goes_to_stdout(work: Path) -> None:
    done = check(work, "bad")
    assert done.returncode == 1
    assert "error TST001 too-fast at run.sh:1:22" in done.stdout
    assert done.stderr == ""


def test_a_run_without_findings_is_0_and_says_how_much_was_checked(work: Path) -> None:
    done = check(work, "good")
    assert done.returncode == 0
    assert "1 run: nothing found · 2 rules clean, 1 skipped (--show-skipped)" in done.stdout


@pytest.mark.parametrize(("gate", "code"), [("error", 0), ("warning", 1), ("info", 1), ("never", 0)])
def test_the_gate_decides_which_findings_fail(work: Path, gate: str, code: int) -> None:
    assert check(work, "bad", "--ignore", "TST001", "--fail-on", gate).returncode == code


def test_a_gate_that_is_configured_holds_unless_the_command_line_has_another(work: Path) -> None:
    (work / "mldiag.toml").write_text('fail-on = "warning"\n')
    assert check(work, "bad", "--ignore", "TST001").returncode == 1
    assert check(work, "bad", "--ignore", "TST001", "--fail-on", "error").returncode == 0


@pytest.mark.parametrize("words", [["TST001,no-name"], ["TST001", "--select", "no-name"], ["TST"], ["rules"]])
def test_rules_are_selected_by_code_prefix_name_or_family_in_one_word_or_several(work: Path, words: list[str]) -> None:
    done = mldiag("check", "--rules", "rules", "--select", *words, "bad", "--format", "json", cwd=work)
    assert {f["code"] for f in json.loads(done.stdout)["runs"][0]["findings"]} == {"TST001", "TST002"}


def test_ignored_rules_are_left_out(work: Path) -> None:
    done = check(work, "bad", "--ignore", "too-fast,TST003", "--format", "json")
    run = json.loads(done.stdout)["runs"][0]
    assert [f["code"] for f in run["findings"]] == ["TST002"]
    assert run["skipped"] == []


def test_an_unknown_rule_is_refused_in_one_line_with_the_nearest(work: Path) -> None:
    done = mldiag("check", "--rules", "rules", "--select", "too-fats", "bad", cwd=work)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mldiag: no rule or family 'too-fats'; did you mean 'too-fast'?")
    assert done.stderr.count("\n") == 1


def test_with_stage_pre_only_rules_about_the_plan_are_applied(work: Path) -> None:
    run = json.loads(check(work, "bad", "--stage", "pre", "--format", "json").stdout)["runs"][0]
    assert [f["code"] for f in run["findings"]] == ["TST001"]
    assert {s["code"] for s in run["skipped"]} == {"TST002", "TST003"}


def test_a_missing_path_is_2_in_one_line_while_the_others_are_checked(work: Path) -> None:
    done = check(work, "nowhere", "bad")
    assert done.returncode == 2
    assert done.stderr == "mldiag: nowhere: no such file or folder\n"
    assert "TST001" in done.stdout
    assert "1 problem" in done.stdout


@pytest.mark.parametrize("make", ["nothing", "an empty folder", "a folder of pictures"])
def test_where_no_run_is_found_the_exit_code_is_2_and_stdout_is_empty(work: Path, make: str) -> None:
    if make != "nothing":
        (work / "target").mkdir()
    if make == "a folder of pictures":
        (work / "target" / "a.png").write_bytes(b"\x89PNG")
    done = check(work, "target")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mldiag: target: ")
    assert done.stderr.count("\n") == 1


def test_an_unreadable_file_is_2_even_beside_findings_and_is_said_once(work: Path) -> None:
    (work / "bad" / "history.json").write_text('{"loss": [3.1, 2.9')
    done = check(work, "bad")
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("history.json") == 1
    machine = check(work, "bad", "--format", "json")
    assert machine.returncode == 2
    assert json.loads(machine.stdout)["runs"][0]["unread"][0]["path"] == "history.json"
    assert machine.stderr == "mldiag: bad/history.json:1: JSON ends in the middle of a value (cut file)\n"


def test_when_every_rule_is_skipped_the_run_is_not_checked(work: Path) -> None:
    done = check(work, "good", "--select", "TST003", "--ignore", "TST001,TST002")
    assert done.returncode == 2
    assert "good: not checked" in done.stdout


def test_a_required_rule_that_is_skipped_fails_the_check(work: Path) -> None:
    assert check(work, "good", "--require", "TST001").returncode == 0
    done = check(work, "good", "--require", "TST003,too-fast")
    assert done.returncode == 1
    assert done.stderr == "mldiag: good: TST003 never is required and was skipped: never is\n"


def test_a_required_rule_that_was_not_selected_fails_the_check(work: Path) -> None:
    done = check(work, "good", "--ignore", "TST001", "--require", "TST001")
    assert done.returncode == 1
    assert "is required and was not selected" in done.stderr


def test_an_unknown_required_rule_or_format_is_2(work: Path) -> None:
    assert "no rule 'TST999'" in check(work, "good", "--require", "TST999").stderr
    done = check(work, "good", "--format", "xml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mldiag: no format 'xml'; there are ")


def test_a_broken_plugin_costs_one_line_and_the_exit_code_and_nothing_else(work: Path) -> None:
    (work / "rules" / "worse.py").write_text("import no_such_module_anywhere\n")
    done = check(work, "bad")
    assert done.returncode == 2
    assert "TST001" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "worse.py was not loaded: ModuleNotFoundError" in done.stderr


def test_with_strict_a_broken_plugin_stops_the_check(work: Path) -> None:
    (work / "rules" / "worse.py").write_text("import no_such_module_anywhere\n")
    done = check(work, "bad", "--strict")
    assert (done.returncode, done.stdout) == (2, "")
    assert "worse.py was not loaded" in done.stderr


def test_each_format_goes_to_the_output_beside_it(work: Path) -> None:
    done = check(work, "bad", "--format", "json", "--output", "a.json", "--format", "text")
    assert "error TST001" in done.stdout
    assert json.loads((work / "a.json").read_text())["summary"]["error"] == 1
    done = check(work, "bad", "--format", "text", "--format", "json", "-o", "b.json")
    assert "error TST001" in done.stdout
    assert json.loads((work / "b.json").read_text())["summary"]["error"] == 1
    done = check(work, "bad", "-o", "c.txt", FORCE_COLOR="1")
    assert done.stdout == ""
    assert (work / "c.txt").read_text(encoding="utf-8").startswith("── bad ──")


def test_two_formats_cannot_share_stdout(work: Path) -> None:
    done = check(work, "bad", "--format", "json", "--format", "text")
    assert (done.returncode, done.stdout) == (2, "")
    assert "only one --format can go to stdout" in done.stderr


def test_an_output_that_cannot_be_written_is_2_in_one_line(work: Path) -> None:
    done = check(work, "bad", "-o", "no/such/folder.txt")
    assert done.returncode == 2
    assert done.stderr == "mldiag: no/such/folder.txt: cannot be written: no such file or directory\n"


def test_quiet_prints_findings_only(work: Path) -> None:
    assert check(work, "good", "--quiet").stdout == ""
    assert "1 run" not in check(work, "bad", "--quiet").stdout


def test_skipped_rules_are_listed_with_their_reasons(work: Path) -> None:
    assert "skipped: not checked\n  never is\n    TST003 never\n" in check(work, "bad", "--show-skipped").stdout


def test_rule_folders_of_the_configuration_are_loaded(work: Path) -> None:
    (work / "mldiag.toml").write_text('rule-folders = ["rules"]\n')
    done = mldiag("check", "--select", "TST", "bad", cwd=work)
    assert (done.returncode, "TST001" in done.stdout) == (1, True)


@pytest.mark.parametrize("path", ["bad", "bad/run.sh"])
def test_rules_that_lie_below_a_checked_path_are_never_executed(work: Path, path: str) -> None:
    (work / "bad" / "mldiag.toml").write_text('rule-folders = ["rules"]\n')
    (work / "bad" / "rules").mkdir()
    (work / "bad" / "rules" / "evil.py").write_text("open('executed', 'w')\n" + RULES)
    done = mldiag("check", path, cwd=work)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing that lies below a checked path" in done.stderr
    assert not list(work.rglob("executed"))


def test_a_bad_configuration_is_2_in_one_line(work: Path) -> None:
    (work / "mldiag.toml").write_text('selekt = ["x"]\n')
    done = mldiag("check", "bad", cwd=work)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'select'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_options_of_a_rule_are_configured(work: Path) -> None:
    (work / "mldiag.toml").write_text("[rules.too-fast]\nlimit = 0.6\n")
    assert "TST001" not in check(work, "bad").stdout


@pytest.mark.parametrize("glob", ["bad", "b*", "*/bad", "./bad"])
def test_rules_are_ignored_for_a_path_from_wherever_it_is_checked(work: Path, glob: str) -> None:
    (work / "mldiag.toml").write_text(
        f'rule-folders = ["rules"]\nselect = ["TST"]\n[per-path-ignores]\n"{glob}" = ["too-fast"]\n'
    )
    (work / "bad2" / "bad").mkdir(parents=True)
    for folder, path in ((work, "bad"), (work / "bad", "."), (work / "bad2", "../bad")):
        done = mldiag("check", path, "--rules", work / "rules", cwd=folder)
        assert done.returncode == 0, (folder, done.stdout, done.stderr)
        assert "TST002" in done.stdout
        assert "TST001" not in done.stdout
    (work / "good" / "run.sh").write_text("python train.py --lr 0.5\n")
    assert "TST001" in mldiag("check", "good", "--rules", work / "rules", cwd=work).stdout


@pytest.mark.parametrize("name", ["config.yaml", "config.toml", "config.py", "run.sh"])
def test_a_comment_silences_in_every_format_that_has_comments(work: Path, name: str) -> None:
    line = {"config.yaml": "lr: 0.5", "run.sh": "python train.py --lr 0.5"}.get(name, "lr = 0.5")
    (work / "one").mkdir()
    (work / "one" / name).write_text(f"{line}  # mldiag: ignore[TST001] measured to be fine\n")
    run = json.loads(check(work, "one", "--format", "json").stdout)["runs"][0]
    assert run["suppressed"] == 1
    assert not [f for f in run["findings"] if f["code"] == "TST001"]
    assert run["unused_suppressions"] == []


def test_a_comment_that_silences_nothing_is_shown_even_where_nothing_was_found(work: Path) -> None:
    (work / "good" / "run.sh").write_text("python train.py --lr 0.01 --run_name a  # mldiag: ignore[TST001]\n")
    done = check(work, "good", "--fail-on", "info")
    assert done.returncode == 0
    assert "unused suppressions\n  run.sh:1:41: TST001: it found nothing there\n" in done.stdout
    assert "unused" not in check(work, "good", "--quiet").stdout


def test_nothing_of_a_checked_run_is_executed_or_imported(work: Path) -> None:
    trap = f"import pathlib\npathlib.Path({str(work / 'executed')!r}).touch()\n"
    files = {"train.py": trap, "setup.py": trap, "conftest.py": trap, "sitecustomize.py": trap, "json.py": trap,
             "run.sh": f"touch {work / 'executed'}\n$(touch {work / 'executed'})\npython train.py --lr 0.5\n",
             "config.yaml": f"a: !!python/object/apply:os.system ['touch {work / 'executed'}']\n"}  # fmt: skip
    for name, content in files.items():
        (work / "bad" / name).write_text(content)
    assert check(work, "bad").returncode in (1, 2)
    assert mldiag("inspect", "bad", cwd=work).stdout
    assert not (work / "executed").exists()


def test_a_pipe_gets_80_columns_without_colour_unless_the_environment_says_otherwise(work: Path) -> None:
    piped = check(work, "bad").stdout
    assert "\x1b" not in piped
    assert max(map(len, piped.splitlines())) == 80
    assert "\x1b[1;31merror" in check(work, "bad", FORCE_COLOR="1").stdout
    assert "\x1b" not in check(work, "bad", FORCE_COLOR="1", NO_COLOR="1").stdout
    assert max(map(len, check(work, "bad", COLUMNS="50").stdout.splitlines())) == 50


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_stream_that_cannot_encode_gets_ascii_in_place_of_signs(work: Path, encoding: str) -> None:
    done = check(work, "bad", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 1
    assert "-- bad ---" in done.stdout
    assert "?" not in done.stdout


def test_a_reader_that_leaves_early_is_no_traceback(work: Path) -> None:
    command = f'"{sys.executable}" -m mldiag check --rules rules --select TST bad | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], cwd=work, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.returncode in (1, 141)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process")
def test_an_interrupt_is_130_without_a_traceback(work: Path) -> None:
    (work / "rules" / "slow.py").write_text(
        "import pathlib, time\nfrom mldiag.api import Settings, rule\n\n"
        '@rule("TST900", severity="info")\ndef slow(settings: Settings):\n    """Waits."""\n'
        "    pathlib.Path('started').touch()\n    time.sleep(60)\n    yield\n"
    )
    command = [sys.executable, "-m", "mldiag", "check", "--rules", "rules", "--select", "TST", "bad"]
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not (work / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err.strip()) == ("", "")


def test_wrong_usage_is_2(work: Path) -> None:
    assert mldiag("check", cwd=work).returncode == 2
    assert mldiag("check", "bad", "--no-such-option", cwd=work).returncode == 2
    assert mldiag("chekc", "bad", cwd=work).returncode == 2


def test_several_runs_below_one_folder_are_all_checked(work: Path) -> None:
    done = check(work, ".", "--fail-on", "never")
    assert "2 runs: 1 error, 1 warning" in done.stdout
    assert done.returncode == 0
