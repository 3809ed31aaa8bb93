"""All curve rules on series of a million points: what each costs, and all of them together.

    python benchmarks/curve_rules.py [--points 1000000] [--rounds 3]

The run has a train loss, a learning rate, a gradient norm and an accuracy at every step, and a validation loss and an
accuracy at every step too, which no trainer does: the longest that every rule can be given. It is healthy, so that each
rule looks at all of it. What the rules share is prepared once, by the first that asks for it, and counted apart: a fact
is derived once per run. Times are CPU seconds of this process, the smallest of some rounds; the target is one second
for all rules together, facts included.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from mldiag.artifacts import Metrics, Role, Scalar, Series, Settings, SettingValue, Source, floats
from mldiag.engine import apply_rules
from mldiag.plugins import Plugins, load
from mldiag.rules import Rule
from mldiag.run import Run

TARGET = 1.0
"""Seconds of CPU for all rules of the family together."""
SETTINGS: dict[str, Scalar] = {
    "total_steps": 1_000_000, "lr": 3e-4, "lr_schedule": "cosine", "warmup_steps": 10_000, "num_classes": 1000,
    "clip_norm": 1.0, "optimizer": "adamw",
}  # fmt: skip


def long_run(points: int) -> Run:
    """A healthy run with a value of everything at every step."""
    rng = np.random.default_rng(0)
    steps = floats(range(1, points + 1))
    share = np.arange(1, points + 1) / points
    loss = 2.5 + 4.4 * (1 + 60 * share) ** -0.6
    warm = np.minimum(share / 0.01, 1.0)
    values = {
        "train/loss": loss * (1 + 0.05 * rng.standard_normal(points)),
        "val/loss": loss * 1.02 * (1 + 0.01 * rng.standard_normal(points)),
        "train/accuracy": 0.7 * (1 - np.exp(-5 * share)) + 0.02 * rng.random(points),
        "val/accuracy": 0.68 * (1 - np.exp(-5 * share)) + 0.02 * rng.random(points),
        "lr": 3e-4 * warm * 0.5 * (1 + np.cos(np.pi * np.maximum(share - 0.01, 0) / 0.99)),
        "grad_norm": 0.4 * np.exp(0.25 * rng.standard_normal(points)) * (1 + 4 * np.exp(-50 * share)),
    }
    series = tuple(Series(n, n, floats(v.tolist()), Source("log.jsonl", key=n), steps) for n, v in values.items())
    stated = tuple(
        SettingValue(name, points if name == "total_steps" else value, Role.FILE, Source("config.yaml", key=name))
        for name, value in SETTINGS.items()
    )
    return Run(Path(), ".", metrics=Metrics(series), settings=Settings(stated))


def cost(run: Run, rules: list[Rule], plugins: Plugins) -> tuple[float, list[tuple[str, float]]]:
    """CPU seconds of everything, on a run nothing of which is prepared, and of each rule in its turn."""
    fresh = replace(run, facts=plugins.facts, _derived={})
    parts = []
    began = time.process_time()
    for rule in rules:
        start = time.process_time()
        report = apply_rules(fresh, [rule])
        outcome = "found" if report.findings else "clean" if report.clean else "skipped"
        if report.failed:
            raise SystemExit(f"{rule.code} failed: {report.failed[0].error}")
        parts.append((f"{rule.code} {rule.name} ({outcome})", time.process_time() - start))
    return time.process_time() - began, parts


def main() -> None:
    """Measures and prints; ends with 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", default="curves")
    args = parser.parse_args()
    plugins = load()
    rules = sorted((r for r in plugins.rules.values() if r.family == args.family), key=lambda r: r.code)
    run = long_run(args.points)
    rounds = [cost(run, rules, plugins) for _ in range(args.rounds)]
    whole, parts = min(rounds, key=lambda r: r[0])
    # What an earlier rule has prepared is free for a later one: alone, a rule pays for all of it.
    alone = {r.code: min(cost(run, [r], plugins)[0] for _ in range(args.rounds)) for r in rules}
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, 6 series of {args.points:,} points\n")
    print("| rule | CPU s in turn | CPU s alone |\n|---|---|---|")
    for name, seconds in parts:
        print(f"| {name} | {seconds:.3f} | {alone[name.split()[0]]:.3f} |")
    print(f"| all {len(rules)} | {whole:.3f} | |\n\nTarget: {TARGET:g} s of CPU for all")
    sys.exit(whole > TARGET)


if __name__ == "__main__":
    main()
