"""SCH005: the logged learning rates do not follow the configured schedule."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Plan,
    Schedule,
    ScheduleCause,
    ScheduleKind,
    Settings,
    Severity,
    rule,
    stats,
)

_NEARLY = 0.05  # of the run, and of the floor: a log misses up to one interval
_HALFWAY = 0.01  # share by which the end of a decay may miss the middle of the plan
_MOVING = ("cosine", "linear", "polynomial", "one-cycle")
_ADVICE = {
    ScheduleCause.MICRO_BATCH: "step the scheduler with the optimizer, once per accumulated batch",
    ScheduleCause.EPOCH: "step the scheduler after every optimizer step, or state its lengths in epochs",
    ScheduleCause.DEVICE: "step the scheduler once per optimizer step, on every device alike",
    ScheduleCause.TWICE: "remove one of the two places that step the scheduler",
}

_COUNTED = {
    ScheduleCause.MICRO_BATCH: "micro-batches per step",
    ScheduleCause.EPOCH: "steps per epoch",
    ScheduleCause.DEVICE: "devices",
}


@rule(
    "SCH005",
    severity="error",
    explains=("SCH001", "SCH002", "SCH003", "SCH004", "SCH006", "CUR003", "CUR007"),
)
def schedule_mismatch(
    schedule: Schedule,
    plan: Plan | None,
    settings: Settings | None,
    *,
    min_factor: float = 1.5,
    max_used: float = 0.8,
    min_done: float = 0.5,
    max_still: float = 0.95,
    min_drop: float = 2.0,
    min_rise: float = 0.2,
) -> Iterator[Finding]:
    """The logged learning rates run through another schedule, or through it at another speed, than the settings say.

    ## What it checks
    The planned warm-up, decay and first step down against where the logged rates show them: linear, cosine and
    polynomial shapes are fitted, and the factor of the time scale is planned / logged length. It fires where the
    factor is known: the accumulation (stepped once per micro-batch), the steps of an epoch (stepped once per epoch),
    the devices, two; and for any other where the settings state the length of the decay. A schedule that ends with the
    run is never reported.
    Also, as warnings: a configured decay that ended just halfway through the planned steps, where nothing states
    a shorter one; a schedule that should move and stayed at one rate; and a warm-up that runs into the first step
    down, so that the full rate was never held.

    ## Why it matters
    A schedule that runs k times too fast spends the rest of the run at its floor, one that runs too slowly never
    leaves its warm-up. The loss curve looks like a model that cannot learn more, or is slow to learn.

    ## Inputs
    Series `lr` with steps or epochs, ten points or more. Settings `warmup_steps`, `total_steps` or `epochs` with
    `steps_per_epoch`, `lr_decay_steps`, milestones (`SOLVER.STEPS`), `lr_schedule`, `lr`, `grad_accum`, `devices`.

    ## Options
    - `min_factor` (1.5): smallest factor of the time scale, either way. In 79 runs whose schedule is right the factor
      is 0.95 to 1.05; in planted faults it is 4 and 14. Two more have 3.9 and 40, whose settings are of another run:
      they are excluded by what is asked of the end of the decay.
    - `max_used` (0.8): largest end of the decay / end of the run for a schedule that ran too fast.
    - `min_done` (0.5) and `max_still` (0.95): done / planned, and lowest / highest logged rate, from which a rate that
      hardly moved contradicts its schedule; half of a cosine or a line brings the rate to half.
    - `min_drop` (2, a factor) and `min_rise` (0.2 of the run): smallest step down behind a warm-up, and shortest
      warm-up, that are told as colliding.

    ## Fix
    Shown: where the scheduler is stepped is code.

    ## When to ignore
    Programs whose `max_steps` counts something else than the steps of the optimizer.

    ## Source
    PyTorch documentation, `torch.optim.lr_scheduler`: "how to adjust learning rate"; Hugging Face Accelerate,
    "gradient accumulation". Measured on 189 labelled runs with ten rates or more.
    """
    found = _wrong_speed(schedule, plan, min_factor, max_used)
    if found is None:
        found = _stood_still(schedule, plan, settings, min_done, max_still)
    collision = _collision(schedule, min_drop, min_rise)
    if found is None and collision is None:
        if schedule.scale is None and not schedule.planned:
            raise NotApplicable("the settings place no warm-up or decay that the logged rates show")
        return
    yield found or collision  # type: ignore[misc]


def _wrong_speed(schedule: Schedule, plan: Plan | None, min_factor: float, max_used: float) -> Finding | None:
    scale, lr = schedule.scale, schedule.lr
    if scale is None or 1 / min_factor < scale < min_factor:
        return None
    share = schedule.seen_share
    if scale > 1:
        # Too fast: the decay was over long before the run was.
        if share is None or share > max_used:
            return None
        if schedule.cause is None and not _is_sure(schedule):
            return None
        several = schedule.sure and len(schedule.landmarks) > 1
        if schedule.cause is ScheduleCause.TWICE and not (several or _is_sure(schedule)):
            return _speed_finding(schedule, scale, min_factor, surely=False) if _ends_halfway(schedule) else None
    else:
        ahead = share is not None and share > 1.25 and not lr.shape.reached
        if schedule.cause is None or not (lr.shape.kind is ScheduleKind.RISING or ahead):
            return None
        total = (plan.total_steps or plan.derived_steps) if plan is not None else None
        if total is not None and lr.unit == "step" and lr.axis[-1] / schedule.axis_per_step > 1.2 * total.value:
            return None  # the log has passed what is called the total: it counts something else
    return _speed_finding(schedule, scale, min_factor)


def _is_sure(schedule: Schedule) -> bool:
    """The settings state how long the decay is, and the log counts what they count."""
    stated = any(
        x.what == "decay" and x.planned.setting is not None and x.planned.setting.name == "lr_decay_steps"
        for x in schedule.landmarks
    )
    return stated and schedule.sure


def _ends_halfway(schedule: Schedule) -> bool:
    """A configured decay was over just at the middle of the planned steps, all of which were done."""
    lr, mark = schedule.lr, schedule.landmarks[0]
    gap = max(b - a for a, b in pairwise(lr.axis[-3:]))
    half = 0.5 * mark.planned.value * schedule.axis_per_step
    done = lr.axis[-1] + gap >= 2 * (1 - _NEARLY) * half
    held = lr.values[-1] <= (1 + _NEARLY) * max(lr.shape.floor, 0.0)
    known = schedule.sure and schedule.planned in _MOVING and lr.shape.reached
    return known and done and held and abs(mark.seen - half) <= max(gap, _HALFWAY * half)


def _speed_finding(schedule: Schedule, scale: float, min_factor: float, *, surely: bool = True) -> Finding:
    lr = schedule.lr
    mark = max(schedule.landmarks, key=lambda x: x.planned.value)
    length = mark.seen / schedule.axis_per_step
    speed = f"{scale:.3g} times too fast" if scale > 1 else f"{1 / scale:.3g} times too slowly"
    took = "took" if mark.seen <= lr.axis[-1] else "would have taken"
    meant = f"planned over {mark.planned.value:,.0f}"
    if mark.assumed:
        meant, length = f"of a run of {mark.planned.value:,.0f}", mark.seen
    message = f"the learning rate ran through its schedule {speed}: the {mark.what} {meant} steps {took} {length:,.0f}"
    evidence = [
        Evidence("time scale", scale, min_factor if scale > 1 else 1 / min_factor, lr.curve.source),
        Evidence(f"{mark.what} planned", mark.planned.value, at=mark.planned.source, unit="step"),
        Evidence(f"{mark.what} logged", length, at=lr.curve.source, unit="step"),
        Evidence("times too fast" if scale > 1 else "times too slowly", max(scale, 1 / scale)),
    ]
    if schedule.axis_per_step != 1 and lr.unit == "step":
        evidence.append(Evidence("logged steps per optimizer step", schedule.axis_per_step, at=lr.curve.source))
    cause = schedule.cause
    if cause is not None:
        message += f"; {'it was' if surely else 'as if it was'} stepped {cause.value}"
        if schedule.count is not None:
            what = _COUNTED[cause]
            message += f" ({schedule.count.value:,.0f} {what})"
            evidence.append(Evidence(what, schedule.count.value, at=schedule.count.source))
        message += "" if surely else ", for nothing states a shorter decay"
    return Finding(
        message,
        at=mark.planned.source or lr.curve.source,
        evidence=tuple(evidence),
        severity=None if surely else Severity.WARNING,
        fix=Fix.show(_ADVICE[cause] if cause is not None else "step the scheduler once per optimizer step"),
    )


def _stood_still(
    schedule: Schedule, plan: Plan | None, settings: Settings | None, min_done: float, max_still: float
) -> Finding | None:
    """A schedule that is configured and moves, and rates that stayed near one value, over at least half of the run."""
    lr, stated = schedule.lr, schedule.stated
    if schedule.planned not in _MOVING or stated is None or lr.curve.begun_late or plan is None:
        return None
    lowest = stats.extremes(lr.values)[0] / lr.shape.peak
    if lowest < max_still:
        return None
    total = (plan.total_steps or plan.derived_steps) if plan.done_steps is not None else None
    # A log may count epochs alone, beside a plan in steps.
    done, planned = (plan.done_steps, total) if total is not None else (plan.done_epochs, plan.epochs)
    if done is None or planned is None or not planned.certain:
        return None
    share = done.value / planned.value
    accumulation = (settings.get("grad_accum", int) if settings else None) or 1
    # Under accumulation a log may count micro-batches; and a "total" that it has passed is another thing.
    certain = accumulation if total is not None and not schedule.sure else 1
    if share < min_done * certain or share > 1.2 * certain:
        return None
    return Finding(
        f"the learning rate stayed at {lr.shape.peak:.3g} or within {100 * (1 - lowest):.2g} % of it in all "
        f"{len(lr.values)} logged values, though a {schedule.planned} schedule was configured",
        at=stated.source,
        evidence=(
            Evidence("lowest / highest lr", lowest, max_still, lr.curve.source),
            Evidence("fall of the lr", 100 * (1 - lowest), at=lr.curve.source, unit="%"),
            Evidence("highest lr", lr.shape.peak, at=lr.curve.source),
            Evidence("logged rates", len(lr.values), at=lr.curve.source),
            Evidence("schedule", schedule.planned, at=stated.source),
            Evidence("done / planned", share, min_done * certain, planned.source),
        ),
        severity=Severity.WARNING,  # some programs print the rate that they were given, not the one in use
        fix=Fix.show("step the scheduler after every optimizer step"),
    )


def _collision(schedule: Schedule, min_drop: float, min_rise: float) -> Finding | None:
    """The rate falls by a step in the interval in which its long rise ends."""
    lr = schedule.lr
    shape = lr.shape
    if shape.kind is not ScheduleKind.STEP or shape.slope <= 0 or shape.warmup is None or lr.curve.begun_late:
        return None
    held = sum(v >= 0.98 * shape.peak for v in lr.values)
    # Points of the rise itself lie this close to the peak, too.
    rising = 0.02 * shape.peak / shape.slope / max(lr.axis[1] - lr.axis[0], 1e-9) + 2
    at = lr.values.index(shape.peak) if isinstance(lr.values, list) else list(lr.values).index(shape.peak)
    if at + 1 >= len(lr.values) or held > rising or lr.peak_share < min_rise:
        return None
    after = lr.values[at + 1]
    if shape.peak < min_drop * after:
        return None
    place = lr.axis[at]
    return Finding(
        f"the warm-up ran into the first step down: the learning rate rose to {shape.peak:.3g} until {lr.unit} "
        f"{place:,.0f}, {100 * lr.peak_share:.0f} % of the run, and fell to {after:.3g} at once",
        at=lr.curve.source,
        evidence=(
            Evidence("next / peak lr", after / shape.peak, 1 / min_drop, lr.curve.source),
            Evidence("peak at / run", lr.peak_share, min_rise, lr.curve.source),
            Evidence("peak at", place, at=lr.curve.source, unit=lr.unit),
            Evidence("peak lr", shape.peak, at=lr.curve.source),
            Evidence("next lr", after, at=lr.curve.source),
        ),
        severity=Severity.WARNING,
        explains=("CUR007", "SCH003"),
        fix=Fix.show("end the warm-up well before the first step down"),
    )
