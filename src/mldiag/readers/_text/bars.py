"""Series from progress bars, without the states that only show again what was measured before."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from mldiag.artifacts import Series
from mldiag.readers._text.arrays import different, picked
from mldiag.readers._text.reading import Slot
from mldiag.readers._text.templates import Template

_SPEEDS = ("it/s", "s/it")
"""What tqdm draws on every state of its bars."""


def is_postfix(template: Template, slot: Slot) -> bool:
    """Whether a score stands on tqdm's bar of training: `[00:01<00:00, 9.5it/s, loss=0.5, val_loss=0.6]`."""
    if slot.kind != "metric" or not any(s.known == 2 and s.split in (None, "train") for s in template.metrics):
        return False
    before = "".join(template.literals[: slot.index + 1])
    speed = max(map(before.rfind, _SPEEDS))
    return speed >= 0 and "]" not in before[speed:]


def begun(template: Template, pair: Slot) -> array[int] | None:
    """The states of a bar with scores of evaluations at which something was counted; None where all are.

    Such a bar that is empty shows the numbers of the one before, and Lightning's under the epoch before. Without scores
    the first batch can be told before it is counted, as `set_postfix` in a loop over tqdm does.
    """
    counted = template.column(pair.index)
    scored = any(s.split not in (None, "train") and is_postfix(template, s) for s in template.metrics)
    if not scored or 0 not in different(counted):
        return None
    return array("q", (i for i, count in enumerate(counted) if count))


def measured(series: Series, places: Sequence[tuple[Template, Slot]], *, held_out: bool) -> Series:
    """The series with one point for each measurement; as it is where it is from no bar.

    Args:
        places: the numbers that it was read from.
        held_out: it was measured on validation or test data.
    """
    chosen: array[int] | None = None
    if series.epoch_data is None:
        return series
    if all(template.bar for template, _ in places):
        chosen = _last_of_epochs(series.epoch_data)
    elif held_out and all(itertools.starmap(is_postfix, places)):
        chosen = _new_scores(series.data, series.epoch_data)
    if chosen is None or len(chosen) == len(series):
        return series
    axes = {axis: getattr(series, axis) for axis in ("step_data", "epoch_data", "time_data", "lines")}
    parts: dict[str, Any] = {axis: None if data is None else picked(data, chosen) for axis, data in axes.items()}
    if parts["lines"] is not None:
        parts["lines"] = array("q", map(int, parts["lines"]))
    first = parts["lines"][0] if parts["lines"] else series.source.line
    source = series.source if first == series.source.line else replace(series.source, line=first, excerpt=None)
    return replace(series, data=picked(series.data, chosen), source=source, **parts)


def _last_of_epochs(epochs: array[float]) -> array[int]:
    """The last full state of the bar of each epoch: Keras draws it once more behind the evaluation."""
    return array("q", (i for i, epoch in enumerate(epochs) if i + 1 == len(epochs) or epochs[i + 1] != epoch))


def _new_scores(values: array[float], epochs: array[float]) -> array[int]:
    """The states at which a score is new, where it stands on each as it was measured last (Lightning, tqdm's postfix).

    In the states of an epoch before its evaluation the score is that of the epoch before; one that stays the same over
    a whole epoch was measured to be the same.
    """
    groups = [next(g) for _, g in itertools.groupby(range(len(values)), lambda i: (epochs[i], values[i]))]
    chosen = array("q")
    for number, at in enumerate(groups):
        follows = number + 1 < len(groups) and epochs[groups[number + 1]] == epochs[at]
        if not (number and follows and values[groups[number - 1]] == values[at]):
            chosen.append(at)
    return chosen
