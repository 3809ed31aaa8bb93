"""Tables with a row per example: losses, scores, labels, predictions."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


def _is_score_table(file: File) -> bool:
    from mldiag.readers._tables.examples import is_table_of_examples

    return is_table_of_examples(file)


@reader("*.csv", "*.tsv", "*.tab", "*.json", "*.jsonl", "*.ndjson", matches=_is_score_table, priority=33, post=True)
def score_table(file: File) -> Iterator[Artifact]:
    """Tables of examples in CSV, TSV, JSON lines and JSON: per-example losses, scores, labels, predictions.

    Told from a log by its shape: rows have ids, labels, predictions or texts, and no step or epoch counts them. A table
    of final results (one row per model, fold or epoch, with scores such as accuracy or F1) is none. In JSON a list of
    records, lists of one length side by side, and a map from ids to numbers are understood, below `predictions`,
    `scores`, `results` and the like as well; a bare list of numbers only where the file is named for it.

    Columns of numbers are kept, true as 1 and false as 0, a short list of numbers as one column per place (`probs.0`);
    a cell that is no number is NaN. Of other columns the names are kept, of up to 16 classes which row has which, and
    of ids, paths and texts a checksum of each cell, by which the examples of two tables are compared. The split is that
    of a column `split`, which gives a table for each, else that of the file's or folder's name; out-of-fold predictions
    are held out (`val`).

    At most 10 million cells are kept, which take 80 MB; the rest is counted. Rows with another number of cells than the
    header are left out and counted, except a last line that is still being written; of a cut JSON document the whole
    records are read.
    """
    from mldiag.readers._tables.examples import tables

    yield from tables(file)
