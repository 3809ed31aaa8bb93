"""How fast logs of JSON lines are read, against the ways people read them, and where a struct begins to pay.

    python benchmarks/jsonl.py [--peers PYTHON] [--rounds 5] [--rows 500000]

Writes its own logs into a temporary folder: as Python writes them, with NaN and Infinity, an evaluation with other keys
every 250 steps, and a cut last line. PYTHON is an interpreter with orjson and duckdb; without it only mldiag, msgspec
and Python's json are run. Each way keeps every key as float64. `op` is the work without start-up and imports (numpy,
which mldiag takes for logs over 8 MiB, among them), `wall` and `cpu` are of the whole process, `peak` is its largest
resident size.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
from pathlib import Path

from _processes import Way, compare, cost, paired, versions

TARGET = 5.0
"""Python's json per line over mldiag, the issue's limit. Its limit for the memory is `TARGET_PEAK`."""
TARGET_PEAK = 100 * 2**20

SIZES = (2**14, 2**15, 2**16, 2**17, 2**18)
"""Bytes of the logs with which the two ways of mldiag are compared."""

CHECK = (
    "check = [len(columns['loss']), sum(v == v for v in columns['loss']), columns['lr'][-1], len(columns['eval_loss'])]"
)
MLDIAG = Way(
    "import sys, numpy\nfrom pathlib import Path\nfrom mldiag.artifacts import Series\nfrom mldiag.files import File\n"
    "import mldiag.readers._tables.jsonl_log\nfrom mldiag.readers import jsonl as module",
    "path = Path(sys.argv[1])\n"
    "found = module.jsonl(File(path.parent, path.name))\n"
    "columns = {s.raw_name: s.data for s in found if isinstance(s, Series)}\n" + CHECK,
)
PER_LINE = """\
columns = {{}}
for line in open(sys.argv[1], 'rb'):
    try:
        row = {parse}
    except ValueError:
        continue
    for key, value in row.items():
        if key in columns:
            columns[key].append(value)
        else:
            columns[key] = array('d', [value])
"""
JSON = Way("import sys, json\nfrom array import array", PER_LINE.format(parse="json.loads(line)") + CHECK)
# A line that the strict parsers refuse goes to Python's, else every NaN would be lost.
RETRY = (
    "\ndef parse(line):\n    try:\n        return strict(line)\n    except ValueError:\n        return json.loads(line)"
)
MSGSPEC = Way(
    "import sys, json, msgspec\nfrom array import array\nstrict = msgspec.json.Decoder().decode" + RETRY,
    PER_LINE.format(parse="parse(line)") + CHECK,
)
ORJSON = (
    "import sys, json, orjson\nfrom array import array\nstrict = orjson.loads" + RETRY,
    PER_LINE.format(parse="parse(line)") + CHECK,
)
DUCKDB = (
    "import sys, duckdb, numpy",
    "keys = ('step', 'epoch', 'loss', 'lr', 'grad_norm', 'time', 'eval_loss', 'eval_accuracy')\n"
    "table = duckdb.read_json(sys.argv[1], columns={k: 'DOUBLE' for k in keys}, format='newline_delimited', "
    "ignore_errors=True).fetchnumpy()\n"
    "columns = {k: v.compressed() if numpy.ma.isMaskedArray(v) else v for k, v in table.items()}\n"
    + CHECK.replace("sum(v == v for v in columns['loss'])", "int((columns['loss'] == columns['loss']).sum())").replace(
        "columns['lr'][-1]", "float(columns['lr'][-1])"
    ),
)


def write(path: Path, rows: int) -> None:
    """A log as Python's json writes it."""
    chance = random.Random(0)
    with path.open("w") as log:
        for i in range(1, rows + 1):
            loss = 2 + 8 * math.exp(-i / 1e5) + chance.gauss(0, 0.05)
            loss = math.nan if i % 977 == 0 else math.inf if i % 1999 == 0 else loss
            common = {"step": i, "epoch": round(i / 5e4, 5)}
            row = {**common, "loss": loss, "lr": 3e-4 * (1 - i / rows), "grad_norm": abs(chance.gauss(1, 0.3))}
            log.write(json.dumps({**row, "time": round(1.7e9 + i / 4, 3)}) + "\n")
            if i % 250 == 0:
                held_out = {"eval_loss": loss + 0.1, "eval_accuracy": chance.random()}
                log.write(json.dumps({**common, **held_out, "time": round(1.7e9 + i / 4, 3)}) + "\n")
        log.write('{"step": 1, "lo')


def switch(folder: Path, rounds: int) -> None:
    """Prints both ways of mldiag on small logs: line by line, and by a struct that is learned."""
    print("\nline by line up to 64 KiB, a struct above, numpy above 8 MiB; both ways on small logs:\n")
    print("| KiB | line by line, op ms | struct, op ms |\n|---|---|---|")
    for size in SIZES:
        path = folder / "small.jsonl"
        write(path, size // 144)
        times = []
        for limit in (2**40, 0):
            way = Way(
                MLDIAG.imports + f"\nmldiag.readers._tables.jsonl_log.SMALL = {limit}",
                MLDIAG.body.replace("['eval_loss']", ".get('eval_loss', ())"),
            )
            times.append(sorted(cost(way, str(path)).op for _ in range(rounds))[rounds // 2])
        print(f"| {path.stat().st_size / 1024:.0f} | {times[0] * 1e3:.1f} | {times[1] * 1e3:.1f} |")


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="interpreter with orjson and duckdb")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=500_000)
    args = parser.parse_args()
    ways = {"json per line": JSON, "mldiag": MLDIAG, "msgspec per line, json where refused": MSGSPEC}
    print(versions(sys.executable, "mldiag-toolkit", "msgspec", "numpy"))
    if args.peers:
        ways["orjson per line, json where refused"] = Way(*ORJSON, args.peers)
        ways["duckdb, typed, ignore_errors"] = Way(*DUCKDB, args.peers)
        print(versions(args.peers, "orjson", "duckdb", "numpy"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        write(path, args.rows)
        print(f"\n{args.rows:,} steps, {path.stat().st_size / 1e6:.0f} MB, {args.rounds} rounds\n")
        costs = compare(ways, path, args.rounds, "json per line")
        switch(Path(folder), args.rounds)
    faster = paired(costs["json per line"], costs["mldiag"], "op_cpu")
    wall = paired(costs["json per line"], costs["mldiag"], "op")
    peak = max(c.peak for c in costs["mldiag"])
    print(f"\njson per line / mldiag: {wall:.2f} of op, {faster:.2f} of its cpu (target: at least {TARGET})")
    print(f"peak: {peak / 2**20:.0f} MiB (target: at most {TARGET_PEAK / 2**20:.0f})")
    return int(max(wall, faster) < TARGET or peak > TARGET_PEAK)


if __name__ == "__main__":
    sys.exit(main())
