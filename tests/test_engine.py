"""The engine: four outcomes, causes before symptoms, suppression on the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.plugins import Plugins, load
from mldiag.report import RunReport
from mldiag.testing import judge, outcome_of, write_files

RULES = '''
from mldiag.api import Evidence, Finding, Metrics, NotApplicable, Run, Samples, Settings, rule

@rule("AAA001", severity="warning", pre=True, explains=("AAA002", "AAA003", "AAA009"))
def bold_rate(settings: Settings):
    """A learning rate above one."""
    found = settings.effective("lr")
    if found is None:
        raise NotApplicable("no learning rate")
    if found.value > 1:
        yield Finding("the rate is above one", at=found.source)

@rule("AAA002", severity="error")
def rising_loss(metrics: Metrics):
    """The loss ended above its start."""
    loss = metrics.require("train/loss")
    if loss.data[-1] > loss.data[0]:
        yield Finding("the loss rose", at=loss.source, evidence=(Evidence("last", loss.data[-1]),))

@rule("AAA003", severity="info")
def spoken(samples: Samples):
    """There are samples."""
    yield Finding("something was said")

@rule("AAA004", severity="error")
def broken_rule(run: Run):
    """A rule with a defect."""
    raise ZeroDivisionError("a defect")

@rule("AAA005", severity="error")
def optional_input(run: Run, samples: Samples | None):
    """Can do without samples."""
    if samples is not None:
        yield Finding("samples")
'''

VERDICTS = '''
from mldiag.api import Finding, Metrics, rule

@rule("BBB001", severity="{better}")
def truer(metrics: Metrics):
    """Says what happened."""
    yield Finding("it broke", at=metrics.series[0].source)

@rule("BBB002", severity="warning", gives_way_to=("BBB001",))
def poorer(metrics: Metrics):
    """Says something that cannot be true beside it."""
    yield Finding("it did not move")
'''


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "rules.py").write_text(RULES)
    return load([folder])


def check(tmp_path: Path, plugins: Plugins, files: dict[str, str], *, pre: bool = False) -> RunReport:
    write_files(tmp_path / "run", files)
    return judge(tmp_path / "run", [r for c, r in plugins.rules.items() if c.startswith("AAA")], plugins, pre=pre)


def outcomes(report: RunReport, plugins: Plugins) -> dict[str, str]:
    return {c: outcome_of(r, report) for c, r in plugins.rules.items() if c.startswith("AAA")}


HISTORY = '{"loss": [1.0, 2.0]}'


def test_every_rule_ends_in_exactly_one_outcome(tmp_path: Path, plugins: Plugins) -> None:
    report = check(tmp_path, plugins, {"history.json": HISTORY})
    assert outcomes(report, plugins) == {
        "AAA001": "skipped",
        "AAA002": "found",
        "AAA003": "skipped",
        "AAA004": "failed",
        "AAA005": "clean",
    }


def test_a_defect_in_a_rule_is_reported_and_the_others_go_on(tmp_path: Path, plugins: Plugins) -> None:
    report = check(tmp_path, plugins, {"history.json": HISTORY})
    assert [(f.code, f.error) for f in report.failed] == [("AAA004", "ZeroDivisionError: a defect")]
    assert report.findings


def test_a_skipped_rule_says_what_it_lacks(tmp_path: Path, plugins: Plugins) -> None:
    report = check(tmp_path, plugins, {"history.json": HISTORY})
    assert {s.code: s.reason for s in report.skipped}["AAA003"] == "no generated samples were found"


def test_a_cause_comes_before_a_more_severe_symptom_and_names_only_what_was_found(
    tmp_path: Path, plugins: Plugins
) -> None:
    report = check(tmp_path, plugins, {"history.json": HISTORY, "run.sh": "python train.py --lr 3\n"})
    cause, symptom = report.findings
    assert (cause.code, cause.explains) == ("AAA001", ("AAA002",))
    assert (symptom.code, symptom.explained_by) == ("AAA002", ("AAA001",))
    assert symptom.severity == "error"


def test_stage_pre_looks_at_the_plan_only(tmp_path: Path, plugins: Plugins) -> None:
    files = {"history.json": HISTORY, "run.sh": "python train.py --lr 3\n"}
    report = check(tmp_path, plugins, files, pre=True)
    assert [f.code for f in report.findings] == ["AAA001"]
    assert "--stage pre" in report.skipped[0].reason


@pytest.mark.parametrize("word", ["AAA001", "bold-rate", "XXX001, AAA001"])
def test_a_comment_on_the_line_silences_the_rule(tmp_path: Path, plugins: Plugins, word: str) -> None:
    report = check(tmp_path, plugins, {"run.sh": f"python train.py --lr 3  # mldiag: ignore[{word}]\n"})
    assert not report.findings
    assert [f.code for f in report.suppressed] == ["AAA001"]


def test_a_comment_in_a_log_silences_nothing(tmp_path: Path, plugins: Plugins) -> None:
    log = '{"note": "# mldiag: ignore[AAA002]", "loss": [1.0, 2.0]}'
    report = check(tmp_path, plugins, {"history.json": log})
    assert [f.code for f in report.findings] == ["AAA002"]
    assert not report.suppressed
    assert not report.unused


def unused(report: RunReport) -> list[tuple[str, str, str]]:
    return [(str(u.at), u.rule, u.reason) for u in report.unused]


def test_a_comment_that_silences_nothing_is_told_with_its_place(tmp_path: Path, plugins: Plugins) -> None:
    script = "# what runs\npython train.py --lr 0.3  # mldiag: ignore[bold-rate]\n"
    report = check(tmp_path, plugins, {"run.sh": script})
    assert report.clean
    assert unused(report) == [("run.sh:2", "bold-rate", "it found nothing there")]


def test_of_a_comment_only_the_rules_that_silence_nothing_are_told(tmp_path: Path, plugins: Plugins) -> None:
    report = check(tmp_path, plugins, {"run.sh": "python train.py --lr 3  # mldiag: ignore[aaa001, AAA005]\n"})
    assert [f.code for f in report.suppressed] == ["AAA001"]
    assert unused(report) == [("run.sh:1", "AAA005", "it found nothing there")]


def test_a_comment_on_another_line_than_the_finding_silences_nothing_and_is_told(
    tmp_path: Path, plugins: Plugins
) -> None:
    report = check(tmp_path, plugins, {"run.sh": "python train.py --lr 3\n# mldiag: ignore[AAA001]\n"})
    assert [f.code for f in report.findings] == ["AAA001"]
    assert unused(report) == [("run.sh:2", "AAA001", "it found nothing there")]


def test_a_comment_with_a_typing_error_names_the_nearest_rule(tmp_path: Path, plugins: Plugins) -> None:
    report = check(tmp_path, plugins, {"run.sh": "python train.py --lr 3  # mldiag: ignore[bold-rat]\n"})
    assert unused(report) == [
        ("run.sh:1", "bold-rat", "no rule has that code or name; did you mean 'bold-rate'?"),
    ]


@pytest.mark.parametrize("files", [{}, {"history.json": HISTORY}])
def test_nothing_is_said_of_a_comment_for_a_rule_that_did_not_look(
    tmp_path: Path, plugins: Plugins, files: dict[str, str]
) -> None:
    script = {"run.sh": "python train.py --lr 0.3  # mldiag: ignore[AAA003, rising-loss]\n"}
    told = unused(check(tmp_path, plugins, script | files))
    assert told == ([("run.sh:1", "rising-loss", "it found nothing there")] if files else [])


def test_a_comment_for_another_rule_silences_nothing(tmp_path: Path, plugins: Plugins) -> None:
    report = check(tmp_path, plugins, {"run.sh": "python train.py --lr 3  # mldiag: ignore[AAA002]\n"})
    assert [f.code for f in report.findings] == ["AAA001"]


def test_a_comment_above_a_continued_command_holds_for_all_of_its_lines(tmp_path: Path, plugins: Plugins) -> None:
    script = "# mldiag: ignore[AAA001]\npython train.py \\\n  --epochs 2 \\\n  --lr 3\n"
    report = check(tmp_path, plugins, {"run.sh": script})
    assert not report.findings
    assert [f.code for f in report.suppressed] == ["AAA001"]


def test_a_comment_above_does_not_hold_for_the_command_after_next(tmp_path: Path, plugins: Plugins) -> None:
    report = check(tmp_path, plugins, {"run.sh": "# mldiag: ignore[AAA001]\necho start\npython train.py --lr 3\n"})
    assert [f.code for f in report.findings] == ["AAA001"]


@pytest.mark.parametrize(("better", "found"), [("error", ["BBB001"]), ("info", ["BBB002", "BBB001"])])
def test_a_rule_gives_way_to_one_that_says_the_truer_thing_at_least_as_gravely(
    tmp_path: Path, better: str, found: list[str]
) -> None:
    write_files(tmp_path, {"rules/rules.py": VERDICTS.format(better=better), "run/log.csv": "step,loss\n1,2\n2,1\n"})
    plugins = load([tmp_path / "rules"])
    report = judge(tmp_path / "run", [plugins.rules[c] for c in ("BBB001", "BBB002")], plugins)
    assert [f.code for f in report.findings] == found
    assert [(s.code, s.reason) for s in report.skipped] == [("BBB002", "BBB001 says what happened to these values")] * (
        found == ["BBB001"]
    )


def test_no_two_rules_give_way_to_each_other() -> None:
    rules = load().rules
    assert not [(a, b) for a in rules for b in rules[a].gives_way_to if b in rules and a in rules[b].gives_way_to]
