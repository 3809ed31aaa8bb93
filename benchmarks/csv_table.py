"""How fast tables of delimited text are read, against readers of data frames, and where numpy begins to pay.

    python benchmarks/csv_table.py [--peers PYTHON] [--rounds 5] [--rows 2000000]

Writes its own tables into a temporary folder. PYTHON is an interpreter with polars, duckdb and numpy; without it only
mldiag and Python's csv are run. Each way reads the file and leaves its eight columns as float64. `op` is the work
without start-up and imports, `wall` and `cpu` are of the whole process, `peak` is its largest resident size.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from statistics import median

from _processes import Way, compare, cost, paired, versions

TARGET = 1.6
"""Whole process over polars', the issue's limit. Its limit for the memory is `TARGET_PEAK`."""
TARGET_PEAK = 330 * 2**20

HEADER = "step,epoch,train_loss,lr,grad_norm,tokens_per_s,accuracy,val_loss\n"
SIZES = (2**17, 2**18, 2**19, 2**20, 2**21, 2**22)
"""Bytes of the tables with which the two ways of mldiag are compared."""

MLDIAG = Way(
    "import sys\nfrom pathlib import Path\nfrom mldiag.artifacts import Series\nfrom mldiag.files import File\n"
    "from mldiag.readers import csv_table as module",
    "path = Path(sys.argv[1])\n"
    "found = module.csv_table(File(path.parent, path.name))\n"
    "series = {s.raw_name: s for s in found if isinstance(s, Series)}\n"
    "check = [len(series['train_loss']), round(sum(series['train_loss'].data[:1000]), 9), "
    "series['lr'].data[-1], series['train_loss'].step_data[-1]]",
)
CSV = Way(
    "import csv, sys\nfrom array import array",
    "with open(sys.argv[1], newline='') as stream:\n"
    "    rows = csv.reader(stream)\n"
    "    names = next(rows)\n"
    "    columns = [array('d') for _ in names]\n"
    "    for row in rows:\n"
    "        for column, cell in zip(columns, row):\n"
    "            column.append(float(cell) if cell else float('nan'))\n"
    "check = [len(columns[2]), round(sum(columns[2][:1000]), 9), columns[3][-1], columns[0][-1]]",
)
POLARS = (
    "import sys, polars",
    "table = polars.read_csv(sys.argv[1])\n"
    "columns = [table[n].cast(polars.Float64).to_numpy() for n in table.columns]\n"
    "check = [len(columns[2]), round(sum(columns[2][:1000].tolist()), 9), "
    "float(columns[3][-1]), float(columns[0][-1])]",
)
DUCKDB = (
    "import sys, duckdb, numpy",
    "types = {n: 'DOUBLE' for n in open(sys.argv[1]).readline().strip().split(',')}\n"
    "table = duckdb.read_csv(sys.argv[1], columns=types, header=True).fetchnumpy()\n"
    "columns = [numpy.ma.filled(c, numpy.nan) for c in table.values()]\n"
    "check = [len(columns[2]), round(sum(columns[2][:1000].tolist()), 9), "
    "float(columns[3][-1]), float(columns[0][-1])]",
)


def write(path: Path, rows: int, size: int = 0) -> None:
    """A log of a training run: a count, decimals, exponents, some NaN, and a column that is mostly empty."""
    draw = random.Random(0)
    with path.open("w") as stream:
        stream.write(HEADER)
        for i in range(rows):
            loss = 3 / (1 + i / 1e5) + draw.random() / 10
            norm = "nan" if i % 5000 == 77 else f"{draw.random() * 3:.6f}"
            val = f"{loss + 0.2:.6f}" if i % 10 == 0 else ""
            stream.write(
                f"{i},{i / 10000:.4f},{loss:.6f},{3e-4 / (1 + i / 1e6):.6e},{norm},"
                f"{5e4 + draw.random() * 1000:.2f},{draw.random():.6f},{val}\n"
            )
            if size and i % 500 == 0 and stream.tell() >= size:
                break


def switch(folder: Path, rounds: int) -> None:
    """Prints where reading with numpy, its import included, becomes faster than reading row by row."""
    print("\nrow by row with Python's csv (no numpy) against blocks with numpy, whole processes:\n")
    print("| KiB | rows cpu ms | blocks cpu ms | blocks / rows | rows peak MiB | blocks peak MiB |")
    print("|---|---|---|---|---|---|")
    ways = {
        name: Way(f"{MLDIAG.imports}\nmodule.IN_BULK = {limit}", MLDIAG.body)
        for name, limit in (("rows", "10**18"), ("blocks", "0"))
    }
    meets = None
    for size in SIZES:
        path = folder / f"log{size}.csv"
        write(path, 10**9, size)
        costs = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                costs[name].append(cost(way, str(path)))
        rows, blocks = costs["rows"], costs["blocks"]
        factor = paired(blocks, rows, "cpu")
        meets = path.stat().st_size if meets is None and factor < 1 else meets
        print(
            f"| {path.stat().st_size / 1024:,.0f} | {median(c.cpu for c in rows) * 1000:.0f} "
            f"| {median(c.cpu for c in blocks) * 1000:.0f} | {factor:.2f} "
            f"| {max(c.peak for c in rows) / 2**20:.0f} | {max(c.peak for c in blocks) / 2**20:.0f} |"
        )
    from mldiag.readers.csv_table import IN_BULK

    found = "above all of these sizes" if meets is None else f"at most {meets / 1024:,.0f} KiB"
    print(
        f"\nthe switch lies at {IN_BULK / 1024:,.0f} KiB: numpy's import costs a tenth of a second and 10 MiB, "
        f"and pays for itself here from {found}"
    )


def main() -> None:
    """Writes the tables, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", help="interpreter with polars, duckdb and numpy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2_000_000)
    args = parser.parse_args()
    print(versions(sys.executable, "mldiag-toolkit", "numpy"))
    ways = {"mldiag": MLDIAG}
    if args.peers:
        print(versions(args.peers, "polars", "duckdb", "numpy"))
        ways |= {"polars": Way(*POLARS, python=args.peers), "duckdb": Way(*DUCKDB, python=args.peers)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "log.csv"
        write(path, args.rows)
        print(f"\n{args.rows:,} rows of 8 columns, {path.stat().st_size / 1e6:.0f} MB, {args.rounds} rounds\n")
        peer = "polars" if args.peers else "mldiag"
        costs = compare(ways, path, args.rounds, peer)
        if args.peers:
            peak = max(c.peak for c in costs["mldiag"])
            print(
                f"mldiag / polars, whole process: {paired(costs['mldiag'], costs['polars'], 'wall'):.2f} "
                f"(target: at most {TARGET}); peak {peak / 2**20:.0f} MiB (target: at most {TARGET_PEAK / 2**20:.0f})"
            )
        tenth = folder / "tenth.csv"
        write(tenth, args.rows // 10)
        print(f"\n{args.rows // 10:,} rows, with Python's csv and float\n")
        compare({"mldiag": MLDIAG, "csv + float": CSV}, tenth, args.rounds, "csv + float")
        switch(folder, args.rounds)


if __name__ == "__main__":
    main()
