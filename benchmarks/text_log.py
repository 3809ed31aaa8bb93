"""How fast logs of free text are read, against `re` line by line, and where numpy begins to pay.

    python benchmarks/text_log.py [--peers PYTHON] [--rounds 5] [--lines 400000]

Writes its own log into a temporary folder: `iter N: loss X, time Yms, mfu Z%` with one foreign line in twenty. The peer
knows the expression beforehand and reads the four numbers of each line with `re` and `float`, in this interpreter.
`scanner` is the part of mldiag that does the same work with the template given; `mldiag` is the whole reader, which
learns the templates and gives every series its steps, epochs and lines. PYTHON, an interpreter with polars, adds
`str.extract_groups`. `op` is the work without start-up and imports, `wall` and `cpu` are of the whole process.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from statistics import median

from _processes import Way, compare, cost, paired, versions

TARGET = 6
"""Times that the scanner must be as fast as `re` line by line (op). Limit of its memory: `TARGET_PEAK`."""
TARGET_PEAK = 100 * 2**20

EXPRESSION = r"iter (\d+): loss ([-+.\deE]+), time ([-+.\deE]+)ms, mfu ([-+.\deE]+)%"
SIZES = (2**18, 2**19, 2**20, 2**21, 2**22)
"""Bytes of the logs with which the two ways of mldiag are compared."""

RE = Way(
    "import re, sys\nfrom array import array",
    f"match = re.compile(r'{EXPRESSION}').match\n"
    "columns = [array('d') for _ in range(4)]\n"
    "with open(sys.argv[1]) as stream:\n"
    "    for line in stream:\n"
    "        if found := match(line):\n"
    "            for column, text in zip(columns, found.groups()):\n"
    "                column.append(float(text))\n"
    "check = [len(columns[1]), round(sum(columns[1]), 6)]",
)
SCANNER = Way(
    "import sys\nfrom array import array\nfrom pathlib import Path\nfrom mldiag.files import File\n"
    "from mldiag.readers._fast_text import Lines, Scanner",
    "path = Path(sys.argv[1])\n"
    "scanner = Scanner([b'iter ', b': loss ', b', time ', b'ms, mfu ', b'%'])\n"
    "columns = [array('d') for _ in range(4)]\n"
    "for block in File(path.parent, path.name).blocks():\n"
    "    for column, values in zip(columns, scanner.scan(Lines(block.data)).columns):\n"
    "        column.frombytes(values.tobytes())\n"
    "check = [len(columns[1]), round(sum(columns[1]), 6)]",
)
MLDIAG = Way(
    "import sys\nfrom pathlib import Path\nfrom mldiag.artifacts import Series\nfrom mldiag.files import File\n"
    "from mldiag.readers import text_log as module",
    "path = Path(sys.argv[1])\n"
    "found = [a for a in module.text_log(File(path.parent, path.name)) if isinstance(a, Series)]\n"
    "loss = max((s for s in found if s.raw_name == 'loss'), key=len)\n"
    "check = [len(loss), round(sum(loss.data), 6)]",
)
POLARS = (
    "import sys, polars",
    "lines = polars.read_csv(sys.argv[1], has_header=False, separator='\\x01', quote_char=None, new_columns=['l'])\n"
    f"parts = lines['l'].str.extract_groups(r'^{EXPRESSION}').struct.unnest()\n"
    "columns = [parts[n].cast(polars.Float64).drop_nulls().to_numpy() for n in parts.columns]\n"
    "check = [len(columns[1]), round(sum(columns[1].tolist()), 6)]",
)


def write(path: Path, lines: int) -> None:
    """A log of nanoGPT's kind, with evaluations and remarks in between."""
    draw = random.Random(0)
    with path.open("w") as stream:
        for i in range(lines):
            loss = 3 / (1 + i / 1e4) + draw.random() / 10
            if i % 20 == 7:
                evaluated = f"step {i}: train loss {loss:.4f}, val loss {loss + 0.1:.4f}"
                stream.write(f"{evaluated if i % 2000 == 7 else 'saving checkpoint to out'}\n")
            stream.write(f"iter {i}: loss {loss:.4f}, time {draw.gauss(100, 5):.2f}ms, mfu {draw.random() * 50:.2f}%\n")


def switch(folder: Path, rounds: int) -> None:
    """Prints where reading with numpy, its import included, becomes faster than reading line by line."""
    print("\nthe whole reader line by line (no numpy) against known templates in numpy, whole processes:\n")
    print("| KiB | lines cpu ms | numpy cpu ms | numpy / lines |")
    print("|---|---|---|---|")
    ways = {
        name: Way(f"{MLDIAG.imports}\nmodule.IN_BULK = {limit}", MLDIAG.body)
        for name, limit in (("lines", "10**18"), ("numpy", "0"))
    }
    meets = None
    for size in SIZES:
        path = folder / f"log{size}.log"
        write(path, size // 50)
        costs = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                costs[name].append(cost(way, str(path)))
        factor = paired(costs["numpy"], costs["lines"], "cpu")
        meets = path.stat().st_size if meets is None and factor < 1 else meets
        times = " | ".join(f"{median(c.cpu for c in costs[name]) * 1000:.0f}" for name in ways)
        print(f"| {path.stat().st_size / 1024:,.0f} | {times} | {factor:.2f} |")
    from mldiag.readers.text_log import IN_BULK

    found = "above all of these sizes" if meets is None else f"at most {meets / 1024:,.0f} KiB"
    print(
        f"\nthe switch lies at {IN_BULK / 1024:,.0f} KiB: the first block of 1 MiB is learnt from, and numpy's import "
        f"costs a tenth of a second; it pays for itself here from {found}"
    )


def main() -> None:
    """Writes the logs, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", help="interpreter with polars")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=400_000)
    args = parser.parse_args()
    print(versions(sys.executable, "mldiag-toolkit", "numpy"))
    ways = {"re per line": RE, "scanner": SCANNER, "mldiag": MLDIAG}
    if args.peers:
        print(versions(args.peers, "polars"))
        ways["polars"] = Way(*POLARS, python=args.peers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "train.log"
        write(path, args.lines)
        print(f"\n{args.lines:,} lines and 5 % others, {path.stat().st_size / 1e6:.0f} MB, {args.rounds} rounds\n")
        costs = compare(ways, path, args.rounds, "re per line")
        peak = max(c.peak for c in costs["scanner"])
        print(
            f"re per line / scanner, op: {paired(costs['re per line'], costs['scanner'], 'op'):.1f} "
            f"(cpu {paired(costs['re per line'], costs['scanner'], 'op_cpu'):.1f}; target: at least {TARGET}); "
            f"peak {peak / 2**20:.0f} MiB (target: at most {TARGET_PEAK / 2**20:.0f})\n"
            f"re per line / whole reader, op: {paired(costs['re per line'], costs['mldiag'], 'op'):.1f}"
        )
        switch(folder, args.rounds)


if __name__ == "__main__":
    main()
