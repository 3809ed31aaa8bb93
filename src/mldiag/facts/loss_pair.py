"""One quantity measured on the training data and on data that is not trained on, side by side at each evaluation."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Self

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.curves import Curve, Curves, is_bounded_score
from mldiag.stats import (
    LONG,
    binned,
    extremes,
    first_lowest,
    has_repeats,
    level_error,
    mean,
    median,
    noise,
    window_size,
)

HELD_OUT = ("val", "test")
"""Splits that are not trained on, the one that is tuned on first."""

LOSSES = ("loss", "nll", "cross_entropy", "ce", "bce", "mse", "rmse", "mae")
"""Quantities that a run minimises or could, lower is better; the first that both sides have is judged."""

MAX_FIRST_RATIO = 4.0
"""Largest ratio of the first train and validation loss that one objective explains. Of 184 measured pairs those of one
objective stay below 3.3, but for two that explode at the start (4.4 and 148); a sum against a mean, or a loss that is
not divided under accumulation, begins at 9.9."""

MIN_CHANGE = 0.02
"""Change of the train level, as a share of its first, below which no share of it can be told. The founding case of two
evaluations has 0.13."""


REDUCED = 512
"""Levels that stand for a pair with more evaluations than any rule needs."""

TURNS = 3.0
"""End of one axis / end of the other from which on one of them counts evaluations instead of steps. Runs that evaluate
at each of their first steps and never again are not known."""


class Pair(Struct, frozen=True):
    """A quantity on both sides.

    Attributes:
        quantity: name without the split (`loss`, `accuracy`).
        train, val: the judged part of each series.
        train_levels: at each evaluation, the mean of the training values since the evaluation before it; shape (n,).
            The mean, not the median: single-batch losses are skewed, and the validation loss is a mean too.
        val_levels: the value of each evaluation; shape (n,).
    """

    higher_is_better: ClassVar[bool] = False

    quantity: str
    train: Curve
    val: Curve
    train_levels: Sequence[float]
    val_levels: Sequence[float]

    def __len__(self) -> int:
        return len(self.val_levels)

    @property
    def window(self) -> int:
        """Evaluations in a level: a tenth, at least three, fewer where that would be more than half of them."""
        return window_size(len(self), 0.1, 3)

    @property
    def end(self) -> tuple[float, float]:
        """Train and validation level at the end: medians of the last `window` evaluations."""
        return median(self.train_levels[-self.window :]), median(self.val_levels[-self.window :])

    @property
    def gap(self) -> float:
        """Validation - train level at the end."""
        return self.end[1] - self.end[0]

    @property
    def first_gap(self) -> float:
        """Validation - train at the first evaluation."""
        return self.val_levels[0] - self.train_levels[0]

    @property
    def transfer(self) -> float | None:
        """Progress of the validation level / that of the train level since the first evaluation; 1 is full transfer.

        The first train level is a mean over steps of which the earliest had learnt nothing, so it can lie behind what
        the model could do at the evaluation; where held-out data shows better, that is taken for both.

        None where the train level did not get better by `MIN_CHANGE` of what it was: a share of nothing means nothing.
        """
        ahead = max if self.higher_is_better else min
        return self._transfer(ahead(self.train_levels[0], self.val_levels[0]), self.val_levels[0])

    @property
    def late_transfer(self) -> float | None:
        """The same over the second half of the evaluations; None for fewer than six."""
        if len(self) < 6:
            return None
        begin = len(self) // 2 - self.window // 2
        half = slice(begin, begin + self.window)
        return self._transfer(median(self.train_levels[half]), median(self.val_levels[half]))

    @property
    def late_rise(self) -> float:
        """Rise of the validation level over the second half, in standard errors of such a difference; 0 if unknown."""
        if len(self) < 6:
            return 0.0
        begin = len(self) // 2 - self.window // 2
        error = math.sqrt(2) * level_error(noise(self.val_levels), self.window)
        rise = self.end[1] - median(self.val_levels[begin : begin + self.window])
        return rise / error if error else math.copysign(math.inf, rise) if rise else 0.0

    @property
    def best_at(self) -> int:
        """Position of the best evaluation; of equal ones the first."""
        return first_lowest(self.val_levels, highest=self.higher_is_better)

    def reduced(self) -> Self:
        """For numbers only, not for places: where there are very many evaluations, a few hundred medians of them."""
        if len(self) < LONG:
            return self
        return replace(
            self, train_levels=binned(self.train_levels, REDUCED), val_levels=binned(self.val_levels, REDUCED)
        )

    def until(self, count: int) -> Self:
        """The first `count` evaluations alone."""
        kept = self._skipped + count
        val = replace(self.val, indices=self.val.indices[:kept], values=self.val.values[:kept])
        return replace(self, val=val, train_levels=self.train_levels[:count], val_levels=self.val_levels[:count])

    def place(self, index: int) -> str:
        """Where an evaluation lies, for messages: `step 1,200`."""
        return self.val.place(self._skipped + index)

    def at(self, index: int) -> Source:
        """The place of an evaluation in its file."""
        return self.val.at(self._skipped + index if index >= 0 else index)

    @property
    def _skipped(self) -> int:
        """Evaluations before the training, which have no train level."""
        return len(self.val) - len(self)

    def _transfer(self, train: float, val: float) -> float | None:
        change = train - self.end[0]
        progress = -change if self.higher_is_better else change
        enough = progress > 0 and progress >= MIN_CHANGE * abs(self.train_levels[0])
        return (val - self.end[1]) / change if enough else None


class LossPair(Pair, frozen=True):
    """Train and held-out loss; at least two evaluations.

    Attributes:
        mismatch: why the two are not the same objective, so that their distance means nothing; empty where they are.
    """

    mismatch: str = ""

    @property
    def start(self) -> float:
        """The level the run started from: the highest of the first values of both sides; 0 where those are negative."""
        return max(0.0, self.train.values[0], self.train_levels[0], self.val_levels[0])


class ScorePair(Pair, frozen=True):
    """A score in [0, 1] (percent are divided by 100), higher is better, on both sides; at least two evaluations."""

    higher_is_better: ClassVar[bool] = True


@fact
def loss_pair(curves: Curves) -> LossPair:
    """The train and held-out loss of a run; where no loss is logged for both, an error of that kind (`rmse`, `mae`).

    Totals go before components. Of several evaluation sets without a total the one that ended nearest to training is
    taken: the others are of another distribution. Two losses whose first values differ by more than `MAX_FIRST_RATIO`
    are marked as a mismatch: a sum against a mean, or a component against the total, is no generalization gap.
    """
    for quantity in LOSSES:
        train = curves.get(f"train/{quantity}")
        if train is None:
            continue
        total = curves.get(*(f"{split}/{quantity}" for split in HELD_OUT))
        sets = [total] if total is not None else [curves.get(n) for n in _held_out_sets(curves, quantity)]
        found = [p for p in (_loss_pair(quantity, train, val) for val in sets if val is not None) if p is not None]
        if found:
            return min(found, key=lambda p: (bool(p.mismatch), abs(p.gap)))
    raise NotApplicable("no loss that is logged for training and, at least twice, for validation")


def _loss_pair(quantity: str, train: Curve, val: Curve) -> LossPair | None:
    both = side_by_side(train, val)
    if both is None:
        return None
    val, pair = both
    return LossPair(quantity, train, val, *pair, _mismatch(train, pair))


def _mismatch(train: Curve, pair: tuple[Sequence[float], Sequence[float]]) -> str:
    first = pair[1][0]
    starts = [v for v in (train.values[0], pair[0][0]) if v > 0]
    if first <= 0 or not starts:
        return ""
    nearest = min(starts, key=lambda v: abs(math.log(first / v)))
    if 1 / MAX_FIRST_RATIO <= first / nearest <= MAX_FIRST_RATIO:
        return ""
    return f"train and validation loss are not the same quantity: they start at {nearest:.4g} and {first:.4g}"


@fact
def score_pair(curves: Curves) -> ScorePair:
    """The first bounded score that is logged for training and validation; accuracy goes first."""
    names = sorted(
        (n for n in curves if n.startswith("train/") and is_bounded_score(n)), key=lambda n: n != "train/accuracy"
    )
    for name in names:
        quantity = name.removeprefix("train/")
        train, val = curves.get(name), curves.get(*(f"{split}/{quantity}" for split in HELD_OUT))
        both = side_by_side(train, val) if train is not None and val is not None else None
        if train is None or both is None:
            continue
        val, pair = both
        (low, high), (val_low, val_high) = extremes(train.values), extremes(val.values)
        top = max(high, val_high)
        unit = 1.0 if top <= 1.5 else 0.01
        if min(low, val_low) >= -1.0 and top * unit <= 1.0 + 1e-9:
            levels = pair if unit == 1.0 else tuple([v * unit for v in side] for side in pair)
            return ScorePair(quantity, train, val, levels[0], levels[1])
    raise NotApplicable("no score that is logged for training and for validation")


def _held_out_sets(curves: Curves, quantity: str) -> list[str]:
    """The quantity on each of several evaluation sets (`val/loss/<set>`), which are no components of the train loss."""
    totals = tuple(f"{split}/{quantity}/" for split in HELD_OUT)
    parts = {n.removeprefix("train/") for n in curves if n.startswith(f"train/{quantity}/")}
    return [n for n in curves if n.startswith(totals) and n.partition("/")[2] not in parts]


def side_by_side(train: Curve, val: Curve) -> tuple[Curve, tuple[Sequence[float], Sequence[float]]] | None:
    """The evaluations that belong to the judged launch of the training, one value each, and the levels of both."""
    own = _of_this_launch(train, val)
    evaluations = _evaluations(own) if own is not None else None
    pair = _paired(train, evaluations) if evaluations is not None else None
    return (evaluations, pair) if evaluations is not None and pair is not None else None


def _of_this_launch(train: Curve, val: Curve) -> Curve | None:
    """The evaluations that were logged after the judged launch of the training had begun; None where nothing tells.

    Each series is split into launches by itself, and a launch that ended before its first evaluation left none. Where
    both have as many, the last belongs to the last; otherwise their lines in the file decide.
    """
    if train.launches == val.launches:
        return val
    trained, evaluated = train.series.lines, val.series.lines
    if trained is None or evaluated is None or train.source.path != val.source.path:
        return None
    begin, end = trained[train.indices[0]], trained[train.indices[-1]]
    kept = [k for k, i in enumerate(val.indices) if evaluated[i] >= begin]
    if len(kept) < 2 or evaluated[val.indices[kept[0]]] > end:
        return None
    return replace(val, indices=[val.indices[k] for k in kept], values=[val.values[k] for k in kept])


def _evaluations(curve: Curve) -> Curve:
    """A curve with one value per evaluation.

    A log that prints while it evaluates (`Eval begin`, `step 10/88 - loss: 0.15`, ...) has several values of one epoch,
    each of one batch or of the batches so far. Their mean stands for the evaluation, at the place of the last.
    """
    axis = curve.axis("step") or curve.axis("epoch")
    if axis is None or not has_repeats(axis):
        return curve
    edges = [0, *(i for i in range(1, len(axis)) if axis[i] != axis[i - 1]), len(axis)]
    values = [mean(curve.values[a:b]) for a, b in pairwise(edges)]
    return replace(curve, indices=[curve.indices[b - 1] for b in edges[1:]], values=values)


def _paired(train: Curve, val: Curve) -> tuple[Sequence[float], Sequence[float]] | None:
    """Levels of both sides at each evaluation that the training series reaches; None for fewer than two."""
    if len(train) < 2 or len(val) < 2:
        return None
    for kind in ("step", "epoch"):
        x_train, x_val = train.axis(kind), val.axis(kind)
        if x_train is None or x_val is None or x_train[-1] <= x_train[0] or x_val[-1] <= x_val[0]:
            continue
        if not _counts_turns(x_val, x_train[-1]) and not _counts_turns(x_train, x_val[-1]):
            return _on_axis(train, val, x_train, x_val)
    # No common axis: both cover the run from its start to its end, so the same share of it is the same time.
    n, m = len(train), len(val)
    return _on_axis(train, val, [(i + 1) / n for i in range(n)], [(k + 1) / m for k in range(m)])


def _counts_turns(axis: Sequence[float], end: float) -> bool:
    """Whether an axis counts its own values (0, 1, 2, ... or 1, 2, 3, ...) while the other one runs far beyond it.

    So it does where training is logged by step and validation by epoch under the same name.
    """
    first = axis[0]
    if len(axis) < 3 or first not in (0.0, 1.0) or axis[-1] != first + len(axis) - 1 or end < TURNS * axis[-1]:
        return False
    return all(x == first + k for k, x in enumerate(axis))


def _on_axis(
    train: Curve, val: Curve, x_train: Sequence[float], x_val: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]] | None:
    if len(x_train) == len(x_val) and x_train == x_val and not has_repeats(x_train):
        return train.values, val.values
    if len(x_val) >= LONG:
        return _long_on_axis(train, val, x_train, x_val)
    train_levels, val_levels = [], []
    begin, interval = 0, max(x_train[1] - x_train[0], (x_train[-1] - x_train[0]) / (len(x_train) - 1))
    for value, x in zip(val.values, x_val, strict=True):
        end = bisect_right(x_train, x)
        if end > begin:
            level = mean(train.values[begin:end])
        elif end:
            level = train.values[end - 1]
        elif x > x_train[0] / 2 and x >= x_train[0] - interval:
            # Evaluated just before the first training value was logged, which is mostly about the same steps.
            level = train.values[0]
        else:
            # Evaluated before the training, or before the launch that is judged: no train level belongs to it.
            continue
        train_levels.append(level)
        val_levels.append(value)
        begin = max(begin, end)
    if len(val_levels) < 2:
        return None
    return train_levels, val_levels


def _long_on_axis(
    train: Curve, val: Curve, x_train: Sequence[float], x_val: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]] | None:
    """The same as `_on_axis`, for many evaluations at once."""
    import numpy as np

    values, at_train = np.asarray(train.values, np.float64), np.asarray(x_train, np.float64)
    at_val = np.asarray(x_val, np.float64)
    end = np.searchsorted(at_train, at_val, side="right")
    begin = np.concatenate(([0], np.maximum.accumulate(end)[:-1]))
    sums = np.concatenate(([0.0], np.cumsum(values)))
    interval = max(x_train[1] - x_train[0], (x_train[-1] - x_train[0]) / (len(x_train) - 1))
    new = end > begin
    levels = np.where(new, (sums[end] - sums[begin]) / np.where(new, end - begin, 1), values[np.maximum(end - 1, 0)])
    # Those before the first training value count where they are about the same steps; `values[0]` stands for it then.
    kept = (end > 0) | ((at_val > x_train[0] / 2) & (at_val >= x_train[0] - interval))
    if int(kept.sum()) < 2:
        return None
    return array("d", levels[kept].tobytes()), array("d", np.asarray(val.values, np.float64)[kept].tobytes())
