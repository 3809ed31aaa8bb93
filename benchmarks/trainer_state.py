"""How fast a long `trainer_state.json` is read, against parsing it whole, with and without NaN.

    python benchmarks/trainer_state.py [--peers PYTHON] [--rounds 5] [--entries 200000]

Writes its own states into a temporary folder, with the indent of the Hugging Face Trainer. PYTHON is an interpreter
with orjson; without it only mldiag, msgspec and Python's json are run. Each way leaves every key as float64; mldiag
finds the line of each value as well. `op` is the work without start-up and imports (numpy, which mldiag takes for
states over 8 MiB, among them), `wall` and `cpu` are of the whole process, `peak` is its largest resident size.

Up to 8 MiB mldiag parses the document whole with Python's json: that takes 0.15 s at most, as long as importing numpy.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
from pathlib import Path

from _processes import Way, compare, paired, versions

TARGETS = {"without NaN": 2.5, "with NaN": 2.0}
"""Python's json over mldiag, the issue's limits. Its limit for the memory is `TARGET_PEAK`."""
TARGET_PEAK = 105 * 2**20

CHECK = "check = [len(columns['loss']), sum(v == v for v in columns['loss']), columns['eval_loss'][-1]]"
MLDIAG = Way(
    "import sys, numpy\nfrom pathlib import Path\nfrom mldiag.files import File\n"
    "import mldiag.readers._tables.trainer_history\nfrom mldiag.readers import trainer_state as module\n"
    "from mldiag.artifacts import Series",
    "path = Path(sys.argv[1])\n"
    "found = module.trainer_state(File(path.parent, path.name))\n"
    "columns = {s.raw_name: s.data for s in found if isinstance(s, Series)}\n" + CHECK,
)
WHOLE = """\
columns = {{}}
for row in {parse}['log_history']:
    for key, value in row.items():
        if key in columns:
            columns[key].append(value)
        else:
            columns[key] = array('d', [value])
"""
JSON = Way(
    "import sys, json\nfrom array import array", WHOLE.format(parse="json.load(open(sys.argv[1], 'rb'))") + CHECK
)
MSGSPEC = Way(
    "import sys, msgspec\nfrom array import array",
    WHOLE.format(parse="msgspec.json.decode(open(sys.argv[1], 'rb').read())") + CHECK,
)
ORJSON = (
    "import sys, orjson\nfrom array import array",
    WHOLE.format(parse="orjson.loads(open(sys.argv[1], 'rb').read())") + CHECK,
)


def write(path: Path, entries: int, *, nan: bool) -> None:
    """A state as the Trainer writes it: keys sorted, an indent of two."""
    chance = random.Random(1)
    rest = json.dumps({"max_steps": entries * 10, "num_train_epochs": 4}, indent=2)
    with path.open("w") as state:  # entry by entry: what this process holds would count as a child's peak

        def put(entry: dict[str, float]) -> None:
            state.write("    " + json.dumps(entry, indent=2, sort_keys=True).replace("\n", "\n    "))

        state.write(f'{{\n  "global_step": {entries * 10},\n  "log_history": [\n')
        for i in range(1, entries + 1):
            common = {"epoch": round(i / 5e4, 5), "step": i * 10}
            loss = math.nan if nan and i > 0.95 * entries and i % 20 == 0 else round(2 + 8 * math.exp(-i / 1e5), 4)
            put({**common, "grad_norm": chance.random(), "learning_rate": 3e-4 * (1 - i / entries), "loss": loss})
            state.write(",\n")
            if i % 100 == 0:
                put({**common, "eval_loss": chance.random(), "eval_runtime": 12.5})
                state.write(",\n")
        put({"epoch": 4.0, "step": entries * 10, "train_loss": 2.5, "train_runtime": 5e3})
        state.write("\n  ],\n" + rest.removeprefix("{\n") + "\n")


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="interpreter with orjson")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, default=200_000)
    args = parser.parse_args()
    print(versions(sys.executable, "mldiag-toolkit", "msgspec", "numpy"))
    if args.peers:
        print(versions(args.peers, "orjson"))
    failed = False
    for name, target in TARGETS.items():
        ways = {"json": JSON, "mldiag": MLDIAG}
        if name == "without NaN":  # the others refuse the whole file for one NaN
            ways["msgspec, untyped"] = MSGSPEC
            if args.peers:
                ways["orjson"] = Way(*ORJSON, args.peers)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trainer_state.json"
            write(path, args.entries, nan=name == "with NaN")
            print(f"\n{name}: {args.entries:,} entries, {path.stat().st_size / 1e6:.0f} MB, {args.rounds} rounds\n")
            costs = compare(ways, path, args.rounds, "json")
        wall, cpu = (paired(costs["json"], costs["mldiag"], measure) for measure in ("op", "op_cpu"))
        peak = max(c.peak for c in costs["mldiag"])
        print(f"json / mldiag: {wall:.2f} of op, {cpu:.2f} of its cpu (target: at least {target})")
        print(f"peak: {peak / 2**20:.0f} MiB (target: at most {TARGET_PEAK / 2**20:.0f})")
        failed |= max(wall, cpu) < target or peak > TARGET_PEAK
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
