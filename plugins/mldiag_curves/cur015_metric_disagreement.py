"""CUR015: the loss and the score of one split said opposite things."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mldiag.api import Curve, Curves, Evidence, Finding, Fix, NotApplicable, is_bounded_score, lazily, rule, stats

_SURE = lazily(r"acc|f1|exact")
"""Scores that count the likeliest answer alone: with them, a loss that rises is one of probabilities."""

_TRADED = ("precision", "recall", "sensitivity", "specificity")
"""Scores of which one falls when the other rises, on one curve of the same model: none of them says which is better."""


@rule("CUR015", severity="warning", gives_way_to=("CUR003", "CUR004", "CUR005", "CUR012"))
def metric_disagreement(
    curves: Curves,
    *,
    min_evaluations: int = 8,
    min_loss_change: float = 0.1,
    min_score_change: float = 0.02,
    min_lost_share: float = 0.25,
    min_unmoved_loss_change: float = 0.5,
    max_unmoved_score: float = 0.5,
    errors: float = 4.0,
    significance: float = 2.576,
) -> Iterator[Finding]:
    """The loss got better while the score of the same split got worse, or the other way round.

    ## What it checks
    The loss and the summarising scores (accuracy, F1, AUC, Dice, ...) at the evaluations they share, on validation,
    else on test data.

    Falling loss: over the whole run it fell, and a score fell, each beyond its noise, and over the evaluations as a
    whole, not by its last ones (Mann-Kendall test); or the loss lost half of its first value while no score was ever
    better than at first. A score of the split that did rise acquits the run.

    Rising loss: from its best level to the end it rose, while a score rose. Precision and recall alone are not judged:
    one is traded for the other.

    ## Why it matters
    One of the two is not what is wanted. A loss that falls without the score means that the loss rewards something
    else: the majority class, one of several components, a regularising term. A score that rises with the loss is a
    model that is right more often and far too sure where it is wrong: choosing a checkpoint by one of them then gives
    another one than choosing by the other, and its probabilities cannot be used as they are.

    ## Inputs
    `val/loss` and bounded scores of `val` (or both of `test`), as fractions or percent, at least `min_evaluations`
    common evaluations.

    ## Options
    - `min_evaluations`: common evaluations (8).
    - `min_loss_change`: change / level of the loss where the change is counted from (0.1).
    - `min_score_change`: change of the score, as a fraction of 1 (0.02), or
    - `min_lost_share`: change / level of the score (0.25), where that is less; beside a score whose noise hides as
      much nothing is said of one that stayed.
    - `min_unmoved_loss_change`: fall / first value of a loss beside which a score that stayed is a finding (0.5).
    - `max_unmoved_score`: a score that began above it may have been learnt before the first evaluation, while the loss
      still grows sure (0.5; 0.2 at most in three planted faults, 0.9 in a healthy run).
    - `errors`: change in standard errors of the difference of two levels (4).
    - `significance`: z of the Mann-Kendall test of a falling score (2.576: 0.5 % one-sided).
    Of 160 labelled pairs of a loss and a score 126 have a negative rank correlation, as they should. Of those labelled
    healthy none has a falling loss with a score that fell by two standard errors.

    ## Fix
    Shown: decide which of the two counts, choose checkpoints by it, and mend the other (weights of the components or
    classes; calibration by temperature).

    ## When to ignore
    The score has a threshold that is set later on validation data; the loss holds a penalty on purpose.

    ## Source
    Guo et al. 2017, On Calibration of Modern Neural Networks, section 3 (a likelihood that overfits while the error
    falls). Mann 1945, Econometrica 13, 245-259. Thresholds: measured.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    longest = 0
    for split in ("val", "test"):
        loss = curves.get(f"{split}/loss")
        pairs = [_Pair(loss, score) for score in _scores(curves, split)] if loss is not None else []
        longest = max([longest, *(p.count for p in pairs)])
        pairs = [p for p in pairs if p.count >= min_evaluations]
        if not pairs:
            continue
        found = _without_the_score(
            pairs,
            min_loss_change,
            min_unmoved_loss_change,
            min_score_change,
            min_lost_share,
            max_unmoved_score,
            errors,
            significance,
        )
        found = found or _against_the_loss(pairs, min_loss_change, min_score_change, errors)
        if found is not None:
            yield found
        return
    raise NotApplicable(
        f"{longest} evaluations with both a held-out loss and a score; at least {min_evaluations} are needed"
        if longest
        else "no split with both a held-out loss and a score that sums up"
    )


class _Pair:
    """Loss and score at the evaluations that have both, the score as a fraction; very many are binned to medians."""

    def __init__(self, loss: Curve, score: Curve) -> None:
        self.curves = (loss, score)
        self.places = loss.common(score)
        self.count = len(self.places[0])
        unit = 1.0 if max(score.values) <= 1.5 else 0.01
        self.loss = stats.binned(_taken(loss, self.places[0]))
        self.score = [unit * v for v in stats.binned(_taken(score, self.places[1]))]
        self.size = stats.window_size(len(self.loss), 0.1, 3)

    def first_of(self, position: int) -> int:
        """The place in the loss of what stands at a position of the two lists."""
        return self.places[0][(2 * position + 1) * self.count // (2 * len(self.loss))]

    def error(self, values: Sequence[float]) -> float:
        """Standard error of the difference of two levels."""
        return math.sqrt(2) * stats.level_error(stats.noise(values), self.size)


def _taken(curve: Curve, places: Sequence[int]) -> Sequence[float]:
    values = curve.values
    return values if len(places) == len(values) else [values[i] for i in places]


def _scores(curves: Curves, split: str) -> Iterator[Curve]:
    for name in curves:
        if name.startswith(f"{split}/") and is_bounded_score(name) and not any(word in name for word in _TRADED):
            score = curves.get(name)
            if score is not None and min(score.values) >= -1.0:
                yield score


def _without_the_score(
    pairs: Sequence[_Pair],
    min_loss: float,
    min_unmoved_loss: float,
    min_score: float,
    min_share: float,
    max_start: float,
    errors: float,
    significance: float,
) -> Finding | None:
    """The loss fell over the run and a score with it, or far while no score got better."""
    fell, unmoved = [], []
    for pair in pairs:
        before, after = stats.head_level(pair.loss), stats.tail_level(pair.loss)
        had, has = stats.head_level(pair.score), stats.tail_level(pair.score)
        lowest, highest = min(pair.score), max(pair.score)
        error = errors * pair.error(pair.score)
        first = max(had, pair.score[0])
        if max(has, -stats.best_level([-v for v in pair.score])[1]) - first > min(min_score, min_share * abs(first)):
            return None  # a score did rise
        improved = before - after >= max(min_loss * abs(before), errors * pair.error(pair.loss))
        if not improved or lowest == highest:
            continue
        lost = had - has
        n = min(len(pair.score), 128)
        falls = stats.trend(pair.score) <= -significance * math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))
        if falls and lost > max(error, min(min_score, min_share * abs(had))):
            fell.append((lost / abs(had), pair, had, has))
        start = pair.loss[0]
        told = first <= max_start and pair.error(pair.score) <= min_share * abs(had)
        if start > 0 and start - after >= min_unmoved_loss * start and told:
            unmoved.append(((first - has) / abs(first) if first else 0.0, pair, first, has))
    if not fell and not unmoved:
        return None
    _, pair, had, has = max(fell or unmoved, key=lambda case: case[0])
    before, after = stats.head_level(pair.loss) if fell else pair.loss[0], stats.tail_level(pair.loss)
    loss, score = pair.curves
    what = f"{score.name} fell from {had:.3g} to {has:.3g}"
    if not fell:
        what = f"no score got better than at first: {score.name} went from {had:.3g} to {has:.3g}"
    return _finding(
        pair,
        f"{loss.name} fell from {before:.4g} to {after:.4g} while {what}, over {pair.count} evaluations",
        (before, after, min_loss * abs(before)),
        (had, has, min(min_score, min_share * abs(had))),
        Fix.show(
            "find what the loss improved on: the shares of its components, the majority class, or a penalty in it; "
            "weight them by what the score counts"
        ),
    )


def _against_the_loss(pairs: Sequence[_Pair], min_loss: float, min_score: float, errors: float) -> Finding | None:
    """The loss rose from its best level to the end, and a score rose meanwhile."""
    for pair in pairs:
        place, best = stats.best_level(pair.loss)
        end = stats.tail_level(pair.loss)
        begin = min(max(0, place - pair.size // 2), len(pair.loss) - pair.size)
        had, has = stats.median(pair.score[begin : begin + pair.size]), stats.tail_level(pair.score)
        risen = end - best > max(min_loss * abs(best), errors * pair.error(pair.loss))
        if not risen or has - had <= max(min_score, errors * pair.error(pair.score)):
            continue
        loss, score = pair.curves
        at = pair.first_of(place)
        where = loss.place(at)
        return _finding(
            pair,
            f"{loss.name} rose from its best level {best:.4g} around {where} to {end:.4g} at the end while "
            f"{score.name} rose from {had:.3g} to {has:.3g}: the two choose different checkpoints"
            + (", and the model's probabilities became too sure" if _SURE.search(score.name) else ""),
            (best, end, min_loss * abs(best)),
            (had, has, min_score),
            Fix.show(
                f"choose checkpoints by the one that counts; where it is {score.name}, calibrate the probabilities "
                "(temperature) before they are used"
            ),
            Evidence("best level around", where, None, loss.at(at)),
        )
    return None


def _finding(
    pair: _Pair,
    message: str,
    loss: tuple[float, float, float],
    score: tuple[float, float, float],
    fix: Fix,
    *more: Evidence,
) -> Finding:
    first, second = pair.curves
    return Finding(
        message,
        at=first.at(pair.places[0][-1]),
        evidence=(
            Evidence(f"{first.name} before", loss[0], None, first.source),
            Evidence(f"{first.name} at the end", loss[1], None, first.at(pair.places[0][-1])),
            Evidence(f"change of {first.name}", loss[1] - loss[0], loss[2]),
            Evidence(f"{second.name} before", score[0], None, second.source),
            Evidence(f"{second.name} at the end", score[1], None, second.at(pair.places[1][-1])),
            Evidence(f"change of {second.name}", score[1] - score[0], score[2]),
            Evidence(f"standard error of a change of {second.name}", pair.error(pair.score)),
            *more,
            Evidence("evaluations with both", pair.count),
        ),
        fix=fix,
    )
