"""What is imported when: a small audit stays small, the core knows no plugin, a plugin knows only the API."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mldiag import api

ROOT = Path(__file__).parents[1]
HEAVY = ("pandas", "torch", "sklearn", "tensorboard", "tensorflow", "numpy", "scipy", "rich", "importlib.metadata")

SCRIPT = "python train.py --lr 3e-4 --seq_len 320 --seed 1\n"
SOURCE = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', type=float, default=1e-3)\n"
LOG = '{"loss": [3.36, 2.93], "val_loss": [3.4, 3.0]}\n'


def imported_by(*arguments: str, ok: tuple[int, ...] = (0, 1)) -> set[str]:
    """The modules that a whole `python -m mldiag …` has imported."""
    command = [sys.executable, "-X", "importtime", "-m", "mldiag", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env={**os.environ, "COLUMNS": "80"}
    )
    times = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert done.returncode in ok, "\n".join(line for line in done.stderr.splitlines() if line not in times)
    return {line.rpartition("|")[2].strip() for line in times}


def heavy(modules: set[str], *also: str) -> set[str]:
    return {name for name in modules for part in (*HEAVY, *also) if name == part or name.startswith(f"{part}.")}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "run.sh").write_text(SCRIPT)
    (tmp_path / "train.py").write_text(SOURCE)
    (tmp_path / "logs" / "history.json").write_text(LOG)
    return tmp_path


def test_the_help_imports_nothing_heavy_and_no_plugin() -> None:
    modules = imported_by("--help")
    assert not heavy(modules, "yaml", "mldiag.audit", "mldiag.plugins", "mldiag.readers")
    assert not {m for m in modules if m.startswith("mldiag_")}


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_small_audit_imports_nothing_heavy(run: Path, output: str) -> None:
    modules = imported_by("check", str(run), "--format", output, ok=(0, 1, 2))
    assert "mldiag.audit" in modules
    assert not heavy(modules, "yaml")


def test_yaml_is_imported_for_what_only_its_parser_reads(run: Path) -> None:
    (run / "config.yaml").write_text("lr: 0.1\nmodel:\n  layers: 4\n")
    assert "yaml" not in imported_by("check", str(run), ok=(0, 1, 2))
    (run / "config.yaml").write_text("lr: &rate 0.1\nmin_lr: *rate\n")
    assert "yaml" in imported_by("check", str(run), ok=(0, 1, 2))


def modules_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Every absolute module name that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", modules_in(ROOT / "src" / "mldiag"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_core_imports_no_plugin(path: Path) -> None:
    families = {folder.name for folder in (ROOT / "plugins").iterdir() if folder.is_dir()}
    assert families
    assert not {name for name in imports_of(path) if name.partition(".")[0] in families}


@pytest.mark.parametrize("path", modules_in(ROOT / "plugins"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_plugin_imports_only_the_api_its_own_family_and_the_standard_library(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[0]
    # Dependencies of the core: msgspec for value classes, numpy inside the functions that need it.
    allowed = sys.stdlib_module_names | {own, "msgspec", "numpy"}
    others = {name for name in imports_of(path) if name.partition(".")[0] not in allowed}
    assert others <= {"mldiag.api"}


def test_the_api_promises_everything_that_it_imports() -> None:
    """`X as X` is the form in which type checkers take an import for a promise."""
    tree = ast.parse((ROOT / "src" / "mldiag" / "api.py").read_text(encoding="utf-8"))
    blocks = [n for n in tree.body if isinstance(n, ast.If)]
    names = [alias for block in blocks for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names]
    assert names
    assert not [alias.name for alias in names if alias.asname != alias.name]
    assert {alias.name for alias in names} <= set(dir(api))


def test_every_fact_of_the_core_can_be_asked_for_by_a_plugin() -> None:
    from mldiag.parts import facts_in

    assert not {found.type.__name__ for found in facts_in("mldiag.facts")} - set(dir(api))
