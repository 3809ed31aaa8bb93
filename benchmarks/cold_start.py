"""How long a small audit takes from the shell's point of view, against the least a tool of its kind can cost.

    python benchmarks/cold_start.py [--pairs 21]

The peer is a bare click program that prints a table with rich and does nothing else. Both are run as whole processes,
in alternation, so that a busy machine burdens both alike; the ratio is the median over the pairs. `wall` is elapsed
time, `cpu` user and system time of the process, `peak` its largest resident size.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

PEER = """\
import click
from rich.console import Console
from rich.table import Table

@click.command()
@click.argument("path", type=click.Path(exists=True))
def main(path):
    table = Table("code", "name", "message")
    for i in range(10):
        table.add_row(f"AAA{i:03}", "some-name", f"something about {path}")
    Console().print(table)

main()
"""

RUN = {
    "run.sh": "python train.py \\\n  --lr 3e-4 \\\n  --seq_len 320 \\\n  --batch_size 32 \\\n  --epochs 2 \\\n"
    "  --steps_per_epoch 5000 \\\n  --total_steps 2000\n",
    "train.py": "import argparse\n\nparser = argparse.ArgumentParser()\n"
    + "".join(
        f'parser.add_argument("--{name}", type=float, default={default})\n'
        for name, default in (
            ("lr", 1e-3), ("seq_len", 256), ("batch_size", 16), ("epochs", 1), ("steps_per_epoch", 1),
        )
    )
    + "args = parser.parse_args()\n",
    "logs/history.json": '{"loss": [3.36, 2.93], "val_loss": [4.24, 4.20]}\n',
}  # fmt: skip
"""A run directory with a launch script, a source and a log."""

TARGET = 1.5
"""Wall time of a small audit over the peer's: what is left above the imports of click and a table printer."""


@dataclass(frozen=True)
class Cost:
    """One process: seconds of wall and CPU time, peak resident size in bytes."""

    wall: float
    cpu: float
    peak: int


def cost(command: list[str], bytecode: Path) -> Cost:
    """Runs a command to its end, output discarded; compiled modules are kept, as they are where a tool is installed."""
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    settings["PYTHONPYCACHEPREFIX"] = str(bytecode)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=settings)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


def main() -> None:
    """Measures and prints both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=21, help="pairs of runs (default: 21)")
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "peer.py").write_text(PEER)
        for path, content in RUN.items():
            (root / "run" / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "run" / path).write_text(content)
        commands = {
            "click + rich, a table": [sys.executable, str(root / "peer.py"), str(root)],
            "mldiag check": [sys.executable, "-m", "mldiag", "check", str(root / "run")],
            "mldiag --help": [sys.executable, "-m", "mldiag", "--help"],
            "python -c pass": [sys.executable, "-c", "pass"],
        }
        for command in commands.values():  # compiles, fills the page cache
            cost(command, root / "bytecode")
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(pairs):
            for name, command in commands.items():
                costs[name].append(cost(command, root / "bytecode"))
    report(costs, pairs)


def report(costs: dict[str, list[Cost]], pairs: int) -> None:
    """Prints the versions, a table of medians and the paired ratios."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("mldiag-toolkit", "click", "rich"))
    print(
        f"Python {platform.python_version()}, {packages}, {platform.machine()}, {os.cpu_count()} CPUs, {pairs} pairs\n"
    )
    print("| command | wall ms (min..max) | cpu ms | peak MiB | wall / peer (min..max) | cpu / peer |")
    print("|---|---|---|---|---|---|")
    peer = next(iter(costs.values()))
    for name, runs in costs.items():
        wall = sorted(run.wall * 1000 for run in runs)
        ratios = sorted(run.wall / other.wall for run, other in zip(runs, peer, strict=True))
        cpu = median(run.cpu / other.cpu for run, other in zip(runs, peer, strict=True))
        print(
            f"| {name} | {median(wall):.0f} ({wall[0]:.0f}..{wall[-1]:.0f}) | {median(r.cpu for r in runs) * 1000:.0f} "
            f"| {median(r.peak for r in runs) / 2**20:.0f} "
            f"| {median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f}) | {cpu:.2f} |"
        )
    measured = median(run.wall / other.wall for run, other in zip(costs["mldiag check"], peer, strict=True))
    print(f"\nmldiag check / peer: {measured:.2f} (target: at most {TARGET})")


if __name__ == "__main__":
    main()
