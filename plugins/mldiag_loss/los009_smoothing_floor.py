"""LOS009: the loss cannot go lower, since the labels are smoothed."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Curves, Evidence, Finding, Fix, NotApplicable, Smoothing, rule, stats


@rule("LOS009", severity="info", explains=("CUR007",), gives_way_to=("LOS010",))
def smoothing_floor(
    curves: Curves,
    smoothing: Smoothing,
    *,
    max_excess: float = 0.08,
    max_share: float = 0.1,
    max_below: float = 0.01,
    max_fall: float = 0.05,
    min_accuracy: float = 0.9,
    min_points: int = 8,
) -> Iterator[Finding]:
    """The train loss lies at the least that smoothed labels allow.

    ## What it checks
    The level of the train loss at the end against the entropy of the smoothed labels, which is
    -(1 - ε + ε/C) ln(1 - ε + ε/C) - (C - 1) (ε/C) ln(ε/C) for a smoothing ε over C classes. The loss must have come to
    rest there and never have gone below; where a train accuracy is logged, it must be high.

    ## Why it matters
    A loss of 0.5 that does not fall looks like a model that stopped learning. With a smoothing of 0.1 over ten classes
    it is a perfect fit of the training data, and only validation says more.

    ## Inputs
    `train/loss` in nats; `label_smoothing`, as a setting or in the source; `num_classes`, `vocab_size` or a checkpoint.

    ## Options
    - `max_excess`, `max_share`: distance above the floor / (ln C - floor) (0.08) and / floor (0.1), both at most.
    - `max_below`: share of the floor that the loss may lie below it (0.01, for rounding and averaging).
    - `max_fall`: fall over the last half / (ln C - floor) (0.05).
    - `min_accuracy`: train accuracy at the end, where it is logged (0.9).
    - `min_points`: logged values (8).

    ## Fix
    Shown: nothing is wrong; log the loss without smoothing beside it.

    ## When to ignore
    Always, where the floor is known.

    ## Source
    Szegedy et al. 2016, Rethinking the Inception Architecture for Computer Vision, section 7; the least cross-entropy
    is the target's entropy (Gibbs' inequality; Cover and Thomas 2006, 2.6).
    """
    curve = curves.require("train/loss")
    if len(curve) < min_points:
        raise NotApplicable(f"{len(curve)} train losses; at least {min_points} are needed")
    floor, room = smoothing.floor, smoothing.chance.loss - smoothing.floor
    if room <= 0.01 * smoothing.chance.loss:
        raise NotApplicable(f"a smoothing of {smoothing.value:g} leaves nothing to learn")
    end = stats.tail_level(curve.values)
    middle = stats.head_level(curve.values[len(curve) // 2 :], 0.2)
    highest = floor + min(max_excess * room, max_share * floor)
    lowest = stats.best_level(curve.values)[1]
    if lowest < (1 - max_below) * floor or end > highest or middle - end > max_fall * room:
        return
    accuracy = curves.get("train/accuracy")
    right = None
    if accuracy is not None:
        level = stats.tail_level(accuracy.values)
        right = level * (0.01 if stats.extremes(accuracy.values)[1] > 1.5 else 1.0)
        if right < min_accuracy:
            return
    more = f", at a train accuracy of {right:.3g}" if right is not None else ""
    yield Finding(
        f"{curve.name} came to rest at {end:.4g}{more}; with a label smoothing of {smoothing.value:g} over "
        f"{smoothing.chance.classes:,} {_things(smoothing)} it cannot go below {floor:.4g}",
        at=curve.at(-1),
        evidence=(
            Evidence(f"{curve.name} at the end", end, highest, curve.at(-1), "nat"),
            Evidence("floor of the smoothed labels", floor, None, None, "nat"),
            Evidence("label smoothing", smoothing.value, None, smoothing.source),
            Evidence(smoothing.chance.name, smoothing.chance.classes, None, smoothing.chance.source),
            *([Evidence("train accuracy", right, min_accuracy, accuracy.at(-1))] if accuracy is not None else []),
        ),
        fix=Fix.show("judge the fit by accuracy, or log the loss without smoothing beside it"),
    )


def _things(smoothing: Smoothing) -> str:
    return "vocabulary entries" if smoothing.chance.name == "vocab_size" else "classes"
