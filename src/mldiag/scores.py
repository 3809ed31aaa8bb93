"""Tables with a row per example: losses, scores, labels, predictions. No time series, though they look like one."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from msgspec import Struct, field

from mldiag.artifacts import Collection, Source


class ScoreTable(Struct, frozen=True):
    """One table of examples.

    Attributes:
        rows: examples.
        columns: numeric columns by their name in the file, each of `rows` values; a cell that is no number is NaN.
        texts: names of the other columns (ids, sentences, class names).
        split: `train`, `val` or `test` by the name of the file or folder.
    """

    source: Source
    rows: int
    columns: Mapping[str, array[float]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    split: str | None = None


class Scores(Collection, frozen=True):
    """The per-example tables of a run."""

    of = ScoreTable
    called = "per-example scores"

    items: tuple[ScoreTable, ...] = ()
