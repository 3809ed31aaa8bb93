"""The commands around the audit: inspect, explain, rules, plugins, and the group itself."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mldiag import __version__
from mldiag.cli import main

RULES = '''
from mldiag.api import Evidence, Finding, Fix, Settings, rule

def _fix(settings):
    return Fix.show("by hand")

@rule("TST001", severity="error", pre=True, explains=("TST002",))
def too_fast(settings: Settings, *, limit: float = 0.1, kinds: tuple[str, ...] = ("a", "b"), strict: bool = True):
    """The learning rate is high.

    ## What it checks
    A very long paragraph that goes on and on until it has to be wrapped somewhere, because no terminal is that wide.

    ## Options
    - `limit`: the highest rate that is still all right, in the unit of the optimizer and whatever else may be said.

    ## Fix
    Shown: a rate is a person's choice.
    """
    yield Finding("x", fix=_fix(settings))
'''


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "tst.py").write_text(RULES)
    (tmp_path / "run" / "logs").mkdir(parents=True)
    (tmp_path / "run" / "run.sh").write_text("python train.py --lr 0.5 --batch_size 8\n")
    (tmp_path / "run" / "config.json").write_text('{\n  "learning_rate": 0.1,\n  "batch_size": 8\n}\n')
    (tmp_path / "run" / "logs" / "history.json").write_text('{"loss": [3.36, 2.93], "val_loss": [4.24, 4.20]}\n')
    (tmp_path / "run" / "logs" / "cut.json").write_text('{"loss": [3.36')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mldiag(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(main, arguments)


def test_the_version_is_that_of_the_package() -> None:
    assert mldiag("--version").stdout == f"mldiag {__version__}\n"
    assert importlib.metadata.version("mldiag-toolkit") == __version__


def test_every_module_of_the_package_is_a_command() -> None:
    import mldiag.cli

    modules = {p.stem for p in Path(mldiag.cli.__file__).parent.glob("*.py")} - {"__init__"}
    assert {"check", "explain", "fix", "inspect", "plugins", "rules"} <= modules == set(main.list_commands(None))  # type: ignore[arg-type, attr-defined]


def test_the_help_names_every_command() -> None:
    out = mldiag("--help").stdout
    for command in main.list_commands(None):  # type: ignore[arg-type, attr-defined]
        assert f"  {command} " in out


def test_a_page_is_explained_by_code_or_name_in_any_case(work: Path) -> None:
    by_code = mldiag("explain", "tst001", "--rules", "rules")
    assert by_code.exit_code == 0
    assert by_code.stdout == mldiag("explain", "too-fast", "--rules", "rules").stdout
    assert by_code.stdout.startswith(
        "# TST001 too-fast\n\n- severity: error\n- family: rules\n- stage: pre: known before training\n- fix: show\n"
        "- can cause: TST002\n\nThe learning rate is high.\n\n## What it checks\n"
    )
    assert '\n- limit = 0.1\n- kinds = ["a", "b"]\n- strict = true\n' in by_code.stdout
    assert max(map(len, by_code.stdout.splitlines())) <= 80


def test_on_a_terminal_the_page_is_drawn(work: Path) -> None:
    runner = CliRunner(env={"COLUMNS": "80", "FORCE_COLOR": "1"})
    out = runner.invoke(main, ["explain", "TST001", "--rules", "rules"], color=True).stdout
    assert "\x1b[" in out
    assert "## What it checks" not in out


def test_an_unknown_rule_is_2_and_names_the_nearest(work: Path) -> None:
    result = mldiag("explain", "too-fasst", "--rules", "rules")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "mldiag: no rule 'too-fasst'; did you mean 'too-fast'?\n"


def test_the_catalogue_lists_every_rule(work: Path) -> None:
    out = mldiag("rules", "--rules", "rules").stdout
    assert "TST001  error  pre  too-fast  The learning rate is high.\n" in out
    assert max(map(len, out.splitlines())) <= 80
    listed = json.loads(mldiag("rules", "--rules", "rules", "--format", "json").stdout)
    mine = next(rule for rule in listed["rules"] if rule["code"] == "TST001")
    assert mine["options"] == {"limit": 0.1, "kinds": ["a", "b"], "strict": True}
    assert mine["fix"] == "show"


def test_plugins_are_listed_with_their_places_and_a_broken_one_is_2(work: Path) -> None:
    result = mldiag("plugins", "--rules", "rules")
    assert "rules: 1 rule\n  rules\n" in result.stdout
    (work / "rules" / "broken.py").write_text("1 / 0\n")
    result = mldiag("plugins", "--rules", "rules", "--format", "json")
    assert result.exit_code == 2
    assert any("ZeroDivisionError" in line for line in json.loads(result.stdout)["broken"])
    result = mldiag("plugins", "--rules", "rules")
    assert result.exit_code == 2
    assert "broken.py was not loaded: ZeroDivisionError" in result.stderr


def test_inspect_shows_every_source_of_a_setting_and_which_takes_effect(work: Path) -> None:
    result = mldiag("inspect", "run")
    assert "lr          *  0.5  flag  run.sh:1\n                 0.1  file  config.json:2\n" in result.stdout
    assert ": 2 points each, epoch 1–2, from line 1\n" in result.stdout
    assert "  train/loss  3.36 → 2.93  as loss\n" in result.stdout
    assert "  logs/cut.json:1  JSON ends in the middle of a value (cut file)\n" in result.stdout
    assert result.exit_code == 2
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_inspect_says_of_every_fact_what_it_is_or_why_it_is_missing(work: Path) -> None:
    facts = json.loads(mldiag("inspect", "run", "--format", "json").stdout)["runs"][0]["facts"]
    assert facts
    assert all((fact["missing"] is None) != (fact["value"] is None) for fact in facts)


def test_inspect_as_json_holds_what_the_text_shows(work: Path) -> None:
    run = json.loads(mldiag("inspect", "run", "--format", "json").stdout)["runs"][0]
    assert {f["path"]: f["reader"] for f in run["files"]}["run.sh"] == "shell"
    assert [(s["name"], s["points"], s["first"], s["last"]) for s in run["series"]] == [
        ("train/loss", 2, 3.36, 2.93),
        ("val/loss", 2, 4.24, 4.2),
    ]
    assert [(s["value"], s["role"], s["effective"]) for s in run["settings"] if s["name"] == "lr"] == [
        (0.5, "flag", True),
        (0.1, "file", False),
    ]
    assert run["launches"][0]["program"] == "train.py"
    assert run["launches"][0]["main"] is True


def test_inspect_of_nothing_is_2(work: Path) -> None:
    result = mldiag("inspect", "nowhere")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "mldiag: nowhere: no such file or folder\n"
