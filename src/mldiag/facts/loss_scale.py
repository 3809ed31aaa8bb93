"""By what factor the train loss is another than expected: against a guess at its start, against the held-out loss."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from msgspec import Struct

from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.initial_loss import InitialLoss
from mldiag.facts.loss_pair import LossPair
from mldiag.stats import extremes, median


class LossScale(Struct, frozen=True, dict=True):
    """What tells a loss that was summed from one that was averaged.

    Attributes:
        initial: the first train loss against ln C; None where it or C is not known.
        pair: train and held-out loss; None without one of them.
        ratios: train / held-out loss at each evaluation; empty where a value is not above zero.
    """

    initial: InitialLoss | None = None
    pair: LossPair | None = None
    ratios: Sequence[float] = ()

    @cached_property
    def range(self) -> tuple[float, float]:
        """Lowest and highest train / held-out loss."""
        return extremes(self.ratios)

    @cached_property
    def middle(self) -> float:
        """Median of train / held-out loss."""
        return median(self.ratios)

    def keeps_to(self, factor: float, level: float, each: float) -> bool:
        """Whether the held-out loss times a factor is the train loss, at every evaluation.

        Args:
            factor: train / held-out loss, if one is a sum; below 1 where the held-out one is.
            level: how far the median may lie from it, as a ratio. `each`: the same for single evaluations.
        """
        if len(self.ratios) < 2:
            return False
        low, high = self.range
        middle = factor / level <= self.middle <= factor * level
        return middle and low >= factor / each and high <= factor * each

    def begins_at(self, factor: float, below: float, above: float) -> bool:
        """Whether a model that was not trained before began at a factor times ln C, within two ratios of it."""
        initial = self.initial
        return initial is not None and not initial.trained and below * factor <= initial.ratio <= above * factor


@fact
def loss_scale(initial: InitialLoss | None, pair: LossPair | None) -> LossScale:
    """Puts both together; at least one of them is there."""
    if initial is None and pair is None:
        raise NotApplicable("neither a first train loss with a known number of classes, nor a held-out loss beside it")
    ratios: list[float] = []
    if pair is not None and min(*extremes(pair.train_levels), *extremes(pair.val_levels)) > 0:
        reduced = pair.reduced()
        ratios = [t / v for t, v in zip(reduced.train_levels, reduced.val_levels, strict=True)]
    return LossScale(initial, pair, ratios)
