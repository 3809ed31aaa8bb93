"""Lines without numbers that say what the lines below them are: headers of sections and of tables."""

from __future__ import annotations

import re
from functools import lru_cache

from mldiag.patterns import lazily
from mldiag.readers._text.labels import LABEL, meaning, split_of
from mldiag.vocabulary import is_metric

WORD = lazily(r"[^\W\d_]+")
NAMES = lazily(r"\[[^\]]*\]|\w+(?:[./\\]\w+)+")
"""Names of loggers, modules and files, whose words say nothing about the line."""

_HEADER_CELL = lazily(r"\||\t|\s{2,}")
_PROGRESS = lazily(r":\s+\d+%.*")
_CELL = lazily(r"[-+]?[\d.][\d.,:/eE+-]*\s?[A-Za-z%]{0,3}\s?\*?|[-+]?(?:nan|inf)|-+", re.IGNORECASE)
_ROW_END = lazily(r"[\W_]*\w{0,3}[\W_]*")
_SECTION_WORDS = frozenset({
    "begin", "begins", "start", "starts", "starting", "started", "running", "run", "set", "phase", "mode", "step",
    "epoch", "results", "result", "metrics", "on", "the", "round", "performance", "evaluation", "loop", "summary",
    "stats", "for", "data", "info", "end", "ends", "finished", "done", "completed", "now", "scores", "score",
    "statistics", "report", "stage", "split", "dataset", "bbox", "segm", "model", "full", "of",
})  # fmt: skip
_TITLES = frozenset({"error", "errors", "accuracy", "loss", "losses"})
_SECTION_ENDS = frozenset({"end", "ends", "finished", "done", "completed"})
_SECTION_VERBS = {"evaluating": "val", "validating": "val", "evaluate": "val", "validate": "val"}
_LOGGERS = frozenset({"info", "debug", "root", "main", "trainer", "logger"})


@lru_cache(4096)
def section(line: str) -> str | None:
    """The split that a line opens for the lines below it (`---- eval ----`), `end` where it closes one, else None."""
    words = [w.lower() for w in WORD.findall(NAMES.sub(" ", line))]
    if not 0 < len(words) <= 8:
        return None
    found: str | None = None
    rest = []
    for word in words:
        split = _SECTION_VERBS.get(word) or split_of(word)
        if split and len(word) > 2:
            found = found or split
        else:
            rest.append(word)
    level = [w for w in rest if w not in _LOGGERS]
    # `Test Error:` of PyTorch's quickstart is the title of what follows; without a colon it may tell of an error.
    titles = _TITLES if line.rstrip().endswith(":") else frozenset()
    if found is None or not (_SECTION_WORDS | titles).issuperset(level) or len(level) > 4:
        return None
    return "end" if _SECTION_ENDS & set(level) else found


@lru_cache(4096)
def header(line: str) -> tuple[str, ...]:
    """The columns that a line names for the rows below it; empty where it is no header of a log's table."""
    names = [n.strip(" *") for n in _HEADER_CELL.split(line.strip().strip("|"))]
    if any(not n for n in names):
        names = [n for n in names if n]
    if not 2 <= len(names) <= 60 or not all(len(n) <= 30 and LABEL.fullmatch(n) for n in names):
        return ()
    found = [meaning(n) for n in names]
    counted = any(m.kind in ("epoch", "step", "batch") for m in found) or "#" in names
    known = sum(m.known > 0 or is_metric(n) for m, n in zip(found, names, strict=True))
    return tuple(names) if known >= 2 or (known and counted) else ()


def cells(line: str, wanted: int) -> list[str]:
    """The cells of a row, between bars or blanks."""
    body = _PROGRESS.sub("", line.strip())  # Ultralytics draws a bar behind its row
    if "|" in body:
        return [c.strip() for c in body.strip("|").split("|")]
    if "\t" in body:
        return [c.strip() for c in body.split("\t")]
    found = body.split()
    return found if len(found) <= wanted else found[:wanted] if _ROW_END.fullmatch(" ".join(found[wanted:])) else found


def is_row(line: str, wanted: int) -> bool:
    """Whether a line holds numbers alone, as many as a header has columns."""
    found = cells(line, wanted)
    return len(found) == wanted and all(map(_CELL.fullmatch, found))
