"""Texts of the splits beside the files of a run, and how much of the held-out ones stands in the training one."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from msgspec import Struct

from mldiag.artifacts import Source
from mldiag.errors import NotApplicable, ReadError
from mldiag.facts import fact
from mldiag.files import File
from mldiag.run import Run
from mldiag.vocabulary import split_of

ENDINGS = (".txt", ".jsonl", ".csv", ".tsv")
SHORTEST = 40
"""Characters of a line that is compared: shorter ones ("Yes.", headings) stand in any two texts."""
MOST_LINES = 200_000
"""Lines of a held-out text that are kept; of a longer one the first."""
MOST_BYTES = 2**27
"""Bytes of a training text that are looked through: one second."""

_TEXT_READER = "training_text"


class SharedLines(Struct, frozen=True):
    """What a held-out text has in common with the training text.

    Attributes:
        lines: different long lines of the held-out text; `found`: those that the training text has too.
        first: the number of the first of them in the held-out text.
    """

    train: Source
    held_out: Source
    lines: int
    found: int
    first: int | None = None

    @property
    def share(self) -> float:
        return self.found / self.lines if self.lines else 0.0


class SplitTexts(Struct, frozen=True):
    """Pairs of a training text and a held-out text of one folder."""

    pairs: tuple[SharedLines, ...]


@fact
def split_texts(run: Run) -> SplitTexts:
    """Compares `train.txt` with `val.txt`, `valid.jsonl`, `test.csv`, line by line.

    Files that a reader took for something else than text are left out: a `train.txt` may be a log.
    """
    found = []
    if not run.files:
        raise NotApplicable("a run that was made in memory has no folder")
    for folder in sorted({"", *(posixpath.dirname(p) for p in run.files if not p.startswith("../"))}):
        texts = _texts(run, folder)
        for ending in ENDINGS:
            train = [p for p, split in texts if split == "train" and p.endswith(ending)]
            others = [p for p, split in texts if split in ("val", "test") and p.endswith(ending)]
            found += [_compared(run, train[0], other) for other in others if len(train) == 1]
    if not found:
        raise NotApplicable("no text of the training data beside one of the validation data")
    return SplitTexts(tuple(found))


def _texts(run: Run, folder: str) -> list[tuple[str, str | None]]:
    try:
        with os.scandir(run.root / folder) as entries:
            names = sorted(e.name for e in entries if e.name.lower().endswith(ENDINGS) and e.is_file())
    except OSError:
        return []
    paths = [posixpath.join(folder, name) for name in names]
    paths = [p for p in paths if run.files.get(p) in (None, _TEXT_READER)]
    return [(p, split_of(posixpath.basename(p).rsplit(".", 1)[0])) for p in paths]


def _compared(run: Run, train: str, other: str) -> SharedLines:
    wanted: dict[int, int] = {}
    for number, line in _lines(File(run.root, other)):
        wanted.setdefault(hash(line), number)
        if len(wanted) == MOST_LINES:
            break
    met = {h for _, line in _lines(File(run.root, train)) if (h := hash(line)) in wanted} if wanted else set()
    first = min((wanted[h] for h in met), default=None)
    return SharedLines(Source(train), Source(other, first), len(wanted), len(met), first)


def _lines(file: File) -> Iterator[tuple[int, bytes]]:
    """The long lines of a text with their numbers; a header is one line more."""
    try:
        read = 0
        for block in file.blocks():
            for number, line in enumerate(block.data.split(b"\n"), block.line):
                line = line.strip()
                if len(line) >= SHORTEST:
                    yield number, line
            read += len(block.data)
            if read > MOST_BYTES:
                return
    except ReadError:
        return
