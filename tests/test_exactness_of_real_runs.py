"""What is read of labelled real runs, where they are at hand, against other readings of the same files."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mldiag.artifacts import Series
from mldiag.audit import Request, read_runs
from mldiag.facts.curves import launches, prepared
from mldiag.facts.plan import Plan
from mldiag.overview import described
from mldiag.plugins import Plugins, load
from mldiag.run import Run

RUNS = Path(__file__).parents[2] / "shared" / "corpus" / "runs"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RUNS.is_dir(), reason="the labelled runs are not part of the repository"),
]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def run_of(name: str, plugins: Plugins) -> Run:
    (run,) = read_runs(Request((RUNS / name,)), plugins, [])
    return run


# Structured files: every series against Python's own parsers, column by column.


def as_number(cell: object) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str) or cell == "":
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def columns(rows: Iterator[dict[str, object]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        for key, cell in row.items():
            if key is not None and (number := as_number(cell)) is not None:
                found.setdefault(key.strip(), []).append(number)
    return found


def of_json_lines(path: Path) -> Iterator[dict[str, object]]:
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        row = json.loads(line)
        if isinstance(row, dict):
            yield row


def of_table(path: Path) -> Iterator[dict[str, object]]:
    text = path.read_text(encoding="utf-8-sig")
    header = text.split("\n", 1)[0]
    yield from csv.DictReader(text.splitlines(), delimiter=max(",\t;", key=header.count), skipinitialspace=True)


def of_trainer_state(path: Path) -> Iterator[dict[str, object]]:
    yield from json.loads(path.read_text(encoding="utf-8"))["log_history"]


def of_mlflow(path: Path) -> Iterator[dict[str, object]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield {path.name: line.split()[1]}


PARSERS = {"jsonl": of_json_lines, "csv_table": of_table, "trainer_state": of_trainer_state, "mlflow_run": of_mlflow}

TOLD_APART = {
    ("None.log.json", "lr"): "the learning rates beside validation values are the same ones again",
    ("run-2020-08-26-13-27-32-348992.csv", "Progress"): "percentages, read as fractions",
}
"""Columns that are read otherwise, with the reason."""


def test_every_column_of_a_structured_log_is_read_to_the_last_digit(plugins: Plugins) -> None:
    compared: Counter[str] = Counter()
    wrong = []
    for folder in sorted(RUNS.iterdir()):
        for run in read_runs(Request((folder,)), plugins, []):
            parsed: dict[str, dict[str, list[float]]] = {}
            for series in (*run.metrics, *run.passed_over):
                path, reader = series.source.path, run.files[series.source.path]
                if reader not in PARSERS or (Path(path).name, series.raw_name) in TOLD_APART:
                    continue
                if path not in parsed:
                    parsed[path] = columns(PARSERS[reader](run.root / path))
                expected = parsed[path].get(series.raw_name)
                if expected is None:
                    continue  # a name with the split that a row of its own says
                compared[reader] += 1
                numbers = [v for v in series.data if not math.isnan(v)]
                if numbers != [v for v in expected if not math.isnan(v)]:
                    wrong.append((folder.name, path, series.raw_name))
    assert not wrong
    assert min(compared[name] for name in PARSERS) > 10, compared
    assert compared.total() > 500


# Text: every value and its line against one regular expression written for that file.

TEXTS = [
    pytest.param(
        "text-davidsongtao-medical-qa-system-gpt2-01", "train/loss", "gb18030", "当前损失值：([0-9.]+)", id="GB18030"
    ),
    pytest.param("text-haowenguan-nyu-semi-supervise-obj-01", "train/loss", "utf-8", r"total_loss: (\S+)", id="ANSI"),
    pytest.param("text-haowenguan-nyu-semi-supervise-obj-01", "lr", "utf-8", r"  lr: ([0-9.e-]+)", id="small rates"),
    pytest.param(
        "nnunet-mizgithub-nnunettrainerv2bratsre-02", "train/loss", "utf-8", r"train loss : (-?[0-9.]+)", id="negative"
    ),
    pytest.param(
        "nnunet-mizgithub-nnunettrainerv2bratsre-02", "val/loss", "utf-8", r"validation loss: (-?[0-9.]+)",
        id="negative, validation",
    ),
    pytest.param(
        "text-kehanlu-mandarin-wav2vec2-01", "val/loss", "utf-8", r'"valid_loss": "([0-9.]+)"',
        id="JSON in lines, numbers as strings",
    ),
    pytest.param(
        "text-kehanlu-mandarin-wav2vec2-01", "lr", "utf-8", r'train_inner.*"lr": "([0-9.e-]+)"', id="strings like 3e-06"
    ),
    pytest.param("text-2014vee-ssd-pytorch-02", "train/loss", "utf-8", r"\|\| Loss: ([0-9.]+)", id="glued to warnings"),
    pytest.param("text-cuberrchen-csra-paddle-01", "lr", "utf-8", r"lr:([0-9.]+)", id="rounded learning rates"),
    pytest.param("text-ceciliaguo331-nano-gpt-03", "val/loss", "utf-8", r"(?<!final )val_loss ([0-9.]+)", id="again"),
    pytest.param(
        "text-byebyechen-st-gcn-master-improved-01", "train/loss", "utf-8",
        r"Training epoch: \d+\n(?:(?!epoch)[^\n]*\n)*?[^\n]*mean_loss: (\S+)", id="NaN in many launches",
    ),
    pytest.param("text-pytorch-torchtitan-08", "train/loss", "utf-8", r"loss:\s+(?:\x1b\[\d+m)?([0-9.]+)", id="colour"),
    pytest.param("text-windere-asgl-snn-01", "test/accuracy", "utf-8", r"test acc ([0-9.]+)", id="a value per epoch"),
    pytest.param(
        "text-dreamer121121-googlenet-01", "val/accuracy", "utf-8", r"val accuracy[ :=]*([0-9.]+)", id="validation"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "series", "codec", "pattern"), TEXTS)
def test_every_value_of_a_text_log_is_read(name: str, series: str, codec: str, pattern: str, plugins: Plugins) -> None:
    run = run_of(name, plugins)
    found = run.metrics.require(series)
    text = (run.root / found.source.path).read_bytes().decode(codec).replace("\r\n", "\n")
    expected = [float(v) for v in re.findall(pattern, text)]
    assert len(expected) > 5
    assert [str(v) for v in found.data] == [str(v) for v in expected]


@pytest.mark.parametrize(
    "name", ["text-haowenguan-nyu-semi-supervise-obj-01", "text-ceciliaguo331-nano-gpt-01", "wandb-49-22-ann-01"]
)
def test_each_value_stands_on_the_line_that_is_told(name: str, plugins: Plugins) -> None:
    run = run_of(name, plugins)
    for series in run.metrics:
        if series.lines is None:
            continue
        lines = (run.root / series.source.path).read_text(encoding="utf-8").split("\n")
        for index in range(0, len(series), max(1, len(series) // 20)):
            line = lines[series.lines[index] - 1]
            value = series.data[index]
            written = {float(n) for n in re.findall(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?", line)}
            # Percentages may be read as fractions, `2443/10042=0.2433` as what it says exactly, `11810M` as bytes.
            same = any(math.isclose(value, w * k, rel_tol=3e-4, abs_tol=1e-12) for w in written for k in (1, 0.01, 1e6))
            assert same, (series.raw_name, value, line[:200])


# Facts that were looked up in the files by hand.


def series_of(run: Run, name: str) -> Series:
    return run.metrics.require(name)


def test_launches_of_one_log_are_those_where_the_iteration_falls(plugins: Plugins) -> None:
    run = run_of("detectron2-giammabigfishe-panopticsegmantation-m-01", plugins)
    rows = [r for p in run.root.rglob("metrics.json") for r in of_json_lines(p) if "total_loss" in r]
    fallen = sum(as_number(b["iteration"]) < as_number(a["iteration"]) for a, b in itertools.pairwise(rows))
    assert len(launches(series_of(run, "train/loss"))) == fallen + 1 == 2
    assert described(run)["summary"]["launches"] == 2


def test_a_resumed_run_of_three_launches_is_judged_by_its_last(plugins: Plugins) -> None:
    found = series_of(run_of("text-parthagrawal02-ecg-mae-01", plugins), "train/loss")
    assert len(launches(found)) == 3
    assert len(prepared(found)) == 2


def test_utf_16_of_a_windows_shell_is_read(plugins: Plugins) -> None:
    run = run_of("text-aap16403-transition-state-03", plugins)
    assert series_of(run, "train/loss").data.tolist() == [0.6984]
    assert series_of(run, "val/loss").data.tolist() == [0.1671]
    assert series_of(run, "lr").data.tolist() == [3e-06]


def test_an_endless_number_of_epochs_is_no_plan_and_pointers_are_told(plugins: Plugins) -> None:
    run = run_of("hftrainer-coralreeffish-whisper-tiny-nbailab-01", plugins)
    plan = run.get(Plan)
    assert plan.epochs is None
    assert plan.total_steps.value == 100_000
    assert sum("Git LFS pointer" in u.reason for u in run.unread) == 11


def test_a_validation_of_openmmlab_lies_at_the_iteration_before_it(plugins: Plugins) -> None:
    found = series_of(run_of("mm-quynhanh12345-potato-segmentation-01", plugins), "val/miou")
    assert found.step_data is not None
    assert found.step_data.tolist() == [*range(200, 40_001, 200)]


def test_evaluations_alone_lie_at_the_rows_of_wandb_where_the_trainer_does_not_step(plugins: Plugins) -> None:
    found = series_of(run_of("wandb-7zk1014-fedner-05", plugins), "test/loss")
    assert found.step_data is not None
    assert found.step_data.tolist() == [0, 1, 2, 3]


def test_an_undefined_average_precision_is_kept_and_no_fault(plugins: Plugins) -> None:
    run = run_of("detectron2-ghailen-ben-ac-detectron2-detection-01", plugins)
    small = next(s for s in run.metrics if s.raw_name == "bbox/APs")
    assert all(map(math.isnan, small.data))


def test_copies_of_catboosts_curve_are_one_series_with_all_places(plugins: Plugins) -> None:
    run = run_of("catboost-1644heihei-kaggle-predict-custome-01", plugins)
    loss = series_of(run, "train/loss")
    places = {loss.source.path, *(p.path for p in loss.also)}
    assert places == {"catboost_training.json", "learn/events.out.tfevents", "learn_error.tsv"}
    assert len(loss) == 500


def test_what_flair_rounded_in_its_table_is_exact_from_its_log(plugins: Plugins) -> None:
    run = run_of("text-ner-ml-models-flair-ner-english-larg-01", plugins)
    lr = series_of(run, "lr")
    assert max(lr.data) == pytest.approx(5e-6)
    assert "loss.tsv" in {p.path for p in (lr.source, *lr.also)}


def test_percent_and_fraction_are_told_apart(plugins: Plugins) -> None:
    told = {s["name"]: s["unit"] for s in described(run_of("text-17314796423-ws-dan-sac-01", plugins))["series"]}
    assert told["test/accuracy"] == "percent"
    told = {s["name"]: s["unit"] for s in described(run_of("rlprogress-amanpriyanshu-xa1-cnn-01", plugins))["series"]}
    assert told["test/accuracy"] == "fraction"
