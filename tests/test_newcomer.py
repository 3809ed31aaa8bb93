"""What CONTRIBUTING and the example plugin promise: a rule is two files, and nothing else is touched."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mldiag.plugins import load
from mldiag.testing import check_cases

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The rule and the case as CONTRIBUTING.md prints them, in two folders."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, language in (
        ("my_rules/abc001_bold_learning_rate.py", "python"),
        ("my_cases/abc001_bold_learning_rate.toml", "toml"),
    ):
        found = re.search(rf"`{re.escape(name)}`.*?```{language}\n(.*?)```", text, re.DOTALL)
        assert found, name
        target = tmp_path / name
        target.parent.mkdir()
        target.write_text(found[1], encoding="utf-8")
    return tmp_path / "my_rules", tmp_path / "my_cases"


def test_the_two_files_of_the_guide_are_a_working_rule(folders: tuple[Path, Path]) -> None:
    rules, cases = folders
    assert check_cases(cases, [rules]) == 3


def test_a_folder_of_rules_works_on_the_command_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.sh").write_text("python train.py --lr 3\n")
    command = [sys.executable, "-m", "mldiag", "check", str(run), "--rules", str(folders[0]), "--select", "ABC001"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "ABC001" in done.stdout
    assert "bold-learning-rate" in done.stdout
    assert done.returncode == 0, "a warning does not reach the default gate"


def test_the_example_plugin_passes_its_own_cases() -> None:
    example = ROOT / "examples" / "own_plugin"
    assert check_cases(example / "cases", [example / "mldiag_house"]) == 3


@pytest.mark.slow
def test_the_example_plugin_is_found_once_it_is_installed(tmp_path: Path) -> None:
    example = ROOT / "examples" / "own_plugin"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), str(example)]
    subprocess.run(command, check=True, capture_output=True)
    said = "[x.name for x in found.loaded if x.rules], 'HOU001' in found.rules, found.broken"
    code = f"import mldiag.plugins; found = mldiag.plugins.load(); print({said})"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert "'house'" in done.stdout
    assert done.stdout.strip().endswith("True []")


def test_the_loaded_rules_are_those_in_the_tree() -> None:
    stems = {p.stem for p in (ROOT / "plugins").glob("*/[a-z][a-z][a-z][0-9][0-9][0-9]_*.py")}
    assert {r.stem for r in load().rules.values()} == stems
