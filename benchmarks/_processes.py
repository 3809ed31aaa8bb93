"""Whole processes in alternation: what each takes in time and memory, as medians and paired ratios."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

OP = """\
import time as _time, json as _json
_wall, _cpu = _time.perf_counter(), _time.process_time()
{body}
print(_json.dumps([_time.perf_counter() - _wall, _time.process_time() - _cpu, check]))
"""


@dataclass(frozen=True)
class Way:
    """One way to do the work.

    Attributes:
        imports: statements that are not part of the work itself; `body`: the work, which sets `check`.
        python: the interpreter.
    """

    imports: str
    body: str
    python: str = sys.executable


@dataclass(frozen=True)
class Cost:
    """One process: seconds of the work (wall, CPU) and of the whole (wall, CPU), peak resident size in bytes."""

    op: float
    op_cpu: float
    wall: float
    cpu: float
    peak: int
    check: object


def cost(way: Way, *arguments: str) -> Cost:
    """Runs a way to its end in a process of its own."""
    script = way.imports + "\n" + OP.format(body=way.body)
    started = time.perf_counter()
    process = subprocess.Popen([way.python, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{way.python} ended with {process.returncode}")
    op, op_cpu, check = json.loads(printed.splitlines()[-1])
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(op, op_cpu, wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit, check)


def compare(ways: Mapping[str, Way], path: Path, rounds: int, peer: str) -> dict[str, list[Cost]]:
    """Runs all ways in turn, once for the caches and then `rounds` times, and prints them against a peer."""
    for way in ways.values():
        cost(way, str(path))
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            costs[name].append(cost(way, str(path)))
    against = f"op / {peer} | wall / {peer} | cpu / {peer}"
    print(f"| way | op s | op cpu s | whole wall s (min..max) | cpu s | peak MiB | {against} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, runs in costs.items():
        wall = sorted(r.wall for r in runs)
        ratios = " | ".join(f"{paired(runs, costs[peer], measure):.2f}" for measure in ("op", "wall", "cpu"))
        print(
            f"| {name} | {median(r.op for r in runs):.3f} | {median(r.op_cpu for r in runs):.3f} "
            f"| {median(wall):.3f} ({wall[0]:.3f}..{wall[-1]:.3f}) | {median(r.cpu for r in runs):.3f} "
            f"| {max(r.peak for r in runs) / 2**20:.0f} | {ratios} |"
        )
    checks = {json.dumps(runs[0].check) for runs in costs.values()}
    print(f"\nresults: {'the same in all' if len(checks) == 1 else {n: r[0].check for n, r in costs.items()}}")
    return costs


def paired(runs: Sequence[Cost], others: Sequence[Cost], name: str) -> float:
    """Median over the pairs of what one way took over what the other took."""
    return median(getattr(a, name) / getattr(b, name) for a, b in zip(runs, others, strict=True))


def versions(python: str, *packages: str) -> str:
    """The machine, and the packages of an interpreter."""
    code = (
        "import sys, importlib.metadata as m\n"
        "print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]), 'on Python', sys.version.split()[0])"
    )
    found = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True).stdout.strip()
    return f"{found}, {platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
