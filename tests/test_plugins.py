"""Plugins: a broken one costs only itself, and a duplicate is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mldiag.audit import Request, audit
from mldiag.errors import MldiagError
from mldiag.plugins import load
from mldiag.report import Style

RULE = '''
from mldiag.api import Finding, Settings, rule

@rule("{code}", severity="warning")
def {name}(settings: Settings, *, most: float = 1.0):
    """A learning rate above one."""
    if settings.require("lr", float) > most:
        yield Finding("the learning rate is above one")
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path that can hold plugin modules and their entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        # Parts of mldiag itself are imported when they are needed; a second time they would be other types.
        if name.partition(".")[0] in {path.stem for path in tmp_path.iterdir()}:
            del sys.modules[name]


def install(site: Path, name: str, source: str, *, module: str | None = None) -> None:
    """Puts a plugin distribution with one entry point into `site`."""
    module = module or name
    (site / f"{module}.py").write_text(source)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mldiag]\n{name} = {module}\n")


HOOK = """
from mldiag.api import hookimpl, rules_in

@hookimpl
def mldiag_rules():
    return rules_in(__name__)
"""


def test_an_installed_plugin_adds_its_rules(site: Path) -> None:
    install(site, "outside", RULE.format(code="OUT001", name="bold_rate") + HOOK)
    loaded = load()
    assert loaded.rules["OUT001"].name == "bold-rate"
    assert not loaded.broken


def test_a_plugin_that_fails_to_import_costs_only_itself(site: Path) -> None:
    install(site, "broken", "import a_module_that_is_not_there\n")
    install(site, "outside", RULE.format(code="OUT001", name="bold_rate") + HOOK)
    loaded = load()
    assert "OUT001" in loaded.rules
    assert loaded.broken == [
        "plugin broken was not loaded: ModuleNotFoundError: No module named 'a_module_that_is_not_there'"
    ]


def test_a_plugin_whose_hook_raises_half_way_costs_only_itself(site: Path) -> None:
    hook = "def mldiag_rules():\n    yield from ()\n    raise OSError('disk')\n"
    install(site, "late", f"from mldiag.api import hookimpl\n@hookimpl\n{hook}")
    loaded = load()
    assert loaded.rules
    assert loaded.broken == ["plugin late was not loaded: OSError: disk"]


def test_a_hook_takes_the_options_of_pluggy_and_no_others(site: Path) -> None:
    hook = (
        "from mldiag.api import hookimpl, rules_in\n@hookimpl({})\ndef mldiag_rules():\n    return rules_in(__name__)\n"
    )
    install(site, "first", RULE.format(code="OUT001", name="bold_rate") + hook.format("tryfirst=True"))
    install(site, "unknown", RULE.format(code="OUT002", name="bolder_rate") + hook.format("tryfist=True"))
    loaded = load()
    assert "OUT001" in loaded.rules
    assert "OUT002" not in loaded.rules
    (broken,) = loaded.broken
    assert "tryfist" in broken


def test_a_plugin_may_use_the_mark_of_pluggy(site: Path) -> None:
    hook = HOOK.replace(
        "import hookimpl, rules_in", "import rules_in\nimport pluggy\nhookimpl = pluggy.HookimplMarker('mldiag')"
    )
    install(site, "outside", RULE.format(code="OUT001", name="bold_rate") + hook)
    loaded = load()
    assert "OUT001" in loaded.rules
    assert not loaded.broken


def test_a_hook_that_does_not_exist_is_an_error_of_the_plugin(site: Path) -> None:
    install(site, "typo", "from mldiag.api import hookimpl\n@hookimpl\ndef mldiag_rulez():\n    return []\n")
    (broken,) = load().broken
    assert "mldiag_rulez" in broken


def test_a_code_that_is_taken_is_refused(site: Path) -> None:
    install(site, "thief", RULE.format(code="CUR001", name="bold_rate") + HOOK)
    loaded = load()
    assert loaded.rules["CUR001"].name == "generalization-gap"
    (broken,) = loaded.broken
    assert "CUR001 bold-rate of plugin thief was refused" in broken


def test_two_plugins_of_one_name_are_not_mixed_up(site: Path) -> None:
    install(site, "outside", RULE.format(code="OUT001", name="bold_rate") + HOOK, module="first_module")
    install(site, "outside", RULE.format(code="OUT002", name="bolder_rate") + HOOK, module="second_module")
    loaded = load()
    assert "OUT001" in loaded.rules
    assert "OUT002" not in loaded.rules
    assert "the name is taken by first_module" in loaded.broken[0]


def test_a_rule_whose_parameter_has_no_type_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        RULE.format(code="OUT001", name="bold_rate").replace("settings: Settings", "settings")
    )
    loaded = load([tmp_path])
    assert "OUT001" not in loaded.rules
    assert "needs an artifact or fact type" in loaded.broken[0]


def test_rules_are_loaded_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out001_bold_rate.py").write_text(RULE.format(code="OUT001", name="bold_rate"))
    rule = load([tmp_path]).rules["OUT001"]
    assert dict(rule.options) == {"most": 1.0}
    assert rule.summary == "A learning rate above one."


def test_a_folder_of_rules_that_is_missing_or_holds_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MldiagError, match="no such folder of rules"):
        load([tmp_path / "absent"])
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(MldiagError, match="no function under @rule"):
        load([tmp_path])


def test_an_unknown_rule_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(MldiagError, match="did you mean 'generalization-gap'"):
        load().rule("generalisation-gap")


EVERYTHING = '''
from msgspec import Struct
from mldiag.api import (
    Finding, Report, Role, Settings, SettingValue, Style, Windows, fact, facts_in, hookimpl, reader, readers_in,
    reporter, reporters_in, rule, rules_in,
)

class Doubled(Struct, frozen=True):
    rate: float

@fact
def doubled(settings: Settings) -> Doubled:
    return Doubled(2 * settings.require("lr", float))

@fact
def windows(settings: Settings) -> Windows:
    raise AssertionError("the core has this fact")

@reader("*.rate")
def rate(file):
    """One learning rate."""
    yield SettingValue("lerngeschwindigkeit", float(file.text), Role.FILE, file.at(1))

@reporter("count")
def count(report: Report, style: Style) -> str:
    return f"{len(report.runs)} {[f.message for f in report.findings]}"

@reporter("json")
def json(report: Report, style: Style) -> str:
    raise AssertionError("the core has this format")

@rule("OUT001", severity="warning")
def any_rate(found: Doubled):
    """A rate."""
    yield Finding(f"twice the rate is {found.rate:g}")

@hookimpl
def mldiag_readers():
    return readers_in(__name__)

@hookimpl
def mldiag_facts():
    return facts_in(__name__)

@hookimpl
def mldiag_reporters():
    return reporters_in(__name__)

@hookimpl
def mldiag_rules():
    return rules_in(__name__)

@hookimpl
def mldiag_vocabulary():
    return {"lr": ["lerngeschwindigkeit"]}
'''


def test_a_plugin_adds_reader_fact_format_vocabulary_and_rule_and_replaces_none_of_the_core(
    site: Path, tmp_path: Path
) -> None:
    install(site, "everything", EVERYTHING)
    run = tmp_path / "run"
    run.mkdir()
    (run / "a.rate").write_text("0.25")
    loaded = load()
    assert loaded.broken == [
        "fact Windows of plugin everything was refused: there is one already",
        "format json of plugin everything was refused: there is one already",
    ]
    report = audit(Request((run,), select=("OUT",)), loaded)
    assert loaded.reporters["count"].render(report, Style()) == "1 ['twice the rate is 0.5']"


def test_a_reader_that_breaks_costs_only_its_file(site: Path, tmp_path: Path) -> None:
    source = """
from mldiag.api import reader, readers_in, hookimpl

@reader("*.odd", priority=9)
def odd(file):
    raise ZeroDivisionError("a defect")

@hookimpl
def mldiag_readers():
    return readers_in(__name__)
"""
    install(site, "odd_reader", source)
    run = tmp_path / "run"
    run.mkdir()
    (run / "x.odd").write_text("1")
    (run / "history.json").write_text('{"loss": [2.0, 1.0], "val_loss": [2.1, 1.1]}')
    report = audit(Request((run,)), load())
    (unread,) = report.runs[0].unread
    assert "its reader broke, which is no fault of the file: ZeroDivisionError: a defect" in unread.reason
    assert report.runs[0].clean
    assert report.exit_code() == 2


def test_the_fault_of_the_guide_is_offered_by_a_plugin_planted_and_found(site: Path) -> None:
    from mldiag.faults.healthy import families
    from mldiag.selftest import Host, selftest

    guide = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    source = guide[guide.index("from random import Random") :].partition("```")[0]
    install(site, "faulty", source)
    plugins = load()
    fault = plugins.faults()["doubled-at-the-end"]
    hosts = [Host(f.name, lambda seed, f=f: f.run(seed, plugins.facts)) for f in families()]
    (catch,) = selftest(hosts, [fault], list(plugins.rules.values()), 1).catches
    assert catch.stated.found >= 0.9 * catch.stated.tried > 0


def test_a_fault_whose_name_is_taken_or_that_cannot_be_loaded_is_refused_when_faults_are_asked_for(site: Path) -> None:
    taken = "from mldiag.faults.non_finite import nan_loss as n\nfrom mldiag.faults import as_fault\n"
    hook = "from mldiag.api import hookimpl\n@hookimpl\ndef mldiag_faults():\n    "
    install(site, "taken", taken + hook + "return [as_fault(n)]\n")
    install(site, "torn", hook + "raise OSError('disk')\n")
    plugins = load()
    assert not plugins.broken
    plugins.faults()
    assert plugins.broken == [
        "fault nan-loss of plugin taken was refused: there is one already",
        "faults of plugin torn were not loaded: OSError: disk",
    ]
