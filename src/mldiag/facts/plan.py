"""The plan of a run: how many steps were meant, over how many the learning rate is scheduled, how many were done."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Metrics, Program, Role, Series, Settings, SettingValue, Source, as_number
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.stats import LONG, always_rises, median

UNSET = 1_000_000_000
"""Counts from here on are placeholders for "without limit" (Hugging Face stores 2**63 - 1 in `num_train_epochs` when
`max_steps` rules)."""

HF_DEFAULT_EPOCHS = 3
"""`num_train_epochs` of Hugging Face's `TrainingArguments` when nobody sets it; its dumps list it all the same."""


class Amount(Struct, frozen=True):
    """A number and what it rests on.

    Attributes:
        how: where it comes from, for people: `total_steps`, `2 epochs × 41,653 steps`, `the log`.
        setting: the setting that states it; None for a number that was computed or measured.
        source: the place of the number, or of the main part of it.
        certain: it was given for this run; False for a default in the source of a program whose launch is unknown.
        by_user: a person wrote it, or the log measures it, as opposed to a default that a framework's dump lists.
    """

    value: float
    how: str
    setting: SettingValue | None = None
    source: Source | None = None
    certain: bool = True
    by_user: bool = False


class Plan(Struct, frozen=True):
    """What was meant and what was done. Steps are optimizer steps; every part may be missing.

    Attributes:
        total_steps: the stated length; None where it is 0 or -1 ("derived from the epochs") or absent.
        epochs: planned epochs.
        steps_per_epoch: stated, computed from the data size, or measured in the log.
        derived_steps: epochs × steps per epoch.
        decay_steps: steps over which the learning rate decays, where the settings say.
        warmup_steps: warm-up in steps; `warmup_ratio` × the steps that will run where only the ratio is given.
        done_steps, done_epochs: the furthest point of the log.
        step_interval, epoch_interval: what lies between two logged points (median); the log may end that much early.
    """

    total_steps: Amount | None = None
    epochs: Amount | None = None
    steps_per_epoch: Amount | None = None
    derived_steps: Amount | None = None
    decay_steps: Amount | None = None
    warmup_steps: Amount | None = None
    done_steps: Amount | None = None
    done_epochs: Amount | None = None
    step_interval: float = 0.0
    epoch_interval: float = 0.0

    @property
    def run_steps(self) -> Amount | None:
        """The steps that will run: as stated, else as derived; as logged where the log went on or the epochs are done.

        A "total" that the log has passed is another thing than the length of the run (sampling steps, a rollout).
        """
        stated = self.total_steps or self.derived_steps
        if self.done_steps is not None and (stated.value < self.done_steps.value if stated else self.finished):
            return self.done_steps
        return stated

    @property
    def complete(self) -> bool:
        """The log reaches the last planned step or the last planned epoch."""
        total = self.total_steps or self.derived_steps
        if total is not None and self.done_steps is not None:
            return self.finished or self.done_steps.value + self.step_interval >= total.value
        return self.finished

    @property
    def finished(self) -> bool:
        """The log reaches the last planned epoch."""
        if self.epochs is None or self.done_epochs is None:
            return False
        return self.done_epochs.value + self.epoch_interval >= self.epochs.value


@fact
def plan(settings: Settings | None, metrics: Metrics | None, program: Program | None) -> Plan:
    """Puts the plan together from settings and the log."""
    found = settings or Settings()
    total = stated(found, "total_steps", program)
    epochs = stated(found, "epochs", program)
    done_steps, step_interval, done_epochs, epoch_interval = _progress(metrics)
    per_epoch = (
        stated(found, "steps_per_epoch", program)
        or _from_data(found, program)
        or (_measured(metrics) if metrics and not _accumulates(found) else None)
    )
    result = Plan(
        total,
        epochs,
        per_epoch,
        _product(epochs, per_epoch),
        stated(found, "lr_decay_steps", program),
        None,
        done_steps,
        done_epochs,
        step_interval,
        epoch_interval,
    )
    result = replace(result, warmup_steps=_warmup(found, result.run_steps, program))
    if not any((total, epochs, done_steps, done_epochs, result.decay_steps, result.warmup_steps)):
        raise NotApplicable("neither the settings nor the log say how long the run is")
    return result


def stated(settings: Settings, name: str, program: Program | None) -> Amount | None:
    """A count that the settings state; None where it is absent, a placeholder, or not positive.

    Where the value that takes effect is not positive (0 or -1 for "derived"), what the run itself recorded stands for
    it (the `max_steps` of a Hugging Face `trainer_state.json`). A default in the source is certain only where
    the launch of the `program` is known.
    """
    first = settings.effective(name)
    if first is None:
        return None
    recorded = (v for v in settings.all(name) if v.record or v.role in (Role.LOG, Role.CHECKPOINT))
    for value in (first, *recorded):
        number = as_number(value.value)
        if number is not None and 0 < number < UNSET:
            certain = value.role is not Role.DEFAULT or (program is not None and program.launch is not None)
            return Amount(number, name, value, value.source, certain, _by_user(value, number))
    return None


def _by_user(value: SettingValue, number: float) -> bool:
    if value.role in (Role.LOG, Role.CHECKPOINT):
        return False
    if value.key == "num_train_epochs" and number == HF_DEFAULT_EPOCHS:
        return value.role is Role.FLAG
    return True


def _from_data(settings: Settings, program: Program | None) -> Amount | None:
    """ceil(ceil(windows / (batch × devices)) / accumulation): the optimizer steps in one pass over the windows."""
    windows = stated(settings, "train_windows", program)
    batch = stated(settings, "batch_size", program)
    if windows is None or batch is None:
        return None
    devices = stated(settings, "devices", program)
    accumulation = stated(settings, "grad_accum", program)
    over = batch.value * (devices.value if devices else 1)
    steps = math.ceil(math.ceil(windows.value / over) / (accumulation.value if accumulation else 1))
    how = f"{windows.value:,.0f} windows in batches of {over:,.0f}"
    if accumulation and accumulation.value > 1:
        how += f", {accumulation.value:,.0f} to a step"
    certain, by_user = windows.certain and batch.certain, windows.by_user and batch.by_user
    return Amount(steps, how, None, windows.source, certain, by_user)


def _measured(metrics: Metrics) -> Amount | None:
    """Steps per epoch from a series whose every point lies in a later epoch: slope from the first point to the last."""
    for series in metrics:
        steps, epochs = series.step_data, series.epoch_data
        if steps is None or epochs is None or len(series) < 2:
            continue
        if always_rises(epochs) and steps[-1] > steps[0]:
            slope = (steps[-1] - steps[0]) / (epochs[-1] - epochs[0])
            if slope >= 1 and math.isfinite(slope):
                return Amount(round(slope), "the log", None, series.source, by_user=True)
    return None


def _accumulates(settings: Settings) -> bool:
    """Under accumulation a log may count micro-batches, so that its steps are not the plan's."""
    accumulation = stated(settings, "grad_accum", None)
    return accumulation is not None and accumulation.value > 1


def _product(epochs: Amount | None, per_epoch: Amount | None) -> Amount | None:
    if epochs is None or per_epoch is None:
        return None
    steps = math.ceil(epochs.value * per_epoch.value - 1e-9)
    how = f"{epochs.value:,g} {'epoch' if epochs.value == 1 else 'epochs'} × {per_epoch.value:,.0f} steps"
    certain, by_user = epochs.certain and per_epoch.certain, epochs.by_user and per_epoch.by_user
    return Amount(steps, how, None, per_epoch.source, certain, by_user)


def _warmup(settings: Settings, run: Amount | None, program: Program | None) -> Amount | None:
    steps = stated(settings, "warmup_steps", program)
    if steps is not None and steps.value >= 1:
        return steps
    ratio = steps or stated(settings, "warmup_ratio", program)
    # `pct_start` is the rising part of a one-cycle schedule, 30 % by design (Smith and Topin 2019), and no warm-up.
    if ratio is None or ratio.value > 1 or run is None or _is_one_cycle(ratio.setting):
        return None
    how = f"{100 * ratio.value:,g} % of {run.value:,.0f} steps"
    return Amount(ratio.value * run.value, how, ratio.setting, ratio.source, ratio.certain, ratio.by_user)


def _is_one_cycle(setting: SettingValue | None) -> bool:
    return setting is not None and "pct_start" in (setting.source.key or setting.source.excerpt or "")


def _progress(metrics: Metrics | None) -> tuple[Amount | None, float, Amount | None, float]:
    """Furthest step and epoch of the log, each with the usual distance of two points."""
    series = [s for s in metrics or () if len(s)]
    within: dict[tuple[int, int], bool] = {}  # many series share their axes
    own = []
    for s in series:
        axes = id(s.step_data), id(s.epoch_data)
        if not (within[axes] if axes in within else within.setdefault(axes, _within_epochs(s))):
            own.append((s, s.step_data))
    steps, step_gap = _furthest(own, counted_from_zero=False)
    epochs, epoch_gap = _furthest([(s, s.epoch_data) for s in series], counted_from_zero=True)
    return steps, step_gap, epochs, epoch_gap


def _within_epochs(series: Series) -> bool:
    """The step starts again with every epoch, so that it does not say how far the run is."""
    steps, epochs = series.step_data, series.epoch_data
    if steps is None or epochs is None:
        return False
    if len(series) >= LONG:
        import numpy as np

        back = np.diff(np.frombuffer(steps, dtype=np.float64)) <= 0
        return bool(np.any(back & (np.diff(np.frombuffer(epochs, dtype=np.float64)) > 0)))
    moves = zip(pairwise(steps), pairwise(epochs), strict=True)
    return any(after <= before and later > earlier for (before, after), (earlier, later) in moves)


def _furthest(
    columns: Iterable[tuple[Series, array[float] | None]], *, counted_from_zero: bool
) -> tuple[Amount | None, float]:
    known: dict[int, _Span | None] = {}  # many series share their axis
    spans: list[tuple[Series, array[float], _Span]] = []
    for series, data in columns:
        if data is not None:
            span = known[id(data)] if id(data) in known else known.setdefault(id(data), _span(data))
            if span is not None:
                spans.append((series, data, span))
    if not spans:
        return None, 0.0
    series, column, furthest = max(spans, key=lambda found: found[2].last)
    place = series.at(-1 if column[-1] == furthest.last else column.index(furthest.last))
    longest = max((span for _, _, span in spans), key=lambda span: span.count)
    whole = counted_from_zero and all(span.whole for _, _, span in spans)
    # An epoch counter that starts at 0 names the epoch under way: epoch 9 done makes ten.
    done = furthest.last + (whole and min(span.first for _, _, span in spans) == 0)
    if done <= 0:
        return None, 0.0
    if counted_from_zero and longest.count == 1 and furthest.last == done:
        # A summary names one epoch alone, which may be counted from 0 or from 1.
        return Amount(done, "the log", None, place), 1.0
    # The epoch that a whole number names is done, so only the unlogged ones behind it may be missing.
    return Amount(done, "the log", None, place), max(longest.gap - 1, 0.0) if whole else longest.gap


class _Span(Struct, frozen=True):
    """A column of steps or epochs: lowest and highest, count, median distance of two points, whole numbers only."""

    first: float
    last: float
    count: int
    gap: float
    whole: bool


def _span(column: array[float]) -> _Span | None:
    if len(column) >= LONG:
        import numpy as np

        data = np.frombuffer(column, dtype=np.float64)
        data = data[np.isfinite(data)]
        if not len(data):
            return None
        moved = np.diff(data)
        moved = moved[moved > 0]
        gap = float(np.median(moved)) if len(moved) else 0.0
        return _Span(float(data.min()), float(data.max()), len(data), gap, bool((data == np.rint(data)).all()))
    finite = [x for x in column if math.isfinite(x)]
    if not finite:
        return None
    gaps = [b - a for a, b in pairwise(finite) if b > a]
    gap = median(gaps) if gaps else 0.0
    return _Span(min(finite), max(finite), len(finite), gap, all(x.is_integer() for x in finite))
