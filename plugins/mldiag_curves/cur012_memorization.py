"""CUR012: the model learnt its training data by heart and nothing that holds for other data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from mldiag.api import Chance, Curve, Curves, Evidence, Finding, Fix, LossPair, NotApplicable, Severity, rule, stats

_ACCURACIES = ("val/accuracy", "test/accuracy")


@rule(
    "CUR012",
    severity="error",
    explains=("CUR001", "CUR002", "CUR014"),
    gives_way_to=("CUR004", "CUR005"),
)
def memorization(
    losses: LossPair,
    curves: Curves,
    chance: Chance | None,
    *,
    max_floor: float = 0.2,
    min_start: float = 0.1,
    min_never: float = 0.95,
    max_first_gap: float = 0.1,
    max_skill: float = 0.1,
    max_chance_ratio: float = 1.5,
    min_evaluations: int = 3,
    max_batch_floor: float = 0.01,
    min_falling: float = 0.98,
    min_values: int = 50,
    min_values_per_evaluation: float = 3.0,
    min_batch_rise: float = 0.1,
) -> Iterator[Finding]:
    """The train loss went to its floor while validation never left the level of a guess.

    ## What it checks
    A train loss that fell to a fifth of where it began, while the lowest validation loss of all is hardly below what
    the untrained model had. That is ln C where the run states its number of classes C, otherwise the first train loss,
    where validation began no higher: a first value that training has lowered already is no measure of a guess.
    An error where validation is known to be at chance: by ln C, or by an accuracy that stayed at 1/C, with C taken
    from the first loss (ln C) where nothing states it; an accuracy above that acquits the run. A warning where only
    the two losses say so: a model that was trained before can begin at a loss that is no guess.

    The second form is a batch that came again and again: logged several times between evaluations, the train loss fell
    at nearly every value, as no loss of changing batches does, to a hundredth of where it began, while the validation
    loss was best at the first evaluation and rose.

    ## Why it matters
    Targets that do not belong to their inputs, a split by another rule than the task's, and a loader that yields one
    batch look like this, and a train loss of zero looks like success. It is not the overfitting that less capacity or
    more dropout mends.

    ## Inputs
    `train/loss` and `val/loss` (or `test/loss`) of one objective, at least `min_evaluations` evaluations; where known
    `val/accuracy` and the number of classes.

    ## Options
    - `max_floor`: train loss at the end / loss without any learning (0.2).
    - `min_start`: loss without any learning below which it is not judged (0.1).
    - `min_never`: lowest validation loss / loss of the untrained model (0.95).
    - `max_first_gap`: first validation loss / first train loss - 1 up to which the latter is of an untrained model
      (0.1; 0.01 at most with permuted labels, 0.31 where the first round of boosting had fitted the training data).
    - `max_skill`: share of the way from a guess to perfect that the best level of an accuracy at chance may have gone
      (0.1; the best of several levels lies above the mean), and
    - `max_chance_ratio`: best level of an accuracy at chance × C (1.5).
    - `min_evaluations`: evaluations (3).
    - `max_batch_floor`: train loss at the end / at the start of a repeated batch (0.01).
    - `min_falling`: share of the train values that are no higher than the one before (0.98).
    - `min_values`, `min_values_per_evaluation`: train values in all (50) and per evaluation (3), so that they are of
      single batches rather than means over an epoch.
    - `min_batch_rise`: rise of the validation loss / its first value (0.1).
    On 197 labelled pairs of losses: with permuted labels the lowest validation loss is 0.99 and 1.00 of the first train
    loss, with a fine-tuned language model that learnt facts by heart 1.01; of the other runs whose train loss went to
    its floor the highest is 0.89. Of logs with several values per evaluation
    the share that fall is 1.0 with a repeated batch and at most 0.76 where the loss ended as low otherwise.

    ## Fix
    Shown: look at single examples with their labels, and at what the loader yields.

    ## When to ignore
    A test of whether the model can fit one batch, or labels that were permuted on purpose.

    ## Source
    Zhang et al. 2017, Understanding deep learning requires rethinking generalization (random labels are fitted to zero
    train loss). Uniform predictor: entropy ln C (Cover and Thomas 2006, 2.1).
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    if losses.mismatch:
        raise NotApplicable(losses.mismatch)
    if len(losses) < min_evaluations:
        raise NotApplicable(f"{len(losses)} evaluations; at least {min_evaluations} are needed")
    if losses.train.begun_late:
        raise NotApplicable(f"the log begins at {losses.train.place(0)}: what came before is not known")
    first, ended = losses.train.values[0], min(losses.end[0], stats.tail_level(losses.train.values))
    lowest = min(losses.val_levels)
    known = (
        chance if chance is not None and chance.name == "num_classes" and lowest >= min_never * chance.loss else None
    )
    untrained = known.loss if known is not None else first
    if untrained < min_start:
        raise NotApplicable(f"the train loss starts at {untrained:.3g}, below {min_start:g}")
    if ended > max_floor * untrained:
        return
    if lowest < min_never * untrained:
        yield from _same_batch(
            losses, first, ended, max_batch_floor, min_falling, min_values, min_values_per_evaluation, min_batch_rise
        )
        return
    if known is None and losses.val_levels[0] > (1 + max_first_gap) * first:
        return
    guess = known.accuracy if known is not None else math.exp(-untrained)
    accuracy = curves.get(*_ACCURACIES)
    hit = _highest(accuracy) if accuracy is not None else None
    if hit is not None and (hit > max_chance_ratio * guess or (hit - guess) / (1 - guess) > max_skill):
        return
    name, source = losses.quantity, known.source if known is not None else losses.train.at(0)
    yield Finding(
        f"train {name} fell from {first:.4g} to {ended:.4g}, but {losses.val.name} was never below {lowest:.4g}, "
        + (
            f"against ln {known.classes:,} = {untrained:.4g} of a guess"
            if known is not None
            else f"against {untrained:.4g} at the start"
        )
        + (f"; {accuracy.name} was at most {hit:.3g}, a guess has {guess:.3g}" if accuracy and hit is not None else "")
        + ": what was learnt was the training data by heart",
        at=losses.val.at(-1),
        severity=Severity.ERROR if known is not None or hit is not None else Severity.WARNING,
        evidence=(
            Evidence(f"train {name} at the start", first, None, losses.train.at(0)),
            Evidence(f"train {name} at the end", ended, max_floor * untrained, losses.train.at(-1)),
            Evidence(f"lowest validation {name}", lowest, min_never * untrained, losses.val.source),
            Evidence(f"{name} without any learning", untrained, None, source),
            Evidence(f"validation {name} at the first evaluation", losses.val_levels[0], None, losses.at(0)),
            Evidence(f"validation {name} at the end", losses.end[1], None, losses.val.at(-1)),
            *([Evidence("classes", known.classes, None, known.source)] if known is not None else []),
            *(_accuracy_evidence(accuracy, hit, guess, max_chance_ratio) if accuracy and hit is not None else ()),
            Evidence("evaluations", len(losses)),
        ),
        fix=Fix.show(
            "look at single training examples with their labels: check that shuffling keeps the two together, and that "
            "training and validation are split from one distribution"
        ),
    )


def _accuracy_evidence(accuracy: Curve, hit: float, guess: float, ratio: float) -> tuple[Evidence, ...]:
    return (
        Evidence(f"highest level of {accuracy.name}", hit, ratio * guess, accuracy.source),
        Evidence("accuracy of a guess", guess),
    )


def _highest(accuracy: Curve) -> float:
    """The highest level of an accuracy, as a fraction."""
    unit = 1.0 if max(accuracy.values) <= 1.5 else 0.01
    return -unit * stats.best_level([-v for v in accuracy.values])[1]


def _same_batch(
    losses: LossPair,
    began: float,
    ended: float,
    max_floor: float,
    min_falling: float,
    min_values: int,
    min_per_evaluation: float,
    min_rise: float,
) -> Iterator[Finding]:
    """A train loss that fell at every value, as only the loss of one batch does."""
    values, val = losses.train.values, losses.val_levels
    if len(values) < max(min_values, min_per_evaluation * len(val)) or ended > max_floor * began:
        return
    if losses.best_at != 0 or losses.end[1] < (1 + min_rise) * val[0]:
        return
    falling = sum(b <= a for a, b in pairwise(values)) / (len(values) - 1)
    if falling < min_falling:
        return
    name = losses.quantity
    yield Finding(
        f"train {name} fell from {began:.4g} to {ended:.4g} and was no higher than the value before at "
        f"{100 * falling:.0f} % of {len(values):,} logged values, as it is when every step has the same batch; "
        f"validation {name} was best at the first evaluation, {val[0]:.4g}, and ended at {losses.end[1]:.4g}",
        at=losses.train.source,
        evidence=(
            Evidence(f"train {name} at the start", began, None, losses.train.at(0)),
            Evidence(f"train {name} at the end", ended, max_floor * began, losses.train.at(-1)),
            Evidence("share of values no higher than the one before", falling, min_falling, losses.train.source),
            Evidence("logged values", len(values), min_values),
            Evidence(f"validation {name} at the first evaluation", val[0], None, losses.at(0)),
            Evidence(f"validation {name} at the end", losses.end[1], (1 + min_rise) * val[0], losses.val.at(-1)),
            Evidence("evaluations", len(val)),
        ),
        fix=Fix.show(
            "print what the loader yields at two steps: an iterator made anew at every step gives its first batch"
        ),
    )
