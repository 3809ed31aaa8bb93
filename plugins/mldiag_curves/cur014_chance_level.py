"""CUR014: the model was no better than a guess."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Chance, Curve, Curves, Evidence, Finding, Fix, NotApplicable, rule, stats

_ACCURACIES = ("val/accuracy", "test/accuracy", "train/accuracy")
_LOSSES = ("val/loss", "test/loss", "train/loss")


@rule("CUR014", severity="warning")
def chance_level(
    curves: Curves,
    chance: Chance,
    *,
    max_skill: float = 0.05,
    max_chance_ratio: float = 1.5,
    loss_band: float = 0.02,
    min_points: int = 3,
) -> Iterator[Finding]:
    """The accuracy or the loss ended where a guess among all classes ends.

    ## What it checks
    The median of the last held-out accuracies against 1 / C, or without any accuracy the loss against ln C, where the
    number of classes C is stated by the run. An accuracy is at chance when both its skill (a - 1/C) / (1 - 1/C) is at
    most `max_skill` and it is at most `max_chance_ratio` times 1/C: 30 % among 4,000 words is 1,200 times chance.

    ## Why it matters
    Labels that do not belong to their inputs, a dead network and a diverged one all end here, whatever the train loss
    says.

    ## Inputs
    `val/accuracy` (or test, or train) as a fraction or percent; `val/loss` in nats; `num_classes` or `vocab_size`.

    ## Options
    - `max_skill`: share of the way from chance to perfect (0.05).
    - `max_chance_ratio`: accuracy × C (1.5; a guess on 200 balanced examples of ten classes stays below it in 99 %).
    - `loss_band`: relative distance below ln C (0.02).
    - `min_points`: values of the judged series (3).

    ## Fix
    Shown: see which of labels, data and model is at fault.

    ## When to ignore
    Very unbalanced classes: a constant answer is then better than 1/C, and this rule is too kind, never too harsh.

    ## Source
    Uniform predictor: entropy ln C (Cover and Thomas 2006, Elements of Information Theory, 2.1).
    """
    accuracy = curves.get(*_ACCURACIES)
    curve = accuracy or curves.get(*_LOSSES)
    if curve is None or len(curve) < min_points:
        raise NotApplicable(f"no accuracy and no loss with at least {min_points} finite values")
    end = stats.tail_level(curve.values)
    if accuracy is not None:
        unit = 1.0 if max(curve.values) <= 1.5 else 0.01
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
    yield Finding(
        f"{curve.name} ended at {value:.4g}; a guess among {chance.classes:,} {_things(chance)} has {what} "
        f"{expected:.4g}",
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


def _things(chance: Chance) -> str:
    return "classes" if chance.name == "num_classes" else "vocabulary entries"


def _loss_evidence(curves: Curves, chance: Chance, accuracy: Curve | None) -> tuple[Evidence, ...]:
    loss = curves.get(*_LOSSES) if accuracy is not None else None
    if loss is None:
        return ()
    return (
        Evidence(f"{loss.name} at the end", stats.tail_level(loss.values), None, loss.source),
        Evidence("loss of a guess", chance.loss, None, chance.source, "nat"),
    )
