"""CKP005: what was kept is not the best evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct, structs

from mldiag.api import (
    Curve,
    Curves,
    EarlyStopping,
    Evidence,
    Finding,
    Fix,
    LossPair,
    NotApplicable,
    Safeguards,
    SavedModel,
    SavedModels,
    is_bounded_score,
    rule,
    stats,
)
from mldiag_checkpoint.words import moment


@rule("CKP005", severity="warning")
def last_not_best(
    saved: SavedModels,
    curves: Curves,
    losses: LossPair | None,
    safeguards: Safeguards | None,
    stopping: EarlyStopping | None,
    *,
    min_evaluations: int = 5,
    errors: float = 4.0,
    min_rise: float = 0.1,
    min_rise_start: float = 0.01,
    min_score_rise: float = 0.03,
    min_score_gain: float = 0.05,
) -> Iterator[Finding]:
    """The weights that were kept are worse on held-out data than others of the same run, which were not kept.

    ## What it checks
    For each checkpoint the evaluation of its step or epoch, by its metadata or its name; for one that says neither, the
    last evaluation, unless it calls itself the best or a setting or the source says that the best is kept. Its level
    (median with the neighbours) is held against the best level of the validation loss, or of a held-out score where no
    loss was logged. A warning where none of the checkpoints comes near the best. What calls itself the best may be
    so by any held-out score, and where a score rose much since the loss was best, what was kept is the better one.

    ## Why it matters
    The run was better once, and what it left behind is what it was worst at: evaluations and users get the overfitted
    model.

    ## Inputs
    Checkpoints (names and metadata alone, no values); `val/loss`, `test/loss` or a held-out score of at least
    `min_evaluations` evaluations.

    ## Options
    - `min_evaluations` (5): evaluations from which on it is judged.
    - `errors` (4): rise in standard errors of the difference of two levels.
    - `min_rise` (0.1): rise / best level of the loss.
    - `min_rise_start` (0.01): rise / first value of the loss: a loss that is nearly gone wavers by shares.
    - `min_score_rise` (0.03): what a score lost, as a fraction of 1.
    - `min_score_gain` (0.05): what a score gained since the loss was best, from which on what was kept is better.
    Of 76 labelled runs with checkpoints the healthy ones without a best one end at most 0.002 of the loss above their
    best level, those labelled 0.23 and 0.26.

    ## Fix
    Shown: save when the monitored value improves (`ModelCheckpoint(save_best_only=True)`, `load_best_model_at_end`,
    `if val < best: torch.save(...)`).

    ## When to ignore
    The best weights are kept elsewhere, or the last ones are meant (averaging, further training).

    ## Source
    Prechelt 1998, Early Stopping - But When? (Neural Networks: Tricks of the Trade). Thresholds: measured.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(
            f"a loss beside {curves.reinforcement or curves.adversarial} does not say when a run is best"
        )
    held_out = _held_out(curves, losses, min_evaluations)
    if not held_out:
        raise NotApplicable(f"no held-out loss or score of at least {min_evaluations} evaluations")
    kept = (
        next((s for s in safeguards.known if s.name == "best checkpoint" and s.present), None) if safeguards else None
    )
    if any(m.best and m.step is None and m.epoch is None for m in saved):
        return
    if kept is not None and any(m.step is None and m.epoch is None for m in saved):
        return
    judged = [(m, _place(m, held_out[0][0])) for m in saved]
    known = [(m, place) for m, place in judged if place is not None]
    if not known:
        raise NotApplicable("no checkpoint lies within the logged evaluations")
    if stopping is not None and stopping.ended and all(m.step is None and m.epoch is None for m in saved):
        return  # what stopped the run may have restored the best
    loss: _Worse | None = None
    for curve, values, scored in held_out:
        found = _nearest(known, curve, values, scored)
        if found is None:
            continue
        needed = max(
            errors * found.error,
            min_score_rise if scored else max(min_rise * abs(found.best), min_rise_start * abs(values[0])),
        )
        # Where the loss is logged, only a score that went on rising since makes a later checkpoint a better one.
        other = loss if scored and not found.model.best else None
        if other is not None and values[_at(other, curve, values)] - found.level > max(
            errors * found.error, min_score_gain
        ):
            return
        if other is None and found.level - found.best <= needed:
            return
        if loss is None:
            loss = structs.replace(found, needed=needed)
    if loss is None:
        return
    curve, scored, middle, best, model, place, level = (
        loss.curve,
        loss.scored,
        loss.middle,
        loss.best,
        loss.model,
        loss.place,
        loss.level,
    )
    said = model.step_at or model.epoch_at
    which = f"{model.path}{moment(model)}" + (
        "" if said else ", which nothing calls the best and which was saved at the end"
    )
    yield Finding(
        f"{which}, is at {_shown(level, scored):.4g} of {curve.name}, where the best level was "
        f"{_shown(best, scored):.4g} around {curve.place(middle)}; no checkpoint from there was kept",
        at=model.checkpoint.source,
        evidence=(
            Evidence(f"{curve.name} of what was kept", _shown(level, scored), None, curve.at(place)),
            Evidence(f"best level of {curve.name}", _shown(best, scored), None, curve.at(middle)),
            Evidence("best level around", curve.place(middle), None, curve.at(middle)),
            Evidence("change for the worse", level - best, loss.needed),
            Evidence("evaluation of what was kept", curve.place(place), None, said or curve.at(place)),
            Evidence("checkpoints", len(saved.items), None, model.checkpoint.source),
        ),
        fix=Fix.show("save the weights when the monitored value improves, and load those at the end"),
    )


class _Worse(Struct, frozen=True):
    """What of one series was kept, and where it was best."""

    curve: Curve
    scored: bool
    middle: int
    best: float
    error: float
    model: SavedModel
    place: int
    level: float
    needed: float = 0.0


def _nearest(
    known: Sequence[tuple[SavedModel, int]], curve: Curve, values: Sequence[float], scored: bool
) -> _Worse | None:
    """The checkpoint that is best by a series."""
    size = stats.window_size(len(values), 0.1, 3)
    middle, best = stats.best_level(values)
    error = math.sqrt(2) * stats.level_error(stats.noise(values), size)
    places = [(m, p, _level(values, p, size)) for m, _ in known if (p := _place(m, curve)) is not None]
    if not places:
        return None
    model, place, level = min(places, key=lambda found: found[2])
    return _Worse(curve, scored, middle, best, error, model, place, level)


def _at(loss: _Worse, curve: Curve, values: Sequence[float]) -> int:
    """The place in a second series at which the first was best."""
    return min(round(loss.middle * (len(values) - 1) / max(1, len(loss.curve) - 1)), len(values) - 1)


def _held_out(curves: Curves, losses: LossPair | None, least: int) -> list[tuple[Curve, Sequence[float], bool]]:
    """Held-out losses first, then scores turned so that lower is better; each with whether it is a score."""
    names = [n for n in curves if n.startswith(("val/", "test/"))]
    chosen = [c for c in (curves.get("val/loss"), losses.val if losses else None, curves.get("test/loss")) if c]
    found: list[tuple[Curve, Sequence[float], bool]] = []
    for curve in {c.name: c for c in chosen}.values():
        found += [(curve, curve.values, False)] if len(curve) >= least else []
    for name in names:
        score = curves.get(name) if is_bounded_score(name) else None
        if score is not None and len(score) >= least:
            unit = 1.0 if max(score.values) <= 1.5 else 0.01
            found.append((score, [1 - unit * v for v in score.values], True))
    return found


def _place(model: SavedModel, curve: Curve) -> int | None:
    """The evaluation that a checkpoint belongs to: the last one without a step or epoch; None outside the log."""
    if model.step is None and model.epoch is None:
        return len(curve) - 1
    # Epochs first: steps may be those of the optimizer in one and batches in the other.
    for unit in ("epoch", "step"):
        value, axis = getattr(model, unit), curve.axis(unit)
        if value is None:
            continue
        if axis is None and unit == "epoch":
            axis = range(1, len(curve) + 1)  # evaluated once an epoch
        if axis is None or not len(axis):
            continue
        gap = max((axis[-1] - axis[0]) / max(1, len(axis) - 1), 1.0)
        if axis[0] - 1.5 * gap <= value <= axis[-1] + 1.5 * gap:
            return min(range(len(axis)), key=lambda i: (abs(axis[i] - value), -i))
    return None


def _level(values: Sequence[float], place: int, size: int) -> float:
    """The median around an evaluation, of as many as a level has, and never more than lie on one side of it."""
    if place >= len(values) - size:
        return min(stats.tail_level(values), values[place]) if place == len(values) - 1 else values[place]
    begin = max(0, place - size // 2)
    return min(stats.median(values[begin : begin + size]), values[place])


def _shown(level: float, scored: bool) -> float:
    return 1 - level if scored else level
