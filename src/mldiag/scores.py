"""Tables with a row per example: losses, scores, labels, predictions. No time series, though they look like one."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from msgspec import Struct, field

from mldiag.artifacts import Collection, Source

MAX_CLASSES = 16
"""Names of a column that are kept as classes; a decision has two."""
MAX_KEYS = 1_000_000
"""Rows whose ids are kept as checksums, of 4 bytes each."""


class Classes(Struct, frozen=True):
    """A column of names, of which there are few.

    Attributes:
        names: the distinct names, in the order they come.
        codes: of each row the position of its name in `names`; -1 where it has none.
    """

    names: tuple[str, ...]
    codes: array[int]


class ScoreTable(Struct, frozen=True):
    """One table of examples.

    Attributes:
        rows: examples.
        columns: numeric columns by their name in the file, each of `rows` values; a cell that is no number is NaN.
        texts: names of the other columns (ids, sentences, class names).
        split: `train`, `val` or `test` by the name of the file or folder.
        classes: of the other columns those with at most `MAX_CLASSES` distinct names.
        keys: of those that tell examples apart (ids, paths, texts), a checksum of each cell, 0 where it is empty; none
            in a table of more than `MAX_KEYS` rows. Different cells have the same in one of 4 billion pairs.
    """

    source: Source
    rows: int
    columns: Mapping[str, array[float]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    split: str | None = None
    classes: Mapping[str, Classes] = field(default_factory=dict)
    keys: Mapping[str, array[int]] = field(default_factory=dict)


class Scores(Collection, frozen=True):
    """The per-example tables of a run."""

    of = ScoreTable
    called = "per-example scores"

    items: tuple[ScoreTable, ...] = ()
