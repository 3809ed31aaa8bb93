"""CUR007: the run went on without progress."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

from mldiag.api import (
    Curve,
    Curves,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Severity,
    is_capped,
    is_whole_score,
    rule,
    stats,
)

_BINS = 200
_LOSSES = ("val/loss", "test/loss", "train/loss")
_PREFERRED = ("dice", "iou", "map", "ap", "f1", "fscore", "auroc", "auc", "auprc", "r2", "bleu", "accuracy", "acc")
"""Scores by what stands for the whole task best; the first held-out one that a run has is looked at."""
_CEILINGS = ("map", "ap", "r2", "bleu", "pq", "auprc", "mcc", "kappa", "rouge")
"""Scores that are good far below 1, or can be."""

_NO_LEVEL = frozenset({"loss", "std", "var", "min", "max", "scale", "weight", "coef"})
"""Words of a return's or reward's name with which it does not say how good the policy is on average."""


class _Level(Struct, frozen=True):
    """A curve by its progress, all levels as logged.

    Attributes:
        start, middle, late, end: levels at the start, at half of the run, where the last part begins, and at the end.
        gained_half, gained_late: progress from `middle` and from `late` to the end / all progress.
        noise: of a value, as logged. error: standard error of those shares.
    """

    curve: Curve
    start: float
    middle: float
    late: float
    end: float
    gained_half: float
    gained_late: float
    noise: float
    error: float


@rule(
    "CUR007",
    severity="warning",
    gives_way_to=(
        "CUR001",
        "CUR002",
        "CUR003",
        "CUR004",
        "CUR005",
        "CUR008",
        "CUR012",
        "CUR014",
        "SCH005",
    ),
)
def plateau(
    curves: Curves,
    *,
    last: float = 0.3,
    max_gain: float = 0.02,
    max_half_gain: float = 0.04,
    max_relative: float = 0.025,
    min_rate: float = 0.5,
    low_rate: float = 0.1,
    far_from_perfect: float = 0.5,
    near_floor: float = 0.05,
    small_loss: float = 0.5,
    good_score: float = 0.95,
    min_progress: float = 0.05,
    max_error: float = 0.1,
    min_points: int = 10,
) -> Iterator[Finding]:
    """The last part of the run gained next to nothing.

    ## What it checks
    How much of all progress fell into the last 30 % and into the last half, by medians of a tenth of the run to each
    side. Looked at are the validation score and the validation loss, where there are such, and the train loss
    otherwise; in reinforcement learning the return. All of them have to be flat, within their standard error; where
    that is more than half of the limit, the last half must show no trend either (Mann-Kendall test). It counts while
    the learning rate stayed near its peak, or was not logged: the optimizer could move and did not. A rate that falls
    smoothly brings a run to rest as planned, and is left alone; one that was cut tenfold in the first half without
    gaining anything afterwards is reported. Left alone, too: a nearly perfect score, a loss at 5 % of its start.

    ## Why it matters
    The compute of the flat part was spent for nothing; what limits the run is something else than its length. That is
    an information, since a healthy run can end so. It is a warning where at least half of the run was flat at a
    validation score below a half.

    ## Inputs
    `val/*` or `test/*` scores, `val/loss`, `test/loss` or `train/loss`, at least 10 values; the return; `lr`.

    ## Options
    - `last`, `max_gain`: part of the run (0.3) and what it may have gained of all progress (0.02).
    - `max_half_gain`: what the last half may have gained (0.04), its standard error included for a warning.
    - `max_relative`: change of a loss over the last half / its level at half (0.025): of a loss that fell from far
      above, a small share of all progress is much of what was left.
    - `min_rate`: smallest rate of the last part / peak that is near it (0.5).
    - `low_rate`: rate at half of the run / peak that was cut early (0.1).
    - `far_from_perfect`: score below which it is a warning (0.5 of 1); not of scores that are good at that (AP, R²).
    - `near_floor`, `small_loss`: loss at the end / at the start (0.05) and loss (0.5, any unit) that are left alone
      together: far below where it began, it can have begun absurdly high.
    - `good_score`: score that is left alone (0.95 of 1).
    - `min_progress`: progress / start that there has to be (0.05): without any, the run did not learn.
    - `max_error`: standard error of the gain / all progress up to which it can be told (0.1).
    - `min_points`: values (10).

    ## Fix
    Shown: stop earlier, or change what limits the run (learning rate, capacity, data, labels).

    ## When to ignore
    The score is as good as it gets with these data.

    ## Source
    2 % of the progress in the last 30 % at a rate near its peak: as runmedic's rule for a constant rate. The other
    limits: chosen on 345 labelled runs; none was held out. Runs labelled as plateaus gained 0 to 4 % of their progress
    in the last half; so did many healthy ones, with a rate that had come to rest, at a score above 0.8, or at a loss
    below 5 % of the start. No healthy run was flat at a score below 0.5.
    """
    judged = _judged(curves, min_points)
    lr = curves.get("lr")
    rates = _rates(lr, last)
    near_peak = rates is None or rates[1] >= min_rate
    cut = rates is not None and rates[0] <= low_rate
    if not (near_peak or cut):
        return
    levels = [_level(c, last) for c in judged]
    for flat in levels:
        learned = max(min_progress * abs(flat.start), 4 * flat.noise)
        if (
            flat.error > max_error
            or abs(flat.start - flat.end) < learned
            or _fine(flat, near_floor, small_loss, good_score)
        ):
            return
        slack = flat.error if flat.error > max_gain / 2 else 0.0
        if flat.gained_late > max_gain + slack or abs(flat.gained_half) > max_half_gain + slack:
            return
        if slack and _moves(flat):
            return
        most = max_relative * abs(flat.middle) + slack * abs(flat.start - flat.end)
        if flat.curve.name in _LOSSES and flat.middle - flat.end > most:
            return
    first = levels[0]
    unit = 1.0 if max(first.curve.values) <= 1.5 else 100.0
    poor = (
        _is_held_out_score(first.curve.name)
        and not any(word in first.curve.name.rpartition("/")[2] for word in _CEILINGS)
        and first.end < far_from_perfect * unit
        and near_peak
        and first.gained_half + first.error <= max_half_gain
        and len(first.curve) >= 2 * min_points
    )
    yield _finding(levels, rates, Severity.WARNING if poor else Severity.INFO, (max_gain, max_half_gain, last))


def _judged(curves: Curves, least: int) -> list[Curve]:
    """The best held-out score and the held-out loss, else the train loss; the return of reinforcement learning."""
    if curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.adversarial} does not measure progress")
    if curves.reinforcement:
        name = curves.reinforcement
        found = [curves.get(name)] if not _NO_LEVEL & set(name.replace("/", "_").split("_")) else []
    else:
        scores = sorted((n for n in curves if _is_held_out_score(n)), key=_preference)
        score = next((c for c in map(curves.get, scores) if c is not None and len(c) >= least), None)
        loss = next((c for c in map(curves.get, _LOSSES[:2]) if c is not None and len(c) >= least), None)
        found = [score, loss] if score is not None or loss is not None else [curves.get("train/loss")]
    kept = [c for c in found if c is not None and len(c) >= least and not c.begun_late]
    if not kept:
        raise NotApplicable(f"no score or loss with at least {least} values from the beginning of a run")
    return kept


def _is_held_out_score(name: str) -> bool:
    return name.startswith(("val/", "test/")) and is_whole_score(name) and is_capped(name)


def _preference(name: str) -> int:
    quantity = name.rpartition("/")[2]
    return next((i for i, word in enumerate(_PREFERRED) if quantity.startswith(word)), len(_PREFERRED))


def _rates(lr: Curve | None, last: float) -> tuple[float, float] | None:
    """Learning rate at half of the run and the smallest of its last part, as shares of the peak."""
    if lr is None or len(lr) < 4 or max(lr.values) <= 0:
        return None
    values = stats.binned(lr.values)
    peak = max(values)
    return values[len(values) // 2] / peak, min(values[round((1 - last) * len(values)) :]) / peak


def _level(curve: Curve, last: float) -> _Level:
    values = stats.binned(curve.values, _BINS)
    rising = curve.name not in _LOSSES
    n = len(values)
    w = max(1, n // 10)
    start = stats.head_level(values, share=0.02, least=1)
    end = stats.median(values[n - 2 * w :])
    late, middle = _around(values, round((1 - last) * n), w), _around(values, n // 2, w)
    best = -stats.best_level([-v for v in values])[1] if rising else stats.best_level(values)[1]
    progress = (best - start) if rising else (start - best)
    if progress <= 0:
        return _Level(curve, start, middle, late, end, -math.inf, -math.inf, 0.0, math.inf)
    noise = stats.noise(values[n // 2 :])
    error = math.sqrt(2) * stats.level_error(noise, 2 * w) / progress
    sign = 1.0 if rising else -1.0
    half, part = sign * (end - middle) / progress, sign * (end - late) / progress
    return _Level(curve, start, middle, late, end, half, part, noise, error)


def _moves(level: _Level) -> bool:
    """The last half goes the right way, by a test: so much noise would hide it from the levels."""
    late = level.curve.values[len(level.curve) // 2 :]
    return stats.falls(late if level.curve.name in _LOSSES else [-v for v in late])


def _around(values: Sequence[float], place: int, reach: int) -> float:
    return stats.median(values[max(0, place - reach) : place + reach])


def _fine(level: _Level, near_floor: float, small_loss: float, good_score: float) -> bool:
    """Nothing is left to gain."""
    name = level.curve.name
    if _is_held_out_score(name):
        return level.end >= good_score * (1.0 if max(level.curve.values) <= 1.5 else 100.0)
    return name in _LOSSES and level.start > 0 and level.end <= min(near_floor * level.start, small_loss)


def _finding(
    levels: Sequence[_Level],
    rates: tuple[float, float] | None,
    severity: Severity,
    limits: tuple[float, float, float],
) -> Finding:
    max_gain, max_half_gain, last = limits
    first = levels[0]
    curve = first.curve
    where = curve.place(len(curve) // 2)
    rate = ""
    if rates is not None:
        rate = (
            f", while the learning rate stayed at {100 * rates[1]:.0f} % of its peak or above"
            if rates[1] > rates[0] / 2 and rates[0] >= 0.5
            else f", with a learning rate that was down to {100 * rates[0]:.2g} % of its peak by then"
        )
    also = "".join(f"; {x.curve.name} {x.middle:.4g} to {x.end:.4g}" for x in levels[1:])
    return Finding(
        f"{curve.name} went from {first.start:.4g} to {first.middle:.4g} in the first half, up to {where}, and to "
        f"{first.end:.4g} in the other: {100 * max(0.0, first.gained_half):.2g} % of all it gained{rate}{also}",
        at=curve.at(len(curve) // 2),
        severity=severity,
        evidence=(
            *(
                e
                for x in levels
                for e in (
                    Evidence(f"{x.curve.name} at the start", x.start, None, x.curve.source),
                    Evidence(f"{x.curve.name} at half of the run", x.middle, None, x.curve.at(len(x.curve) // 2)),
                    Evidence(f"{x.curve.name} at the end", x.end, None, x.curve.at(-1)),
                    Evidence(f"{x.curve.name}: gain of the last half / all", x.gained_half, max_half_gain),
                    Evidence(f"{x.curve.name}: gain of the last {100 * last:.0f} % / all", x.gained_late, max_gain),
                    Evidence(f"{x.curve.name}: standard error of these", x.error),
                )
            ),
            Evidence("half of the run", where),
            *(
                (
                    Evidence("learning rate at half of the run / peak", rates[0]),
                    Evidence("smallest learning rate at the end / peak", rates[1]),
                )
                if rates is not None
                else ()
            ),
        ),
        fix=Fix.show("stop earlier, or change what limits the run: learning rate, capacity, data or labels"),
    )
