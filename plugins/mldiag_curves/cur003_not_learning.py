"""CUR003: the loss did not move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mldiag.api import (
    Chance,
    Curves,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Settings,
    Severity,
    rule,
    stats,
)


@rule("CUR003", severity="error", explains=("CUR014",))
def not_learning(
    curves: Curves,
    settings: Settings | None,
    chance: Chance | None,
    *,
    min_improvement: float = 0.025,
    max_noisy_improvement: float = 0.25,
    errors: float = 4.0,
    min_points: int = 8,
    min_start: float = 0.1,
    tiny_lr: float = 1e-6,
    chance_band: float = 0.02,
    max_constant: float = 0.001,
) -> Iterator[Finding]:
    """The train loss ended where it started.

    ## What it checks
    The best level the train loss reached (median of a window) against its start, the median of its first three values
    or of its first tenth, whichever is higher. Less than `min_improvement` of the start, the noise of three values
    allowed for, is an error. It is a warning where that noise hides the answer: at least twenty values that do not
    fall, lie within their noise, and of which the last tenth is not below the first by a standard error. A validation
    loss that fell, or a score that rose, acquits the run; a validation loss that was the same at `min_points`
    evaluations makes the warning an error. Only values before the first NaN count. The likely cause is named from
    evidence: a learning rate near zero, a loss that stayed at ln C.

    ## Why it matters
    Frozen or wrong parameters in the optimizer, a rate off by orders of magnitude, dead units and labels that do not
    belong to their inputs all look like this, and no further step helps.

    ## Inputs
    `train/loss`, any unit; where known `val/loss`, scores, `lr`, the number of classes.

    ## Options
    - `min_improvement`: fall / start (0.025; peers use 0.02 and 0.03).
    - `max_noisy_improvement`: largest fall / start that noise may explain (0.25).
    - `errors`: fall in standard errors of a median of three values, up to which noise may explain it (4).
    - `max_constant`: range / first value of at least three validation losses at which nothing moved (0.001).
    - `min_points`: logged values before it is judged (8); three, where the validation loss was constant.
    - `min_start`: a loss that starts below this has nothing left to learn (0.1).
    - `tiny_lr`: a rate that moves nothing in a usual run (1e-6).
    - `chance_band`: relative distance from ln C that is called ln C (0.02).

    ## Fix
    Shown: the cause is in the code, the data or the rate.

    ## When to ignore
    A smoke test; a run in its warm-up (recognised where the rate is logged and still rises); a model that was trained
    before and had little left to learn; a loss that harder examples keep up (triplets with mining). Losses of
    reinforcement and adversarial training are not judged: they do not measure progress.

    ## Source
    Thresholds: chosen on 140 labelled runs with a loss, and on simulated ones. ln C: Karpathy 2019, A Recipe
    for Training Neural Networks.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    curve = curves.require("train/loss")
    held_out = curves.get("val/loss", "test/loss")
    moved = stats.relative_range(held_out.values) if held_out is not None and len(held_out) >= 3 else None
    constant = moved is not None and moved <= max_constant
    if len(curve) < (3 if constant else min_points):
        raise NotApplicable(f"{len(curve)} finite train losses; at least {min_points} are needed")
    start = max(stats.head_level(curve.values), stats.head_level(curve.values, share=0))
    end = stats.tail_level(curve.values)
    if abs(start) < min_start:
        raise NotApplicable(f"the loss starts at {start:.3g}, below {min_start:g}: there is nothing left to learn")
    if curve.begun_late:
        raise NotApplicable(f"the log begins at {curve.place(0)} of {curve.place(-1)}: what came before is not known")
    lr = curves.get("lr")
    if lr is not None and _still_warming(lr.values):
        raise NotApplicable("the learning rate still rose when the log ended")
    best = stats.best_level(stats.binned(curve.values))[1]
    gained, noise = (start - best) / abs(start), stats.noise(curve.values)
    doubt = stats.level_error(noise, 3)
    certain = gained + doubt / abs(start) < min_improvement
    small = gained < max_noisy_improvement
    if constant and held_out is not None and len(held_out) >= min_points:
        certain = certain or (small and start - best <= errors * doubt)
    if not certain and not (small and stats.noise_explains(curve.values, start - best, errors)):
        return
    if curves.falling_held_out_loss(min_improvement if certain else max_constant) or curves.rising_score():
        return
    evidence = [
        Evidence("train loss at the start", start, None, curve.source),
        Evidence("best level of the train loss", best, None, curve.source),
        Evidence("train loss at the end", end, None, curve.source),
        Evidence("improvement / start", gained, min_improvement if certain else max_noisy_improvement),
        Evidence("noise, standard deviation", noise),
        Evidence("logged values", len(curve)),
    ]
    if held_out is not None and moved is not None and constant:
        evidence.append(Evidence("range / validation loss", moved, max_constant, held_out.source))
    causes = _causes(curves, settings, chance, best, tiny_lr, chance_band, evidence)
    yield Finding(
        f"train loss started at {start:.4g} and ended at {end:.4g}; its best level was {best:.4g}, "
        f"{100 * gained:.1f} % better{'' if certain else ', within its noise'}, over {len(curve):,} logged values"
        + causes,
        at=curve.source,
        severity=Severity.ERROR if certain else Severity.WARNING,
        evidence=tuple(evidence),
        fix=Fix.show(
            "check that the optimizer holds the model's parameters, that gradients reach them, and the learning rate"
        ),
    )


def _still_warming(rates: Sequence[float]) -> bool:
    return len(rates) >= 3 and rates[-1] >= max(rates) > 1.05 * rates[0] and stats.trend(rates) > 0.9


def _causes(
    curves: Curves,
    settings: Settings | None,
    chance: Chance | None,
    best: float,
    tiny_lr: float,
    chance_band: float,
    evidence: list[Evidence],
) -> str:
    """What the other artifacts say about the cause, for the message; adds its numbers to the evidence."""
    causes = ""
    if chance is not None and abs(best - chance.loss) <= chance_band * chance.loss:
        evidence.append(Evidence(f"ln({chance.classes:,})", chance.loss, None, chance.source, "nat"))
        causes += f"; it stayed at ln {chance.classes:,} = {chance.loss:.4g}, the loss of a guess"
    lr = curves.get("lr")
    rate = max(lr.values) if lr is not None else settings.get("lr", float) if settings is not None else None
    if rate is not None and rate <= tiny_lr:
        place = lr.source if lr is not None else settings.where("lr") if settings is not None else None
        evidence.append(Evidence("learning rate", rate, tiny_lr, place))
        causes += f"; the learning rate was at most {rate:.3g}"
    return causes
