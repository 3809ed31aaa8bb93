"""CUR013: a metric that should move did not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from mldiag.api import (
    Curves,
    Evidence,
    Finding,
    Fix,
    Metrics,
    NotApplicable,
    Series,
    is_capped,
    is_whole_score,
    rule,
    stats,
)

_LOSSES = ("val/loss", "test/loss")
_MOST_VALUES = 2
_LOOK = 100
"""Values that show whether there are more than two: a series of a million is not counted."""


class _Constant(Struct, frozen=True):
    """A series that hardly moved: its value, at how many of its points, and why that is suspicious."""

    series: Series
    value: float
    count: int
    points: int
    others: int
    against: str
    shown: tuple[Evidence, ...]


@rule("CUR013", severity="warning", gives_way_to=("CUR005",))
def constant_metric(
    metrics: Metrics,
    curves: Curves,
    *,
    min_evaluations: int = 10,
    min_train_evaluations: int = 8,
    min_share: float = 0.8,
    earned: float = 0.95,
) -> Iterator[Finding]:
    """A metric that should move had one value, or one and a single other, in all evaluations.

    ## What it checks
    Losses of held-out data and scores that are known by name (accuracy, F1, Dice, AUC, BLEU, PSNR, ...), in the last
    launch. All values are equal, or two values occur and one of them nearly always. A nearly perfect score that was
    reached from below is earned and left alone. One that was perfect from the first evaluation on is reported only
    where something contradicts it: another score of the same evaluations, or of the train data, was not perfect then.
    A value that is always infinite is a constant, too. Not looked at: learning rates and settings, counters, times,
    parts of a loss, scores of single classes (the data may not hold them), losses and scores of single batches with
    two values.

    ## Why it matters
    The evaluation does not measure the model: labels averaged away, a threshold that nothing passes, the wrong axis,
    the same cached outputs; or the model gives the same answer to everything. Whatever is chosen by it is chosen by
    chance.

    ## Inputs
    Series of scores and held-out losses, any unit, at least 10 evaluations (of a train score 8).

    ## Options
    - `min_evaluations`: values of a held-out score or loss (10).
    - `min_train_evaluations`: of a score of the train data, which moves with the weights even between epochs (8).
    - `min_share`: share of the commonest of two values (0.8).
    - `earned`: score, of 1, from which one reached from below is left alone (0.95).

    ## Fix
    Shown: evaluate on a few examples by hand and look at predictions, labels, threshold and averaging.

    ## When to ignore
    The validation set is so small that the score moves in steps of many percent.

    ## Source
    Limits: chosen on 345 labelled runs, none held out. Every series found there is of a model that collapsed or does
    not train, or of a metric that is computed wrongly; none is of a healthy run.
    """
    judged = 0
    found: list[tuple[_Constant, int]] = []
    for series in metrics:
        if series.name not in _LOSSES and not is_whole_score(series.name):
            continue
        curve = curves.get(series.name)
        values: Sequence[float] = curve.values if curve is not None else _infinite(series)
        least = min_train_evaluations if series.name.startswith("train/") else min_evaluations
        if len(values) < least:
            continue
        judged += 1
        constant = _constant(curves, series, values, min_share, earned)
        if constant is not None:
            found.append((constant, least))
    if not judged:
        raise NotApplicable(f"no held-out loss or known score with at least {min_evaluations} values")
    for c, least in found:
        others = f", and another at {c.others}" if c.others else ""
        yield Finding(
            f"{c.series.name} was {_said(c.value)} at {c.count:,} of {c.points:,} evaluations{others}{c.against}",
            at=c.series.source,
            evidence=(
                Evidence("value", c.value if math.isfinite(c.value) else _said(c.value), None, c.series.source),
                Evidence("evaluations with it", c.count, math.ceil(min_share * c.points)),
                Evidence("evaluations", c.points, least),
                *((Evidence("evaluations with the other value", c.others),) if c.others else ()),
                *c.shown,
            ),
            fix=Fix.show("look at predictions, labels, threshold and averaging of this metric on a few examples"),
        )


def _said(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "infinite"


def _infinite(series: Series) -> list[float]:
    """The values of a series without any number, where they are infinite (NaN is undefined, which is no value)."""
    return list(series.data) if len(series) and all(math.isinf(v) for v in series.data) else []


def _constant(
    curves: Curves, series: Series, values: Sequence[float], min_share: float, earned: float
) -> _Constant | None:
    if len(set(values[:_LOOK])) > _MOST_VALUES:
        return None
    counts = _counts(values)
    if len(counts) > _MOST_VALUES:
        return None
    value, count = counts.most_common(1)[0]
    others = len(values) - count
    score = is_capped(series.name)
    if others and (count < min_share * len(values) or others > 2 + len(values) // 20):
        return None
    if others and series.name.startswith("train/") and len(values) > _LOOK:
        return None  # batches of a few examples
    if others and not series.name.startswith("train/") and score and value >= 0.5 and value not in values[:others]:
        return None  # it moved, and settled at once
    if value < 0 and score:
        return None  # -1 is written for "no such objects"
    perfect = score and earned <= (value if value <= 1 else value / 100) <= 1
    if not perfect:
        return _Constant(series, value, count, len(values), others, "", ())
    if others or value not in (1.0, 100.0):
        return None
    return _contradicted(curves, series, value, count, earned)


def _counts(values: Sequence[float]) -> Counter[float]:
    """How often each value occurs; of a long series only where there are few values."""
    if len(values) < stats.LONG:
        return Counter(values)
    import numpy as np

    found, often = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    return Counter(dict(zip(found[: _MOST_VALUES + 1].tolist(), often.tolist(), strict=False)))


def _contradicted(curves: Curves, series: Series, value: float, count: int, earned: float) -> _Constant | None:
    """A perfect score while another score, of the same data or the train data, began well below it."""
    split = series.name.partition("/")[0]
    for name in curves:
        comparable = is_whole_score(name) and is_capped(name) and name.startswith((f"{split}/", "train/"))
        other = curves.get(name) if comparable and name != series.name else None
        if other is None or len(other) < 3:
            continue
        first, highest = other.values[0], max(other.values)
        if first < earned * value and min(other.values) >= 0 and value / 2 < highest <= value:
            return _Constant(
                series,
                value,
                count,
                count,
                0,
                f" from the first on, where {name} was {first:.4g}",
                (Evidence(f"{name} at the first", first, earned * value, other.at(0)),),
            )
    return None
