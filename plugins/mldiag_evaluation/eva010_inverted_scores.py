"""EVA010: scores that point the wrong way."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, NotApplicable, Scored, ScoredExamples, rule


@rule("EVA010", severity="warning")
def inverted_scores(
    examples: ScoredExamples, *, max_auc: float = 0.4, sigmas: float = 3.0, min_examples: int = 10
) -> Iterator[Finding]:
    """The scores rank negatives above positives: they point the wrong way.

    ## What it checks
    The area under the ROC curve of every column of scores, exactly, with ties. It must be below `max_auc`, and below
    0.5 by `sigmas` of its errors. A loss counts as a score only where anomalies are looked for, for which a higher loss
    speaks. Where the decisions of the table follow from the score with the lower ones positive, the program knows
    its direction and the rule is silent. Of cross-validated scores, whose level differs by fold, the folds count.

    ## Why it matters
    The complement of such a score would do well: it is the probability of the other class, a distance for a
    similarity, a label coded the other way round. A model that has learnt nothing scores 0.5, not less.

    ## Inputs
    Tables of examples with scores and true classes.

    ## Options
    - `max_auc` (0.4): area below which it is looked at.
    - `sigmas` (3): standard errors below 0.5; of useless scores one table in 740 comes that far.
    - `min_examples` (10 examples): of each class.

    ## Fix
    Shown: take the score of the other class, or turn its sign, where it is computed; which of the two only the program
    says.

    ## When to ignore
    A column where lower is meant to be positive and nothing in the table says so.

    ## Source
    Hanley and McNeil 1982, Radiology 143, 29-36, for the standard error of the area.
    """
    judged = 0
    for scored in examples.items:
        if not scored.has_both or (scored.column.is_loss and not scored.anomalies):
            continue
        sweep = scored.sweep
        if min(sweep.positives, sweep.negatives) < min_examples:
            continue
        judged += 1
        auc, error = sweep.auc, sweep.auc_error()
        if auc >= max_auc or auc + sigmas * error >= 0.5 or scored.decides_downwards or scored.auc_by_fold >= max_auc:
            continue
        yield Finding(
            f"{scored.column.name} of {scored.table.source.path} ranks the negatives above the positives: the area "
            f"under the ROC curve is {auc:.3f} ± {error:.3f} over {sweep.positives:,} positive and {sweep.negatives:,} "
            f"negative examples; turned round it is {1 - auc:.3f}",
            at=scored.source,
            evidence=_evidence(scored, max_auc),
            advice="take the score of the positive class, or turn the sign, where it is computed",
        )
    if not judged:
        raise NotApplicable(f"no table has scores of {min_examples:,} examples of each class")


def _evidence(scored: Scored, max_auc: float) -> tuple[Evidence, ...]:
    sweep = scored.sweep
    return (
        Evidence("area under the ROC curve", sweep.auc, max_auc, scored.source),
        Evidence("standard error of it", sweep.auc_error(), at=scored.source),
        Evidence("positive examples", sweep.positives, at=scored.source, unit="example"),
        Evidence("negative examples", sweep.negatives, at=scored.source, unit="example"),
    )
