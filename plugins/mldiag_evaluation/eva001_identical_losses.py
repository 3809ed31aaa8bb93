"""EVA001: losses of examples that are one value, one value a batch, or a handful of values."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from mldiag.api import Column, Evidence, Finding, NotApplicable, ScoredExamples, rule, stats

_CLASSES = 16


@rule("EVA001", severity="error", explains=("EVA002", "EVA003", "EVA010"))
def identical_losses(
    examples: ScoredExamples,
    *,
    min_rows: int = 10,
    min_levels: float = 20.0,
    min_batch: int = 4,
    min_batches: int = 4,
    few: int = 5,
    main_share: float = 0.9,
    same: float = 0.001,
) -> Iterator[Finding]:
    """The losses or scores of different examples are one value, or a handful of values.

    ## What it checks
    Each column of losses per example (`loss`, `nll`, `perplexity`, ...), and whether all scores are equal. Three
    patterns: one value for all; one value for each run of as many rows, the mean of a batch written for each of its
    examples; a handful of values, one of which holds most rows, or while the scores of the same rows differ. Values
    that are equal because they are rounded are told from constant ones: one value must be `min_levels` of its own last
    digits, and a handful must not be the neighbouring digits of a narrow spread. Nor is the lowest of many values
    one: label smoothing and margins give losses a floor, which a good model reaches most of the time. Losses that the
    true class alone decides are those of a constant predictor, or errors of 0 and 1, and are no defect of the table.
    Groups of rows that have one id are repetitions of one example.

    ## Why it matters
    Different inputs do not have the same loss to the last digit. What was written is a mean, a default, the loss of
    padding or of the same tokens each time; no threshold on it detects anything, and every example is judged alike.

    ## Inputs
    Tables of examples with a column of losses (any unit) or scores.

    ## Options
    - `min_rows` (10 examples): fewer may agree by chance.
    - `min_levels` (20): value / written precision from which equal values are equal; 0.00 for all is a good model.
    - `min_batch` (4 examples), `min_batches` (4): the smallest batch, and how many there must be. Real losses in a
      row differ, so that runs of one length do not come by chance.
    - `few` (5 values): what a handful is.
    - `main_share` (0.9): share of the rows that one of several values has.
    - `same` (0.001): range / value up to which a handful of values is one value and the noise of arithmetic.

    ## Fix
    Shown: only who knows the program sees why: losses are to be computed with `reduction="none"`, of each example's
    own tokens without padding, and written before they are averaged.

    ## When to ignore
    Losses that can have few values by definition, such as an edit distance of short words.

    ## Source
    Measured on a log anomaly detector with 169 losses of 17.43 and on two classifiers with 899 rows of the mean loss;
    the losses of four healthy tables of 900 rows have 738 to 835 distinct values.
    """
    judged = 0
    for column in examples.columns:
        values = array("d", stats.finite(column.values))
        if len(values) < min_rows:
            continue
        judged += 1
        distinct = len(set(values))
        unit = stats.written_unit(values)
        if distinct == 1:
            if abs(values[0]) >= min_levels * unit and (column.is_loss or not values[0].is_integer()):
                yield _one_value(column, values, examples)
            continue
        if not column.is_loss or _is_of_class(column):
            continue
        near = distinct <= few and max(values) - min(values) <= same * abs(max(values))
        if not near and _is_grid(values, distinct, unit):
            continue
        if (size := _batch(values, min_batch, min_batches)) and not _repeats(column, size):
            yield _finding(
                column,
                f"the {_kind(column)} of {column.table.source.path} are the same within each {size:,} rows: "
                f"{distinct:,} values for {len(values):,} examples, the mean of each batch",
                (
                    Evidence("examples", len(values), at=column.source, unit="example"),
                    Evidence("distinct values", distinct, at=column.source),
                    Evidence("rows of one value", size, at=column.source, unit="example"),
                ),
            )
            continue
        value, count = Counter(values).most_common(1)[0]
        share = count / len(values)
        others = _most_distinct(column, examples)
        counts = all(v.is_integer() for v in values)
        handful = distinct <= few and len(values) >= few * min_rows and others >= few * min_rows
        # What no loss lies below is the floor of the loss, as label smoothing has one: a good model reaches it often.
        main = share >= main_share and abs(value) >= min_levels * unit and value > min(values) + 2 * unit
        if not counts and (near or main or handful):
            yield _finding(
                column,
                f"the {_kind(column)} of {len(values):,} examples in {column.table.source.path} have {distinct:,} "
                f"distinct values, and {count:,} ({100 * share:.1f} %) are {value:g}",
                (
                    Evidence("examples", len(values), at=column.source, unit="example"),
                    Evidence("distinct values", distinct, few, column.source),
                    Evidence("rows of the main value", count, at=column.source, unit="example"),
                    Evidence("share of the main value", share, main_share, column.source),
                    Evidence("main value", value, at=column.source),
                ),
            )
    if not judged:
        raise NotApplicable(f"no column of losses or scores has {min_rows:,} numbers")


def _one_value(column: Column, values: array[float], examples: ScoredExamples) -> Finding:
    evidence = [
        Evidence("examples", len(values), at=column.source, unit="example"),
        Evidence("distinct values", 1, at=column.source),
        Evidence("value", values[0], at=column.source),
    ]
    message = (
        f"all {len(values):,} {_kind(column)} of {column.table.source.path} are {values[0]:g}: different examples do "
        "not have the same one"
    )
    others = _most_distinct(column, examples)
    if others > len(values) // 2:
        message += f", and their scores have {others:,} distinct values"
        evidence.append(Evidence("distinct scores", others, at=column.table.source))
    return _finding(column, message, tuple(evidence))


def _finding(column: Column, message: str, evidence: tuple[Evidence, ...]) -> Finding:
    return Finding(
        message,
        at=column.source,
        evidence=evidence,
        advice='compute the loss of each example (reduction="none", its own tokens, no padding) before any mean',
    )


def _kind(column: Column) -> str:
    return "losses" if column.is_loss else "scores"


def _is_grid(values: array[float], distinct: int, unit: float) -> bool:
    """Whether few values are all that the written digits have between the lowest and the highest."""
    return distinct > (max(values) - min(values)) / unit / 2


def _is_of_class(column: Column) -> bool:
    """Whether a column of few values (a true class) decides the value alone: then it is a constant predictor's."""
    table = column.table
    if len(set(column.values)) > _CLASSES:
        return False
    names: list[array[float] | array[int]] = [
        v for n, v in table.columns.items() if n != column.name and "batch" not in n.lower()
    ]
    names += [c.codes for c in table.classes.values()]
    for other in names:
        groups = set(other)
        if 1 < len(groups) <= min(_CLASSES, table.rows // 4) and len(
            set(zip(other, column.values, strict=True))
        ) <= len(groups):
            return True
    return False


def _batch(values: array[float], min_batch: int, min_batches: int) -> int:
    """Rows that have one value in turn, where all such runs but the last are as long; 0 where they are not."""
    lengths = [len(list(run)) for _, run in groupby(values)]
    # Two batches of one mean make one run, as the last, smaller one may do with the one before.
    size = min(lengths[:-1], default=0)
    if size < min_batch or len(lengths) < min_batches or lengths[-1] >= 2 * size:
        return 0
    return size if all(n % size == 0 for n in lengths[:-1]) else 0


def _repeats(column: Column, size: int) -> bool:
    """Whether the rows of a run are one example, by an id or a text that they share."""
    table = column.table
    shared: list[tuple[str, array[float] | array[int]]] = [*table.keys.items(), *table.columns.items()]
    for name, keys in shared:
        if name != column.name and len(set(keys[:size])) == 1 and len(set(keys)) >= table.rows // size // 2:
            return True
    return False


def _most_distinct(column: Column, examples: ScoredExamples) -> int:
    """Distinct values of the other columns of scores of the same table."""
    others = (c for c in examples.columns if c.table is column.table and c is not column)
    return max((len(set(c.values)) for c in others), default=0)
