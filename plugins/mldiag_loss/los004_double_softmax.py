"""LOS004: cross-entropy that stands at the floor of a softmax applied twice."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import (
    Chance,
    Curve,
    Curves,
    Evidence,
    Finding,
    Fix,
    Idiom,
    NotApplicable,
    Program,
    Settings,
    rule,
)

_ACCURACIES = ("train/accuracy", "val/accuracy", "test/accuracy")


@rule("LOS004", severity="error", explains=("CUR003", "CUR007", "CUR014"))
def double_softmax(
    program: Program | None,
    curves: Curves | None,
    chance: Chance | None,
    settings: Settings | None,
    *,
    min_accuracy: float = 0.8,
    tolerance: float = 0.05,
    min_classes: int = 3,
    min_points: int = 5,
) -> Iterator[Finding]:
    """Softmax was applied before a cross-entropy that applies it again.

    ## What it checks
    Two traces, either of which is enough. In the source: the input of `CrossEntropyLoss` or `cross_entropy` is followed
    back through the file's functions and models to a softmax. In the curves: with C classes, probabilities p in place
    of logits give the loss -p_y + ln(sum of e^p_j), which is lowest where p_y = 1: ln(e + C - 1) - 1, 1.4612 for ten
    classes. With every prediction at 0 or 1 it is that floor plus the share of wrong ones. A train loss that never
    gets below the floor, ends on it, began near ln C, and stands there with a high accuracy (of which the held-out
    loss, or the train loss, is the floor plus one minus the accuracy) is this and
    nothing else. The number of classes is read where it is stated, else computed from the level of the train loss.
    With label smoothing the curves are not judged.

    ## Why it matters
    The gradient of the outer softmax vanishes as the inner one saturates: training is slow and stops early, confidence
    is capped at e / (e + C - 1), 23 % for ten classes, and the loss cannot be compared with any other.

    ## Inputs
    The source; train and held-out loss in nats, an accuracy (fraction or percent), the number of classes.

    ## Options
    - `min_accuracy` (fraction, default 0.8): lowest accuracy at which the loss must be near its end. Of the labelled
      runs with this accuracy and a stated number of classes the nearest other one is 0.29 nats off the floor.
    - `tolerance` (nats, default 0.05): how far the held-out loss may be below the floor plus errors; twice as much
      above, since predictions are not quite at 0 and 1, and for the train loss. Three times for the beginning at ln C.
    - `min_classes` (count, default 3): with two classes the floor, 0.31 nats, is a usual loss.
    - `min_points` (count, default 5): train losses that are needed.

    ## Fix
    Only shown: give the loss the logits.

    ## When to ignore
    A loss that is meant to be bounded in this way, against wrong labels.

    ## Source
    The floor is derived above: the loss falls in p_y, and for a given p_y it is lowest where the others are equal.
    PyTorch documentation, `CrossEntropyLoss`: "The input is expected to contain the unnormalized logits".
    """
    sources = program.sources if program is not None else ()
    seen = next((i for s in sources for i in s.idioms if i.name == "softmax_before_loss"), None)
    level = _level(curves, chance, settings, min_accuracy, tolerance, min_classes, min_points) if curves else None
    if seen is None and level is None:
        if curves is None and not sources:
            raise NotApplicable("neither a loss nor the source of the program")
        if curves is None or curves.get("train/loss") is None:
            raise NotApplicable("no train loss, and no softmax before a cross-entropy in the source")
        if curves.get(*_ACCURACIES) is None and not sources:
            raise NotApplicable("no accuracy to hold against the loss")
        return
    yield _finding(seen, level)


class _Level:
    """What the curves show."""

    def __init__(self, train: Curve, last: float, classes: int, score: Curve, accuracy: float) -> None:
        self.train, self.last, self.classes = train, last, classes
        self.score, self.accuracy = score, accuracy
        self.floor = floor(classes)


def floor(classes: int) -> float:
    """The lowest cross-entropy, in nats, of probabilities that are taken for logits."""
    return math.log(math.e + classes - 1) - 1


def _level(
    curves: Curves,
    chance: Chance | None,
    settings: Settings | None,
    min_accuracy: float,
    tolerance: float,
    min_classes: int,
    min_points: int,
) -> _Level | None:
    train, score = curves.get("train/loss"), curves.get(*_ACCURACIES)
    if train is None or score is None or len(train) < min_points or train.broken is not None:
        return None
    if settings is not None and (settings.get("label_smoothing", float) or 0) > 0:
        return None
    tail = sorted(train.values[-max(3, len(train) // 10) :])
    last = tail[len(tail) // 2]
    accuracy = score.values[-1] / (100 if max(score.values) > 1 else 1)
    if not min_accuracy <= accuracy <= 1 or (score.series.unit == "percent" and max(score.values) <= 1):
        return None
    stated = chance.classes if chance is not None else None
    wrong = 1 - accuracy if score.name.startswith("train/") else 0.0
    classes = stated or round(math.exp(last - wrong + 1) - math.e + 1)
    if classes < min_classes:
        return None
    low = floor(classes)
    # Beside the floor itself, the loss of the uniform prediction, ln C, is where such a run begins.
    begins = abs(max(train.values[:3]) - math.log(classes)) <= 3 * tolerance
    on_floor = min(train.values) >= low - tolerance / 5 and last <= low + (1 - accuracy) + 2 * tolerance
    held = curves.get("val/loss", "test/loss")
    errors = curves.get("val/accuracy", "test/accuracy")
    if held is None or errors is None:
        if not score.name.startswith("train/"):
            return None  # mixed targets hold a train loss up too
    else:
        share = errors.values[-1] / (100 if max(errors.values) > 1 else 1)
        if not -tolerance <= held.values[-1] - low - (1 - share) <= 2 * tolerance:
            return None
    return _Level(train, last, classes, score, accuracy) if begins and on_floor else None


def _finding(seen: Idiom | None, level: _Level | None) -> Finding:
    evidence: list[Evidence] = []
    parts = []
    if seen is not None:
        loss = seen.detail("loss")
        softmax = seen.also[0] if seen.also else None
        parts.append(
            f"{loss} ({seen.source}) applies softmax itself, and its input went through softmax"
            + (f" at line {softmax.line}" if softmax is not None else "")
        )
        evidence.append(Evidence("line of the loss", seen.source.line, at=seen.source))
        if softmax is not None:
            evidence.append(Evidence("line of the softmax", softmax.line, at=softmax))
    if level is not None:
        said = f"the train loss ended at {level.last:.4f} nats"
        at = f"the floor of a softmax applied twice to {level.classes:,} classes is {level.floor:.4f}"
        parts.append(f"{said} with an accuracy of {100 * level.accuracy:.1f} %; {at}")
        evidence += [
            Evidence("train loss at the end", level.last, level.floor, level.train.at(-1), "nat"),
            Evidence("double-softmax floor", level.floor, unit="nat"),
            Evidence("accuracy at the end", level.accuracy, at=level.score.at(-1)),
            Evidence("classes", level.classes),
        ]
    return Finding(
        "; ".join(parts),
        at=seen.source if seen is not None else level.train.at(-1) if level is not None else None,
        evidence=tuple(evidence),
        fix=Fix.show("give the loss the logits, and apply softmax only where probabilities are wanted"),
    )
