"""CUR016: the run went on long after it was best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

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
    Settings,
    Severity,
    edit_setting,
    is_bounded_score,
    rule,
    stats,
)


@rule("CUR016", severity="warning", gives_way_to=("CUR003", "CUR004", "CUR005", "CUR012"))
def late_stop(
    curves: Curves,
    losses: LossPair | None,
    stopping: EarlyStopping | None,
    safeguards: Safeguards | None,
    settings: Settings | None,
    *,
    min_share: float = 0.5,
    min_after: int = 5,
    min_evaluations: int = 8,
    errors: float = 3.0,
    min_rise: float = 0.02,
    min_given_back: float = 0.1,
    min_start_share: float = 0.02,
    flat_share: float = 0.7,
    max_flat_error: float = 0.05,
    min_score_rise: float = 0.02,
) -> Iterator[Finding]:
    """Most of the run came after its best evaluation, and nothing stopped it.

    ## What it checks
    Where the validation loss had its best level (median of a tenth of the evaluations, of at least three), and how much
    of the run came after it. A warning where the loss ended above that level beyond its noise and the best weights are
    not known to be kept. An information where they are, where a held-out score still rose, and where the loss did not
    get worse but stood at its best level from early on, within its noise. Without a validation loss a held-out score
    is judged.

    Nothing is said where the train loss rose, too: the rate was raised again, the data got harder or the run diverged.
    Nor where a patience would have ended the run in that time: the run watched something else.

    ## Why it matters
    The time was spent on nothing, and if the last weights are the ones that are kept, on something worse.

    ## Inputs
    `val/loss` (or `test/loss`, or that of one of several validation sets), otherwise one bounded score of these splits,
    of at least `min_evaluations` evaluations; settings and source for early stopping and the best checkpoint.

    ## Options
    - `min_share`: evaluations after the best / all evaluations (0.5).
    - `min_after`: evaluations after the best (5).
    - `min_evaluations`: evaluations from which on it is judged (8).
    - `errors`: rise in standard errors of the difference of two levels (3).
    - `min_rise`: rise / best level (0.02; of a score: fall, as a fraction of 1).
    - `min_given_back`: rise / what had been gained before (0.1).
    - `min_start_share`: rise / loss at the start, of both splits (0.02): a loss that is nearly gone wavers by shares.
    - `flat_share`: evaluations at the best level / all, from which on standing still is an information (0.7).
    - `max_flat_error`: standard error / what had been gained, from which on standing still cannot be told (0.05).
    - `min_score_rise`: rise of a held-out score after the best loss that makes a warning an information (0.02).
    In 164 labelled runs those labelled healthy that rose beyond their noise did so over at most 25 % of the run, those
    labelled as run on without early stopping over 83 % to 95 %.

    ## Fix
    Unsafe: a patience that was set but never reached is lowered; without one, the number of epochs where it is a
    setting. Both end training earlier than the recipe says, and a schedule planned by epochs is shortened with it.

    ## When to ignore
    Long training is part of the experiment (double descent, grokking), or the last weights are averaged anyway.

    ## Source
    Prechelt 1998, Early Stopping - But When? (Neural Networks: Tricks of the Trade). Thresholds: measured.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(
            f"a loss beside {curves.reinforcement or curves.adversarial} does not say when a run is best"
        )
    curve, values, scored = _judged(curves, losses, min_evaluations)
    n, waited = len(values), len(values) - 1 - values.index(min(values))
    levels = stats.binned(values)
    middle, best = stats.best_level(levels)
    end, gained = stats.tail_level(levels), stats.head_level(levels, least=1) - best
    place = _unbinned(middle, levels, n)
    after = n - 1 - place
    if stopping is not None and stopping.patience is not None and stopping.patience <= waited + 1:
        return
    if curve.broken is not None:
        return
    error = math.sqrt(2) * stats.level_error(stats.noise(levels), stats.window_size(len(levels), 0.1, 3))
    rise = end - best
    needed = max(errors * error, min_rise * (1.0 if scored else abs(best)), min_given_back * gained)
    if losses is not None and not scored:
        needed = max(needed, min_start_share * losses.start)
    kept = (
        next((s for s in safeguards.known if s.name == "best checkpoint" and s.present), None) if safeguards else None
    )
    if rise > needed:
        if after < max(min_after, min_share * n) or _train_rose(losses, curve, middle / (len(levels) - 1), errors):
            return
        score = None if scored else _rising(curves, middle / (len(levels) - 1), min_score_rise)
        severity = Severity.INFO if kept is not None or score is not None else Severity.WARNING
        what = f"had its best level {_shown(best, scored):.4g} around {curve.place(place)} and ended at"
    else:
        place = _unbinned(_reached(levels, best + max(2 * error, 1e-12 * abs(best))), levels, n)
        after, score = n - 1 - place, None
        if values[0] - best <= max(error / max_flat_error, min_rise * abs(best)) or after < max(
            min_after, flat_share * n
        ):
            return
        severity = Severity.INFO
        what = (
            f"came within its noise of its best level {_shown(best, scored):.4g} around {curve.place(place)} and got "
            "no better: it ended at"
        )
    fix = _fix(stopping, settings, curve, place, after)
    if fix is None:
        return
    yield Finding(
        f"{curve.name} {what} {_shown(end, scored):.4g}; {after} of {n} evaluations ({100 * after / n:.0f} %) came "
        "after it" + (f", in which {score.name} rose to {score.values[-1]:.4g}" if score is not None else ""),
        at=curve.at(-1),
        severity=severity,
        evidence=(
            Evidence(f"best level of {curve.name}", _shown(best, scored), None, curve.at(place)),
            Evidence("best level around", curve.place(place), None, curve.at(place)),
            Evidence(f"{curve.name} at the end", _shown(end, scored), None, curve.at(-1)),
            Evidence("change for the worse", rise, needed),
            Evidence("standard error of the change", error),
            Evidence("evaluations after the best", after, min_after),
            Evidence("evaluations", n),
            Evidence("share of the run after the best", after / n, min_share if rise > needed else flat_share),
            *(
                [Evidence("patience", stopping.patience, None, stopping.source)]
                if stopping and stopping.patience
                else []
            ),
            *(
                [Evidence(f"{score.name} at the end", score.values[-1], None, score.at(-1))]
                if score is not None
                else []
            ),
            *([Evidence("best checkpoint", "kept", None, kept.at)] if kept is not None else []),
        ),
        fix=fix,
    )


def _judged(curves: Curves, losses: LossPair | None, least: int) -> tuple[Curve, Sequence[float], bool]:
    """The validation loss, or a score turned so that lower is better, and whether it is a score."""
    curve = curves.get("val/loss", "test/loss") or (losses.val if losses is not None else None)
    if curve is not None and len(curve) >= least:
        return curve, curve.values, False
    for name in curves:
        found = curves.get(name) if name.startswith(("val/", "test/")) and is_bounded_score(name) else None
        if curve is None and found is not None and len(found) >= least:
            unit = 1.0 if max(found.values) <= 1.5 else 0.01
            return found, [1 - unit * v for v in found.values], True
    known = f"{len(curve)} evaluations of {curve.name}" if curve is not None else "no validation loss or score"
    raise NotApplicable(f"{known}; at least {least} evaluations tell when a run was best")


def _train_rose(losses: LossPair | None, curve: Curve, since: float, errors: float) -> bool:
    """Whether the train loss, too, ended above what it was then: a restart of the rate, harder data or a divergence."""
    if losses is None or losses.val.name != curve.name:
        return False
    levels = stats.binned(losses.train_levels)
    size = stats.window_size(len(levels), 0.1, 3)
    begin = min(max(0, round(since * (len(levels) - 1)) - size // 2), len(levels) - size)
    error = math.sqrt(2) * stats.level_error(stats.noise(levels), size)
    return stats.tail_level(levels) - stats.median(levels[begin : begin + size]) > errors * error


def _rising(curves: Curves, since: float, least: float) -> Curve | None:
    """A held-out score that ended higher than it was at a share of the run, beyond its noise and by a fraction of 1."""
    for name in curves:
        score = curves.get(name) if name.startswith(("val/", "test/")) and is_bounded_score(name) else None
        if score is None or len(score) < 4:
            continue
        values, size = score.values, stats.window_size(len(score), 0.1, 3)
        begin = min(max(0, round(since * (len(values) - 1)) - size // 2), len(values) - size)
        rise = stats.tail_level(values) - stats.median(values[begin : begin + size])
        error = math.sqrt(2) * stats.level_error(stats.noise(values), size)
        if rise > max(3 * error, least * (1.0 if max(values) <= 1.5 else 100.0)):
            return score
    return None


def _shown(level: float, scored: bool) -> float:
    return 1 - level if scored else level


def _reached(values: Sequence[float], level: float) -> int:
    """The middle of the first window of a tenth of the values, of at least three, whose median is at most the level."""
    size = stats.window_size(len(values), 0.1, 3)
    windows = range(len(values) - size + 1)
    first = next((i for i in windows if stats.median(values[i : i + size]) <= level), len(values) - size)
    return first + size // 2


def _unbinned(place: int, levels: Sequence[float], n: int) -> int:
    """The evaluation at the middle of one of the medians that very many evaluations were binned to."""
    return (2 * place + 1) * n // (2 * len(levels))


def _fix(stopping: EarlyStopping | None, settings: Settings | None, curve: Curve, place: int, after: int) -> Fix | None:
    """How to stop in time; None where the settings have been corrected since."""
    patience = max(3, min(10, after // 5))
    if stopping is not None and stopping.patience is not None:
        title = f"stop after {patience} evaluations without improvement and restore the best weights"
        if stopping.patience <= patience or settings is None:
            return Fix.show(title)
        return Fix.unsafe(title, edit_setting(settings.effective("patience"), patience))
    title = "stop when the validation loss has not improved for some evaluations, and restore the best weights"
    epochs = settings.get("epochs", int) if settings is not None else None
    best, last = _epoch(curve, place, epochs), _epoch(curve, -1, epochs)
    if settings is None or epochs is None or best is None or last is None or stopping is not None:
        return Fix.show(title)
    if epochs < last - 1:
        return None  # as a corrected file says, beside the log of the run before it
    wanted = math.ceil(best + patience * last / len(curve))
    if abs(epochs - last) > 1 or wanted >= epochs:
        return Fix.show(title)
    return Fix.unsafe(
        f"train for {wanted} epochs instead of {epochs}", edit_setting(settings.effective("epochs"), wanted)
    )


def _epoch(curve: Curve, place: int, epochs: int | None) -> float | None:
    """How many epochs were done at an evaluation; None where nothing says."""
    axis = curve.axis("epoch")
    if axis is not None:
        first = 1 if axis[0] == 0 and axis[-1] == len(axis) - 1 else 0  # counted from 0
        return axis[place] + first
    return place % len(curve) + 1 if epochs == len(curve) else None
