"""The planned learning-rate schedule held against the logged rates: how fast they ran through it, and why."""

from __future__ import annotations

import math
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct

from mldiag.artifacts import Role, Settings, SettingValue, as_number
from mldiag.facts import fact
from mldiag.facts._schedules import ScheduleKind as ScheduleKind, kind_of
from mldiag.facts.lr_curve import LrCurve
from mldiag.facts.plan import Amount, Plan

AGREE = 1.15
"""Largest ratio of the factors that two parts of a schedule (its warm-up, its decay) may give for one cause."""

NEAR = 1.1
"""Largest ratio of a found factor and the count that explains it: a log misses up to one interval at either end."""

EXACTLY = 0.05
"""Largest distance of a count and the part of the run after which a decay ended, where nothing says its length."""

WARMUP, DECAY, FIRST_STEP = "warm-up", "decay", "first step down"

_MILESTONES = ("steps", "milestones", "lr_steps", "lr_milestones")
_SMOOTH = (ScheduleKind.LINEAR, ScheduleKind.COSINE, ScheduleKind.POLYNOMIAL, ScheduleKind.ONE_CYCLE)
_IN_STEPS = ("step", "iter", "update", "batches")


class ScheduleCause(StrEnum):
    """What makes a scheduler run at another speed than its optimizer."""

    MICRO_BATCH = "once per micro-batch"
    EPOCH = "once per epoch"
    DEVICE = "once per device"
    TWICE = "twice per step"


class Landmark(Struct, frozen=True):
    """A part of the schedule that both the settings and the log place.

    Attributes:
        what: `WARMUP`, `DECAY` or `FIRST_STEP`.
        planned: its length or end in optimizer steps.
        seen: the same on the axis of the log.
        assumed: nothing states its length; it was to end with the run.
    """

    what: str
    planned: Amount
    seen: float
    assumed: bool = False

    @property
    def ratio(self) -> float:
        """Steps of the scheduler in a unit of the axis."""
        return self.planned.value / self.seen


class Schedule(Struct, frozen=True):
    """What was planned and what was logged.

    Attributes:
        lr: the logged rates and their shape.
        planned: kind by the settings (`cosine`, `step`, ...), empty where they do not say; `stated`: the setting.
        landmarks: what both sides place.
        scale: steps of the scheduler per optimizer step, by the reading of the log's axis that is nearest to one; None
            without landmarks, or where they contradict each other.
        axis_per_step: units of the axis in one optimizer step, by that reading.
        sure: the log and the planned steps leave no other reading of the axis.
        cause, count: what a scale away from one comes from, and the number that shows it; None where nothing fits.
    """

    lr: LrCurve
    planned: str = ""
    stated: SettingValue | None = None
    landmarks: tuple[Landmark, ...] = ()
    scale: float | None = None
    axis_per_step: float = 1.0
    sure: bool = False
    cause: ScheduleCause | None = None
    count: Amount | None = None

    @property
    def seen_share(self) -> float | None:
        """Where in the logged run the decay ends, or its first step lies: below 1 within the run; None without one."""
        decays = [x.seen for x in self.landmarks if x.what != WARMUP]
        return decays[0] / self.lr.axis[-1] if decays else None


@fact
def schedule(lr: LrCurve, plan: Plan | None, settings: Settings | None) -> Schedule:
    """Puts settings and logged rates side by side.

    A run that was resumed has its beginning in another log, and one whose axis is only a position says nothing of
    steps: neither is compared.
    """
    stated = settings.effective("lr_schedule") if settings else None
    named = kind_of(stated.value) if stated is not None and isinstance(stated.value, str) else ""
    alone = Schedule(lr, named, stated)
    if plan is None or settings is None or lr.unit == "point" or lr.curve.begun_late:
        return alone
    placed = (_warmup(lr, plan, settings), _decay(lr, plan, named), _first_step(lr, plan, settings))
    landmarks = tuple(x for x in placed if x is not None)
    per_step, sure = _units(lr, plan, settings)
    if all(x.what == WARMUP for x in landmarks) and (early := _ended_early(lr, plan, settings)) is not None:
        return _ended(Schedule(lr, named, stated, landmarks), early, plan, settings)
    if not landmarks or not per_step or not _agree(landmarks, lr):
        return Schedule(lr, named, stated, landmarks)
    # The longest part is placed best: a log misses up to one interval of each.
    ratio = max(landmarks, key=lambda x: x.planned.value).ratio
    unit = min(per_step, key=lambda u: abs(math.log(ratio * u)))
    scale = ratio * unit
    cause, count = _cause(scale, lr, plan, settings, unit)
    return Schedule(lr, named, stated, landmarks, scale, unit, sure, cause, count)


def _agree(landmarks: tuple[Landmark, ...], lr: LrCurve) -> bool:
    """All parts are of one time scale; a warm-up, which few points may show, ended somewhere between two of them."""
    ratios = [x.ratio for x in landmarks]
    if max(ratios) <= AGREE * min(ratios):
        return True
    others = [x.ratio for x in landmarks if x.what != WARMUP]
    if len(others) != 1 or lr.peak == 0 or lr.axis[lr.peak - 1] <= 0:
        return False
    planned = landmarks[0].planned.value
    return planned / lr.axis[lr.peak] <= AGREE * others[0] and others[0] <= AGREE * planned / lr.axis[lr.peak - 1]


def _warmup(lr: LrCurve, plan: Plan, settings: Settings) -> Landmark | None:
    """Where the straight rise reaches the peak; of one that never ends, where it would reach the stated rate."""
    planned, shape = plan.warmup_steps, lr.shape
    if planned is None or not planned.certain or shape.slope <= 0 or shape.risen < 2 or shape.warmup is None:
        return None
    # A ratio is of the steps that ran, which a run that outlasted its schedule has too many of.
    if planned.how != "warmup_steps" or not _counts_steps(planned, plan):
        return None
    if shape.kind is not ScheduleKind.RISING:
        return Landmark(WARMUP, planned, shape.warmup) if shape.warmup > 0 else None
    peak = settings.get("lr", float)
    if peak is None or peak < 1.02 * shape.peak:
        return None
    return Landmark(WARMUP, planned, lr.axis[-1] + (peak - shape.peak) / shape.slope)


def _decay(lr: LrCurve, plan: Plan, named: str) -> Landmark | None:
    shape = lr.shape
    if shape.kind not in _SMOOTH or shape.end is None or shape.end <= 0 or named in ("constant", "step", "restarts"):
        return None
    stated = plan.decay_steps
    if stated is not None:
        return Landmark(DECAY, stated, shape.end) if stated.certain and _counts_steps(stated, plan) else None
    total = plan.total_steps or plan.derived_steps
    return Landmark(DECAY, total, shape.end) if total is not None and total.certain else None


def _first_step(lr: LrCurve, plan: Plan, settings: Settings) -> Landmark | None:
    """The first of as many milestones as the rates went down in steps, or of more in a run that is not over."""
    if lr.shape.kind is not ScheduleKind.STEP or lr.unit != "step":
        return None
    total = plan.total_steps or plan.derived_steps
    for value in settings:
        if value.key in _MILESTONES and isinstance(value.value, tuple) and value.role is not Role.DEFAULT:
            steps = [n for v in value.value if (n := as_number(v)) is not None]
            inside = total is not None and steps and steps[-1] <= total.value
            rising = len(steps) == len(value.value) and all(b > a for a, b in pairwise(steps))
            if inside and rising and steps[0] >= 1 and len(lr.shape.jumps) <= len(steps):
                planned = Amount(steps[0], value.key, value, value.source)
                return Landmark(FIRST_STEP, planned, lr.shape.jumps[0]) if _counts_steps(planned, plan) else None
    return None


def _ended_early(lr: LrCurve, plan: Plan, settings: Settings) -> Landmark | None:
    """A decay that nothing says the length of, and that was over after just the part of the run that a count makes."""
    shape = lr.shape
    if shape.kind not in _SMOOTH or shape.end is None or not shape.reached or plan.decay_steps is not None:
        return None
    share = shape.end / lr.axis[-1]
    accumulation = _count(settings, "grad_accum")
    if accumulation < 2 or abs(share * accumulation - 1) > EXACTLY:
        return None
    return Landmark(DECAY, Amount(lr.axis[-1], "the log", None, lr.curve.source), shape.end, assumed=True)


def _ended(alone: Schedule, early: Landmark, plan: Plan, settings: Settings) -> Schedule:
    cause, count = _cause(early.ratio, alone.lr, plan, settings, 1.0)
    landmarks = (*alone.landmarks, early)
    return Schedule(alone.lr, alone.planned, alone.stated, landmarks, early.ratio, 1.0, False, cause, count)


def _counts_steps(amount: Amount, plan: Plan) -> bool:
    """A bare `warmup: 5` or `T_max: 30` may be epochs; a number above the epochs, or a key that says so, is steps."""
    if amount.setting is None or any(word in amount.setting.key for word in _IN_STEPS):
        return True
    return plan.epochs is not None and amount.value > 1.5 * plan.epochs.value


def _units(lr: LrCurve, plan: Plan, settings: Settings) -> tuple[tuple[float, ...], bool]:
    """Units of the axis that one optimizer step can be, and whether only one is possible.

    Under accumulation a log counts optimizer steps or micro-batches; the planned total decides where the run is done.
    """
    if lr.unit == "epoch":
        each = plan.steps_per_epoch
        return ((1 / each.value,), True) if each is not None and each.certain and each.value >= 1 else ((), False)
    accumulation = _count(settings, "grad_accum")
    total = plan.total_steps or plan.derived_steps
    if total is not None and total.certain:
        done = (lr.axis[-1] + lr.axis[-1] - lr.axis[-2]) / total.value
        if 1 / NEAR <= done <= NEAR:
            return (1.0,), True
        if accumulation > 1 and accumulation / NEAR <= done <= accumulation * NEAR:
            return (float(accumulation),), True
    return ((1.0, float(accumulation)), False) if accumulation > 1 else ((1.0,), False)


def _cause(
    scale: float, lr: LrCurve, plan: Plan, settings: Settings, unit: float
) -> tuple[ScheduleCause | None, Amount | None]:
    if 1 / 1.25 <= scale <= 1.25:
        return None, None
    if scale > 1:
        for name, cause in (("grad_accum", ScheduleCause.MICRO_BATCH), ("devices", ScheduleCause.DEVICE)):
            count = _count(settings, name)
            if count > 1 and 1 / NEAR <= scale / count <= NEAR:
                where = settings.effective(name)
                return cause, Amount(count, name, where, where.source if where else None)
        return (ScheduleCause.TWICE, None) if abs(scale - 2) <= 0.1 else (None, None)
    each = _steps_per_epoch(lr, plan, unit)
    if each is not None and 1 / NEAR <= scale * each.value <= NEAR:
        return ScheduleCause.EPOCH, each
    return None, None


def _steps_per_epoch(lr: LrCurve, plan: Plan, unit: float) -> Amount | None:
    """As planned; else the length of the steps in which the rate moved, where they are as many as the epochs."""
    if plan.steps_per_epoch is not None:
        return plan.steps_per_epoch
    rung = lr.shape.rung
    if rung and plan.epochs is not None and lr.unit == "step":
        rungs = lr.axis[-1] / rung
        if rungs <= NEAR * plan.epochs.value:
            return Amount(rung / unit, "the rate moved so often", None, lr.curve.source)
    return None


def _count(settings: Settings, name: str) -> int:
    value = settings.effective(name)
    number = settings.get(name, int) if value is not None else None
    if number is None and value is not None and isinstance(value.value, tuple) and len(value.value) == 1:
        only = value.value[0]
        number = only if isinstance(only, int) else None  # fairseq's `update_freq: [8]`
    return number if number is not None and number > 0 else 1
