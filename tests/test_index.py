"""The index of parts is believed only where it says what the files say, changes no outcome, and spares imports."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from mldiag import _index, api, index, stats
from mldiag.artifacts import Role, Samples, Settings, SettingValue, Source
from mldiag.audit import Request, audit
from mldiag.errors import NotApplicable
from mldiag.facts import Facts, as_fact, entry_of as fact_entry, fact
from mldiag.parts import facts_in
from mldiag.plugins import load
from mldiag.report import RunReport
from mldiag.rules import entry_of
from mldiag.run import Run, arguments
from mldiag.testing import load_cases, write_files

ROOT = Path(__file__).parents[1]
CASES = sorted((ROOT / "tests" / "cases").glob("*.toml"))
EAGER = load(listed=False)
FOLDERS = [folder for folder in sorted((ROOT / "plugins").glob("mldiag_*")) if folder.name in _index.RULES]


def outcomes(report: RunReport) -> tuple[object, ...]:
    """Everything that rules said of a run."""
    return (report.path, report.findings, report.clean, report.skipped, report.failed, report.suppressed, report.unused)


def assert_same_either_way(*paths: Path, pre: bool = False) -> None:
    eager = audit(Request(paths, pre=pre), EAGER)
    listed = audit(Request(paths, pre=pre), load())
    assert eager.runs
    assert [outcomes(run) for run in listed.runs] == [outcomes(run) for run in eager.runs]
    assert listed.problems == eager.problems


@pytest.mark.parametrize("pre", [False, True])
@pytest.mark.parametrize("example", ["loggpt", "recommender", "rwkv", "versions"])
def test_an_example_has_the_same_outcomes_and_reasons_with_the_index_and_without(example: str, pre: bool) -> None:
    assert_same_either_way(ROOT / "examples" / example, pre=pre)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_all_rules_say_the_same_of_a_rules_cases_with_the_index_and_without(path: Path, tmp_path: Path) -> None:
    cases = {case.outcome: case for case in load_cases(path) if case.files and "mldiag.toml" not in case.files}
    for outcome, case in cases.items():
        write_files(tmp_path / outcome, case.files)
    if cases:
        assert_same_either_way(*(tmp_path / outcome for outcome in cases))


IN_A_NEW_PROCESS = """
import sys
from pathlib import Path
from mldiag.audit import Request, audit
from mldiag.plugins import load
report = audit(Request((Path(sys.argv[2]),)), load(listed=sys.argv[1] == "listed"))
print([(run.findings, run.clean, run.skipped, run.failed) for run in report.runs])
"""


@pytest.mark.parametrize("example", ["loggpt", "versions/v5-transformer"])
def test_what_nothing_has_imported_yet_changes_no_outcome(example: str) -> None:
    command = [sys.executable, "-c", IN_A_NEW_PROCESS]
    path = str(ROOT / "examples" / example)
    said = [subprocess.run([*command, way, path], capture_output=True, check=True) for way in ("listed", "eager")]
    assert said[0].stdout == said[1].stdout != b""


def imported_by(*arguments: str, code: tuple[int, ...] = (0, 1)) -> set[str]:
    """The modules that a whole command has imported."""
    script = (
        "import sys, atexit, json\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "from mldiag.cli import main\nmain(prog_name='mldiag')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode in code, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def rules_among(modules: set[str]) -> set[str]:
    return {name.partition(".")[2][:3] for name in modules if name.startswith("mldiag_") and "." in name}


@pytest.fixture
def held() -> None:
    """Only where the index is up to date does it spare anything."""
    if not all(index.rules_listed(folder.name) for folder in FOLDERS) or index.facts_listed("mldiag.facts") is None:
        pytest.skip("the index is not what the files say; run `make docs`")


@pytest.mark.usefixtures("held")
def test_rules_are_imported_for_what_the_run_holds(tmp_path: Path) -> None:
    write_files(tmp_path, {"history.json": '{"loss": [3.0, 2.0], "val_loss": [3.0, 2.5]}'})
    modules = imported_by("check", str(tmp_path))
    families = rules_among(modules)
    assert "cur" in families
    assert "smp" not in families
    scores = {"eva001", "eva002", "eva003", "eva005", "eva010", "dat001", "dat002", "cur017", "sch006"}
    assert not {name for name in modules if name.rpartition(".")[2].partition("_")[0] in scores}
    assert not {name for name in modules if name.startswith(("mldiag.faults", "pluggy", "hashlib"))}


@pytest.mark.usefixtures("held")
def test_stage_pre_imports_no_rule_that_looks_at_what_training_writes(tmp_path: Path) -> None:
    write_files(tmp_path, {"run.sh": "python train.py --lr 3e-4\n", "history.json": '{"loss": [3.0, 2.0]}'})
    late = {rule.origin for rule in EAGER.rules.values() if not rule.pre}
    assert late
    assert not late & imported_by("check", str(tmp_path), "--stage", "pre")


@pytest.mark.usefixtures("held")
def test_the_index_says_what_the_code_says() -> None:
    facts = index.facts_listed("mldiag.facts")
    assert list(facts or ()) == [fact_entry(found) for found in facts_in("mldiag.facts")]
    listed = load().rules
    assert list(listed) == list(EAGER.rules)
    for code, rule in listed.items():
        eager = EAGER.rules[code]
        assert rule.listed is not None
        assert rule.function is eager.function
        assert (rule.inputs, rule.options, rule.compares) == (eager.inputs, eager.options, eager.compares)
        names = ("code", "name", "family", "severity", "pre", "explains", "gives_way_to", "origin", "summary", "fix")
        assert [getattr(rule, name) for name in names] == [getattr(eager, name) for name in names]
        assert entry_of(rule.origin.partition(".")[0], rule)[-1] == rule.listed


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a plugin, as the index was made from it, before the original on the path."""
    folder = tmp_path / "mldiag_run"
    shutil.copytree(ROOT / "plugins" / "mldiag_run", folder, ignore=shutil.ignore_patterns("__pycache__"))
    state = index.state_of(str(folder))
    monkeypatch.setitem(_index.RULES, "mldiag_run", (state, _index.RULES["mldiag_run"][1]))
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def same_size(folder: Path) -> None:
    """The same number of bytes, with a type that the index does not know of."""
    file = folder / "run003_input_bound.py"
    text = file.read_text()
    file.write_text(
        text.replace("curves: Curves", "curves: Budget", 1) if "curves: Curves" in text else text.swapcase()
    )


def another_file(folder: Path) -> None:
    (folder / "run099_new.py").write_text("")


def one_less(folder: Path) -> None:
    (folder / "run003_input_bound.py").unlink()


def longer(folder: Path) -> None:
    file = folder / "__init__.py"
    file.write_text(file.read_text() + "\n")


def another_folder(folder: Path) -> None:
    (folder / "tables").mkdir()


@pytest.mark.parametrize("change", [same_size, another_file, one_less, longer, another_folder])
def test_a_package_of_other_files_than_the_index_was_made_from_is_not_listed(
    copied: Path, change: Callable[[Path], None]
) -> None:
    assert index.rules_listed("mldiag_run") is not None
    change(copied)
    assert index.rules_listed("mldiag_run") is None


def test_the_content_decides_where_a_file_is_younger_than_the_index(copied: Path) -> None:
    for file in copied.glob("*.py"):
        os.utime(file)
    assert index.rules_listed("mldiag_run") is not None


def test_a_file_that_was_dropped_in_or_changed_works_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "site" / "mldiag_run"
    shutil.copytree(ROOT / "plugins" / "mldiag_run", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "run099_any_rate.py").write_text(
        "from mldiag.api import Finding, Settings, rule\n\n"
        '@rule("RUN099", severity="error", pre=True)\n'
        'def any_rate(settings: Settings):\n    """A rate."""\n    yield Finding("there is a rate")\n'
    )
    write_files(tmp_path / "run", {"run.sh": "python train.py --lr 3e-4\n"})
    command = [sys.executable, "-m", "mldiag", "check", str(tmp_path / "run"), "--select", "RUN099"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    )
    assert "RUN099 any-rate" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("module", [api, stats])
def test_every_promised_name_is_there_whether_the_index_lists_it_or_not(module: ModuleType) -> None:
    file = str(module.__file__)
    written = index.names_in(file)
    assert set(written) <= set(dir(module))
    for name, source in written.items():
        assert getattr(module, name) is index.imported(source, name)


def test_a_name_that_is_not_promised_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Curvess'"):
        exec("from mldiag.api import Curvess")
    assert not hasattr(api, "__wrapped__")


def test_a_star_import_brings_all_that_is_promised() -> None:
    found: dict[str, object] = {}
    exec("from mldiag.api import *", found)
    assert set(index.names_in(str(api.__file__))) <= set(found)


def test_a_name_is_found_without_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_index, "NAMES", {})
    index.promised.cache_clear()
    try:
        assert index.promised("mldiag.api")["Curves"] == "mldiag.facts.curves"
    finally:
        monkeypatch.undo()
        index.promised.cache_clear()


def test_modules_are_found_in_a_zip_file_and_in_a_folder_of_bytecode(tmp_path: Path) -> None:
    write_files(tmp_path / "source", {"package/__init__.py": "", "package/one.py": "", "package/_own.py": ""})
    write_files(tmp_path / "source", {"package/below/__init__.py": "", "package/data/table.json": "{}"})
    folder = tmp_path / "source" / "package"
    assert index.modules_in([str(folder)]) == ["below", "one"]
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "source")
    assert index.modules_in([f"{archive}/package"]) == ["below", "one"]
    for file in (folder / "one.py", folder / "__init__.py", folder / "_own.py"):
        py_compile.compile(str(file), str(file.with_suffix(".pyc")))
        file.unlink()
    assert index.modules_in([str(folder)]) == ["below", "one"]


def test_a_fact_is_imported_and_asked_only_where_what_it_requires_is_there() -> None:
    facts = Facts([("nowhere:Derived", "nowhere:derived", (("settings", "mldiag.artifacts:Settings", False),))])
    run = Run(Path(), ".", facts=facts)
    with pytest.raises(NotApplicable, match="no settings were found"):
        run.get("nowhere:Derived")
    run = Run(Path(), ".", facts=facts, settings=Settings((SettingValue("lr", 0.1, Role.FILE, Source("run.toml", 1)),)))
    with pytest.raises(ModuleNotFoundError):
        run.get("nowhere:Derived")


def test_what_is_required_is_asked_for_before_what_is_not() -> None:
    asked: list[object] = []

    class Watched(Run):
        def get(self, kind: type | str) -> object:
            asked.append(kind)
            return super().get(kind)

    @fact
    def needs_samples_last(settings: Settings | None, samples: Samples) -> int:
        raise AssertionError("there are no samples")

    with pytest.raises(NotApplicable, match="no generated samples were found"):
        arguments(Watched(Path(), "."), as_fact(needs_samples_last))
    assert asked == [Samples]
