"""Runs whose steps do not fit their plan."""

from __future__ import annotations

from random import Random

from mldiag.errors import NotApplicable
from mldiag.faults import fault
from mldiag.faults.planting import cut, plan_of, with_settings
from mldiag.run import Run


@fault(
    caught_by=("truncated-schedule",),
    size=0.5,
    unit="share of the steps that is missing",
    sizes=(0.05, 0.1, 0.2, 0.5, 0.88),
)
def truncated_schedule(run: Run, rng: Random, size: float) -> Run:
    """The planned steps are fewer than the epochs make, and the run ends there."""
    plan = plan_of(run)
    epochs, each = run.settings.get("epochs", float), run.settings.get("steps_per_epoch", float)
    if epochs is None or each is None or plan.done_steps is None:
        raise NotApplicable("the settings do not state epochs and steps per epoch, or no steps were logged")
    return with_settings(cut(run, 1 - size), total_steps=max(1, round((1 - size) * epochs * each)))


@fault(
    caught_by=("interrupted-run",),
    size=0.3,
    unit="share of the plan that is missing",
    sizes=(0.05, 0.1, 0.15, 0.3, 0.6),
    least="info",
)
def interrupted_run(run: Run, rng: Random, size: float) -> Run:
    """The log ends before the planned end of the run."""
    plan = plan_of(run)
    if plan.total_steps is None and plan.epochs is None:
        raise NotApplicable("the settings do not state how long the run was meant to be")
    if run.settings.get("patience") is not None or run.settings.get("early_stopping"):
        raise NotApplicable("with early stopping a run that ends early is none that was interrupted")
    return cut(run, 1 - size)


@fault(caught_by=("step-arithmetic",), size=2.0, unit="stated / true steps per epoch", sizes=(1.05, 1.2, 1.5, 2.0, 8.0))
def step_arithmetic(run: Run, rng: Random, size: float) -> Run:
    """The stated steps per epoch are not the windows divided by what a step takes."""
    each = run.settings.get("steps_per_epoch", float)
    if each is None or run.settings.get("train_windows") is None or run.settings.get("batch_size") is None:
        raise NotApplicable("the settings do not state steps per epoch, windows and batch size")
    epochs = run.settings.get("epochs", float)
    stated = round(each * size)
    total = None if run.settings.get("total_steps") is None or epochs is None else round(stated * epochs)
    return with_settings(run, steps_per_epoch=stated, total_steps=total)
