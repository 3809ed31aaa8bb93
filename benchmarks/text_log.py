"""How fast logs of free text are read, against `re` line by line, and where numpy begins to pay.

    python benchmarks/text_log.py [--peers PYTHON] [--rounds 5] [--lines 400000]

Writes its own logs into a temporary folder, with one foreign line in twenty: `plain` (`iter N: loss X, time Yms, mfu
Z%`), and dated as by logging, mmcv, detectron2 and torchtitan (in colours). The peer knows the expression beforehand
and reads the numbers of each line, but not its date, with `re` and `float`, in this interpreter. `scanner` is the part
of mldiag that does the same work with the template given; `mldiag` is the whole reader, which learns the templates and
gives every series its steps, epochs, times and lines. PYTHON, an interpreter with polars, adds `str.extract_groups`.
`op` is the work without start-up and imports, `wall` and `cpu` are of the whole process.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from _processes import Way, compare, cost, paired, versions

TARGET, TARGET_DATED = 6, 4
"""Times that the whole reader must be as fast as `re` line by line (op). Limit of its memory: `TARGET_PEAK`."""
TARGET_PEAK = 100 * 2**20

_NUMBER = r"([-+.\deE]+)"
EXPRESSIONS = {
    "plain": rf"iter (\d+): loss {_NUMBER}, time {_NUMBER}ms, mfu {_NUMBER}%",
    "logging": rf"\S+ \S+:INFO: step (\d+) loss {_NUMBER}",
    "mmcv": r"\S+ \S+ - mmdet - INFO - Epoch \[(\d+)\]\[(\d+)/(\d+)\]\t"
    rf"lr: {_NUMBER}, eta: .*?, time: {_NUMBER}, memory: (\d+), acc: {_NUMBER}, loss: {_NUMBER}",
    "detectron2": r"\[\S+ \S+ d2.utils.events\]:  eta: .*?  "
    rf"iter: (\d+)  total_loss: {_NUMBER}  time: {_NUMBER}  lr: {_NUMBER}  max_mem: (\d+)M",
    "torchtitan": r"\[rank0\]:\[titan\] \S+ \S+ - root - INFO - \x1b\[31mstep: +(\d+)  \x1b\[32mloss: +"
    rf"{_NUMBER}  \x1b\[38;2;180;60;0mgrad_norm: +{_NUMBER}  \x1b\[34mtflops: {_NUMBER}  \x1b\[39m",
}
LOSSES = {"plain": 1, "logging": 1, "mmcv": 7, "detectron2": 1, "torchtitan": 1}
"""Which number of a line is the loss."""
SIZES = (2**18, 2**19, 2**20, 2**21, 2**22)
"""Bytes of the logs with which the two ways of mldiag are compared."""


def by_regex(kind: str) -> Way:
    """Reads the numbers of each line that the expression of a kind matches."""
    return Way(
        "import re, sys\nfrom array import array",
        f"expression = re.compile({EXPRESSIONS[kind]!r})\n"
        "match = expression.match\n"
        "columns = [array('d') for _ in range(expression.groups)]\n"
        "with open(sys.argv[1]) as stream:\n"
        "    for line in stream:\n"
        "        if found := match(line):\n"
        "            for column, text in zip(columns, found.groups()):\n"
        "                column.append(float(text))\n"
        f"loss = columns[{LOSSES[kind]}]\n"
        "check = [len(loss), round(sum(loss), 6)]",
    )


SCANNER = Way(
    "import sys\nfrom array import array\nfrom pathlib import Path\nfrom mldiag.files import File\n"
    "from mldiag.readers._text.scanner import Lines, Scanner",
    "path = Path(sys.argv[1])\n"
    "scanner = Scanner([b'iter ', b': loss ', b', time ', b'ms, mfu ', b'%'])\n"
    "columns = [array('d') for _ in range(4)]\n"
    "for block in File(path.parent, path.name).blocks():\n"
    "    for column, values in zip(columns, scanner.scan(Lines(block.data)).columns):\n"
    "        column.frombytes(values.tobytes())\n"
    "check = [len(columns[1]), round(sum(columns[1]), 6)]",
)
READ = (
    "path = Path(sys.argv[1])\n"
    "found = [a for a in module.text_log(File(path.parent, path.name)) if isinstance(a, Series)]\n"
    "loss = max((s for s in found if s.raw_name in ('loss', 'total_loss')), key=len)\n"
    "check = [len(loss), round(sum(loss.data), 6)]"
)
IMPORTS = (
    "import sys\nfrom pathlib import Path\nfrom mldiag.artifacts import Series\nfrom mldiag.files import File\n"
    "from mldiag.readers import text_log as module"
)
MLDIAG = Way(f"{IMPORTS}\nimport mldiag.readers._text.bulk, mldiag.readers._text.series", READ)
POLARS = (
    "import sys, polars",
    "lines = polars.read_csv(sys.argv[1], has_header=False, separator='\\x01', quote_char=None, new_columns=['l'])\n"
    f"parts = lines['l'].str.extract_groups(r'^{EXPRESSIONS['plain']}').struct.unnest()\n"
    "columns = [parts[n].cast(polars.Float64).drop_nulls().to_numpy() for n in parts.columns]\n"
    "check = [len(columns[1]), round(sum(columns[1].tolist()), 6)]",
)


def write(path: Path, lines: int, kind: str = "plain") -> None:
    """A log with evaluations and remarks in between."""
    draw = random.Random(0)
    dated = kind != "plain"
    with path.open("w") as stream:
        for i in range(lines):
            loss = 3 / (1 + i / 1e4) + draw.random() / 10
            when = datetime(2024, 3, 9, 9, 14, 25) + timedelta(milliseconds=700 * i)
            if i % 20 == 7:
                evaluated = f"step {i}: train loss {loss:.4f}, val loss {loss + 0.1:.4f}"
                remark = f"{evaluated if i % 2000 == 7 else 'saving checkpoint to out'}\n"
                stream.write(f"{when:%Y-%m-%d %H:%M:%S} {remark}" if dated else remark)
            eta = timedelta(seconds=int((lines - i) * 0.7))
            values = (i, loss, draw.gauss(100, 5), draw.random() * 50)
            stream.write(_line(kind, values, when, eta))


def _line(kind: str, values: tuple[int, float, float, float], when: datetime, eta: timedelta) -> str:
    i, loss, time, share = values
    stamp = f"{when:%Y-%m-%d %H:%M:%S},{when.microsecond // 1000:03}"
    match kind:
        case "logging":
            return f"{stamp}:INFO: step {i} loss {loss:.4f}\n"
        case "mmcv":
            return (
                f"{stamp} - mmdet - INFO - Epoch [{i // 7330 + 1}][{i % 7330 + 1}/7330]\tlr: 2.000e-02, eta: {eta}, "
                f"time: {time / 1000:.3f}, memory: 3901, acc: {share:.4f}, loss: {loss:.4f}\n"
            )
        case "detectron2":
            return (
                f"[{when:%m/%d %H:%M:%S} d2.utils.events]:  eta: {eta}  iter: {i}  total_loss: {loss:.4g}  "
                f"time: {time / 1000:.4f}  lr: 0.0001  max_mem: 2000M\n"
            )
        case "torchtitan":
            return (
                f"[rank0]:[titan] {stamp} - root - INFO - \x1b[31mstep: {i:2}  \x1b[32mloss: {loss:7.4f}  "
                f"\x1b[38;2;180;60;0mgrad_norm: {share:7.4f}  \x1b[34mtflops: {time:.2f}  \x1b[39m\n"
            )
    return f"iter {i}: loss {loss:.4f}, time {time:.2f}ms, mfu {share:.2f}%\n"


def switch(folder: Path, rounds: int) -> None:
    """Prints where reading with numpy, its import included, becomes faster than reading line by line."""
    print("\nthe whole reader line by line (no numpy) against known templates in numpy, whole processes:\n")
    print("| KiB | lines cpu ms | numpy cpu ms | numpy / lines |")
    print("|---|---|---|---|")
    ways = {
        name: Way(f"{IMPORTS}\nmodule.IN_BULK = {limit}", READ) for name, limit in (("lines", "10**18"), ("numpy", "0"))
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
    from mldiag.readers._text.bulk import PORTION
    from mldiag.readers.text_log import IN_BULK

    found = "above all of these sizes" if meets is None else f"at most {meets / 1024:,.0f} KiB"
    print(
        f"\nthe switch lies at {IN_BULK / 1024:,.0f} KiB: the first {PORTION} lines are learnt from, and "
        f"numpy's import costs a tenth of a second; it pays for itself here from {found}"
    )


def main() -> None:
    """Writes the logs, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", help="interpreter with polars")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=400_000)
    args = parser.parse_args()
    print(versions(sys.executable, "mldiag-toolkit", "numpy"))
    if args.peers:
        print(versions(args.peers, "polars"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in EXPRESSIONS:
            path = folder / f"{kind}.log"
            write(path, args.lines, kind)
            print(f"\n{kind}: {args.lines:,} lines and 5 % others, {path.stat().st_size / 1e6:.0f} MB\n")
            ways = {"re per line": by_regex(kind), "mldiag": MLDIAG}
            if kind == "plain":
                ways["scanner"] = SCANNER
                if args.peers:
                    ways["polars"] = Way(*POLARS, python=args.peers)
            costs = compare(ways, path, args.rounds, "re per line")
            path.unlink()
            target = TARGET if kind == "plain" else TARGET_DATED
            for own in ("mldiag", "scanner") if kind == "plain" else ("mldiag",):
                factors = [paired(costs["re per line"], costs[own], measure) for measure in ("op", "op_cpu")]
                peak = max(c.peak for c in costs[own]) / 2**20
                print(
                    f"{kind}: re per line / {own}, op: {factors[0]:.1f} (cpu {factors[1]:.1f}; target: at least "
                    f"{target}); peak {peak:.0f} MiB (target: at most {TARGET_PEAK / 2**20:.0f})"
                )
        switch(folder, args.rounds)


if __name__ == "__main__":
    main()
