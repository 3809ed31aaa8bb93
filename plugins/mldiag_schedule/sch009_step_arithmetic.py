"""SCH009: the steps of an epoch are not what data and batch make."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from mldiag.api import (
    Batching,
    Evidence,
    Finding,
    Fix,
    Metrics,
    NotApplicable,
    Plan,
    Settings,
    SettingValue,
    Severity,
    Source,
    TokenFiles,
    Windows,
    as_number,
    edit_setting,
    rule,
)

_NOT_JUDGED = (
    "packing", "max_tokens", "max_tokens_per_batch", "batch_tokens", "dynamic_batching", "dynamic_batch", "bucketing",
    "bucket", "batch_by_tokens", "limit_train_batches", "overfit_batches", "fast_dev_run", "max_train_samples",
    "samples_per_epoch", "streaming", "iterable_dataset", "weighted_sampler", "balanced_sampler",
)  # fmt: skip
"""Settings with which an epoch is no pass over all windows in batches of one size."""
_MOST_DEVICES = 1024
_ROUND = 50
"""Multiples of it are what people choose for the length of an epoch that is none (250 in nnU-Net)."""


class _Count(NamedTuple):
    """A number, in words, with its place."""

    value: float
    how: str
    source: Source | None
    evidence: tuple[Evidence, ...] = ()


class _Steps(NamedTuple):
    value: float
    said: str
    source: Source | None
    setting: SettingValue | None


@rule("SCH009", severity="warning", pre=True, explains=("SCH001", "SCH003"), gives_way_to=("CFG003",))
def step_arithmetic(
    settings: Settings,
    plan: Plan,
    batching: Batching,
    windows: Windows | None,
    tokens: TokenFiles | None,
    metrics: Metrics | None,
    *,
    tolerance: float = 0.25,
) -> Iterator[Finding]:
    """The stated or logged steps of an epoch are not windows / (batch × accumulation × devices).

    ## What it checks
    The steps of an epoch, as stated, else as the log shows them, against what the data makes of the batch. The windows
    are stated, or follow from the training tokens, the window length and the stride. Rounding, a last batch that is
    dropped, and a part that is held out are within `tolerance`.

    Nothing is said where another reading of the same numbers fits: steps that count micro-batches, a batch that is
    stated for all devices together, fewer steps by a whole number of devices that nobody states, more steps where the
    stride is not stated.

    It is an information where the log counts other steps than stated numbers make, and where fewer steps are stated
    by a round number, as for an epoch that is meant to be a part of the data.

    ## Why it matters
    Warm-up, decay and the length of the run are multiples of this number. Where it counts samples, micro-batches or
    another data set, the schedule is as wrong as it is.

    ## Inputs
    Settings `steps_per_epoch`, or series with steps and epochs; `train_windows`, or `train_tokens` or the training
    token file with `seq_len` and `stride` (tokens); `batch_size`, `grad_accum`, `devices`.

    ## Options
    - `tolerance` (0.25, share): a held-out part of 20 % makes the steps 0.8 of what all windows make.

    ## Fix
    Unsafe: sets the stated steps to the computed number, rounded up; the numbers it is computed from may be the wrong
    ones. Shown where the log says otherwise.

    ## When to ignore
    An epoch that is defined as a number of steps, data that is augmented or repeated within an epoch, batches of
    several sizes.

    ## Source
    The arithmetic of a data loader: ceil(windows / batch), or floor where the last batch is dropped.
    """
    for name in _NOT_JUDGED:
        value = settings.get(name)
        # Lightning's `limit_train_batches: 1.0` is all of them.
        if value not in (None, False, "", "None", "none") and not (isinstance(value, float) and value == 1.0):
            raise NotApplicable(f"with {name} an epoch is no fixed number of batches")
    data = _data(settings, windows, tokens)
    if data is None:
        raise NotApplicable("nothing says how many windows the training data has")
    steps = _steps(settings, plan, metrics)
    if steps is None:
        raise NotApplicable("neither the settings nor the log say how many steps an epoch has")
    devices = settings.get("devices", float) is not None
    rows = _rows(batching, windows)
    made = data.value / rows
    ratio = steps.value / made
    if _fits(steps.value, data.value, batching, rows, tolerance) or _is_devices(ratio, tolerance, known=devices):
        return
    stride_known = windows is None or windows.stated or data.how == "windows"
    if ratio > 1 and not stride_known:
        return
    lower = ratio < 1 and steps.value % _ROUND == 0
    logged = steps.setting is None
    how = [f"batch {batching.batch_size.value:,g}"]
    evidence = [
        Evidence("steps per epoch", steps.value, round(made, 2), steps.source, "step"),
        *data.evidence,
        Evidence("batch size", batching.batch_size.value, at=batching.batch_size.source),
    ]
    for label, value, name in (
        ("accumulation", batching.accumulation, "grad_accum"),
        ("devices", batching.devices, "devices"),
    ):
        if value != 1 or name in settings:
            how.append(f"{label} {value:,g}")
            evidence.append(Evidence(label, value, at=settings.where(name)))
    if batching.unit == "tokens" and windows is not None:
        how.append(f"tokens / {windows.seq_len.value:,.0f} of a window")
    right = math.ceil(made)
    evidence.append(Evidence("ratio", ratio, 1 + tolerance if ratio > 1 else 1 - tolerance))
    title = f"set steps_per_epoch to {right:,}, or correct the number that it follows from"
    yield Finding(
        f"{steps.said} {steps.value:,.0f} steps per epoch, but {data.value:,.0f} {data.how} / ({' × '.join(how)}) make "
        f"{made:,.1f}: {ratio:,.2f} times as many",
        at=steps.source,
        evidence=tuple(evidence),
        severity=Severity.INFO if lower or logged else None,
        explains=() if lower or logged else None,
        fix=Fix.show(title) if logged else Fix.unsafe(title, edit_setting(steps.setting, right)),
    )


def _data(settings: Settings, windows: Windows | None, tokens: TokenFiles | None) -> _Count | None:
    """The windows of one epoch."""
    found = settings.effective("train_windows")
    number = as_number(found.value) if found is not None else None
    # `n_samples` is also the number of texts to generate.
    if found is not None and number is not None and number > 0 and found.key != "n_samples":
        return _Count(number, "windows", found.source, (Evidence("windows", number, at=found.source),))
    if windows is None or not windows.text:
        return None
    stated = settings.effective("train_tokens")
    count, source = (as_number(stated.value), stated.source) if stated is not None else (None, None)
    if count is None and tokens is not None:
        own = [t for t in tokens if t.split == "train"]
        if len(own) == 1:
            count, source = own[0].count, own[0].source
    length, stride = windows.seq_len.value, windows.stride.value
    if count is None or count <= length:
        return None
    made = math.floor((count - length) / stride) + 1
    evidence = (
        Evidence("training tokens", count, at=source, unit="token"),
        Evidence("window", length, at=windows.seq_len.source, unit="token"),
        Evidence("stride", stride, at=windows.stride.source, unit="token"),
        Evidence("windows", made),
    )
    return _Count(made, f"windows of {count:,.0f} tokens by stride {stride:,.0f}", source, evidence)


def _steps(settings: Settings, plan: Plan, metrics: Metrics | None) -> _Steps | None:
    each = plan.steps_per_epoch
    if each is not None and each.setting is not None and each.certain:
        said = "the log shows" if each.setting.record or each.setting.role in ("log", "checkpoint") else "stated are"
        return _Steps(each.value, said, each.source, None if said.startswith("the log") else each.setting)
    for series in metrics or ():
        steps, epochs = series.step_data, series.epoch_data
        if steps is None or epochs is None or len(series) < 3 or epochs[-1] - epochs[0] < 2:
            continue
        # Long series have many points in an epoch; one point in each is what tells its steps.
        if len(series) <= 10_000 and all(b > a for a, b in pairwise(epochs)) and steps[-1] > steps[0]:
            slope = (steps[-1] - steps[0]) / (epochs[-1] - epochs[0])
            if slope >= 1 and math.isfinite(slope):
                return _Steps(slope, "the log shows", series.source, None)
    return None


def _rows(batching: Batching, windows: Windows | None) -> float:
    """Windows in one optimizer step."""
    rows = batching.batch_size.value * batching.accumulation * batching.devices
    if batching.unit == "tokens" and windows is not None:
        rows /= windows.seq_len.value
    return rows


def _fits(steps: float, data: float, batching: Batching, rows: float, tolerance: float) -> bool:
    """Whether the steps are those of this batch, of micro-batches, or of a batch for all devices together."""
    for divided in {1.0, batching.accumulation, batching.devices, batching.accumulation * batching.devices}:
        made = data * divided / rows
        if abs(steps - made) <= 1 or 1 - tolerance <= steps / made <= 1 + tolerance:
            return True
    return False


def _is_devices(ratio: float, tolerance: float, *, known: bool) -> bool:
    """Whether so many times fewer steps are those of a number of devices that nobody states."""
    if known or ratio >= 1:
        return False
    devices = round(1 / ratio)
    several = (n for n in (devices - 1, devices, devices + 1) if 2 <= n <= _MOST_DEVICES)
    return any(1 - tolerance <= ratio * n <= 1 + _ROUNDING for n in several)


_ROUNDING = 0.02
"""Steps that are more than the devices make, by rounding up."""
