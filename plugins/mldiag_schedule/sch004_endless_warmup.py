"""SCH004: the logged learning rate never stops rising."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    LrCurve,
    NotApplicable,
    Plan,
    Schedule,
    ScheduleKind,
    Settings,
    Severity,
    rule,
)


@rule("SCH004", severity="error", explains=("CUR003", "CUR007"), gives_way_to=("SCH005",))
def endless_warmup(
    schedule: Schedule,
    plan: Plan | None,
    settings: Settings | None,
    *,
    max_start: float = 0.5,
    min_points: int = 10,
    min_done: float = 0.9,
    min_levels: int = 8,
    min_overdue: float = 5.0,
    max_reached: float = 0.2,
) -> Iterator[Finding]:
    """The logged learning rate rises to the end of the log: the run never left its warm-up.

    ## What it checks
    Rates that rise in a straight line, or in even steps, from at most half of the highest rate to the last logged point
    or the one before it. A run that the log or the settings show as interrupted is left to SCH002, unless its planned
    warm-up is longer than the planned run. Where nothing says how long the run was to be, it is a warning: the run
    ended in its warm-up, whichever of both was wrong.

    ## Why it matters
    The rate that the run was tuned for was never reached, and none of the decay in which most of the final loss is
    gained has taken place. The numbers of such a run say nothing about its settings.

    ## Inputs
    Series `lr` with steps or epochs, ten points or more. Settings `warmup_steps`, `total_steps`, `epochs`, `lr`.

    ## Options
    - `max_start` (0.5): highest first / last rate. Of 99 runs labelled healthy one without a plan rises to its end, by
      2 %.
    - `min_points` (10): logged rates below which a rise may be the beginning of any schedule.
    - `min_done` (0.9): done / planned from which the run counts as complete, as in SCH002.

    - `min_levels` (8), `min_overdue` (5) and `max_reached` (0.2): a rate that rose in fewer even steps, as one that is
      stepped once in each of a few epochs does, is only told of a complete run that has done so many times its planned
      warm-up, or that came to at most this share of the stated rate.

    ## Fix
    Shown: end the warm-up early in the run, or step the scheduler as often as its settings count.

    ## When to ignore
    Learning-rate range tests that rise in a straight line.

    ## Source
    Measured on 189 labelled runs with ten rates or more: in five the rate rises from at most half of its peak to the
    end. Two are planted, two ended in their warm-up without a plan, and one, labelled healthy, was interrupted at 1 %
    of its plan and is left to SCH002.
    """
    lr = schedule.lr
    shape = lr.shape
    if lr.curve.begun_late:
        raise NotApplicable("the run was resumed, and the log lacks the beginning of its learning rates")
    if len(lr.values) < min_points:
        raise NotApplicable(f"only {len(lr.values)} learning rates were logged")
    # Only a straight rise: a rate that grows by a factor is a range test, a cosine one the first part of a one-cycle.
    if shape.kind is not ScheduleKind.RISING or shape.slope <= 0 or lr.values[0] > max_start * shape.peak:
        return
    warmup = plan.warmup_steps if plan is not None and plan.warmup_steps and plan.warmup_steps.certain else None
    length, done = _length(plan)
    whole = done is not None and done >= min_done
    longer = warmup is not None and length is not None and warmup.value >= length
    if done is not None and not whole and not longer:
        return  # SCH002 says that the run was interrupted
    last = lr.axis[-1]
    stated = settings.get("lr", float) if settings is not None else None
    overdue = length / warmup.value if warmup is not None and length is not None and warmup.value > 0 else 0.0
    reached = shape.peak / stated if stated is not None and stated > 0 else 1.0
    levels = shape.risen + 1 if shape.rung > 0 else 0
    few = 0 < levels < min_levels
    if few and not (whole and (overdue >= min_overdue or reached <= max_reached)):
        return
    message = (
        f"the learning rate rose to the end of the log, from {lr.values[0]:.3g} to {shape.peak:.3g} at "
        f"{lr.unit} {last:,.0f}"
    )
    evidence = [
        Evidence("first / last lr", lr.values[0] / shape.peak, max_start, lr.curve.source),
        Evidence("first lr", lr.values[0], at=lr.curve.source),
        Evidence("last lr", shape.peak, at=lr.curve.source),
        Evidence("end of the log", last, at=lr.curve.source, unit=lr.unit),
        Evidence("logged rates", len(lr.values), min_points),
    ]
    if warmup is not None:
        message += f": the warm-up of {warmup.value:,.0f} steps was not over"
        evidence.append(Evidence("warm-up steps", warmup.value, at=warmup.source, unit="step"))
    if few:
        message += _in_steps(lr, levels, reached, stated, max_reached)
        evidence.append(Evidence("levels", levels, min_levels, lr.curve.source))
        evidence.append(Evidence("length of a level", shape.rung, at=lr.curve.source, unit=lr.unit))
        if length is not None and overdue:
            evidence.append(Evidence("steps planned", length, at=lr.curve.source, unit="step"))
            evidence.append(Evidence("steps planned / warm-up", overdue, min_overdue))
        if settings is not None and reached <= max_reached:
            evidence.append(Evidence("last / stated lr", reached, max_reached))
            evidence.append(Evidence("stated lr", stated or 0.0, at=settings.where("lr")))
    if done is None:
        message += "; nothing says how long the run was to be"
    else:
        evidence.append(Evidence("done / planned", done, min_done))
    yield Finding(
        message,
        at=warmup.source if warmup is not None else lr.curve.source,
        evidence=tuple(evidence),
        severity=None if whole or longer else Severity.WARNING,
        fix=Fix.show("end the warm-up within the first tenth of the steps that run"),
    )


def _in_steps(lr: LrCurve, levels: int, reached: float, stated: float | None, most: float) -> str:
    said = f"; it rose in {levels} steps, one in {lr.shape.rung:,.0f} {lr.unit}s"
    return said + (f", to {100 * reached:.2g} % of the stated {stated:.3g}" if stated and reached <= most else "")


def _length(plan: Plan | None) -> tuple[float | None, float | None]:
    """The planned steps, and the share of the planned steps or epochs that was done, with one logging interval."""
    if plan is None:
        return None, None
    total = plan.total_steps or plan.derived_steps
    steps = total.value if total is not None and total.certain else None
    shares = []
    if steps is not None and plan.done_steps is not None:
        shares.append((plan.done_steps.value + plan.step_interval) / steps)
    if plan.epochs is not None and plan.epochs.certain and plan.done_epochs is not None:
        shares.append((plan.done_epochs.value + plan.epoch_interval) / plan.epochs.value)
    return steps, max(shares, default=None)
