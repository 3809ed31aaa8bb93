"""One quantity measured on the training data and on data that is not trained on, side by side at each evaluation."""

from __future__ import annotations

import math
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
from mldiag.stats import has_repeats, level_error, mean, median, noise, window_size

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
        best = max if self.higher_is_better else min
        return best(range(len(self)), key=self.val_levels.__getitem__)

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

    Totals go before components. Two losses whose first values differ by more than `MAX_FIRST_RATIO` are marked as a
    mismatch: a sum against a mean, or a component against the total, is no generalization gap.
    """
    for quantity in LOSSES:
        train, val = curves.get(f"train/{quantity}"), _evaluations(curves.get(*_held_out(curves, quantity)))
        pair = None if train is None or val is None else _paired(train, val)
        if train is not None and val is not None and pair is not None:
            return LossPair(quantity, train, val, *pair, _mismatch(train, pair))
    raise NotApplicable("no loss that is logged for training and, at least twice, for validation")


def _mismatch(train: Curve, pair: tuple[list[float], list[float]]) -> str:
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
        train, val = curves.get(name), _evaluations(curves.get(*(f"{split}/{quantity}" for split in HELD_OUT)))
        if train is None or val is None:
            continue
        top = max(max(train.values), max(val.values))
        unit = 1.0 if top <= 1.5 else 0.01
        pair = _paired(train, val)
        if pair is not None and min(min(train.values), min(val.values)) >= -1.0 and top * unit <= 1.0 + 1e-9:
            return ScorePair(quantity, train, val, [v * unit for v in pair[0]], [v * unit for v in pair[1]])
    raise NotApplicable("no score that is logged for training and for validation")


def _held_out(curves: Curves, quantity: str) -> list[str]:
    """The quantity on held-out data: of the whole split, else of its first evaluation set (`val/loss/<set>`)."""
    totals = [f"{split}/{quantity}" for split in HELD_OUT]
    parts = {n.removeprefix("train/") for n in curves if n.startswith(f"train/{quantity}/")}
    sets = [n for n in curves if n.startswith(tuple(t + "/" for t in totals)) and n.partition("/")[2] not in parts]
    return totals + sets


def _evaluations(curve: Curve | None) -> Curve | None:
    """A curve with one value per evaluation.

    A log that prints while it evaluates (`Eval begin`, `step 10/88 - loss: 0.15`, ...) has several values of one epoch,
    each of one batch or of the batches so far. Their mean stands for the evaluation, at the place of the last.
    """
    axis = None if curve is None else curve.axis("step") or curve.axis("epoch")
    if curve is None or axis is None or not has_repeats(axis):
        return curve
    edges = [0, *(i for i in range(1, len(axis)) if axis[i] != axis[i - 1]), len(axis)]
    values = [mean(curve.values[a:b]) for a, b in pairwise(edges)]
    return replace(curve, indices=[curve.indices[b - 1] for b in edges[1:]], values=values)


def _paired(train: Curve, val: Curve) -> tuple[list[float], list[float]] | None:
    """Levels of both sides at each evaluation that the training series reaches; None for fewer than two."""
    if len(train) < 2 or len(val) < 2:
        return None
    for kind in ("step", "epoch"):
        x_train, x_val = train.axis(kind), val.axis(kind)
        if x_train is not None and x_val is not None and x_train[-1] > x_train[0] and x_val[-1] > x_val[0]:
            return _on_axis(train, val, x_train, x_val)
    # No common axis: both cover the run from its start to its end, so the same share of it is the same time.
    n, m = len(train), len(val)
    return _on_axis(train, val, [(i + 1) / n for i in range(n)], [(k + 1) / m for k in range(m)])


def _on_axis(
    train: Curve, val: Curve, x_train: Sequence[float], x_val: Sequence[float]
) -> tuple[list[float], list[float]] | None:
    train_levels, val_levels = [], []
    begin = 0
    for value, x in zip(val.values, x_val, strict=True):
        end = bisect_right(x_train, x)
        if end > begin:
            level = mean(train.values[begin:end])
        elif end:
            level = train.values[end - 1]
        elif x > x_train[0] / 2:
            # Evaluated just before the first training value was logged, which is mostly about the same steps.
            level = train.values[0]
        else:
            # Evaluated before the training: no train level belongs to it.
            continue
        train_levels.append(level)
        val_levels.append(value)
        begin = max(begin, end)
    if len(val_levels) < 2:
        return None
    return train_levels, val_levels
