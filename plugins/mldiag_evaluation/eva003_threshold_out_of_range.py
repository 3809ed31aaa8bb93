"""EVA003: a threshold that no score reaches, or that every score does."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import Decision, Decisions, Evidence, Finding, Fix, NotApplicable, rule
from mldiag_evaluation.calibration import correction, is_informative, named, numbers


@rule("EVA003", severity="error", explains=("EVA002", "CUR013"))
def threshold_out_of_range(
    decisions: Decisions, *, min_rows: int = 20, min_examples: int = 5, min_loss: float = 0.05, sigmas: float = 2.0
) -> Iterator[Finding]:
    """The decision threshold lies outside of the range of the scores.

    ## What it checks
    The threshold in use against the lowest and the highest score of the examples that it decides on. Above all of them
    nothing is positive, below all of them everything is; in each split that has scores. Where no threshold is stated,
    the decisions themselves show it: none or all of them are positive. Without true classes a table may hold only what
    was detected, or nothing that should be: then the threshold must lie below all scores by more than their whole
    range, as it does where all scores are equal.

    ## Why it matters
    The detector decides nothing: F1 is 0, or what calling everything positive gives, whatever the scores are worth.

    ## Inputs
    Tables of examples with scores (any unit) or losses (nats); a threshold in a setting, a constant of the source or a
    series, or the column of decisions.

    ## Options
    - `min_rows` (20 examples): fewer do not show the range.
    - `min_examples` (5 examples): of the class that is never predicted; one that is missed is no broken threshold.
    - `min_loss` (F1, default 0.05): of scores that say nothing, calling every example positive has the best F1.
    - `sigmas` (2): errors of the area under the ROC curve by which the scores must be better than chance for a
      threshold to be proposed.

    ## Fix
    Safe: the threshold of the best F1 on the validation scores is written where the stated one can be edited; the
    scores already say it. It is only shown for other examples: on the final test's no threshold may be chosen.

    ## When to ignore
    Scores of examples that are all known to be of one class, with true classes that say otherwise; a detector that is
    switched off on purpose.

    ## Source
    Measured on two detectors of 836 examples whose threshold of 0.5 was above every score (0.37 and 0.34), with an F1
    of 0 where 0.26 and 0.30 were to be had, and on one that compared 169 equal losses of 17.43 with 5.0.
    """
    judged = 0
    found: Finding | None = None
    for decision in decisions.items:
        scores = decision.scored.finite
        if len(scores) < min_rows:
            continue
        judged += 1
        low, high = min(scores), max(scores)
        above = _is_above(decision, high)
        if not above and not _is_below(decision, low):
            # What is within the scores of one split has only met few of the class in another.
            return
        missed = _missed(decision, above)
        if missed is None or low == high:
            is_wrong = decision.stated is not None and not above and low - decision.value > high - low
        else:
            is_wrong = missed >= min_examples and _lost(decision, above) >= min_loss
        if is_wrong and found is None:
            found = _finding(decision, low, high, above, missed, sigmas)
    if found is not None:
        yield found
    if not judged:
        raise NotApplicable(f"no table with a threshold has {min_rows:,} scores")


def _is_above(decision: Decision, high: float) -> bool:
    return decision.value > high if decision.stated is not None else math.isinf(decision.high)


def _is_below(decision: Decision, low: float) -> bool:
    return decision.value <= low if decision.stated is not None else math.isinf(decision.low)


def _missed(decision: Decision, above: bool) -> int | None:
    """Examples of the class that is never predicted; None where the table does not say."""
    if not decision.scored.has_both:
        return None if decision.scored.labels is None else 0
    sweep = decision.scored.sweep
    return sweep.positives if above else sweep.negatives


def _lost(decision: Decision, above: bool) -> float:
    """F1 below the best one."""
    sweep = decision.scored.sweep
    return sweep.best_f1().counts.f1 - (0.0 if above else sweep.at(-math.inf).f1)


def _finding(decision: Decision, low: float, high: float, above: bool, missed: int | None, sigmas: float) -> Finding:
    scored = decision.scored
    count = len(scored.finite)
    side, all_of = ("above", "no example") if above else ("below", "every example")
    kind = "losses" if scored.column.is_loss else "scores"
    evidence = [
        Evidence("highest score" if above else "lowest score", high if above else low, at=scored.source),
        Evidence("lowest score" if above else "highest score", low if above else high, at=scored.source),
        Evidence("scores", count, at=scored.table.source, unit="example"),
    ]
    if decision.stated is not None:
        evidence.insert(0, Evidence("threshold", decision.value, high if above else low, decision.stated.source))
    message = f"{named(decision)} lies {side} all {count:,} {kind} of {scored.table.source.path} "
    message += f"({numbers(low)} to {numbers(high)}): {all_of} was predicted positive"
    fix = Fix.show("choose the threshold on labelled validation scores")
    if missed:
        share = "positive" if above else "negative"
        message += f", though {missed:,} are {share}"
        evidence.append(Evidence(f"{share} examples", missed, at=scored.table.source, unit="example"))
        if is_informative(decision, sigmas):
            best = scored.sweep.best_f1()
            used = 0.0 if above else scored.sweep.at(-math.inf).f1
            message += f"; F1 is {used:.3f}, and {best.counts.f1:.3f} at {numbers(best.threshold)}"
            evidence += [
                Evidence("F1 at the threshold", used, at=scored.source),
                Evidence("best F1", best.counts.f1, at=scored.source),
                Evidence("best threshold", best.threshold, at=scored.source),
            ]
            fix = correction(decision)
        else:
            fix = Fix.show("no threshold separates these scores: look at the model and at how they are computed first")
    at = decision.stated.source if decision.stated is not None else scored.source
    return Finding(message, at=at, evidence=tuple(evidence), fix=fix)
