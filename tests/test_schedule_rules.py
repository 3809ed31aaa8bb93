"""Simulated runs with learning rates: silent where the schedule is right, found where it is not, at the stated size."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mldiag.artifacts import Metrics, Role, Scalar, Series, Settings, SettingValue, Source, floats
from mldiag.engine import apply_rules
from mldiag.findings import Finding, Severity
from mldiag.plugins import Plugins, load
from mldiag.run import Run

RULES = ("SCH004", "SCH005", "SCH006", "SCH007")
KINDS: dict[str, Callable[[float], float]] = {
    "cosine": lambda u: 0.5 * (1 + math.cos(math.pi * u)),
    "linear": lambda u: 1 - u,
    "polynomial": lambda u: (1 - u) ** 0.9,
    "constant_with_warmup": lambda u: 1.0,
    "exponential": lambda u: math.exp(-4 * u),
    "step": lambda u: 0.1 ** ((u > 0.6) + (u > 0.85)),
    "inverse_sqrt": lambda u: math.sqrt(0.1 / (0.1 + u)),
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


class Plan:
    """A run with a schedule, drawn at random: kind, length, warm-up, peak, floor, rounding, logging interval."""

    def __init__(self, rng: random.Random, kind: str = "") -> None:
        self.rng = rng
        self.kind = kind or rng.choice(list(KINDS))
        self.per_epoch, self.epochs = rng.choice([7, 20, 55, 300]), rng.randint(8, 60)
        self.total = self.per_epoch * self.epochs
        self.warmup = round(self.total * rng.choice([0.0, 0.02, 0.06, 0.1]))
        self.peak = rng.choice([2e-5, 3e-4, 1e-3, 0.02, 0.1])
        self.floor = rng.choice([0.0, 0.0, 0.01, 0.1])
        self.every = max(1, self.total // rng.randint(40, 300))
        self.digits = rng.choice([3, 4, 12])

    def rate(self, tick: float) -> float:
        if tick < self.warmup:
            value = self.peak * (tick + 1) / (self.warmup + 1)
        else:
            u = min((tick - self.warmup) / (self.total - self.warmup), 1.0)
            value = self.peak * (self.floor + (1 - self.floor) * KINDS[self.kind](u))
        return float(f"{value:.{self.digits - 1}e}")

    def steps(self, first: int = 0, last: int = 0) -> list[int]:
        return list(range(first + self.every, (last or self.total) + 1, self.every))

    def loss(self, step: float) -> float:
        return (0.5 + 3 / (1 + 8 * step / self.total)) * (1 + 0.02 * self.rng.gauss(0, 1))

    def stated(self, **more: Scalar) -> dict[str, Scalar]:
        known: dict[str, Scalar] = {
            "lr": self.peak,
            "total_steps": self.total,
            "epochs": self.epochs,
            "lr_schedule": self.kind,
            "warmup_steps": self.warmup or None,
        }
        return {**known, **more}


def found(plugins: Plugins, series: Sequence[Series], **stated: Scalar) -> list[Finding]:
    settings = Settings(tuple(SettingValue(n, v, Role.FILE, Source("c.json", key=n)) for n, v in stated.items()))
    run = Run(Path(), ".", metrics=Metrics(tuple(series)), settings=settings, facts=plugins.facts)
    report = apply_rules(run, [plugins.rules[code] for code in RULES])
    assert not report.failed
    return [f for f in report.findings if f.level is not Severity.INFO]


def logged(name: str, values: Sequence[float], steps: Sequence[float]) -> Series:
    return Series(name, name, floats(values), Source("log.jsonl"), floats(steps))


def both(plan: Plan, steps: Sequence[int], tick: Callable[[int], float] = float) -> tuple[Series, Series]:
    rates = logged("lr", [plan.rate(tick(s)) for s in steps], steps)
    return rates, logged("train/loss", [plan.loss(s) for s in steps], steps)


@pytest.mark.parametrize("seed", range(150))
def test_a_run_that_follows_its_schedule_has_no_finding(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed))
    accumulation = plan.rng.choice([1, 1, 4])
    in_micro_batches = plan.rng.random() < 0.5
    steps = plan.steps()
    axis = [s * accumulation for s in steps] if in_micro_batches else steps
    rates = logged("lr", [plan.rate(s) for s in steps], axis)
    losses = logged("train/loss", [plan.loss(s) for s in steps], axis)
    stated = plan.stated(grad_accum=accumulation)
    for name in plan.rng.sample(list(stated), plan.rng.randint(0, 3)):
        del stated[name]
    assert [f.message for f in found(plugins, (rates, losses), **stated)] == []


@pytest.mark.parametrize("seed", range(60))
def test_a_run_that_was_interrupted_has_no_other_finding(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed))
    steps = plan.steps(last=round(plan.total * plan.rng.uniform(0.3, 0.85)))
    assert [f.message for f in found(plugins, both(plan, steps), **plan.stated(grad_accum=4))] == []


@pytest.mark.parametrize("seed", range(60))
def test_a_resumed_run_with_a_proper_counter_has_no_finding(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed))
    stop = round(plan.total * plan.rng.uniform(0.05, 0.9))
    back = round(stop * plan.rng.uniform(0.6, 1.0))  # the checkpoint lies before the last logged step
    steps = [*plan.steps(last=stop), *plan.steps(first=back)]
    assert [f.message for f in found(plugins, both(plan, steps), **plan.stated())] == []


@pytest.mark.parametrize("seed", range(40))
def test_warm_restarts_have_no_finding(seed: int, plugins: Plugins) -> None:
    rng = random.Random(seed)
    cycles, grow, cycle = rng.randint(1, 5), rng.choice([1, 2]), rng.choice([200, 1000])
    low, warm = rng.choice([0.0, 0.01, 0.05]), rng.choice([0, 10])
    steps, values, start = [], [], 0
    for i in range(cycles + 1):
        length = cycle * grow**i
        for t in range(0, length, 10):
            u = (t - warm) / (length - warm)
            steps.append(start + t)
            values.append(1e-3 * ((t + 1) / warm if t < warm else low + (1 - low) * KINDS["cosine"](u)))
        start += length
    name = rng.choice(["cosine_with_restarts", None])
    rates = logged("lr", values, steps)
    assert [f.message for f in found(plugins, [rates], lr=1e-3, lr_schedule=name, total_steps=start)] == []


@pytest.mark.parametrize("seed", range(40))
def test_a_scheduler_stepped_per_micro_batch_is_found(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed), random.Random(seed).choice(["cosine", "linear", "polynomial"]))
    accumulation = plan.rng.choice([2, 4, 8])
    in_micro_batches, known = plan.rng.random() < 0.5, plan.rng.random() < 0.7
    plan.every = max(1, plan.total // 200)
    steps = plan.steps()
    axis = [s * accumulation for s in steps] if in_micro_batches else steps
    rates = logged("lr", [plan.rate(s * accumulation) for s in steps], axis)
    stated = plan.stated(grad_accum=accumulation)
    if not known:
        stated = {n: stated[n] for n in ("lr", "epochs", "warmup_steps", "grad_accum")}
    findings = found(plugins, [rates], **stated)
    assert [f.code for f in findings] == ["SCH005"]
    assert "once per micro-batch" in findings[0].message


@pytest.mark.parametrize("seed", range(40))
def test_a_scheduler_stepped_per_epoch_is_found(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed), random.Random(seed).choice(["cosine", "linear", "polynomial"]))
    plan.warmup = max(plan.warmup, 2 * plan.epochs)
    plan.total = max(plan.total, 2 * plan.warmup)
    plan.epochs = plan.total // plan.per_epoch
    plan.every = max(1, min(plan.every, plan.per_epoch // 3))
    stated = plan.stated()
    if plan.rng.random() < 0.5:
        del stated["total_steps"]
    findings = found(plugins, both(plan, plan.steps(), lambda s: (s - 1) // plan.per_epoch), **stated)
    assert [f.code for f in findings] == ["SCH005"] or [f.code for f in findings] == ["SCH004"]
    assert "per epoch" in findings[0].message or "warm-up" in findings[0].message


@pytest.mark.parametrize("seed", range(30))
def test_a_scheduler_that_is_never_stepped_is_found(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed), random.Random(seed).choice(["cosine", "linear", "polynomial"]))
    plan.warmup = 0
    findings = found(plugins, both(plan, plan.steps(), lambda s: 0), **plan.stated())
    assert [f.code for f in findings] == ["SCH005"]


@pytest.mark.parametrize("seed", range(30))
def test_a_decay_that_ends_long_before_the_run_leaves_a_dead_rate(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed), random.Random(seed).choice(["cosine", "linear"]))
    plan.floor = 0.0
    speed = plan.rng.uniform(1.2, 3.0)
    steps = plan.steps()
    rates = logged("lr", [plan.rate(s * speed) for s in steps], steps)
    assert "SCH006" in [f.code for f in found(plugins, [rates], lr=plan.peak)]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("counter", ["restarts", "goes on", "goes back to a checkpoint"])
def test_a_schedule_that_begins_again_at_a_resume_is_found(seed: int, counter: str, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed), random.Random(seed).choice(["cosine", "linear", "polynomial"]))
    stop = round(plan.total * plan.rng.uniform(0.5, 0.9))
    first, second = plan.steps(last=stop), plan.steps(last=plan.total - stop)
    if len(second) < 0.2 * len(plan.steps()):
        pytest.skip("the second part is too short to show a schedule")
    begin = {"restarts": 0, "goes on": first[-1]}.get(counter, round(0.95 * first[-1]))
    axis = [*first, *(s + begin for s in second)]
    rates = logged("lr", [plan.rate(s) for s in (*first, *second)], axis)
    losses = [plan.loss(s) for s in first] + [plan.loss(first[-1] + s) for s in second]
    findings = found(plugins, [rates, logged("train/loss", losses, axis)], **plan.stated())
    assert "SCH007" in [f.code for f in findings]


@pytest.mark.parametrize("seed", range(60))
def test_warm_restarts_that_were_resumed_have_no_finding(seed: int, plugins: Plugins) -> None:
    rng = random.Random(seed)
    cycle, low, cycles, every = rng.choice([200, 1000]), rng.choice([0.0, 0.01, 0.05]), rng.randint(1, 4), 10
    last = cycle * cycles + rng.randint(cycle // 4, cycle)
    stop = rng.randint(cycle // 3, last - cycle // 5) // every * every
    back = stop - rng.randint(0, stop // 3) // every * every
    steps = [*range(every, stop + 1, every), *range(back, last + 1, every)]
    rates = logged("lr", [1e-3 * (low + (1 - low) * KINDS["cosine"](s % cycle / cycle)) for s in steps], steps)
    losses = logged("train/loss", [0.5 + 3 / (1 + 8 * s / last) * (1 + 0.02 * rng.gauss(0, 1)) for s in steps], steps)
    stated = {"lr": 1e-3, "total_steps": last, "lr_schedule": rng.choice(["cosine_with_restarts", None])}
    assert [f.message for f in found(plugins, (rates, losses), **stated)] == []


@pytest.mark.parametrize("seed", range(40))
def test_a_scheduler_stepped_once_in_each_of_a_few_epochs_is_found(seed: int, plugins: Plugins) -> None:
    rng = random.Random(seed)
    epochs, each, peak = rng.randint(3, 7), rng.choice([60, 200, 391]), rng.choice([2e-5, 3e-4, 0.1])
    total = epochs * each
    warmup = max(round(total * rng.choice([0.03, 0.06, 0.1])), 8 * epochs)
    steps, late = range(10, total + 1, 10), rng.choice([0, 1])
    rates = logged("lr", [peak * ((s - late) // each + 1) / warmup for s in steps], steps)
    stated = {"lr": peak, "epochs": epochs, "total_steps": total, "warmup_steps": warmup, "lr_schedule": "cosine"}
    assert [f.level for f in found(plugins, [rates], **stated)] == [Severity.ERROR]


@pytest.mark.parametrize("seed", range(40))
def test_fresh_starts_in_one_log_have_no_finding(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed))
    steps = plan.steps()
    series = both(plan, [*steps, *steps])
    assert [f.message for f in found(plugins, series, **plan.stated())] == []


@pytest.mark.parametrize("seed", range(30))
def test_weights_that_were_not_loaded_are_found(seed: int, plugins: Plugins) -> None:
    plan = Plan(random.Random(seed), "cosine")
    first = plan.steps(last=round(plan.total * 0.6))
    second = [s for s in plan.steps() if s > 0.5 * plan.total]
    losses = [plan.loss(s) for s in first] + [plan.loss(s - second[0]) for s in second]
    axis = [*first, *second]
    rates = logged("lr", [plan.rate(s) for s in axis], axis)
    findings = found(plugins, [rates, logged("train/loss", losses, axis)], **plan.stated())
    assert [f.code for f in findings] == ["SCH007"]
    assert "was lost" in findings[0].message


def test_a_warmup_that_never_ends_is_found(plugins: Plugins) -> None:
    steps = range(10, 1010, 10)
    rates = logged("lr", [1e-3 * s / 5000 for s in steps], steps)
    assert [f.level for f in found(plugins, [rates], total_steps=1000, warmup_steps=5000)] == [Severity.ERROR]
    assert [f.level for f in found(plugins, [rates])] == [Severity.WARNING]
    assert found(plugins, [rates], total_steps=20000, warmup_steps=5000) == []


def test_a_learning_rate_range_test_has_no_finding(plugins: Plugins) -> None:
    steps = range(1, 101)
    assert found(plugins, [logged("lr", [1e-7 * 10 ** (s / 15) for s in steps], steps)]) == []
