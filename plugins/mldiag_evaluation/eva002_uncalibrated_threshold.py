"""EVA002: a threshold that gives away F1."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Decision, Decisions, Evidence, Finding, NotApplicable, Severity, rule
from mldiag_evaluation.calibration import correction, is_informative, named, numbers

_DEFAULT = 0.5


@rule("EVA002", severity="warning", gives_way_to=("EVA003",))
def uncalibrated_threshold(
    decisions: Decisions,
    *,
    min_gain: float = 0.1,
    sigmas: float = 3.0,
    min_examples: int = 15,
    same_purpose: float = 0.02,
) -> Iterator[Finding]:
    """The threshold in use is far from the one of the best F1 on the validation scores.

    ## What it checks
    What the threshold in use scores on labelled examples against the best there is. The best of a set is always better
    on that set, by chance; so each fifth of the examples is judged with the threshold of the other four, and the gain
    must be `min_gain` and `sigmas` times its own sampling error. Scores that rank the classes no better than chance, by
    `sigmas` errors of the area under the ROC curve, are left out: of them calling everything positive has the best F1.
    Information only where the threshold is the best by another sensible measure: it has (nearly) the highest Youden's
    J, or it is 0.5 and the scores are calibrated probabilities, so that it makes the fewest errors. Skipped where a
    file says that the threshold serves another purpose (`target_recall`, `max_fpr`, a percentile).

    ## Why it matters
    The scores are better than what the program makes of them, and a comparison of models by F1 compares their
    thresholds. On imbalanced data the usual 0.5 is far off: the best F1 of calibrated scores lies at half its value.

    ## Inputs
    Tables of examples with scores and true classes; a threshold in a setting, a constant of the source or a series, or
    the column of decisions.

    ## Options
    - `min_gain` (F1, default 0.1): what must be lost. Of 1,000 simulated thresholds that were tuned on as many other
      examples, two lose it beyond the error.
    - `sigmas` (3): standard errors of the difference.
    - `min_examples` (15 examples): of each class.
    - `same_purpose` (J, default 0.02): distance from the best Youden's J within which a threshold was chosen for it.

    ## Fix
    Safe: the threshold of the best F1 on the validation scores is written where the stated one can be edited; the
    scores already say it, and nothing is trained again. Only shown where the examples are the final test's or of an
    unknown split: a threshold that is chosen on them is no longer judged by them.

    ## When to ignore
    A threshold that serves another purpose than F1: a wanted recall, the costs of the two kinds of error.

    ## Source
    Lipton, Elkan and Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure": at the best
    threshold F1 is twice that threshold, for calibrated scores. Cross-fitting: Stone 1974, J. R. Stat. Soc. B 36.
    """
    judged = 0
    useless = False
    purpose: str | None = None
    for decision in decisions.items:
        if not decision.scored.has_both:
            continue
        sweep = decision.scored.sweep
        if min(sweep.positives, sweep.negatives) < min_examples:
            continue
        stated = decision.stated.purpose if decision.stated is not None else None
        if stated is not None and "f1" not in stated.lower() and "f_1" not in stated.lower():
            purpose = stated
            continue
        if not is_informative(decision, sigmas):
            useless = True  # of such scores calling everything positive has the best F1
            continue
        judged += 1
        used, best = sweep.at(decision.value), sweep.best_f1()
        if best.counts.f1 - used.f1 < min_gain:
            continue
        gain = decision.scored.gain_over(decision.value)
        if gain.mean < min_gain or gain.mean < sigmas * gain.error:
            continue
        by_design = _by_design(decision, same_purpose)
        yield Finding(
            f"{named(decision)} gives an F1 of {used.f1:.3f} on {decision.scored.table.source.path}, where "
            f"{numbers(best.threshold)} gives {best.counts.f1:.3f}: {gain.mean:.3f} ± {gain.error:.3f} is lost, judged "
            f"on examples that the better one was not chosen on{by_design}",
            at=decision.stated.source if decision.stated is not None else decision.scored.source,
            evidence=(
                Evidence("threshold", decision.value, at=decision.stated.source if decision.stated else None),
                Evidence("F1 at the threshold", used.f1, at=decision.scored.source),
                Evidence("best threshold", best.threshold, at=decision.scored.source),
                Evidence("best F1", best.counts.f1, at=decision.scored.source),
                Evidence("F1 lost", gain.mean, min_gain, decision.scored.source),
                Evidence("standard error of it", gain.error, at=decision.scored.source),
            ),
            severity=Severity.INFO if by_design else None,
            fix=correction(decision),
        )
        return
    if purpose is not None and not judged:
        raise NotApplicable(f"the threshold was chosen for another purpose than F1: {purpose}")
    if useless and not judged:
        raise NotApplicable("the scores do not tell the classes apart, so that no threshold is better than another")
    if not judged:
        raise NotApplicable(f"no table with a threshold has {min_examples:,} examples of each class")


def _by_design(decision: Decision, same_purpose: float) -> str:
    """What else the threshold is the best for; empty where nothing is."""
    sweep = decision.scored.sweep
    if sweep.best_youden().counts.youden - sweep.at(decision.value).youden <= same_purpose:
        return "; it is the best by Youden's J, so that it may have been chosen for that"
    if decision.stated is None or decision.value != _DEFAULT or not decision.scored.is_probability:
        return ""
    scores, labels = decision.scored.pairs
    # The sum of calibrated probabilities is the number of positives, with the spread of so many coins.
    spread = sum(s * (1 - s) for s in scores) ** 0.5
    if abs(sum(scores) - sum(labels)) > 2 * spread:
        return ""
    return "; of calibrated probabilities it makes the fewest errors, so that it may be meant"
