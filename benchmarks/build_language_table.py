"""Derives a language's table of letters from plain text: `build_language_table.py pt.table corpus/*.txt`.

The table is what `mldiag_samples.language` reads: which groups of four letters occur in the words of the language, and
how likely each letter follows another. Words that occur fewer than `--min-count` times are left out: they are mostly
names and misspellings. The Portuguese table comes from 3.0 million words (Machado de Assis, court decisions, program
help, a system handbook), the English one from 1.6 million (Python's documentation, dialogues about films, encyclopaedia
articles).
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

from mldiag_samples.language import ALPHABET, GROUPS_SIZE, NEVER, fold, letter_runs


def build(words: Counter[str]) -> bytes:
    """The table of some folded words and how often each occurs, compressed."""
    size = len(ALPHABET)
    number = {letter: n for n, letter in enumerate(ALPHABET)}
    groups = bytearray(GROUPS_SIZE)
    follows = [[0] * size for _ in range(size)]
    for word, count in words.items():
        code = [0, *(number[c] for c in word), 0]
        for a, b in pairwise(code):
            follows[a][b] += count
        for a, b, c, d in zip(code, code[1:], code[2:], code[3:], strict=False):
            groups[((a * size + b) * size + c) * 4 + (d >> 3)] |= 1 << (d & 7)
    pairs = bytearray()
    for row in follows:
        total = sum(row)
        pairs += bytes(min(NEVER, round(16 * math.log2(total / n))) if n else NEVER for n in row)
    return zlib.compress(bytes(groups + pairs), 9)


def main() -> None:
    """Reads the texts and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="file to write, named after the language: pt.table")
    parser.add_argument("texts", type=Path, nargs="+", help="plain text in UTF-8")
    parser.add_argument("--min-count", type=int, default=5, help="rarer words are left out")
    args = parser.parse_args()
    words: Counter[str] = Counter()
    for path in args.texts:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                words.update(map(fold, letter_runs(line)))
    letters = set(ALPHABET) - {"^"}
    common = Counter({w: n for w, n in words.items() if n >= args.min_count and set(w) <= letters})
    data = build(common)
    args.table.write_bytes(data)
    print(f"{args.table}: {len(data):,} bytes from {words.total():,} words, {len(common):,} of them kept as forms")


if __name__ == "__main__":
    main()
