"""The examples say what their READMEs promise, to the letter.

`MLDIAG_GOLDEN=write pytest tests/test_examples.py` rewrites `examples/expected/` after a wanted change.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mldiag.audit import Request, audit
from mldiag.plugins import Plugins, load
from mldiag.report import Report, Style

ROOT = Path(__file__).parents[1]
V4, V5 = Path("examples/versions/v4-lstm"), Path("examples/versions/v5-transformer")
EXAMPLES = [V4, V5, *(Path("examples") / name for name in ("recommender", "loggpt", "rwkv"))]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def checked(path: Path, plugins: Plugins, *, pre: bool = False) -> Report:
    # The time a check takes and the version of mldiag are the only things in a report that the run does not fix.
    return replace(audit(Request((path,), pre=pre), plugins), seconds=0.1, version="0.1.0")


@pytest.fixture
def v5(at_root: None, plugins: Plugins) -> dict[str, Any]:
    """The findings on v5 as the JSON report gives them, by code."""
    document = json.loads(plugins.reporters["json"].render(checked(V5, plugins), Style()))
    return {f["code"]: f for f in document["runs"][0]["findings"]}


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
@pytest.mark.parametrize(("format_", "ending"), [("text", "txt"), ("json", "json")])
def test_an_example_gives_the_expected_output(path: Path, format_: str, ending: str, plugins: Plugins) -> None:
    got = plugins.reporters[format_].render(checked(path, plugins), Style())
    expected = ROOT / "examples" / "expected" / f"{path.name}.{ending}"
    if os.environ.get("MLDIAG_GOLDEN") == "write":
        expected.write_text(got, encoding="utf-8")
    assert got == expected.read_text(encoding="utf-8")


def evidence(finding: dict[str, Any]) -> dict[str, Any]:
    return {e["label"]: e["value"] for e in finding["evidence"]}


def test_the_gap_of_v5_grew_from_088_to_127_in_two_points(v5: dict[str, Any]) -> None:
    found = v5["CUR001"]
    assert found["severity"] == "error"
    assert "0.88 to 1.27" in found["message"]
    assert evidence(found)["evaluations"] == 2


def test_v5_planned_12_percent_of_its_steps(v5: dict[str, Any]) -> None:
    found = v5["SCH001"]
    assert found["severity"] == "error"
    assert all(part in found["message"] for part in ("10,000", "83,306", "12.0 %"))
    assert {"CUR001", "SCH003"} <= set(found["explains"])


def test_the_warm_up_of_v5_is_told_with_both_shares(v5: dict[str, Any]) -> None:
    assert all(part in v5["SCH003"]["message"] for part in ("20.0 %", "2.4 %"))


def test_v5_says_320_in_the_script_and_builds_256(v5: dict[str, Any]) -> None:
    found = v5["CFG001"]
    assert found["severity"] == "error"
    assert (found["at"]["path"], found["at"]["line"]) == ("run_v5_transformer.sh", 13)
    places = {e["value"]: e["at"] for e in found["evidence"]}
    assert places[320]["line"] == 13
    assert places[256]["path"] == "llm_transformer_v5.py"
    source = (ROOT / V5 / "llm_transformer_v5.py").read_text(encoding="utf-8").splitlines()
    assert "default=256" in source[places[256]["line"] - 1]
    assert found["fix"]["safety"] == "safe"
    assert "CFG002" in found["explains"]


def test_v5_sees_each_token_160_times(v5: dict[str, Any]) -> None:
    assert "160 times" in v5["CFG008"]["message"]


def test_v5_has_1225_million_parameters_tied_and_1379_untied(v5: dict[str, Any]) -> None:
    assert "12.25 M parameters tied, 13.79 M untied" in v5["BUD001"]["message"]


def test_the_batch_of_v5_counts_sequences(v5: dict[str, Any]) -> None:
    message = v5["CFG003"]["message"]
    assert v5["CFG003"]["severity"] == "info"
    assert "counts sequences" in message
    assert "41,653 steps × 192 sequences × 2 tokens make 16.0 M tokens" in message


def test_v5_lacks_safeguards_and_its_samples_are_broken(v5: dict[str, Any]) -> None:
    assert "CFG010" in v5
    assert {"SMP001", "SMP002"} & set(v5)
    assert "CFG001" in v5["SMP002"]["explained_by"]


@pytest.mark.usefixtures("at_root")
def test_no_wrong_claim_of_the_field_notes_is_repeated(plugins: Plugins) -> None:
    text = plugins.reporters["text"].render(checked(V5, plugins), Style())
    words = " ".join(text.split())
    assert "15 M" not in words
    assert not re.search(r"worse than (random|chance)|0\.6 sequences|12 ?M tokens|0\.8 tokens|64x|64 times", words)


@pytest.mark.usefixtures("at_root")
def test_the_baseline_has_no_error(plugins: Plugins) -> None:
    report = checked(V4, plugins)
    assert report.runs
    assert not [f for f in report.findings if f.level == "error"]
    assert report.exit_code() == 0


@pytest.mark.usefixtures("at_root")
def test_both_versions_are_found_below_their_folder(plugins: Plugins) -> None:
    assert [run.path for run in checked(V4.parent, plugins).single] == [str(V4), str(V5)]


WRONG = re.compile(
    r"predicting zeros? (has|gives)|33/67|loss of the constant predictor +0\.0035|w·exp|~220 ?M tokens (are|is) right"
)


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("path", EXAMPLES[2:], ids=lambda p: p.name)
def test_no_wrong_claim_of_the_other_notes_is_repeated(path: Path, plugins: Plugins) -> None:
    said = " ".join(plugins.reporters["text"].render(checked(path, plugins), Style(verbose=True)).split())
    assert not WRONG.search(said)


@pytest.mark.usefixtures("at_root")
def test_the_constant_predictor_of_the_recommender_has_00067_and_popularity_less(plugins: Plugins) -> None:
    report = checked(Path("examples/recommender"), plugins)
    message = next(f.message for f in report.findings if f.code == "LOS002")
    assert "0.0067" in message
    assert "popularity" in message


@pytest.mark.usefixtures("at_root")
def test_every_row_of_the_token_table_is_off_and_told_with_the_right_figure(plugins: Plugins) -> None:
    found = [f for f in checked(Path("examples/rwkv"), plugins).findings if f.code == "BUD003"]
    assert [f.at.line for f in found if f.at] == [7, 8, 9, 10]
    counts = [{e.label: e.value for e in f.evidence}["tokens by the bytes"] for f in found]
    assert counts == pytest.approx([277_500_000, 44_300_000, 535_000_000, 19_500_000])


def test_the_readme_shows_what_the_demo_prints() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```text\n(.*?)```", readme, re.DOTALL)
    assert shown
    expected = (ROOT / "examples" / "expected" / f"{V5.name}.txt").read_text(encoding="utf-8")
    for part in shown[1].split("…\n"):
        assert without_tally(part).strip() in without_tally(expected)


def without_tally(text: str) -> str:
    """Without how many rules had nothing to say, which every new rule changes."""
    return re.sub(r"\d+ rules? clean, \d+ skipped", "", text)
