"""Whether every labelled run opens, with the points and the validation that its manifest counts.

    corpus_reading.py CORPUS [--format NAME] [--all]

CORPUS holds `manifest.jsonl` (id, format, n_points: length of the longest series, has_val) and `runs/<id>/`. Prints
each run that differs, and what was read; exit 1 below the shares the project asks for. The manifest was counted by a
quick parser: where it is wrong, `KNOWN` says so and why.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mldiag.audit import Request, read_runs
from mldiag.plugins import Plugins, load
from mldiag.run import Run

OPENED = 240 / 246
AGREEING = 0.95
TOLERANCE = 0.05

KNOWN: dict[str, str] = {}
"""Runs whose entry in the manifest is not what the files hold, each with the reason."""


def read(folder: Path, plugins: Plugins) -> tuple[list[Run], list[str]]:
    """The runs in a folder, and what could not be worked on."""
    problems: list[str] = []
    return list(read_runs(Request((folder,)), plugins, problems)), problems


def points(runs: list[Run]) -> int:
    """Length of the longest series."""
    return max((len(series) for run in runs for series in run.metrics), default=0)


def has_validation(runs: list[Run]) -> bool:
    """Whether some series belongs to held-out data."""
    return any(series.name.startswith(("val/", "test/")) for run in runs for series in run.metrics)


def main() -> int:
    """Reads, compares and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--format", help="only runs of this format, or whose id contains this")
    parser.add_argument("--all", action="store_true", help="print runs that agree, too")
    args = parser.parse_args()
    plugins = load()
    rows: list[dict[str, Any]] = [json.loads(line) for line in (args.corpus / "manifest.jsonl").open(encoding="utf-8")]
    rows = [r for r in rows if not args.format or args.format == r["format"] or args.format in r["id"]]
    opened = same_points = same_validation = counted = 0
    for row in rows:
        runs, problems = read(args.corpus / "runs" / row["id"], plugins)
        found, val = points(runs), has_validation(runs)
        known = row["id"] in KNOWN
        right_points = abs(found - row["n_points"]) <= TOLERANCE * row["n_points"]
        right_val = val == row["has_val"]
        opened += bool(found) or not row["n_points"]
        counted += 1
        same_points += right_points or known
        same_validation += right_val or known
        if args.all or not (right_points and right_val):
            unread = [str(u) for run in runs for u in run.unread if u.known]
            why = f"  ({KNOWN[row['id']]})" if known else ""
            print(f"{row['id']}: points {found:,} of {row['n_points']:,}, validation {val} of {row['has_val']}{why}")
            for line in [*problems, *unread][:3]:
                print(f"    {line[:200]}")
    print(f"{counted} runs: opened {opened}, points agree {same_points}, validation agrees {same_validation}")
    return int(opened < OPENED * counted or min(same_points, same_validation) < AGREEING * counted)


if __name__ == "__main__":
    sys.exit(main())
