"""CUR001: the model learnt its training data more than its task."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, LossPair, NotApplicable, ScorePair, Severity, rule

_FIX = Fix.show(
    "add data or repeat it less, shrink the model, or regularise (dropout, weight decay); then compare the gap again"
)


@rule("CUR001", severity="error")
def generalization_gap(
    losses: LossPair | None,
    scores: ScorePair | None,
    *,
    min_gap_share: float = 0.2,
    min_gap_nats: float = 0.5,
    min_start_share: float = 0.2,
    max_transfer: float = 0.25,
    min_growth: float = 0.25,
    min_grown_share: float = 0.3,
    min_constant_share: float = 0.12,
    min_reversal: float = 0.1,
    errors: float = 2.0,
    min_score_gap: float = 0.12,
) -> Iterator[Finding]:
    """The validation loss lay far above the train loss, and what was learnt on the training data did not carry over.

    ## What it checks
    The distance of the two losses at the end of the run and how it came about: which share of the fall of the train
    loss the validation loss followed (transfer), over the run or over its second half while the gap grew. Two
    evaluations are enough, since the effect has to be many times what single values waver; their count is in the
    evidence. A gap that was there from the first evaluation on is a warning: it may lie in the data. Without a pair of
    losses a bounded score (accuracy, F1) is judged instead.

    ## Why it matters
    A rule that waits for the validation loss to rise is blind to this: 3.36/4.24, then 2.93/4.20 falls on both sides,
    while 91 % of what was learnt was memory.

    ## Inputs
    `train/loss` and `val/loss` (or `test/loss`) of one objective, any unit; `train/<score>` and `val/<score>` in [0, 1]
    or percent. The levels at the end are medians of the last tenth of the evaluations, of at least three where there
    are six.

    ## Options
    - `min_gap_share`: gap / validation loss (0.2), or `min_gap_nats` (0.5) from half of that share on.
    - `min_start_share`: gap / loss at the start (0.2): of two losses that are nearly gone the distance says little.
    - `max_transfer`: fall of the validation loss / fall of the train loss (0.25).
    - `min_growth`: growth / first gap (0.25), counted from `min_grown_share` of the start loss on (0.3).
    - `min_constant_share`: gap / loss at the start for a gap that was there all the time (0.12).
    - `min_reversal`: rise of the validation loss / fall of the train loss in the second half that warns (0.1),
      if it is `errors` standard errors (2).
    - `min_score_gap`: train - validation score (0.12).
    Defaults measured on 262 labelled runs with a loss, so that none labelled healthy has a finding.

    ## Fix
    Shown: more data, a smaller model or regularisation is a person's choice.

    ## When to ignore
    The validation data is of a harder kind on purpose.

    ## Source
    Generalization gap: Goodfellow, Bengio and Courville 2016, Deep Learning, 5.2. Levels instead of trends: measured.
    """
    if losses is None or losses.mismatch or losses.start <= 0:
        if scores is None:
            known = "no loss and no bounded score that is logged for training and for validation"
            raise NotApplicable(known if losses is None else losses.mismatch or "the losses are negative")
        yield from _judged_by_score(scores, min_score_gap, max_transfer)
        return
    (train, val), gap, name = losses.end, losses.gap, losses.quantity
    relative, of_start = gap / val if val > 0 else 0.0, gap / losses.start
    if relative < min_gap_share and not (gap >= min_gap_nats and relative >= min_gap_share / 2):
        return
    share, late = losses.transfer, losses.late_transfer
    unshared = share is not None and share < max_transfer
    grown = late is not None and late < max_transfer and gap >= (1 + min_growth) * losses.first_gap
    reversed_ = late is not None and late <= -min_reversal and losses.late_rise >= errors
    levels = zip(losses.train_levels, losses.val_levels, strict=True)
    constant = len(losses) >= 3 and all(v - t >= min_gap_share * v for t, v in levels)
    if (unshared and of_start >= min_start_share) or (grown and of_start >= min_grown_share):
        severity = Severity.ERROR
    elif (constant and of_start >= min_constant_share) or (reversed_ and of_start >= min_start_share):
        severity = Severity.WARNING
    else:
        return
    if not unshared and (grown or reversed_):
        share = late
    yield Finding(
        f"validation {name} ended at {val:.4g} against {train:.4g} in training: the gap went from "
        f"{losses.first_gap:.3g} to {gap:.3g} over {len(losses)} evaluations"
        + (f", and {100 * share:.0f} % of what was learnt carried over" if share is not None else ""),
        at=losses.val.source,
        severity=severity,
        evidence=(
            Evidence(f"validation {name} at the end", val, None, losses.val.source),
            Evidence(f"train {name} at the end", train, None, losses.train.source),
            Evidence("gap at the end", gap, min_gap_share * val),
            Evidence("gap / loss at the start", of_start, min_start_share),
            Evidence("gap at the first evaluation", losses.first_gap),
            *([Evidence("share of learning that carried over", share, max_transfer)] if share is not None else []),
            Evidence("evaluations", len(losses)),
            *(_score_evidence(scores, min_score_gap) if scores is not None else ()),
        ),
        fix=_FIX,
    )


def _score_evidence(scores: ScorePair, limit: float) -> tuple[Evidence, ...]:
    train, val = scores.end
    return (
        Evidence(f"validation {scores.quantity} at the end", val, None, scores.val.source),
        Evidence(f"train {scores.quantity} at the end", train, None, scores.train.source),
        Evidence(f"{scores.quantity} gap", -scores.gap, limit),
    )


def _judged_by_score(scores: ScorePair, min_gap: float, max_transfer: float) -> Iterator[Finding]:
    (train, val), share = scores.end, scores.transfer
    if -scores.gap < min_gap or share is None or share >= max_transfer:
        return
    yield Finding(
        f"{scores.quantity} ended at {val:.3g} in validation against {train:.3g} in training over {len(scores)} "
        f"evaluations, and {100 * share:.0f} % of its rise carried over",
        at=scores.val.source,
        evidence=(
            *_score_evidence(scores, min_gap),
            Evidence("share of learning that carried over", share, max_transfer),
            Evidence("evaluations", len(scores)),
        ),
        fix=_FIX,
    )
