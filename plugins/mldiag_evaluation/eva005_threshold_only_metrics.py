"""EVA005: results at one threshold, and none that is free of it."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Decisions,
    Evidence,
    Finding,
    Metrics,
    NotApplicable,
    Program,
    Role,
    Scored,
    ScoredExamples,
    Settings,
    Source,
    lazily,
    rule,
)

_AT_THRESHOLD = lazily(r"(?:.*[_/. ])?(f1|f_1|fscore|f1score|precision|recall|accuracy|acc|sensitivity|specificity|mcc)"
                       r"(?:[_/. ]score)?")  # fmt: skip
_FREE = lazily(
    r"(?:.*[^a-z])?(auc\w*|auroc|roc\w*|auprc|aupr|pr_?auc|average_precision|avg_precision|ap|brier\w*|gini|log_?loss|"
    r"eer|ndcg\w*|map\w*)(?:[^a-z].*)?"
)
_COMPUTES = frozenset({
    "roc_auc_score", "roc_curve", "average_precision_score", "precision_recall_curve", "auc", "AUC", "AUROC", "ROC",
    "BinaryAUROC", "AveragePrecision", "BinaryAveragePrecision", "RocCurveDisplay", "PrecisionRecallDisplay", "roc_auc",
    "binary_auroc", "det_curve", "brier_score_loss",
})  # fmt: skip


@rule("EVA005", severity="info")
def threshold_only_metrics(
    examples: ScoredExamples,
    decisions: Decisions | None,
    metrics: Metrics | None,
    settings: Settings | None,
    program: Program | None,
    *,
    min_examples: int = 10,
) -> Iterator[Finding]:
    """Precision, recall, F1 or accuracy were reported at one threshold, and nothing that is free of it.

    ## What it checks
    Runs with scores of examples: whether the reported results name only measures of decisions, and neither a series,
    a result nor the source has an area under a curve. Where the true classes are there, the areas are computed.

    ## Why it matters
    Results at one threshold mix how well the scores rank with where the threshold lies. Two models cannot be compared
    by them, and a broken threshold looks like a broken model.

    ## Inputs
    Tables of examples with scores and two true classes, or with a known threshold; the names of series and results.

    ## Options
    - `min_examples` (10 examples): of each class, for the areas to be computed.

    ## Fix
    Shown: report the area under the ROC curve, and that under precision-recall where positives are rare.

    ## When to ignore
    The threshold is fixed from outside, and nothing else is ever used.

    ## Source
    Saito and Rehmsmeier 2015, PLoS ONE 10(3), e0118432: precision-recall tells more than ROC on imbalanced data.
    """
    labelled = [s for s in examples.items if s.has_both and (not s.column.is_loss or s.anomalies)]
    decided = [d.scored for d in decisions.items] if decisions is not None else []
    if not labelled and not decided:
        raise NotApplicable("no table has scores of two true classes, or scores that a known threshold decides on")
    reported = list(_reported(metrics, settings))
    at_threshold = [(name, at) for name, at in reported if _AT_THRESHOLD.fullmatch(name)]
    if not at_threshold:
        raise NotApplicable("no precision, recall, F1 or accuracy was reported")
    if any(_FREE.fullmatch(name) for name, _ in reported):
        return
    if program is not None and any(c.last in _COMPUTES for s in program.sources for c in s.calls):
        return
    names = ", ".join(dict.fromkeys(_AT_THRESHOLD.fullmatch(n)[1] for n, _ in at_threshold))  # type: ignore[index]
    evidence = [Evidence("results at a threshold", len(at_threshold), at=at_threshold[0][1])]
    message = f"the reported results ({names}) are of one threshold, and no area under a curve is among them"
    scored = next((s for s in labelled if _is_large(s, min_examples)), None)
    if scored is not None:
        sweep = scored.sweep
        message += (
            f": on {scored.table.source.path} the area under ROC is {sweep.auc:.3f}, and that under precision-recall "
            f"{sweep.average_precision:.3f} ({sweep.positives / (sweep.positives + sweep.negatives):.3f} by chance)"
        )
        evidence += [
            Evidence("area under the ROC curve", sweep.auc, at=scored.source),
            Evidence("average precision", sweep.average_precision, at=scored.source),
            Evidence("positive examples", sweep.positives, at=scored.source, unit="example"),
            Evidence("share of positives", sweep.positives / (sweep.positives + sweep.negatives), at=scored.source),
            Evidence("negative examples", sweep.negatives, at=scored.source, unit="example"),
        ]
    yield Finding(
        message,
        at=at_threshold[0][1],
        evidence=tuple(evidence),
        advice="report the areas under the ROC and precision-recall curves beside the results at the threshold",
    )


def _is_large(scored: Scored, least: int) -> bool:
    return min(scored.sweep.positives, scored.sweep.negatives) >= least


def _reported(metrics: Metrics | None, settings: Settings | None) -> Iterator[tuple[str, Source]]:
    """Names of series and of results, in lower case, with their places."""
    for series in metrics or ():
        yield series.raw_name.lower(), series.source
        yield series.name.lower(), series.source
    for value in settings or ():
        # Results of no known split are kept as what the run recorded of itself.
        if value.role is Role.LOG:
            yield (value.source.key or value.name).lower(), value.source
