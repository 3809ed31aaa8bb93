"""Kinds of training, written as logs and audited whole: the healthy raise no alarm, the plainly faulty are named.

A kind gives the train and the validation level at a share of the run, from 0 to 1.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct

from mldiag.audit import Request, audit
from mldiag.findings import Finding, Severity
from mldiag.plugins import Plugins, load

Level = Callable[[float], float]
SEEDS = range(6)


class Kind(Struct, frozen=True):
    """Levels, and the noise of a train and of a validation value as a share of its level."""

    train: Level
    val: Level
    noise: float = 0.02
    val_noise: float = 0.01
    epochs: int = 40
    per_epoch: int = 1


def decay(start: float, floor: float, rate: float) -> Level:
    return lambda x: floor + (start - floor) * math.exp(-rate * x)


def scaled(level: Level, factor: float) -> Level:
    return lambda x: factor * level(x)


def after(turn: float, before: Level, then: Level) -> Level:
    return lambda x: before(x) if x <= turn else then(x)


def power_law(x: float) -> float:
    return 2.0 + (math.log(50_257) - 2) * (1 + 100 * x) ** -0.4


def stepped_rate(x: float) -> float:
    part = min(int(3 * x), 2)
    before, floor = ((4.6, 1.6), (1.6, 0.75), (0.75, 0.5))[part]
    return floor + (before - floor) * math.exp(-8 * (3 * x - part))


def restarted(x: float) -> float:
    return 0.3 + 1.8 * math.exp(-4 * x) + (0.35 * (1 - (4 * x) % 1) if 0.25 < x < 1 else 0)


def harder_and_harder(x: float) -> float:
    part = min(int(4 * x), 3)
    return (1.2 + 0.15 * part) * (0.45 + 0.55 * math.exp(-5 * (4 * x - part)))


HEALTHY = {
    "language model from ln V": Kind(power_law, scaled(power_law, 1.02), 0.01, 0.003, 20, 20),
    "one epoch of tuning a language model": Kind(decay(2.0, 1.75, 15), decay(2.0, 1.76, 15), 0.06, 0.002, 5, 60),
    "three epochs of tuning": Kind(decay(1.1, 0.45, 3), decay(0.9, 0.52, 4), 0.08, 0.005, 3, 40),
    "two evaluations": Kind(decay(1.5, 0.9, 2), decay(1.4, 0.95, 2), 0, 0, 2),
    "contrastive": Kind(decay(8.3, 4.0, 4), decay(8.3, 4.2, 4)),
    "preference tuning from ln 2": Kind(decay(0.693, 0.45, 3), decay(0.693, 0.5, 3), 0.05, 0.01, 8, 20),
    "negative likelihood of a flow": Kind(decay(1400, -600, 6), lambda x: 25 + decay(1400, -600, 6)(x)),
    "regression on raw targets": Kind(decay(1e10, 1e9, 6), decay(1e10, 1.15e9, 6), 0.02, 0.04),
    "losses of a millionth": Kind(decay(1e-4, 1e-6, 10), decay(1e-4, 1.2e-6, 10), 0.15, 0.15),
    "negative Dice": Kind(lambda x: -0.9 * (1 - math.exp(-8 * x)), lambda x: -0.84 * (1 - math.exp(-8 * x))),
    "batches of four": Kind(decay(2.3, 0.8, 5), decay(2.3, 0.85, 5), 0.35, 0.01, 8, 100),
    "dropped learning rates": Kind(stepped_rate, scaled(stepped_rate, 1.1), 0.01, 0.03, 90),
    "cosine restarts": Kind(restarted, scaled(restarted, 1.1), 0.02, 0.03, 80),
    "curriculum": Kind(harder_and_harder, decay(2.2, 1.0, 3), 0.05, 0.01, 12, 50),
    "label smoothing": Kind(decay(6.9, 2.1, 6), decay(6.9, 2.0, 6), 0.005, 0.01, 90),
    "distillation": Kind(decay(8.0, 6.0, 5), decay(8.0, 6.15, 5), 0.005, 0.006, 50),
    "validation harder throughout": Kind(decay(2.8, 0.8, 5), scaled(decay(2.8, 0.8, 5), 1.1)),
    "dropout in training only": Kind(scaled(decay(2.4, 0.6, 5), 1.5), decay(2.4, 0.6, 5)),
    "validation by averaged weights": Kind(decay(2.3, 0.5, 6), lambda x: 0.45 + 1.9 * math.exp(-((x / 0.15) ** 2))),
    "noisy validation": Kind(decay(0.7, 0.3, 4), decay(0.75, 0.33, 4), 0.02, 0.12, 30),
}

_LEARNT = decay(2.3, 0.5, 6)
_RISING = after(0.4, _LEARNT, lambda x: _LEARNT(0.4) * (1 + 0.5 * (x - 0.4)))
_BACK_UP = after(0.66, decay(10.8, 2.0, 12), lambda _: 2.6)

FAULTY = {
    "overfits by 30 %": ("CUR002", Kind(scaled(decay(2.3, 0.1, 6), 0.95), _RISING)),
    "memorises while validation stands still": ("CUR001", Kind(decay(2.3, 0.2, 3), decay(2.3, 1.2, 12))),
    "shuffled labels": ("CUR002", Kind(lambda x: 2.31 * (1 - 0.9 * x * x), lambda x: 2.31 * (1 + 1.5 * x * x))),
    "2.0 becomes 2.6 for the last third": ("CUR004", Kind(_BACK_UP, _BACK_UP, 0.02, 0.01, 20, 10)),
    "jumps to ln 10 late": ("CUR004", Kind(after(0.9, _LEARNT, lambda _: 2.31), _LEARNT, 0.05, 0.01, 10, 20)),
    "explodes from the start": ("CUR004", Kind(lambda x: 2.3 * 30**x, lambda x: 2.3 * 30**x, 0.05, 0.05, 30)),
    "does not move": ("CUR003", Kind(lambda _: 2.3026, lambda _: 2.3026, 1e-4, 1e-5, 5)),
    "NaN at the end": ("CUR005", Kind(after(0.97, _LEARNT, lambda _: math.nan), _LEARNT, epochs=50)),
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def findings(kind: Kind, seed: int, folder: Path, plugins: Plugins) -> list[Finding]:
    rng, lines = random.Random(seed), []
    count = kind.epochs * kind.per_epoch

    def noisy(level: float, noise: float) -> float:
        return level + noise * abs(level) * max(-2.5, min(rng.gauss(0, 1), 2.5))

    for step in range(1, count + 1):
        row = {"step": step, "train_loss": noisy(kind.train(step / count), kind.noise)}
        if step % kind.per_epoch == 0:
            row["val_loss"] = noisy(kind.val(step / count), kind.val_noise)
        lines.append(json.dumps(row))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = audit(Request((folder,)), plugins)
    assert not [f.error for run in report.runs for f in run.failed]
    return list(report.findings)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_kind_raises_no_alarm(name: str, tmp_path: Path, plugins: Plugins) -> None:
    found = [f for seed in SEEDS for f in findings(HEALTHY[name], seed, tmp_path, plugins)]
    assert [f.message for f in found if f.level is not Severity.INFO] == []


@pytest.mark.parametrize("name", FAULTY)
def test_a_plain_fault_is_named(name: str, tmp_path: Path, plugins: Plugins) -> None:
    code, kind = FAULTY[name]
    for seed in SEEDS:
        assert code in {f.code for f in findings(kind, seed, tmp_path, plugins)}
