"""CKP006: checkpoints that say too little to go on from, or something else than the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mldiag.api import (
    Curve,
    Curves,
    Ending,
    Evidence,
    Finding,
    Fix,
    SavedModel,
    SavedModels,
    Severity,
    as_number,
    lazily,
    rule,
)
from mldiag_checkpoint.words import moment

_RATE = lazily(r"optim[a-z_]*(?:\.\d+)?\.param_groups\.\d+\.lr")


@rule("CKP006", severity="info")
def metadata_gap(
    saved: SavedModels,
    curves: Curves,
    ending: Ending | None,
    *,
    min_points: int = 10,
    min_beyond: float = 0.1,
    max_ratio: float = 2.0,
) -> Iterator[Finding]:
    """A checkpoint disagrees with the log about step or rate, or none of them can be resumed from.

    ## What it checks
    By names and metadata alone:

    - a step beyond the last logged one by more than `min_beyond` of it, while the epoch, where both know it, does not
      say otherwise: a warning;
    - the learning rates of the optimizer all outside of what was logged around that step by a factor of more than
      `max_ratio`: a warning;
    - no checkpoint with the state of an optimizer, of a run whose log ends in a failure: an information, with what
      else is missing to go on from it (step, epoch).

    ## Why it matters
    A run that is resumed without the state of its optimizer starts its moments and its schedule anew: the loss jumps,
    and the learning rate is warmed up or decayed twice. A checkpoint that the log does not know is of another run.

    ## Inputs
    Checkpoints; the log's steps, epochs and learning rate.

    ## Options
    - `min_points` (10 points): logged points from which on a log is one to compare with.
    - `min_beyond` (0.1): step beyond the log / last logged step.
    - `max_ratio` (2): of two learning rates.

    ## Fix
    Shown: save model, optimizer, scheduler and step together.

    ## When to ignore
    Weights that were exported to be used, not to train on.

    ## Source
    PyTorch tutorials, "Saving and loading a general checkpoint": the state of the optimizer has to be saved, too.
    """
    logged = [c for name in curves if (c := curves.get(name)) is not None and len(c) >= 2]
    steps = [(c, axis) for c in logged if (axis := c.axis("step")) is not None and len(axis) >= 2]
    if steps and max(len(c) for c, _ in steps) >= min_points:
        for model in saved:
            yield from _beyond(model, logged, steps, min_beyond)
        yield from _rates(saved, curves, max_ratio)
    if saved.states or any(m.resumable for m in saved) or not any(len(c) >= min_points for c in logged):
        return
    if ending is None or ending.failure is None:
        return
    last = saved.items[-1]
    missing = [what for what, at in (("step", last.step), ("epoch", last.epoch)) if at is None]
    more = f" and no {' or '.join(missing)}" if len(missing) == 2 else ""
    yield Finding(
        f"no checkpoint can be resumed from: {last.path}{moment(last)} holds no state of an optimizer{more}, and "
        "the run failed",
        at=last.checkpoint.source,
        severity=Severity.INFO,
        evidence=(
            Evidence("checkpoints with the state of an optimizer", 0, 1, last.checkpoint.source),
            Evidence("checkpoints", len(saved.items)),
            Evidence("the run ended with", ending.said, None, ending.source),
        ),
        fix=Fix.show("save model, optimizer, scheduler and step together"),
    )


def _beyond(
    model: SavedModel, logged: Sequence[Curve], steps: Sequence[tuple[Curve, Sequence[float]]], least: float
) -> Iterator[Finding]:
    """A step that the log does not reach."""
    if model.step is None:
        return
    curve, axis = max(steps, key=lambda found: max(found[1]))
    last = max(axis)
    gap = (max(axis) - min(axis)) / max(1, len(axis) - 1)
    if model.step <= last * (1 + least) + 2 * gap:
        return
    epochs = [max(e) for c in logged if (e := c.axis("epoch")) is not None and len(e)]
    if model.epoch is not None and epochs and model.epoch <= max(epochs) + 1:
        return  # counted in other units
    if model.epoch is not None and not epochs:
        return
    yield Finding(
        f"{model.path} says step {model.step:,.0f}, and the log ends at step {last:,.0f}",
        at=model.step_at,
        severity=Severity.WARNING,
        evidence=(
            Evidence("step of the checkpoint", model.step, last * (1 + least), model.step_at, "step"),
            Evidence("last logged step", last, None, curve.at(-1), "step"),
        ),
        fix=Fix.show("find which run the checkpoint is of, or the rest of the log"),
    )


def _rates(saved: SavedModels, curves: Curves, most: float) -> Iterator[Finding]:
    """A learning rate that was not logged around the step."""
    curve = curves.get("lr")
    axis = curve.axis("step") if curve is not None else None
    if curve is None or axis is None or len(axis) < 3:
        return
    for model in saved:
        step = model.step
        metadata = model.checkpoint.metadata
        rates = [r for key in metadata if _RATE.fullmatch(key) and (r := as_number(metadata[key]))]
        if not rates or step is None or not axis[0] <= step <= axis[-1]:
            continue
        rate = rates[0]
        place = min(range(len(axis)), key=lambda i, at=step: abs(axis[i] - at))  # type: ignore[misc]
        near = [v for v in curve.values[max(0, place - 2) : place + 3] if v > 0]
        if near and not any(min(near) / most <= r <= max(near) * most for r in rates):
            yield Finding(
                f"{model.path}{moment(model)} has a learning rate of {rate:.4g}, and the log {curve.values[place]:.4g} "
                f"at {curve.place(place)}",
                at=model.step_at,
                severity=Severity.WARNING,
                evidence=(
                    Evidence("learning rate of the checkpoint", rate, None, model.checkpoint.source),
                    Evidence("logged learning rate", curve.values[place], None, curve.at(place)),
                    Evidence("step of the checkpoint", model.step, None, model.step_at, "step"),
                ),
                fix=Fix.show("find which run the checkpoint is of; where it is this one, save the scheduler with it"),
            )
            return
