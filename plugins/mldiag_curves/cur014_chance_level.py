"""CUR014: the model was no better than a guess."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import Chance, Curve, Curves, Evidence, Finding, Fix, NotApplicable, Run, is_bounded_score, rule, stats

_ACCURACIES = ("val/accuracy", "test/accuracy", "train/accuracy")
_LOSSES = ("val/loss", "test/loss", "train/loss")


@rule("CUR014", severity="warning", explains=("CUR013",))
def chance_level(
    run: Run,
    curves: Curves,
    *,
    max_skill: float = 0.05,
    max_chance_ratio: float = 1.5,
    loss_band: float = 0.02,
    min_points: int = 3,
    max_nothing: float = 1e-4,
    max_guess: float = 0.25,
    max_spread: float = 0.5,
    max_late_fall: float = 0.1,
    min_guess_loss: float = 0.9,
    max_guess_loss: float = 1.7,
    min_evaluations: int = 6,
) -> Iterator[Finding]:
    """The accuracy or the loss ended where a guess among all classes ends.

    ## What it checks
    The median of the last held-out accuracies against 1 / C, or without any accuracy the loss against ln C, where the
    number of classes C is stated by the run. An accuracy is at chance when both its skill (a - 1/C) / (1 - 1/C) is at
    most `max_skill` and it is at most `max_chance_ratio` times 1/C: 30 % among 4,000 words is 1,200 times chance.
    Where all held-out scores of the run (Dice, F1, IoU, recall) were 0 at every evaluation, that is what a model that
    finds nothing gets, whatever C is.
    Where nothing states C, a held-out accuracy a that stayed low and never rose, beside a train and a held-out loss
    that did not end below -ln a and, in training, near it, is that of a model that cannot tell its inputs apart.

    ## Why it matters
    Labels that do not belong to their inputs, a dead network and a diverged one all end here, whatever the train loss
    says.

    ## Inputs
    `val/accuracy` (or test, or train) as a fraction or percent; `val/loss` in nats; `num_classes` or `vocab_size`.
    Held-out scores in [0, 1] or percent.

    ## Options
    - `max_skill`: share of the way from chance to perfect (0.05).
    - `max_chance_ratio`: accuracy × C (1.5; a guess on 200 balanced examples of ten classes stays below it in 99 %).
    - `loss_band`: relative distance below ln C (0.02).
    - `min_points`: values of the judged series (3).
    - `max_nothing`: score that is nothing (1e-4: what a smoothing term in a Dice leaves is far below).
    - `max_guess`, `max_spread`: highest level of an accuracy without a stated C (0.25), and highest - lowest level /
      its median (0.5), over at least `min_evaluations` (6).
    - `min_guess_loss`, `max_guess_loss`: loss at the end / -ln of that median: of both at least (0.9), of training at
      most (1.7); and `max_late_fall`: fall of the train loss behind the first fifth of the run (0.1). Only runs that
      learnt nothing come near: diverged ones have 1.0 to 1.6, others with so low an accuracy 3 and more.

    ## Fix
    Shown: see which of labels, data and model is at fault.

    ## When to ignore
    Very unbalanced classes: a constant answer is then better than 1/C, and this rule is too kind, never too harsh.

    ## Source
    Uniform predictor: entropy ln C (Cover and Thomas 2006, Elements of Information Theory, 2.1).
    """
    nothing = _found_nothing(curves, max_nothing, min_points)
    if nothing is not None:
        yield nothing
        return
    try:
        chance: Chance = run.get(Chance)
    except NotApplicable:
        same = _same_answer(
            curves, max_guess, max_spread, max_late_fall, (min_guess_loss, max_guess_loss), min_evaluations
        )
        if same is None:
            raise
        yield same
        return
    accuracy = curves.get(*_ACCURACIES)
    curve = accuracy or curves.get(*_LOSSES)
    if curve is None or len(curve) < min_points:
        raise NotApplicable(f"no accuracy and no loss with at least {min_points} finite values")
    end = stats.tail_level(curve.values)
    if accuracy is not None:
        unit = 1.0 if stats.extremes(curve.values)[1] <= 1.5 else 0.01
        value = end * unit
        skill = (value - chance.accuracy) / (1 - chance.accuracy)
        if skill > max_skill or value > max_chance_ratio * chance.accuracy:
            return
        what, expected, limit = "accuracy", chance.accuracy, max_chance_ratio * chance.accuracy
    else:
        value, expected, limit = end, chance.loss, (1 - loss_band) * chance.loss
        # Only a loss that lies at ln C is known to be a cross-entropy over these classes.
        if not limit <= value <= (1 + loss_band) * chance.loss:
            return
        what = "loss"
    worse = _worse_than_a_guess(curves, chance, loss_band) if accuracy is not None else ""
    yield Finding(
        f"{curve.name} ended at {value:.4g}; a guess among {chance.classes:,} {_things(chance)} has {what} "
        f"{expected:.4g}{worse}",
        at=curve.at(-1),
        evidence=(
            Evidence(f"{curve.name} at the end", value, limit, curve.at(-1)),
            Evidence(f"{what} of a guess", expected, None, chance.source),
            Evidence(chance.name, chance.classes, None, chance.source),
            Evidence("values", len(curve)),
            *_loss_evidence(curves, chance, accuracy),
        ),
        fix=Fix.show(
            "check that labels belong to their inputs, that the inputs reach the model, and that it is trained"
        ),
    )


def _found_nothing(curves: Curves, limit: float, least: int) -> Finding | None:
    """Held-out scores that were all zero at every evaluation."""
    names = [n for n in curves if n.startswith(("val/", "test/")) and is_bounded_score(n)]
    scores = [c for n in names if (c := curves.get(n)) is not None]
    longest = max(scores, key=len, default=None)
    if longest is None or len(longest) < least or any(max(map(abs, stats.extremes(c.values))) > limit for c in scores):
        return None
    highest = stats.extremes(longest.values)[1]
    return Finding(
        f"{longest.name} was at most {highest:.3g} in all of {len(longest):,} evaluations, as for a model "
        "that finds nothing",
        at=longest.at(-1),
        evidence=(
            Evidence(f"highest {longest.name}", highest, limit, longest.source),
            Evidence("evaluations", len(longest), least),
            Evidence("held-out scores that were ever above it", 0),
        ),
        fix=Fix.show("check the threshold, the labels and the class weights: the answers may all be the background"),
    )


def _same_answer(
    curves: Curves, highest: float, spread: float, fall: float, band: tuple[float, float], least: int
) -> Finding | None:
    """An accuracy that stayed at one low level, beside losses that say no more than it does."""
    accuracy, val, train = curves.get(*_ACCURACIES[:2]), curves.get(*_LOSSES[:2]), curves.get("train/loss")
    if accuracy is None or val is None or train is None or min(len(accuracy), len(val), len(train)) < least:
        return None
    unit = 1.0 if stats.extremes(accuracy.values)[1] <= 1.5 else 0.01
    values = [unit * v for v in accuracy.values]
    low, high, middle = stats.best_level(values)[1], -stats.best_level([-v for v in values])[1], stats.median(values)
    if not 0 < middle <= high <= highest or high - low > spread * middle or stats.falls([-v for v in values]):
        return None
    guess = -math.log(middle)
    ends = stats.tail_level(train.values), stats.tail_level(val.values)
    early = stats.head_level(train.values[len(train) // 5 :], 0.2)
    if min(ends) < band[0] * guess or ends[0] > band[1] * guess or ends[0] < (1 - fall) * early:
        return None
    return Finding(
        f"{accuracy.name} stayed between {low:.3g} and {high:.3g} over {len(accuracy):,} evaluations, and train/loss "
        f"and {val.name} ended at {ends[0]:.4g} and {ends[1]:.4g}: a model that cannot tell its inputs apart has about "
        f"-ln {middle:.3g} = {guess:.3g}",
        at=val.at(-1),
        evidence=(
            Evidence(f"highest level of {accuracy.name}", high, highest, accuracy.source),
            Evidence(f"lowest level of {accuracy.name}", low, None, accuracy.source),
            Evidence(f"median of {accuracy.name}", middle, None, accuracy.source),
            Evidence("-ln of it", guess, None, None, "nat"),
            Evidence("train/loss at the end", ends[0], band[0] * guess, train.at(-1)),
            Evidence(f"{val.name} at the end", ends[1], band[0] * guess, val.at(-1)),
            Evidence("evaluations", len(accuracy), least),
        ),
        fix=Fix.show(
            "lower the learning rate; check that labels belong to their inputs, and that the model is trained"
        ),
    )


def _things(chance: Chance) -> str:
    return "classes" if chance.name == "num_classes" else "vocabulary entries"


def _worse_than_a_guess(curves: Curves, chance: Chance, band: float) -> str:
    """A loss above ln C, as a rate that is too high leaves it: for the message; empty where it is not."""
    loss = curves.get(*_LOSSES)
    end = stats.tail_level(loss.values) if loss is not None else 0.0
    if loss is None or end <= (1 + band) * chance.loss:
        return ""
    return f", and {loss.name} ended at {end:.4g}, above its loss of {chance.loss:.4g}: the model is worse than a guess"


def _loss_evidence(curves: Curves, chance: Chance, accuracy: Curve | None) -> tuple[Evidence, ...]:
    loss = curves.get(*_LOSSES) if accuracy is not None else None
    if loss is None:
        return ()
    return (
        Evidence(f"{loss.name} at the end", stats.tail_level(loss.values), None, loss.source),
        Evidence("loss of a guess", chance.loss, None, chance.source, "nat"),
    )
