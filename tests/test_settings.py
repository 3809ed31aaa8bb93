"""mldiag's own configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.errors import SettingsError
from mldiag.findings import Severity
from mldiag.plugins import Plugins, load
from mldiag.settings import find


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def write(folder: Path, text: str, name: str = "pyproject.toml") -> Path:
    (folder / name).write_text(text)
    run = folder / "runs" / "a"
    run.mkdir(parents=True)
    return run


def test_the_nearest_configuration_upward_holds(tmp_path: Path) -> None:
    run = write(tmp_path, '[tool.mldiag]\nignore = ["CUR011"]\nfail-on = "warning"\n')
    config = find(run)
    assert config.ignore == ("CUR011",)
    assert config.fail_on is Severity.WARNING
    (run / "mldiag.toml").write_text('fail-on = "never"\n')
    assert find(run).fail_on is None


def test_a_project_file_without_our_table_is_passed_over(tmp_path: Path) -> None:
    run = write(tmp_path, '[tool.mldiag]\nignore = ["CUR011"]\n')
    (run / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert find(run).ignore == ("CUR011",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.mldiag]\nignor = []\n", "unknown key 'ignor' in .tool.mldiag.; did you mean 'ignore'"),
        ("[tool.mldiag]\nfail-on = 'errors'\n", "fail-on is 'errors'; expected error, warning, info or never"),
        ("[tool.mldiag]\nignore = 'CUR001'\n", "ignore is 'CUR001'; expected a list of strings"),
        ("[tool.mldiag]\nrules = 3\n", "rules is 3; expected a table"),
        ("[tool.mldiag\n", "cannot be read as TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_nearest_key(tmp_path: Path, text: str, message: str) -> None:
    run = write(tmp_path, text)
    with pytest.raises(SettingsError, match=message):
        find(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('ignore = ["CUR01x"]', "no rule or family 'CUR01x'"),
        (
            "[rules.truncated-shedule]\ntolerance = 1.0",
            "no rule 'truncated-shedule'.*did you mean 'truncated-schedule'",
        ),
        ("[rules.SCH003]\nmax_shar = 0.2", "has no option 'max_shar'"),
        ('[rules.SCH003]\nmax_share = "a"', "expected float"),
    ],
)
def test_rules_and_options_that_do_not_exist_are_refused(
    tmp_path: Path, plugins: Plugins, text: str, message: str
) -> None:
    run = write(tmp_path, text, "mldiag.toml")
    with pytest.raises(SettingsError, match=message):
        find(run).check(plugins.rules.values())


def test_codes_families_names_and_prefixes_choose_rules(plugins: Plugins, tmp_path: Path) -> None:
    config = find(tmp_path).with_choice(["CUR", "schedule", "broken-words"], ["CUR001", "interrupted-run"])
    chosen = {r.code for r in config.chosen(plugins.rules.values(), "x")}
    assert {"CUR002", "SCH001", "SMP002"} <= chosen
    assert not chosen & {"CUR001", "SCH002", "CFG001"}


def test_a_path_can_ignore_rules(plugins: Plugins, tmp_path: Path) -> None:
    run = write(tmp_path, '[per-path-ignores]\n"*/old-*" = ["CUR"]\n', "mldiag.toml")
    config = find(run)
    assert "CUR001" not in {r.code for r in config.chosen(plugins.rules.values(), "runs/old-1")}
    assert "CUR001" in {r.code for r in config.chosen(plugins.rules.values(), "runs/new")}


def test_options_reach_the_rule_by_code_or_name(plugins: Plugins, tmp_path: Path) -> None:
    run = write(tmp_path, "[rules.SCH003]\nmax-share = 0.25\n", "mldiag.toml")
    config = find(run)
    config.check(plugins.rules.values())
    assert config.options_by_name(plugins.rules.values())["excessive-warmup"] == {"max_share": 0.25}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[expect]]\nmetirc = "val/loss"\nbelow = 1', "metirc"),
        ("[[expect]]\nbelow = 1", "names no metric"),
        ('[[expect]]\nmetric = "val/loss"', "nothing is expected of val/loss"),
        ('[[expect]]\nmetric = "val/loss"\nbelow = "4"', "expected a number"),
        ('[[expect]]\nmetric = "val/loss"\nbelow = nan', "expected a number"),
        ('[[expect]]\nmetric = "val/loss"\nbelow = 1\nabove = 2', "cannot be below 1 and above 2"),
        ('[[expect]]\nmetric = "val/loss"\nat = "end"\nbelow = 4', "expected last, best, first"),
        ('[[expect]]\nmetric = "val/loss"\ngap = 0.5', "gap = {below = 0.5}"),
        ('[expect]\nmetric = "val/loss"', "[[expect]]"),
        ('[[reference]]\nmetric = "val/loss"', "has no value"),
        ('[[reference]]\nmetric = "val/loss"\nvalue = 1\nby = 3', "expected a text"),
        ('[[overrides]]\nignore = ["CUR001"]', "names no runs"),
        ('[[overrides]]\nruns = ["a"]\nselect = ["CUR001"]', "unknown key 'select'"),
        ('[[overrides]]\nruns = ["a"]\nignore = ["CUR999"]', "CUR999"),
        ('[[overrides]]\nruns = ["a"]\n[overrides.rules.truncated-schedule]\ntolerence = 1', "tolerence"),
        ("baseline = 3", "expected a path"),
    ],
)
def test_a_figure_or_override_that_means_nothing_is_refused(
    tmp_path: Path, plugins: Plugins, text: str, said: str
) -> None:
    run = write(tmp_path, text + "\n", "mldiag.toml")
    with pytest.raises(SettingsError) as refused:
        find(run).check(plugins.rules.values())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_options_of_an_override_go_before_those_of_all(tmp_path: Path, plugins: Plugins) -> None:
    run = write(
        tmp_path,
        "[rules.truncated-schedule]\ntolerance = 0.1\n"
        '[[overrides]]\nruns = ["runs/*"]\n[overrides.rules.SCH001]\ntolerance = 0.3\n',
        "mldiag.toml",
    )
    rules = [plugins.rules["SCH001"]]
    config = find(run)
    assert config.options_by_name(rules, "a", run)["truncated-schedule"] == {"tolerance": 0.3}
    assert config.options_by_name(rules, "b", tmp_path / "other")["truncated-schedule"] == {"tolerance": 0.1}


def test_figures_point_at_their_table_and_hold_for_the_runs_they_name(tmp_path: Path) -> None:
    run = write(
        tmp_path,
        '# targets\n[[tool.mldiag.expect]]\nmetric = "val/loss"\nbelow = 4.3\n\n'
        '[[tool.mldiag.expect]]\nmetric = "val/accuracy"\nabove = 0.2\nruns = "*/b"\n',
    )
    (figure,) = find(run).figures_of("a", run)
    assert (figure.source.path, figure.source.line) == ("../../pyproject.toml", 2)
