"""Settings side by side: what each source says of each, which of them takes effect, and where they contradict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mldiag.artifacts import Role, Scalar, Settings, Source
from mldiag.errors import NotApplicable
from mldiag.facts.conflicts import Conflict, Conflicts, same_value
from mldiag.reporters.json import at
from mldiag.run import Run
from mldiag.vocabulary import Vocabulary

BUILT = "built"
"""The column of sizes that the source builds the model with, whatever the settings say."""
COLUMNS = (*(role.value for role in Role), BUILT)
_DATA = ("tokenizer.", "token_file.")


def matrix(run: Run, vocabulary: Vocabulary) -> dict[str, Any]:
    """Every setting with its value in each kind of source, as plain data.

    Returns:
        `columns`: the kinds of sources that say anything, in their order; `files`: the files behind them; `rows`: for
        each setting its `name`, whether the vocabulary has it (`known`), whether the places `differ`, the `conflict` as
        a sentence or None, and `cells`: column → values, each with its place and whether it takes effect.
    """
    conflicts = {c.name: c for c in _conflicts(run)}
    said = _said(run)
    rows: list[dict[str, Any]] = []
    for name in sorted({*said, *conflicts}, key=_order):
        values = said.get(name, [])
        cells: dict[str, list[dict[str, Any]]] = {}
        for column, value, source, effective in values:
            cells.setdefault(column, []).append({"value": value, "effective": effective, "at": at(source)})
        ambiguous = run.settings.ambiguous.get(name)
        rows.append(
            {
                "name": name,
                "known": vocabulary.setting(name) is not None or name.startswith(_DATA),
                "differ": any(not same_value(values[0][1], v) for _, v, _, _ in values[1:]),
                "conflict": ambiguous or (told(conflicts[name]) if name in conflicts else None),
                "cells": {c: cells[c] for c in COLUMNS if c in cells},
            }
        )
    used = {column for row in rows for column in row["cells"]}
    files = dict.fromkeys(
        value["at"]["path"]
        for column in COLUMNS
        for row in rows
        for value in row["cells"].get(column, ())
        if value["at"] is not None
    )
    return {"columns": [c for c in COLUMNS if c in used], "files": list(files), "rows": rows}


def told(conflict: Conflict) -> str:
    """A conflict as a sentence."""
    stated = conflict.stated
    built = f", with which the model is built at {conflict.built_at}" if conflict.built_at is not None else ""
    return f"{stated.value} at {stated.source} stands against {conflict.actual} at {conflict.actual_at}{built}"


def _conflicts(run: Run) -> Iterable[Conflict]:
    try:
        found: Conflicts = run.get(Conflicts)
    except (NotApplicable, TypeError):
        return ()
    return found.items


_Said = tuple[str, Scalar | tuple[Scalar, ...], Source, bool]


def _said(run: Run) -> dict[str, list[_Said]]:
    """Setting → column, value, place and whether it takes effect."""
    settings: Settings = run.settings
    found: dict[str, list[_Said]] = {}
    for name in settings.by_name:
        effective = settings.effective(name)
        found[name] = [(v.role.value, v.value, v.source, v is effective) for v in settings.all(name)]
    for build in run.program.builds:
        if build.value is not None:
            found.setdefault(build.name, []).append((BUILT, build.value, build.source, False))
    return found


def _order(name: str) -> tuple[str, bool, str]:
    """What tokenizer and token files say stands below the model's `vocab_size`."""
    beside = name.startswith(_DATA)
    return ("vocab_size" if beside else name, beside, name)


def letters() -> Iterator[str]:
    """a, b, … z, aa, ab, …: what files are called in a table."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    for first in ("", *alphabet):
        yield from (first + letter for letter in alphabet)


def shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are worth a look: known settings, and others on which places differ."""
    return [row for row in rows if row["known"] or row["differ"] or row["conflict"]]
