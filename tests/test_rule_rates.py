"""The file with the measured figures: its rules exist, its intervals follow from its counts, its pages print it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mldiag.plugins import load
from mldiag.stats import wilson_interval

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "rule_rates.json"

LABELS = [
    {"id": "good", "labels": ["healthy"], "confidence": "high"},
    {"id": "broken", "labels": ["non_finite"], "confidence": "high"},
    {"id": "unsure", "labels": ["non_finite"], "confidence": "low"},
    {"id": "gone", "labels": ["non_finite"]},
]


def rates_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every counted share, wherever it stands."""
    if isinstance(value, dict):
        if "interval" in value and "tried" in value:
            yield value
        for inner in value.values():
            yield from rates_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from rates_in(inner)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A small set of labelled runs, measured by the command."""
    folder = tmp_path_factory.mktemp("labelled")
    for name, last in (("good", "0.9"), ("broken", "NaN"), ("unsure", "NaN")):
        (folder / "runs" / name).mkdir(parents=True)
        rows = [f'{{"step": {k}, "loss": {3 / k + 0.5}, "val_loss": {3 / k + 0.55}}}' for k in range(1, 30)]
        rows += [f'{{"step": {k}, "loss": {last}, "val_loss": {last}}}' for k in range(30, 34)]
        (folder / "runs" / name / "log.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, LABELS)) + "\n")
    (folder / "README.md").write_text("# Three small runs\n\nFor a test.\n")
    (folder / "map.json").write_text('{"non_finite": ["non-finite"], "plateau": ["plateau"]}')
    output = folder / "rates.json"
    command = [sys.executable, "benchmarks/rule_rates.py", f"{folder}={folder}/map.json", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_labelled_runs_are_counted_and_those_of_low_confidence_left_out(measured: dict[str, Any]) -> None:
    name, about = next(iter(measured["sets"].items()))
    assert (about["title"], about["runs"]) == ("Three small runs", 2)
    own = measured["rules"]["CUR005"]["sets"][name]
    assert own["judged"] == 2
    assert (own["healthy"]["found"], own["healthy"]["tried"]) == (0, 1)
    assert [(r["label"], r["by_this_rule"]["found"], r["by_this_rule"]["tried"]) for r in own["labels"]] == [
        ("non_finite", 1, 1)
    ]


def test_nothing_of_this_machine_is_written(measured: dict[str, Any]) -> None:
    assert "/" not in json.dumps(measured).replace("benchmarks/rule_rates.py", "").replace("train/", "").replace(
        "val/", ""
    )


def test_intervals_follow_from_counts(measured: dict[str, Any]) -> None:
    for rate in rates_in(measured):
        assert rate["interval"] == pytest.approx(wilson_interval(rate["found"], rate["tried"]), abs=1e-4)


@pytest.mark.skipif(not RESULTS.is_file(), reason="nothing was measured yet")
def test_the_published_figures_are_of_rules_that_exist() -> None:
    published = json.loads(RESULTS.read_text(encoding="utf-8"))
    rules = load().rules
    assert not published["rules"].keys() - rules.keys()
    assert all(rules[code].name == found["name"] for code, found in published["rules"].items())
    shares = list(rates_in(published))
    assert shares
    for rate in shares:
        assert rate["interval"] == pytest.approx(wilson_interval(rate["found"], rate["tried"]), abs=1e-4)


def test_a_page_says_what_was_measured_and_what_was_not(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import build

    rules = load().rules
    page = build.rule_page(rules["CUR005"], measured)
    assert "## Measured\n" in page
    assert "1 of 1 (100 %, 21 to 100 %)" in page
    assert "is not labelled in" in build.rule_page(rules["CUR001"], measured)
    assert "Not measured yet" in build.rule_page(rules["CUR001"], {})
