"""Runs that other log checkers were seen to misread: each fault gets its right name, and nothing untrue is said."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mldiag.errors import MldiagError
from mldiag.findings import Finding, Severity
from mldiag.plugins import load
from mldiag.report import RunReport
from mldiag.testing import judge, write_files

PLUGINS = load()
ABOUT_CURVES = [rule for rule in PLUGINS.rules.values() if rule.code[:3] in ("CUR", "SCH")]


def report(tmp_path: Path, files: Mapping[str, str]) -> RunReport:
    write_files(tmp_path, files)
    found = judge(tmp_path, list(PLUGINS.rules.values()), PLUGINS)
    assert not found.failed
    return found


def alarms(found: RunReport) -> dict[str, Finding]:
    """Errors and warnings by code; one rule says one thing about such a run."""
    told = [f for f in found.findings if f.level is not Severity.INFO and f.code[:3] in ("CUR", "SCH")]
    assert len({f.code for f in told}) == len(told)
    return {f.code: f for f in told}


def decay(n: int, start: float = 4.5, floor: float = 1.5) -> list[float]:
    return [floor + (start - floor) * math.exp(-6 * i / n) for i in range(n)]


def noisy(seed: int, values: Sequence[float], sigma: float = 0.02) -> list[float]:
    rng = random.Random(seed)
    return [v * (1 + sigma * rng.gauss(0, 1)) for v in values]


def jsonl(**columns: Sequence[object]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "".join(
        json.dumps({"step": 10 * (i + 1), **dict(zip(columns, row, strict=True))}) + "\n" for i, row in enumerate(rows)
    )


def csv(**columns: Sequence[float]) -> str:
    lines = [",".join(("step", *columns))]
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        lines.append(",".join((str(10 * (i + 1)), *(f"{v:.5g}" for v in row))))
    return "\n".join(lines) + "\n"


# A gap that never grows, a gap of two epochs.


@pytest.mark.parametrize("seed", range(10))
def test_a_constant_gap_is_a_gap(seed: int, tmp_path: Path) -> None:
    train = decay(200)
    log = csv(train_loss=noisy(seed, train), val_loss=noisy(seed + 100, [1.45 * v for v in train], 0.01))
    found = alarms(report(tmp_path, {"log.csv": log}))
    assert set(found) == {"CUR001"}
    assert found["CUR001"].level is Severity.WARNING


def test_two_epochs_of_keras_are_enough(tmp_path: Path) -> None:
    history = {"loss": [3.36, 2.93], "val_loss": [4.24, 4.2], "accuracy": [0.354, 0.41], "val_accuracy": [0.294, 0.302]}
    found = alarms(report(tmp_path, {"history.json": json.dumps(history)}))
    assert set(found) == {"CUR001"}
    assert "4.2 against 2.93" in found["CUR001"].message


# NaN: one cause, said once.


def nan_log(kind: str) -> dict[str, str]:
    loss: list[float | str | None] = [*noisy(1, decay(300))]
    lr = [3e-4 * min(1.0, (i + 1) / 100) for i in range(400)]
    if kind == "csv":
        return {"log.csv": csv(loss=[*noisy(1, decay(300)), *[math.nan] * 100], lr=lr)}
    broken: float | str | None = {"null": None, "text": "NaN", "bare": math.nan}[kind]
    return {"log.jsonl": jsonl(loss=[*loss, *[broken] * 100], lr=lr)}


@pytest.mark.parametrize("kind", ["csv", "null", "text", "bare"])
def test_nan_from_the_middle_on_is_one_finding_and_nothing_that_contradicts_it(kind: str, tmp_path: Path) -> None:
    found = report(tmp_path, nan_log(kind))
    told = alarms(found)
    # The loss fell from 4.5 to 1.5 before, and the rate had been flat for two hundred steps.
    assert set(told) - {"CUR011"} == {"CUR005"}
    assert "100 of 400 points" in told["CUR005"].message
    assert "step 3,010" in told["CUR005"].message


def test_nulls_from_step_151_on_are_not_clean(tmp_path: Path) -> None:
    loss = [*noisy(2, decay(150)), *[None] * 50]
    rows = "".join(json.dumps({"step": i + 1, "loss": v}) + "\n" for i, v in enumerate(loss))
    told = alarms(report(tmp_path, {"log.jsonl": rows}))
    assert "null at 50 of 200 points, first at step 151" in told["CUR005"].message


# Healthy runs.


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_run_has_no_finding(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    n, level = rng.choice([60, 200, 500]), decay(500, rng.uniform(2, 10), rng.uniform(0.5, 2))
    train, kept = level[:: 500 // n][:n], rng.choice([1.0, 1.02, 1.1])
    lr = [3e-4 * min(1.0, 20 * (i + 1) / n) * (1 + math.cos(math.pi * i / n)) / 2 for i in range(n)]
    sigma = rng.choice([0.01, 0.05, 0.15])
    log = csv(train_loss=noisy(seed, train, sigma), val_loss=noisy(seed + 1000, [kept * v for v in train], 0.01), lr=lr)
    assert alarms(report(tmp_path, {"log.csv": log})) == {}


def test_a_constant_rate_is_no_finding(tmp_path: Path) -> None:
    train = decay(200)
    log = csv(train_loss=noisy(5, train), val_loss=noisy(6, train, 0.01), lr=[3e-4] * 200)
    assert alarms(report(tmp_path, {"log.csv": log})) == {}


@pytest.mark.parametrize("last", [1.6, 2.5, 6.0])
def test_one_heavy_value_at_the_end_is_no_divergence(last: float, tmp_path: Path) -> None:
    train = noisy(3, decay(200))
    val = noisy(4, decay(200), 0.01)
    log = csv(train_loss=[*train[:-1], last * train[-1]], val_loss=val)
    assert alarms(report(tmp_path, {"log.csv": log})) == {}


@pytest.mark.parametrize("seed", range(10))
def test_heavy_tails_are_no_spikes(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    # Student's t with three degrees of freedom, 4 % wide: one value in a thousand lies ten widths out.
    tails = [rng.gauss(0, 1) / math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3) for _ in range(400)]
    train = [v * max(0.5, 1 + 0.04 * t) for v, t in zip(decay(400), tails, strict=True)]
    log = csv(train_loss=train, val_loss=noisy(seed, decay(400), 0.01))
    assert alarms(report(tmp_path, {"log.csv": log})) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_divergence_is_not_called_overfitting(seed: int, tmp_path: Path) -> None:
    level = [v + 2.5 * max(0.0, i / 200 - 0.6) for i, v in enumerate(decay(200))]
    log = csv(train_loss=noisy(seed, level), val_loss=noisy(seed + 50, level, 0.01))
    found = alarms(report(tmp_path, {"log.csv": log}))
    assert "CUR004" in found
    assert not {"CUR001", "CUR002", "CUR003", "CUR007"} & set(found)


# Awkward files: read, or refused in plain words.


def test_the_same_curve_is_found_whatever_the_file_looks_like(tmp_path: Path) -> None:
    train = [round(v, 4) for v in noisy(7, decay(60))]
    val = [round(1.6 * v, 4) for v in train]
    columns = {"train_loss": train, "val_loss": val}
    text = "".join(
        f"step {i + 1}/60 | loss: {a} | val_loss: {b}\n" for i, (a, b) in enumerate(zip(train, val, strict=True))
    )
    files = {
        "semicolons": {"log.csv": csv(**columns).replace(",", ";")},
        "names": {"log.csv": csv(**columns).replace("step,train_loss,val_loss", "iter,Loss_Train,Loss_Val")},
        "slashes": {"log.jsonl": jsonl(**{"train/loss": train, "eval/loss": val})},
        "text": {"train.log": text},
        "keras": {"history.json": json.dumps({"loss": train, "val_loss": val})},
        "bom": {"log.csv": "\ufeff" + csv(**columns).replace("\n", "\r\n")},
        "cut": {"log.jsonl": jsonl(**columns)[:-20]},
    }
    for name, written in files.items():
        folder = tmp_path / name
        folder.mkdir()
        assert set(alarms(report(folder, written))) == {"CUR001"}, name


def test_steps_that_were_done_twice_are_judged_once(tmp_path: Path) -> None:
    loss, steps = noisy(8, decay(200)), [*range(1, 121), *range(100, 201)]
    rows = "".join(f"{s},{loss[s - 1]:.4f},{1.02 * loss[s - 1]:.4f}\n" for s in steps)
    assert alarms(report(tmp_path, {"log.csv": "step,train_loss,val_loss\n" + rows})) == {}


def test_a_number_with_a_comma_breaks_no_other_and_makes_no_spike(tmp_path: Path) -> None:
    loss = noisy(9, decay(200))
    lines = [f"{i + 1},{v:.4f},{1.02 * v:.4f}" for i, v in enumerate(loss)]
    lines[49] = "50,1,234.5,4.1"
    found = report(tmp_path, {"log.csv": "step,train_loss,val_loss\n" + "\n".join(lines) + "\n"})
    assert not {"CUR004", "CUR005", "CUR006"} & set(alarms(found))


def test_an_empty_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MldiagError, match="the folder is empty; expected a run"):
        report(tmp_path, {})


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "train.log"])
def test_an_empty_file_is_not_clean(name: str, tmp_path: Path) -> None:
    found = report(tmp_path, {name: ""})
    assert not found.findings
    assert not {rule.code for rule in ABOUT_CURVES} & set(found.clean)


def test_a_loss_per_example_is_no_curve(tmp_path: Path) -> None:
    rows = "".join(f"doc{i:04},17.43,{i % 2}\n" for i in range(169))
    found = report(tmp_path, {"per_example.csv": "id,loss,label\n" + rows})
    assert not [f for f in found.findings if f.code[:3] in ("CUR", "SCH", "RUN")]


# Whole projects.


def test_a_plan_of_an_eighth_of_its_epochs_is_named_with_both_shares_of_the_warm_up(tmp_path: Path) -> None:
    script = (
        "python train.py --epochs 2 --steps_per_epoch 41653 --total_steps 10000 --warmup_steps 2000 --seq_len 320\n"
    )
    program = (
        "import argparse\n\nparser = argparse.ArgumentParser()\n"
        + "".join(f'parser.add_argument("--{n}", type=int, default={v})\n' for n, v in (
            ("epochs", 1), ("steps_per_epoch", 100), ("total_steps", 0), ("warmup_steps", 0), ("seq_len", 256)))
        + "args = parser.parse_args()\n"
    )  # fmt: skip
    history = json.dumps({"loss": [3.36, 2.93], "val_loss": [4.24, 4.2]})
    found = alarms(report(tmp_path, {"run.sh": script, "train.py": program, "history.json": history}))
    assert "12.0 %" in found["SCH001"].message
    assert "20.0 %" in found["SCH003"].message
    assert "2.4 %" in found["SCH003"].message
    assert "CUR001" in (found["SCH001"].explains or ())
    assert not {"CUR002", "CUR003", "CUR004", "SCH002"} & set(found)


def test_a_validation_loss_of_one_part_alone_is_neither_leakage_nor_a_dead_run(tmp_path: Path) -> None:
    ce, bce = noisy(10, decay(100, 9, 6.2)), noisy(11, decay(100, 0.02, 0.0035), 0.01)
    log = jsonl(loss=[a + b for a, b in zip(ce, bce, strict=True)], ce_loss=ce, bce_loss=bce, eval_loss=bce)
    found = alarms(report(tmp_path, {"log.jsonl": log}))
    assert not {"CUR001", "CUR003", "CUR004", "CUR009", "CUR010"} & set(found)
