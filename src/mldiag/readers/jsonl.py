"""Logs of one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._configs.settings import recorded
from mldiag.readers._tables.columns import flat, is_log_row

_decode = msgspec.json.Decoder().decode


def head_objects(file: File) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects among the complete lines of the file's head, and how many such lines are something else."""
    complete, cut, _ = file.head.decode(file.encoding, errors="replace").rpartition("\n")
    lines = complete if cut and file.size > len(file.head) else file.head.decode(file.encoding, errors="replace")
    objects, others = [], 0
    for line in lines.split("\n"):
        if text := line.strip().removeprefix("\ufeff"):
            found = json_object(text) if text.startswith("{") else None
            if found is None:
                others += 1
            else:
                objects.append(found)
    return objects, others


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a line holds; None where it holds something else."""
    found: object
    try:
        found = _decode(text)
    except (msgspec.MsgspecError, RecursionError):
        # Python's json takes more than the standard: bare NaN, 1e999, halves of surrogate pairs.
        try:
            import json

            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _is_log(file: File) -> bool:
    """Nearly every line an object, and some of them records of a training log."""
    objects, others = head_objects(file)
    if file.name.lower().endswith((".jsonl", ".ndjson")):
        if not objects:
            return True  # the name promises lines of JSON; `read` says what is there instead
    elif len(objects) < 2 or others > len(objects) / 10:
        return False
    return any(is_log_row(flat(o)) for o in objects)


@reader("*.jsonl", "*.ndjson", "*.json", "*.log", "*.txt", matches=_is_log, priority=30, post=True)
def jsonl(file: File) -> Iterator[Artifact]:
    """Metric logs of one JSON object a line, ragged or not; bare NaN and Infinity are numbers.

    One series per key, each with the steps, epochs and times of its own lines; nested objects join with `/`; a text
    column `mode`, `split` or `phase` gives the split. Records before the first logged row that hold no metric are the
    log's header: their scalars are settings, as are those of a record `config` that rows repeat (RLlib). A last line
    without its line end is being written and is left out in silence; other lines that are no JSON object are left out
    and counted.
    """
    from mldiag.readers._tables.jsonl_log import Log

    log = Log(file)
    for block in file.blocks():
        yield from log.read(block)
    table = log.table
    yield from table.artifacts()
    yield from recorded(table.planned, file)
    if log.bad:
        reason = f"{log.bad:,} of {log.count:,} lines are no JSON object, the first {log.first_bad[1]!r}"
        raise ReadError(reason, line=log.first_bad[0], partial=bool(len(table)))
    if not len(table):
        raise ReadError("the file is empty" if not file.size else "no line is a record of a training log")
