"""CUR009: validation was better than training by more than an honest run explains."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from mldiag.api import (
    Chance,
    Curves,
    Evidence,
    Finding,
    Fix,
    LossPair,
    NotApplicable,
    ScorePair,
    Settings,
    as_number,
    lazily,
    rule,
    stats,
)

_HARDER = lazily(r"mix_?up|cut_?mix|smoothing|distill", re.IGNORECASE)
"""Settings that raise the train loss alone, without a bound that holds for all of them."""

_CONDITIONAL = lazily(
    r"(?:^|[/_])(?:(?:wer|cer|ter)(?:$|[/_])|bleu|rouge|meteor|cider|chrf|exact_match)", re.IGNORECASE
)
"""Scores of an output for a given input (translation, speech): it may be known almost for certain."""

_LEAK = Fix.show(
    "check that the model cannot see what it predicts (causal mask, shift of the targets), and that no validation "
    "example, nor its target among the inputs, is in the training data"
)


@rule("CUR009", severity="warning", gives_way_to=("CUR004", "CUR005"), explains=("CUR013",))
def validation_below_train(
    curves: Curves,
    losses: LossPair | None,
    scores: ScorePair | None,
    settings: Settings | None,
    chance: Chance | None,
    *,
    min_share: float = 0.7,
    min_evaluations: int = 6,
    max_ratio: float = 0.2,
    min_gap_share: float = 0.1,
    min_first_ratio: float = 0.5,
    min_text_start: float = 5.0,
    max_text_loss: float = 1.0,
    max_text_ratio: float = 0.5,
    min_text_evaluations: int = 3,
    min_perfect_evaluations: int = 8,
    min_perfect: float = 0.999,
    max_perfect_start: float = 0.9,
) -> Iterator[Finding]:
    """Validation was better than training by more than dropout, augmentation and averaging explain.

    ## What it checks
    That validation is a little better is ordinary: the train loss is taken with dropout, augmentation and label
    smoothing, and as a mean over an epoch it is half an epoch behind. Three forms are not ordinary.

    1. The validation loss began near the train loss and came to lie below `max_ratio` of it, in most evaluations. It
       is compared with the train level up to the evaluation after it, which no mean over an epoch is behind. Runs
       whose settings name mix-up, cut-mix, label smoothing or distillation are not judged by this.
    2. A language model (perplexity logged, or a vocabulary stated) that had not learnt yet at its first evaluation
       ended below one nat per token, at less than half of the train loss: what follows in a text cannot be known that
       well. Runs with scores of a given answer (word error rate, BLEU, ...) are not judged by this: there it can.
    3. A validation score was perfect at every evaluation from the first on, while the train score still had to rise.

    ## Why it matters
    The model sees what it is to predict, or validation examples are easier, trivial or known to it. Every choice that
    is made by this validation is made by nothing.

    ## Inputs
    `train/loss` and `val/loss` (or `test/loss`) of one objective; `train/<score>` and `val/<score>`; perplexities or
    `vocab_size`.

    ## Options
    - `min_share`: evaluations in which validation is that much better / all (0.7).
    - `min_evaluations`: evaluations with a later train level (6).
    - `max_ratio`: validation loss / next train level (0.2). In 159 labelled pairs, 62 of them healthy,
      the ratio that 70 % of a run's evaluations stay below is 0.50 at least; strong augmentation can go lower.
    - `min_gap_share`: gap / loss at the start (0.1): of two losses that are nearly gone a ratio says little.
    - `min_first_ratio`: first validation loss / next train level (0.5); below, the two may be of different units.
    - `min_text_start`, `max_text_loss`: first and last validation loss of a language model, in nats (5; 1). Printed
      English has 0.6 to 1.3 bits per letter, so a token of four letters has 1.7 nats at least.
    - `max_text_ratio`: last validation loss / train loss of a language model (0.5).
    - `min_text_evaluations`: evaluations of a language model (3), since the effect is that large.
    - `min_perfect`: score that is called perfect (0.999); `min_perfect_evaluations`: evaluations with it (8).
    - `max_perfect_start`: train score up to the first of them (0.9).

    ## Fix
    Shown: the cause is in the model or the split.

    ## When to ignore
    The validation set is easier on purpose, or the data has one right continuation (copying, arithmetic, music of few
    notes).

    ## Source
    Shannon 1951, Prediction and Entropy of Printed English (Bell System Technical Journal 30, 50-64). The ratio lies in
    the gap below what runs labelled healthy reach; no labelled run shows the first form, only simulated ones do. The
    limits of the second form rest on four leaking runs of one project and on Shannon's figures, those of the third on
    one run.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    judged = False
    if losses is not None and not losses.mismatch and min(min(losses.train_levels), min(losses.val_levels)) > 0:
        if len(losses) >= min_text_evaluations and _is_text(curves, chance):
            judged = True
            found = _text(losses, curves, min_share, min_text_start, max_text_loss, max_text_ratio)
            if found is not None:
                yield found
                return
        if len(losses) > min_evaluations and len(losses.train) >= len(losses) and not _hardened(settings):
            judged = True
            found = _far_below(losses, min_share, max_ratio, min_gap_share, min_first_ratio)
            if found is not None:
                yield found
                return
    if scores is not None and len(scores) >= min_perfect_evaluations:
        judged = True
        yield from _perfect(scores, min_perfect, max_perfect_start)
    if not judged:
        raise NotApplicable(
            losses.mismatch
            if losses is not None and losses.mismatch
            else f"no loss or score of both splits with at least {min_evaluations + 1} evaluations"
        )


def _hardened(settings: Settings | None) -> bool:
    """Whether a setting makes the train loss larger than a plain one."""
    for stated in settings or ():
        if _HARDER.search(stated.name) and stated.value not in (None, False, "", "none", "None"):
            number = as_number(stated.value)
            if number is None or number > 0:
                return True
    return False


def _is_text(curves: Curves, chance: Chance | None) -> bool:
    if any(_CONDITIONAL.search(name) for name in curves):
        return False
    return any(name.endswith("/perplexity") for name in curves) or (chance is not None and chance.name == "vocab_size")


def _far_below(
    losses: LossPair, min_share: float, max_ratio: float, min_gap: float, min_first_ratio: float
) -> Finding | None:
    """The validation loss lay far below what the train loss came to by the evaluation after it."""
    later = losses.train_levels[1:]
    if len(later) >= stats.LONG:  # a look at 512 levels spares the rest where nothing is to be found
        levels = zip(stats.binned(losses.val_levels), stats.binned(losses.train_levels), strict=True)
        if sum(v <= 2 * max_ratio * t for v, t in levels) < 0.5 * min_share * 512:
            return None
    pairs = list(zip(losses.val_levels, later, strict=False))
    start = losses.start
    if pairs[0][0] < min_first_ratio * pairs[0][1]:
        return None
    below = [k for k, (v, t) in enumerate(pairs) if v <= max_ratio * t and t - v >= min_gap * start]
    share = len(below) / len(pairs)
    if share < min_share:
        return None
    name, at = losses.quantity, below[-1]
    val, train = pairs[at]
    return Finding(
        f"validation {name} lay below {100 * max_ratio:.0f} % of the train {name} at {len(below)} of {len(pairs)} "
        f"evaluations, last {val:.4g} at {losses.place(at)} while training stood at {train:.4g} by the next",
        at=losses.at(at),
        evidence=(
            Evidence("share of evaluations", share, min_share),
            Evidence("evaluations far below training", len(below)),
            Evidence("evaluations with a later train level", len(pairs)),
            Evidence(f"validation {name}", val, max_ratio * train, losses.at(at)),
            Evidence(f"train {name} by the next evaluation", train, None, losses.train.source),
            Evidence("validation / train", val / train, max_ratio),
            Evidence("gap / loss at the start", (train - val) / start, min_gap),
            Evidence(f"first validation {name}", losses.val_levels[0], None, losses.at(0)),
        ),
        fix=_LEAK,
    )


def _text(
    losses: LossPair, curves: Curves, min_share: float, min_start: float, max_loss: float, max_ratio: float
) -> Finding | None:
    """A language model that came to know the text."""
    first, val, train = losses.val_levels[0], losses.val_levels[-1], losses.train_levels[-1]
    below = sum(v < t for v, t in zip(losses.val_levels, losses.train_levels, strict=True))
    share = below / len(losses)
    if first < min_start or val > max_loss or val > max_ratio * train or share < min_share:
        return None
    perplexity = curves.get("val/perplexity", "test/perplexity")
    if perplexity is not None and not 0.9 * math.exp(val) < perplexity.values[-1] < 1.1 * math.exp(val):
        return None  # the loss is not the cross-entropy of the tokens alone
    return Finding(
        f"the validation loss of a language model fell from {first:.4g} to {val:.4g} nats per token"
        + (f" (perplexity {perplexity.values[-1]:.3g})" if perplexity is not None else "")
        + f", {100 * val / train:.0f} % of the train loss of {train:.4g}, and lay below it at {below} of {len(losses)} "
        "evaluations: a text cannot be foreseen that well, so the tokens to predict were likely visible to the model",
        at=losses.val.at(-1),
        evidence=(
            Evidence("first validation loss", first, min_start, losses.at(0), "nat"),
            Evidence("last validation loss", val, max_loss, losses.val.at(-1), "nat"),
            Evidence("train loss up to it", train, None, losses.train.at(-1), "nat"),
            Evidence("validation / train", val / train, max_ratio),
            *(
                [Evidence("perplexity", perplexity.values[-1], None, perplexity.at(-1))]
                if perplexity is not None
                else []
            ),
            Evidence("evaluations below training", below),
            Evidence("share of evaluations below training", share, min_share),
            Evidence("evaluations", len(losses)),
        ),
        fix=_LEAK,
    )


def _perfect(scores: ScorePair, least: float, max_start: float) -> Iterator[Finding]:
    """A score that was perfect before the model had learnt."""
    first, lowest = scores.train_levels[0], min(scores.val_levels)
    if lowest < least or first > max_start:
        return
    name, (end, _) = scores.quantity, scores.end
    yield Finding(
        f"validation {name} was {'at least ' if lowest < 1 else ''}{lowest:.4g} at every one of {len(scores)} "
        f"evaluations, already at {scores.place(0)}, up to which "
        f"train {name} was {first:.3g}; it ended at {end:.3g}",
        at=scores.at(0),
        evidence=(
            Evidence(f"lowest validation {name}", lowest, least, scores.val.source),
            Evidence(f"train {name} up to the first evaluation", first, max_start, scores.train.at(0)),
            Evidence(f"train {name} at the end", end, None, scores.train.at(-1)),
            Evidence("evaluations", len(scores)),
        ),
        fix=Fix.show(
            "look at the validation examples: how many they are, whether they are of one class, and whether they or "
            "their source are in the training data"
        ),
    )
