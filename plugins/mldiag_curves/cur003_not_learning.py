"""CUR003: the loss did not move."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mldiag.api import (
    Chance,
    Curve,
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

_RETURNS = ("train/reward", "train/return", "train/episode_return", "train/episode_reward", "val/reward", "val/return")


@rule("CUR003", severity="error", explains=("CUR014",), gives_way_to=("CUR004", "CUR005"))
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
    min_episodes: int = 200,
    return_errors: float = 1.5,
) -> Iterator[Finding]:
    """The train loss ended where it started.

    ## What it checks
    The best level the train loss reached (median of a window) against its start, the median of its first three values
    or of its first tenth, whichever is higher. Less than `min_improvement` of the start, the noise of three values
    allowed for, is an error. It is a warning where that noise hides the answer: at least twenty values that do not
    fall, lie within their noise, and of which the last tenth is not below the first by a standard error. A validation
    loss that fell, or a score that rose, acquits the run; a validation loss that was the same at `min_points`
    evaluations makes the warning an error. Only values before the first NaN count. The likely cause is named from
    evidence: a learning rate near zero, a loss that stayed at ln C. In reinforcement learning the returns are judged
    instead: over hundreds of episodes they did not rise, and the last third is better than the first within its noise
    at most.

    ## Why it matters
    Frozen or wrong parameters in the optimizer, a rate off by orders of magnitude, dead units and labels that do not
    belong to their inputs all look like this, and no further step helps.

    ## Inputs
    `train/loss`, any unit, or the only part of it that is logged; where known `val/loss`, scores, `lr`, the number of
    classes. `train/reward` of episodes.

    ## Options
    - `min_improvement`: fall / start (0.025; peers use 0.02 and 0.03).
    - `max_noisy_improvement`: largest fall / start that noise may explain (0.25).
    - `errors`: fall in standard errors of a median of three values, up to which noise may explain it (4).
    - `max_constant`: range / first value of at least three validation losses at which nothing moved (0.001).
    - `min_points`: logged values before it is judged (8); three, where the validation loss was constant.
    - `min_start`: a loss that starts below this has nothing left to learn (0.1).
    - `tiny_lr`: a rate that moves nothing in a usual run (1e-6).
    - `chance_band`: relative distance from ln C that is called ln C (0.02).
    - `min_episodes`: returns from which a lack of any rise is told (200); fewer are common before the first success.
    - `return_errors`: last - first third in standard errors, up to which it is no rise (1.5). Agents that learn lie at
      18 and above in the labelled runs, those that do not at -7.

    ## Fix
    Shown: the cause is in the code, the data or the rate.

    ## When to ignore
    A smoke test; a run in its warm-up (recognised where the rate is logged and still rises); a model that was trained
    before and had little left to learn; a loss that harder examples keep up (triplets with mining). Losses of
    reinforcement and adversarial training are not judged: they do not measure progress. An agent that was trained
    before keeps its returns.

    ## Source
    Thresholds: chosen on 140 labelled runs with a loss, and on simulated ones. ln C: Karpathy 2019, A Recipe
    for Training Neural Networks.
    """
    if curves.reinforcement:
        yield from _flat_returns(curves, min_episodes, return_errors)
        return
    if curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.adversarial} does not measure progress")
    curve = _train_loss(curves)
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
        f"{curve.name.replace('/', ' ')} started at {start:.4g} and ended at {end:.4g}; its best level was {best:.4g}, "
        f"{100 * gained:.1f} % better{'' if certain else ', within its noise'}, over {len(curve):,} logged values"
        + causes,
        at=curve.source,
        severity=Severity.ERROR if certain else Severity.WARNING,
        evidence=tuple(evidence),
        fix=Fix.show(
            "check that the optimizer holds the model's parameters, that gradients reach them, and the learning rate"
        ),
    )


def _train_loss(curves: Curves) -> Curve:
    """The train loss; without one, its only part."""
    parts = [n for n in curves if n.startswith("train/loss/")]
    only = parts if len(parts) == 1 else []
    return curves.require("train/loss", *only)


def _flat_returns(curves: Curves, min_episodes: int, max_errors: float) -> Iterator[Finding]:
    """Returns that did not rise: neither by their trend nor from the first third to the last."""
    name = f"a loss beside {curves.reinforcement} does not measure progress"
    curve = curves.get(*_RETURNS)
    if curve is None:
        raise NotApplicable(f"{name}, and no returns of episodes are logged")
    if len(curve) < min_episodes:
        raise NotApplicable(f"{name}, and {len(curve)} returns tell nothing; at least {min_episodes} do")
    values = stats.binned(curve.values, 100)
    third = len(values) // 3
    first, last = stats.mean(values[:third]), stats.mean(values[-third:])
    error = math.sqrt(6 / len(curve)) * stats.noise(curve.values)
    tau = stats.trend(values)
    rose = last - first > max_errors * error or stats.falls([-v for v in values])
    if rose or curve.begun_late or not stats.relative_range(curve.values):
        return
    yield Finding(
        f"{curve.name.replace('/', ' ')} did not rise beyond its noise over {len(curve):,} values: it was {first:.4g} "
        f"in the first third and {last:.4g} in the last",
        at=curve.source,
        severity=Severity.WARNING,
        evidence=(
            Evidence("level of the first third", first, None, curve.source),
            Evidence("level of the last third", last, first + max_errors * error, curve.at(-1)),
            Evidence("standard error of their difference", error),
            Evidence("rank correlation with time", tau),
            Evidence("logged values", len(curve), min_episodes),
        ),
        fix=Fix.show("check the reward, the exploration and the learning rate, and compare with a random policy"),
    )


def _still_warming(rates: Sequence[float]) -> bool:
    return len(rates) >= 3 and rates[-1] >= stats.extremes(rates)[1] > 1.05 * rates[0] and stats.trend(rates) > 0.9


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
