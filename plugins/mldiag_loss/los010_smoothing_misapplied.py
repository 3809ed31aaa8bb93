"""LOS010: the labels are smoothed away, or smoothed by a wrong formula."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Curve, Curves, Evidence, Finding, Fix, Smoothing, rule, stats

_SCORES = ("val/accuracy", "test/accuracy", "train/accuracy", "val/f1")


@rule("LOS010", severity="error", explains=("CUR003", "CUR007", "CUR014", "LOS008", "LOS009"))
def smoothing_misapplied(
    smoothing: Smoothing,
    curves: Curves | None,
    *,
    min_floor: float = 0.8,
    below_floor: float = 0.02,
    above_guess: float = 0.1,
    start_tolerance: float = 0.1,
    min_learned: float = 0.5,
    min_mass: float = 1.8,
    min_accuracy: float = 0.5,
    min_points: int = 3,
) -> Iterator[Finding]:
    """Label smoothing leaves the loss next to no room below a guess, or was added to the labels without its divisor.

    ## What it checks
    The least that the loss can be with a smoothing ε over C classes, against ln C, which a guess has: at `min_floor` of
    it and more the loss measures hardly anything but the smoothing. Where a train loss is logged, it must lie between
    the two. And whether the train loss began at (1 + (C - 1) ε) ln C and stayed above that formula's own floor: then ε
    was added for every class where ε/C belongs (or a sum over the classes was taken where their mean belongs).

    ## Why it matters
    The gradient that tells the true class from the others is 1 - ε of what it was. The loss stays near ln C, which
    looks as if nothing were learned while the accuracy rises, and the probabilities are useless: the model is trained
    to give the right class little more than the others. Without the divisor the loss grows with C and means nothing.

    ## Inputs
    `label_smoothing`, as a setting or in the source; `num_classes`, `vocab_size` or a checkpoint; where logged
    `train/loss` in nats.

    ## Options
    - `min_floor`: floor / ln C (0.8). 0.9 over six classes has 0.99; the usual 0.1 has 0.29 over two, 0.28 over six and
      0.15 over 1,000 classes, and 0.3 over two 0.61.
    - `below_floor`: share of the floor that the train loss may lie below it (0.02); further down the loss is not
      smoothed.
    - `above_guess`: share of ln C that it may end above it (0.1); further up the run diverged.
    - `start_tolerance`: distance of the first loss from that of the wrong formula, as a share of it (0.1).
    - `min_learned`: fall of the loss / (guess - floor), both by the wrong formula (0.5): a run that began high and
      learned nothing shows no formula.
    - `min_mass`: guess by the wrong formula / ln C (1.8), from which the losses alone tell. Down to 1.3, where bad
      initial weights can begin as high, only beside an accuracy that ended above `min_accuracy` (0.5).
    - `min_points`: train losses from which they are held against the floor (3).

    ## Fix
    Shown: 0.1 is usual; the wrong formula is in the source.

    ## When to ignore
    Experiments about smoothing itself.

    ## Source
    Szegedy et al. 2016, Rethinking the Inception Architecture for Computer Vision, section 7 (ε = 0.1 over 1,000
    classes); Müller, Kornblith and Hinton 2019, When Does Label Smoothing Help? Least of a cross-entropy: Gibbs'
    inequality.
    """
    guess = smoothing.chance
    loss = curves.get("train/loss") if curves is not None else None
    if loss is not None and len(loss) < min_points:
        loss = None
    things = "vocabulary entries" if guess.name == "vocab_size" else "classes"
    stated = (
        Evidence("label smoothing", smoothing.value, None, smoothing.source),
        Evidence(guess.name, guess.classes, None, guess.source),
        Evidence("loss of a guess", guess.loss, None, guess.source, "nat"),
    )
    score = curves.get(*_SCORES) if curves is not None else None
    level = stats.tail_level(score.values) if score is not None else None
    unit = 0.01 if score is not None and stats.extremes(score.values)[1] > 1.5 else 1.0
    sure = smoothing.added_start >= min_mass * guess.loss or (level is not None and unit * level >= min_accuracy)
    if loss is not None and sure and _added(smoothing, loss, start_tolerance, below_floor, min_learned):
        yield Finding(
            f"{loss.name} began at {loss.values[0]:.4g} and ended at {stats.tail_level(loss.values):.4g}; with a label "
            f"smoothing of {smoothing.value:g} over {guess.classes:,} {things} a guess has {guess.loss:.4g}, but "
            f"{smoothing.added_start:.4g} where the smoothing is added for every class instead of being divided by "
            f"their number, and never less than {smoothing.added_floor:.4g}",
            at=loss.at(0),
            evidence=(
                *stated,
                Evidence(f"first {loss.name}", loss.values[0], smoothing.added_start, loss.at(0), "nat"),
                Evidence(f"{loss.name} at the end", stats.tail_level(loss.values), None, loss.at(-1), "nat"),
                Evidence("floor without the divisor", smoothing.added_floor, None, None, "nat"),
                Evidence("guess without the divisor", smoothing.added_start, None, None, "nat"),
            ),
            fix=Fix.show("spread the smoothing over the classes: divide it by their number, or take the mean of -ln p"),
        )
        return
    share = smoothing.floor / guess.loss
    if share < min_floor:
        return
    end = stats.tail_level(loss.values) if loss is not None else None
    if end is not None and not (1 - below_floor) * smoothing.floor <= end <= (1 + above_guess) * guess.loss:
        return
    if end is None and not smoothing.by_name:
        return
    logged = f"; {loss.name} ended at {end:.4g}" if loss is not None and end is not None else ""
    right = f" beside a {score.name} of {level:.3g}" if score is not None and level is not None and logged else ""
    yield Finding(
        f"a label smoothing of {smoothing.value:g} over {guess.classes:,} {things} keeps the loss above "
        f"{smoothing.floor:.4g}, {100 * share:.1f} % of the {guess.loss:.4g} of a guess{logged}{right}",
        at=smoothing.source,
        evidence=(
            *stated,
            Evidence("floor of the smoothed labels", smoothing.floor, None, None, "nat"),
            Evidence("floor / loss of a guess", share, min_floor),
            *([Evidence(f"{loss.name} at the end", end, None, loss.at(-1), "nat")] if loss is not None else []),
            *([Evidence(f"{score.name} at the end", level, None, score.at(-1))] if right and score is not None else []),
        ),
        fix=Fix.show("lower the label smoothing: 0.1 is usual"),
    )


def _added(smoothing: Smoothing, loss: Curve, tolerance: float, below: float, learned: float) -> bool:
    """The first loss is that of a guess without the divisor, and the loss kept above what that allows."""
    expected = smoothing.added_start
    # Where the two formulas hardly differ, the first loss cannot tell them apart.
    if expected <= (1 + 3 * tolerance) * smoothing.chance.loss or loss.begun_late:
        return False
    began = abs(loss.values[0] - expected) <= tolerance * expected
    lowest, floor = stats.best_level(loss.values)[1], smoothing.added_floor
    return began and (1 - below) * floor <= lowest <= expected - learned * (expected - floor)
