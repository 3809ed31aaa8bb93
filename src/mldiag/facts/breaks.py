"""Values that are NaN, infinite or null though a number was due, in the quantities that matter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

from mldiag.artifacts import Metrics, Series, Settings
from mldiag.facts import fact
from mldiag.facts.curves import launches, split_at_broken, taken
from mldiag.run import Run
from mldiag.stats import not_finite
from mldiag.vocabulary import series_name


class Break(Struct, frozen=True):
    """One launch of a series that broke.

    Attributes:
        indices: positions in the series of the values that are no number, from the first that was due on.
        due: values of the launch.
        before: the last number before the break; None where there was none.
        streak: values in a row that are no number, at the start of the break.
        to_end: the launch ended with one.
        launch, launches: which launch of the log it is (1-based) and how many there are.
    """

    series: Series
    indices: tuple[int, ...]
    due: int
    before: float | None
    streak: int
    to_end: bool
    launch: int = 1
    launches: int = 1

    @property
    def null(self) -> bool:
        """Every one of them was written as null, as strict JSON writers do with NaN (RFC 8259, section 6)."""
        return set(self.indices) <= set(self.series.nulls)

    @property
    def share_done(self) -> float:
        """Where in the log it broke, 0 to 1."""
        return self.indices[0] / len(self.series)


class Breaks(Struct, frozen=True):
    """Every break of a loss, of the gradient norm and of the monitored metric, in the order of the series."""

    items: tuple[Break, ...]


@fact
def breaks(run: Run, metrics: Metrics, settings: Settings | None) -> Breaks:
    """Looks at every launch of the series that a run depends on.

    Left out: a part of a total loss, or a gradient norm, that was never a number while the train loss always was
    (undefined or not measured); a held-out loss that holds only nulls beside such a train loss (never evaluated), or
    of which only the very last value is null (the run ended before that evaluation). What a text log shows of the
    training was measured, so there a launch may break at its first value.
    """
    printed = {path for path, reader in run.files.items() if reader == "text_log"}
    found = [b for series in _watched(metrics, settings) for b in _of(series, series.source.path in printed)]
    fine = "train/loss" in metrics and all(b.series.name != "train/loss" for b in found)
    return Breaks(tuple(b for b in found if not (fine and (_undefined(b) or _pending(b)))))


_OBJECTIVES = frozenset({
    "smooth_l1", "l1", "mse", "mae", "rmse", "nll", "cross_entropy", "ce", "bce", "kl", "perplexity", "elbo", "focal",
})  # fmt: skip
"""Quantities that are minimised under a name of their own: MXNet and Keras log them without the word loss."""


def _watched(metrics: Metrics, settings: Settings | None) -> Iterator[Series]:
    named = [settings.get(key) for key in ("monitor", "metric_for_best_model")] if settings is not None else []
    monitored = {series_name(name) for name in named if isinstance(name, str)}
    for series in metrics:
        quantity = series.name.partition("/")[2].partition("/")[0]
        if quantity == "loss" or quantity in _OBJECTIVES or series.name == "grad_norm" or series.name in monitored:
            yield series


def _of(series: Series, printed: bool) -> Iterator[Break]:
    parts = launches(series)
    for number, order in enumerate(parts, 1):
        kept, broken = split_at_broken(series, order)
        if printed and len(kept) and series.name.startswith("train/") and (begin := _broken_first(series, order)):
            yield Break(series, begin, len(order), None, len(begin), False, number, len(parts))
        if broken is None:
            continue
        rest = order[order.index(broken) :]
        found = not_finite(taken(series.data, rest))
        bad = tuple(rest) if len(found) == len(rest) else tuple(rest[i] for i in found)
        before = series.data[kept[-1]] if kept else None
        if len(bad) == len(rest):  # nothing but NaN from there on
            yield Break(series, bad, len(order), before, len(rest), True, number, len(parts))
            continue
        streak = next((k for k, i in enumerate(rest) if math.isfinite(series.data[i])), len(rest))
        yield Break(
            series,
            bad,
            len(order),
            before,
            streak,
            bad[-1] == rest[-1],
            number,
            len(parts),
        )


def _broken_first(series: Series, order: Sequence[int]) -> tuple[int, ...]:
    """The values before the first number of a launch, which are none."""
    count = next((k for k, i in enumerate(order) if math.isfinite(series.data[i])), 0)
    return tuple(order[:count])


def _pending(found: Break) -> bool:
    return found.series.name.startswith(("val/", "test/")) and found.null and found.to_end and len(found.indices) == 1


def _undefined(found: Break) -> bool:
    if found.before is not None:
        return False
    part = found.series.name == "grad_norm" or found.series.name.count("/") > 1
    return part or len(found.series.nulls) == len(found.series)
