"""Ten thousand run directories in one process: reading and checking them, against a bare walk that parses the JSON.

    python benchmarks/many_runs.py [--peers PYTHON] [--runs 10000] [--rounds 3]

Each run is a folder with a `trainer_state.json` of 100 entries and a `config.yaml`; a hundred of them lie in a group.
The peer walks the folders with `os.scandir`, parses every `trainer_state.json` with orjson and computes the mean and
the last value of two series: the least that any tool has to do. PYTHON needs orjson; without `--peers` the peer uses
the standard `json`, which the output says. mldiag reads both files of every run with all its places and settings, and
in the last row applies every rule as well. All of them are whole processes, run in alternation; ratios are paired.
`op` is the work without start-up and imports; `beyond` is the peak of memory above what the process had after them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

WALK = """
import os, resource, sys, time
try:
    from orjson import loads
except ImportError:
    from json import loads
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started, cpu = time.perf_counter(), time.process_time()
stack, runs, total = [sys.argv[1]], 0, 0.0
while stack:
    with os.scandir(stack.pop()) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                stack.append(entry.path)
            elif entry.name == "trainer_state.json":
                with open(entry.path, "rb") as stream:
                    history = loads(stream.read())["log_history"]
                for key in ("loss", "eval_loss"):
                    values = [row[key] for row in history if key in row]
                    total += sum(values) / len(values) + values[-1]
                runs += 1
"""

READ = """
import resource, sys, time
from pathlib import Path
from mldiag.audit import Request, audit, read_runs
from mldiag.plugins import load
plugins, problems = load(), []
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started, cpu = time.perf_counter(), time.process_time()
runs = sum(1 for run in read_runs(Request((Path(sys.argv[1]),)), plugins, problems) if run.metrics.series)
assert not problems, problems[:3]
"""

CHECK = READ.replace(
    "sum(1 for run in read_runs(Request((Path(sys.argv[1]),)), plugins, problems) if run.metrics.series)",
    "len(audit(Request((Path(sys.argv[1]),)), plugins).single)",
)

TELL = """
import json
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"runs": runs, "op": time.perf_counter() - started, "cpu": time.process_time() - cpu,
                  "peak": after, "beyond": after - before}))
"""

CONFIG = """\
model:
  name: gpt2
  hidden_size: 256
  num_layers: 4
  num_heads: 4
optimizer:
  name: adamw
  lr: {lr}
  weight_decay: 0.01
  betas: [0.9, 0.95]
data:
  path: data/train.bin
  seq_len: 256
  batch_size: 16
train:
  max_steps: 1000
  warmup_steps: 100
  seed: {seed}
"""

TARGET = 2.5 / 0.75
"""Reading over the bare walk: 2.5 s where the walk took 0.75 s."""
MEMORY = 30
"""MiB beyond the process as it is after its imports."""


def write(root: Path, runs: int) -> None:
    """The run directories, a hundred in each group."""
    draw = random.Random(0)
    for number in range(runs):
        folder = root / f"group_{number // 100:03}" / f"run_{number:05}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(json.dumps(_state(draw), indent=2))
        (folder / "config.yaml").write_text(CONFIG.format(lr=f"{draw.choice((1, 3, 5))}e-4", seed=number))


def _state(draw: random.Random) -> dict[str, Any]:
    history: list[dict[str, float]] = []
    for step in range(10, 1010, 10):
        row = {"epoch": round(step / 330, 2), "step": step}
        loss = 3.0 - step / 1000 + 0.1 * draw.random()
        if step % 100:
            rate = 5e-5 * (1 - step / 1000)
            history.append({**row, "grad_norm": draw.random(), "learning_rate": rate, "loss": round(loss, 4)})
        else:
            history.append({**row, "eval_loss": loss, "eval_runtime": 12.3, "eval_samples_per_second": 100.1})
    return {"best_metric": None, "epoch": 3.03, "global_step": 1000, "log_history": history, "max_steps": 1000,
            "num_train_epochs": 4}  # fmt: skip


def measured(python: str, program: str, root: Path) -> dict[str, float]:
    """Runs a program in a process of its own; what it says of itself."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [python, "-c", program + TELL, str(root)], check=True, capture_output=True, text=True, env=environment
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, help="Python with orjson")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    parsed_by = subprocess.run([args.peers, "-c", "import orjson"], capture_output=True, check=False).returncode
    peer = f"walk + {'json' if parsed_by else 'orjson'}"
    commands = {
        peer: (args.peers, WALK),
        "mldiag, reading": (sys.executable, READ),
        "mldiag, whole check": (sys.executable, CHECK),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        write(root, args.runs)
        for number in range(args.rounds + 1):
            for name, (python, program) in commands.items():
                told = measured(python, program, root)
                if told["runs"] != args.runs:
                    raise SystemExit(f"{name}: {told['runs']} of {args.runs} runs")
                if number:  # the first round fills the page cache
                    found[name].append(told)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {args.runs:,} runs, {args.rounds} rounds\n")
    print("| | op s (min..max) | cpu s | runs/s | op / walk (min..max) | cpu / walk | peak MiB | beyond MiB |")
    print("|---|---|---|---|---|---|---|---|")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    for name, rounds in found.items():
        ops = sorted(t["op"] for t in rounds)
        ratios = sorted(t["op"] / walk["op"] for t, walk in zip(rounds, found[peer], strict=True))
        cpu = median(t["cpu"] / walk["cpu"] for t, walk in zip(rounds, found[peer], strict=True))
        print(
            f"| {name} | {median(ops):.2f} ({ops[0]:.2f}..{ops[-1]:.2f}) | {median(t['cpu'] for t in rounds):.2f} "
            f"| {args.runs / median(ops):,.0f} | {median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f}) | {cpu:.2f} "
            f"| {median(t['peak'] for t in rounds) / unit:.0f} | {median(t['beyond'] for t in rounds) / unit:.0f} |"
        )
    print(f"\nTargets: reading at most {TARGET:.1f} times the walk, {MEMORY} MiB beyond imports")


if __name__ == "__main__":
    main()
