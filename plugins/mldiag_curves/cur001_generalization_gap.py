"""CUR001: the model learnt its training data more than its task."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import EarlyStopping, Evidence, Finding, Fix, LossPair, NotApplicable, ScorePair, Severity, rule, stats

_FIX = Fix.show(
    "add data or repeat it less, shrink the model, or regularise (dropout, weight decay); then compare the gap again"
)


@rule("CUR001", severity="error", gives_way_to=("CUR003", "CUR004", "CUR005", "LOS005", "LOS006", "LOS007"))
def generalization_gap(
    losses: LossPair | None,
    scores: ScorePair | None,
    stopping: EarlyStopping | None,
    *,
    min_gap_share: float = 0.2,
    min_gap_nats: float = 0.5,
    min_start_share: float = 0.2,
    max_transfer: float = 0.25,
    min_growth: float = 0.25,
    min_grown_share: float = 0.3,
    min_constant_share: float = 0.06,
    min_stalled_gap: float = 0.4,
    min_stalled_share: float = 0.15,
    max_stalled_transfer: float = 0.1,
    min_wide_gap: float = 0.85,
    min_reversal: float = 0.1,
    errors: float = 2.0,
    min_score_gap: float = 0.12,
) -> Iterator[Finding]:
    """The validation loss lay far above the train loss, and what was learnt on the training data did not carry over.

    ## What it checks
    The distance of the two losses at the end of the run and how it came about: which share of the fall of the train
    loss the validation loss followed (transfer), over the run or over its second half while the gap grew. Two
    evaluations are enough, since the effect has to be many times what single values waver; their count is in the
    evidence. A gap that was there from the first evaluation on is a warning, since it may lie in the data; so is one
    that opened while the validation loss stood still. A run that its early stopping ended is judged at its best
    evaluation. Without a pair of losses a bounded score (accuracy, F1) is judged instead.

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
    - `min_constant_share`: gap / loss at the start for a gap that was there all the time, in the median of each
      sixteenth of the evaluations (0.06). No labelled healthy run has such a gap throughout.
    - `min_stalled_gap`, `min_stalled_share`, `max_stalled_transfer`: gap / validation loss, gap / loss at the start and
      transfer in the second half (0.4, 0.15, 0.1) of a gap that warns since only the train loss still fell. Healthy
      runs that stall have 0.24 of their start at a third of the loss, or 0.08 at half of it.
    - `min_wide_gap`: gap / validation loss (0.85) that warns from `min_grown_share` of the start loss on, however much
      carried over: the train loss is nearly gone. Healthy runs with such a gap have 0.13 of the start at most.
    - `min_reversal`: rise of the validation loss / fall of the train loss in the second half that warns (0.1),
      if it is `errors` standard errors (2).
    - `min_score_gap`: train - validation score (0.12).
    Defaults chosen on 262 labelled runs with a loss (122 of them read with a provisional parser for formats that had
    no reader then), those of the gap that opened at a standstill on 107 pairs, so that none labelled healthy has a
    finding. No run was held out.

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
    ended, where, at = "ended at", "", "at the end"
    if stopping is not None and losses.best_at > 0 and stopping.fired(len(losses) - 1 - losses.best_at):
        losses = losses.until(losses.best_at + 1)
        ended, where, at = "was", " around its best", "around the best evaluation"
    count, val_curve, train_curve = len(losses), losses.val, losses.train
    first_gap, losses = losses.first_gap, losses.reduced()
    (train, val), gap, name = losses.end, losses.gap, losses.quantity
    relative, of_start = gap / val if val > 0 else 0.0, gap / losses.start
    if relative < min_gap_share and not (gap >= min_gap_nats and relative >= min_gap_share / 2):
        return
    share, late = losses.transfer, losses.late_transfer
    unshared = share is not None and share < max_transfer
    opened = gap >= (1 + min_growth) * first_gap
    grown = opened and late is not None and late < max_transfer
    reversed_ = late is not None and late <= -min_reversal and losses.late_rise >= errors
    stalled = opened and len(losses) >= 6 and (late is None or late <= max_stalled_transfer)
    stalled = stalled and relative >= min_stalled_gap and of_start >= min_stalled_share
    wide = opened and relative >= min_wide_gap and of_start >= min_grown_share
    levels = zip(stats.binned(losses.train_levels, 16), stats.binned(losses.val_levels, 16), strict=True)
    lasting = len(losses) >= 3 and all(v - t >= min_gap_share * v for t, v in levels)
    constant = lasting and of_start >= min_constant_share
    if (unshared and of_start >= min_start_share) or (grown and of_start >= min_grown_share):
        severity = Severity.ERROR
    elif (
        stalled or wide or (constant and of_start >= min_constant_share) or (reversed_ and of_start >= min_start_share)
    ):
        severity = Severity.WARNING
    else:
        return
    half = ""
    if not unshared and late is not None and (grown or stalled or reversed_):
        share, half = late, " in the second half"
    yield Finding(
        f"validation {name} {ended} {val:.4g}{where} against {train:.4g} in training: the gap went from "
        f"{first_gap:.3g} to {gap:.3g} over {count:,} evaluations"
        + (f", and {_share(share)} of what was learnt{half} carried over" if share is not None else ""),
        at=val_curve.at(-1),
        severity=severity,
        evidence=(
            Evidence(f"validation {name} {at}", val, None, val_curve.at(-1)),
            Evidence(f"train {name} {at}", train, None, train_curve.source if where else train_curve.at(-1)),
            Evidence(f"gap {at}", gap, min_gap_share * val),
            Evidence("gap / loss at the start", of_start, min_start_share),
            Evidence("gap at the first evaluation", first_gap),
            *(
                [Evidence(f"share of learning{half} that carried over", share, max_transfer)]
                if share is not None
                else []
            ),
            Evidence("evaluations", count),
            *(_score_evidence(scores, min_score_gap) if scores is not None else ()),
        ),
        fix=_FIX,
    )


def _share(transfer: float) -> str:
    """A share for the message; progress that went the other way is none."""
    return "nothing" if transfer <= 0 else f"{100 * transfer:.0f} %"


def _score_evidence(scores: ScorePair, limit: float) -> tuple[Evidence, ...]:
    train, val = scores.end
    return (
        Evidence(f"validation {scores.quantity} at the end", val, None, scores.val.at(-1)),
        Evidence(f"train {scores.quantity} at the end", train, None, scores.train.at(-1)),
        Evidence(f"{scores.quantity} gap", -scores.gap, limit),
    )


def _judged_by_score(scores: ScorePair, min_gap: float, max_transfer: float) -> Iterator[Finding]:
    (train, val), share = scores.end, scores.transfer
    if -scores.gap < min_gap or share is None or share >= max_transfer:
        return
    yield Finding(
        f"{scores.quantity} ended at {val:.3g} in validation against {train:.3g} in training over {len(scores)} "
        f"evaluations, and {_share(share)} of its rise carried over",
        at=scores.val.at(-1),
        evidence=(
            *_score_evidence(scores, min_gap),
            Evidence("share of learning that carried over", share, max_transfer),
            Evidence("evaluations", len(scores)),
        ),
        fix=_FIX,
    )
