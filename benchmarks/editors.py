"""Edits of generated files, held against parsers that are not mldiag's own.

    python benchmarks/editors.py [--files 10000] [--seed 0] [--only yaml --only json]

Of each format so many files are drawn, and of each file one edit: another value for a setting that it holds, or a new
setting, keyword, flag or variable. Checked is that only the span changed; that PyYAML, `json`, `tomllib`,
`configparser`, `shlex`, `ast` or Bash (which parses each script and runs it up to the words that it hands to the
program) read the same as before but for that value; and that comments and line ends are there as before. "Declined" are
edits that a format cannot say and that therefore are only shown (null in TOML, a line end in an INI file). Exit code 1
where anything does not hold.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from edited_documents import FORMATS, Drawn, called, check, check_words

BATCH = 500
"""Scripts that one shell reads."""


def main() -> int:
    """Prints a table; 1 where an edit did something else than it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=list(FORMATS))
    options = parser.parse_args()
    print(f"{'format':14} {'files':>7} {'replaced':>9} {'inserted':>9} {'declined':>9} {'wrong':>6} {'seconds':>8}")
    wrong = 0
    for syntax in options.only or FORMATS:
        started = time.perf_counter()
        counts: Counter[str] = Counter()
        scripts: list[Drawn] = []
        for number in range(options.files):
            try:
                done = check(syntax, Random(f"{options.seed} {syntax} {number}"))
                counts[done.what] += 1
                scripts += [done] if done.edit is not None else []
            except Exception as error:  # whatever an edit breaks is counted and shown
                counts["wrong"] += 1
                print(f"{syntax} {number}: {type(error).__name__}: {error}", file=sys.stderr)
        if syntax == "shell" and shutil.which("bash"):
            counts["wrong"] += check_in_shell(scripts)
        elif syntax == "shell":
            print("shell: no bash here: its files were checked for their bytes only", file=sys.stderr)
        figures = [counts[what] for what in ("replaced", "inserted", "declined", "wrong")]
        columns = "".join(f" {figure:>9,}" for figure in figures[:3])
        print(
            f"{syntax:14} {options.files:>7,}{columns} {figures[3]:>6,} {time.perf_counter() - started:>8.1f}",
            flush=True,
        )
        wrong += counts["wrong"]
    return int(wrong > 0)


def check_in_shell(scripts: list[Drawn]) -> int:
    """How many of the edited scripts a shell reads otherwise than it should."""
    wrong = 0
    for start in range(0, len(scripts), BATCH):
        batch = scripts[start : start + BATCH]
        with tempfile.TemporaryDirectory() as name:
            before = called([done.before for done in batch], Path(name))
            after = called([done.after for done in batch], Path(name))
        for done, old, new in zip(batch, before, after, strict=True):
            try:
                check_words(done, old, new)
            except AssertionError as error:
                wrong += 1
                print(f"shell: {error}", file=sys.stderr)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
