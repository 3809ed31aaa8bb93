"""How well scores rank two classes, and what every threshold does: ROC, precision-recall and F1, in n log n."""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from mldiag.stats.basics import LONG

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_FITTED = 50_000
"""Examples that a choice is fitted on; of more, a sample of as many is taken."""
FOLDS = 5
"""Parts of a cross-fitted choice: each has its threshold from the other four fifths."""


class Counts(Struct, frozen=True):
    """What a threshold makes of `positives` and `negatives`: hits and false alarms."""

    tp: int
    fp: int
    positives: int
    negatives: int

    @property
    def predicted(self) -> int:
        return self.tp + self.fp

    @property
    def precision(self) -> float:
        """0 where nothing is predicted positive."""
        return self.tp / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        return self.tp / self.positives if self.positives else 0.0

    @property
    def f1(self) -> float:
        """2 TP / (predicted + positives) (van Rijsbergen 1979, ch. 7, with equal weights)."""
        return _f1(self.tp, self.predicted, self.positives)

    @property
    def youden(self) -> float:
        """Recall less the false alarm rate (Youden 1950, Cancer 3, 32-35)."""
        return self.recall - (self.fp / self.negatives if self.negatives else 0.0)


class Cut(Struct, frozen=True):
    """A threshold with what it scores.

    Attributes:
        value: examples of this score or a higher one are positive; infinite where none is to be.
        below: the next lower score, or minus infinity: every threshold in `(below, value]` does the same.
    """

    value: float
    below: float
    counts: Counts

    @property
    def threshold(self) -> float:
        """The threshold in the middle of its interval, with as few digits as keep it inside."""
        if not math.isfinite(self.value) or not math.isfinite(self.below):
            return self.value
        middle = self.below + (self.value - self.below) / 2
        rounded = (float(f"{middle:.{digits}g}") for digits in range(1, 18))
        return next((r for r in rounded if self.below < r <= self.value), self.value)


class Sweep(Struct, frozen=True):
    """All thresholds that differ on one set of scores, the highest first.

    Attributes:
        scores: the distinct scores, falling. `tp`, `fp`: positives and negatives of at least each score.
    """

    scores: array[float]
    tp: array[int]
    fp: array[int]

    @property
    def positives(self) -> int:
        return self.tp[-1] if self.tp else 0

    @property
    def negatives(self) -> int:
        return self.fp[-1] if self.fp else 0

    def at(self, threshold: float, *, strict: bool = False) -> Counts:
        """What "score ≥ threshold is positive" does; with `strict`, "score > threshold"."""
        find = bisect_left if strict else bisect_right
        index = find(self.scores, -threshold, key=lambda s: -s)
        if not index:
            return Counts(0, 0, self.positives, self.negatives)
        return Counts(self.tp[index - 1], self.fp[index - 1], self.positives, self.negatives)

    def best_f1(self) -> Cut:
        """The threshold of the highest F1; of several, the highest one."""
        p = self.positives
        if len(self.scores) >= LONG:
            t, f = self._wide
            return self._cut(int((2 * t / (t + f + p)).argmax()))
        return self._cut(_best([_f1(t, t + f, p) for t, f in zip(self.tp, self.fp, strict=True)]))

    def best_youden(self) -> Cut:
        """The threshold of the highest J; of several, the highest one."""
        p, n = max(self.positives, 1), max(self.negatives, 1)
        if len(self.scores) >= LONG:
            t, f = self._wide
            return self._cut(int((t / p - f / n).argmax()))
        return self._cut(_best([t / p - f / n for t, f in zip(self.tp, self.fp, strict=True)]))

    @property
    def _wide(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`tp` and `fp` as numpy sees them."""
        import numpy as np

        return np.frombuffer(self.tp, dtype=np.int64), np.frombuffer(self.fp, dtype=np.int64)

    def _cut(self, index: int) -> Cut:
        if index < 0:
            return Cut(math.inf, -math.inf, Counts(0, 0, self.positives, self.negatives))
        below = self.scores[index + 1] if index + 1 < len(self.scores) else -math.inf
        counts = Counts(self.tp[index], self.fp[index], self.positives, self.negatives)
        return Cut(self.scores[index], below, counts)

    def roc(self) -> Iterator[tuple[float, float]]:
        """(false alarm rate, recall), from (0, 0) to (1, 1), one point for each distinct score."""
        yield 0.0, 0.0
        for t, f in zip(self.tp, self.fp, strict=True):
            yield f / max(self.negatives, 1), t / max(self.positives, 1)

    def precision_recall(self) -> Iterator[tuple[float, float]]:
        """(recall, precision), one point for each distinct score, the highest first."""
        for t, f in zip(self.tp, self.fp, strict=True):
            yield t / max(self.positives, 1), t / (t + f)

    @property
    def auc(self) -> float:
        """Probability that a positive is above a negative, ties half: the Mann-Whitney U over all pairs, exactly.

        NaN where a class is empty.
        """
        p, n = self.positives, self.negatives
        if not p or not n:
            return math.nan
        if len(self.scores) >= LONG:
            import numpy as np

            wide_t, wide_f = self._wide
            rows = np.diff(wide_f, prepend=0) * (wide_t + np.append(0, wide_t[:-1]))
            return int(rows.sum()) / (2 * p * n)  # 64 bits hold the pairs of 4 billion examples
        twice = last_t = last_f = 0
        for t, f in zip(self.tp, self.fp, strict=True):
            twice += (f - last_f) * (t + last_t)
            last_t, last_f = t, f
        return twice / (2 * p * n)

    @property
    def average_precision(self) -> float:
        """Area under precision-recall as the sum of precision × gain of recall, without interpolation; NaN without
        positives (Davis and Goadrich 2006, ICML: straight lines between the points would be too optimistic).
        """
        p = self.positives
        if not p:
            return math.nan
        if len(self.scores) >= LONG:
            import numpy as np

            wide_t, wide_f = self._wide
            return float((np.diff(wide_t, prepend=0) * wide_t / (wide_t + wide_f)).sum() / p)
        last, total = 0, 0.0
        for t, f in zip(self.tp, self.fp, strict=True):
            total += (t - last) * t / (t + f)
            last = t
        return total / p

    def auc_error(self) -> float:
        """Standard error of `auc` (Hanley and McNeil 1982, Radiology 143, 29-36, with its exponential Q1 and Q2)."""
        a, p, n = self.auc, self.positives, self.negatives
        if math.isnan(a):
            return math.nan
        # At an area of 0 or 1 the formula gives no error at all: half a pair is the least that can be told.
        a = min(max(a, 0.5 / (p * n)), 1 - 0.5 / (p * n))
        q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
        return math.sqrt(max(0.0, a * (1 - a) + (p - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (p * n))


def sweep(scores: Sequence[float], labels: Sequence[int]) -> Sweep:
    """Every threshold of finite scores with labels 0 and 1; a higher score speaks for 1."""
    if len(scores) >= LONG:
        import numpy as np

        wide, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.int64)
        order = np.argsort(-wide, kind="stable")
        wide, truth = wide[order], truth[order]
        last = np.append(np.flatnonzero(wide[1:] != wide[:-1]), len(wide) - 1)
        tp = np.cumsum(truth)[last]
        return Sweep(
            array("d", wide[last].tobytes()),
            array("q", tp.astype(np.int64).tobytes()),
            array("q", (last + 1 - tp).astype(np.int64).tobytes()),
        )
    distinct, hits, alarms = array("d"), array("q"), array("q")
    t = f = 0
    for score, label in sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0]):
        if distinct and distinct[-1] != score:
            hits.append(t)
            alarms.append(f)
            distinct.append(score)
        elif not distinct:
            distinct.append(score)
        if label:
            t += 1
        else:
            f += 1
    if distinct:
        hits.append(t)
        alarms.append(f)
    return Sweep(distinct, hits, alarms)


class Gain(Struct, frozen=True):
    """F1 that a chosen threshold wins over the one in use, on examples that it was not chosen on.

    Attributes:
        mean: difference of F1. `error`: its standard error.
    """

    mean: float
    error: float


def cross_fitted_gain(scores: Sequence[float], labels: Sequence[int], threshold: float, seed: int = 0) -> Gain:
    """What the best threshold is really worth: chosen on four fifths of the examples, judged on the last, for each.

    The best threshold of a set is always at least as good on that set as any other, and much better on a small one, by
    chance. Judged on other examples it is not. The error is that of the difference of two F1 on the same examples, from
    the influence of each example (the delta method; Takahashi et al. 2022, Appl. Intell. 52, 4961-4972).
    """
    draw = random.Random(seed)  # noqa: S311 (a sample)
    if len(scores) > MOST_FITTED:
        taken = draw.sample(range(len(scores)), MOST_FITTED)
        scores, labels = [scores[i] for i in taken], [labels[i] for i in taken]
    n = len(scores)
    order = list(range(n))
    draw.shuffle(order)
    # Each class is spread evenly over the parts, or a part might have no positive at all.
    part = [0] * n
    count = [0, 0]
    for i in order:
        part[i] = count[labels[i]] % FOLDS
        count[labels[i]] += 1
    chosen = []
    for k in range(FOLDS):
        others = [i for i in range(n) if part[i] != k]
        cut = sweep([scores[i] for i in others], [labels[i] for i in others]).best_f1()
        chosen.append(cut.threshold)
    new = [scores[i] >= chosen[part[i]] for i in range(n)]
    old = [s >= threshold for s in scores]
    p = sum(labels)
    f_new, w_new = _with_weight(new, labels, p)
    f_old, w_old = _with_weight(old, labels, p)
    total = 0.0
    for a, b, y in zip(new, old, labels, strict=True):
        d = w_new * ((a and y) - f_new / 2 * (a + y)) - w_old * ((b and y) - f_old / 2 * (b + y))
        total += d * d
    return Gain(f_new - f_old, math.sqrt(total))


def _with_weight(predicted: Sequence[bool], labels: Sequence[int], positives: int) -> tuple[float, float]:
    """F1, and what one example counts in it."""
    tp = sum(1 for a, y in zip(predicted, labels, strict=True) if a and y)
    both = sum(predicted) + positives
    return (2 * tp / both, 2 / both) if both else (0.0, 0.0)


def _f1(tp: int, predicted: int, positives: int) -> float:
    return 2 * tp / (predicted + positives) if predicted + positives else 0.0


def _best(values: Sequence[float]) -> int:
    """Position of the first highest value; -1 of none."""
    return max(range(len(values)), key=values.__getitem__, default=-1)


class Match(Struct, frozen=True):
    """A threshold that is the best one of a set, to its last digit.

    Attributes:
        measure: of what: `F1` or `Youden's J`. `value`: what the threshold scores by it.
        chance: share of the thresholds of as many digits, within the region where the measure is nearly as high, that
            are the best too: how probably a threshold that was chosen elsewhere falls on one.
    """

    measure: str
    value: float
    chance: float


MOST_MATCHED = 50_000
"""Distinct scores from which on it no longer matters on which examples a threshold was chosen."""
NEARLY = 0.8
"""Share of the highest value of a measure that a threshold chosen on other examples of the same kind reaches."""


def best_match(found: Sweep, threshold: float, unit: float) -> Match | None:
    """Whether a threshold is the best of these examples, among those with as many digits as it has.

    There are three ways to get one: the best score is rounded when it is written; rounded scores are tried on the
    scores themselves; or on scores that are rounded too. A threshold that none of them gives must do as well as the
    best of the second.

    Args:
        unit: one unit of the last digit of the scores as they are written.

    Returns:
        The measure of the two for which it is the less probable by chance; None where it is the best for neither, or of
        more than `MOST_MATCHED` distinct scores.
    """
    step = max(unit, _last_digit(threshold))
    decimals = max(0, round(-math.log10(step)))
    used = round(threshold, decimals)
    p, n = found.positives, found.negatives
    if not p or not n or len(found.scores) > MOST_MATCHED:
        return None
    counts = [Counts(t, f, p, n) for t, f in zip(found.tp, found.fp, strict=True)]
    matches = []
    for name, measure in (("F1", _f1_of), ("Youden's J", _youden_of)):
        values = [measure(c) for c in counts]
        best, value = max(values), measure(found.at(used))
        # A threshold that was rounded up has lost the very score that it was.
        if best <= 0 or max(value, measure(found.at(used - step / 2))) < _NEAR_BEST * best:
            continue
        rounded = [round(s, decimals) for s in found.scores]
        tried = {r: measure(found.at(r)) for r in set(rounded)}
        # Of scores that are rounded to the same, the last has the counts of all.
        merged = dict(zip(rounded, values, strict=True))
        highest = max(tried.values())
        candidates = {r for r, v in tried.items() if v >= highest - _EQUAL}
        top = max(merged.values())
        candidates |= {r for r, v in merged.items() if v >= top - _EQUAL}
        candidates |= {r for r, v in zip(rounded, values, strict=True) if v >= best - _EQUAL}
        # Each cut holds for every threshold down to the next lower score.
        widths = [s - below for s, below in zip(found.scores, [*found.scores[1:], found.scores[-1]], strict=True)]
        region = sum(w for w, v in zip(widths, values, strict=True) if v >= NEARLY * best)
        if used in candidates:
            equal = step * len(candidates)
        elif value >= highest - _EQUAL:
            equal = max(step, sum(w for w, v in zip(widths, values, strict=True) if v >= highest - _EQUAL))
        else:
            continue
        matches.append(
            Match(name, best if used in candidates else value, min(1.0, equal / region) if region > 0 else 1.0)
        )
    return min(matches, key=lambda m: m.chance, default=None)


_EQUAL = 1e-12
_NEAR_BEST = 0.97
"""Thresholds that are rounded so coarsely that they lose more than 3 % match by chance too often to say anything."""


def _f1_of(counts: Counts) -> float:
    return counts.f1


def _youden_of(counts: Counts) -> float:
    return counts.youden


def _last_digit(value: float) -> float:
    """One unit of the last decimal that a number is written with, of at most 12."""
    digits, _, exponent = repr(value).partition("e")
    return 10.0 ** -min(12, max(0, len(digits.partition(".")[2].rstrip("0")) - int(exponent or 0)))
