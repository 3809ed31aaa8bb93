"""CFG013: a decision threshold that is written into the source although there are scores to set it by."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Option,
    Origin,
    Program,
    PythonSource,
    Scores,
    ScoreTable,
    as_number,
    lazily,
    rule,
)

_WORDS = lazily(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_THRESHOLD = frozenset({"threshold", "thresh", "thres", "thr", "cutoff", "limiar", "umbral", "seuil", "schwelle"})
# What a threshold decides about examples, in its name ...
_DECIDES = frozenset({
    "anomaly", "anomalies", "anomalia", "anomalous", "outlier", "novelty", "fraud", "intrusion", "attack", "decision",
    "classification", "alarm", "alert", "reconstruction", "ood",
})  # fmt: skip
# ... which these say only beside scores of examples: boxes have scores too, and training stops at losses.
_MAY_DECIDE = frozenset({
    "detection", "detect", "detector", "classify", "classifier", "score", "positive", "perplexity", "default", "prob",
    "probability", "pred", "prediction", "loss", "error",
})  # fmt: skip
# ... and thresholds that decide something else: what is trained on, when training stops, which boxes belong together.
_OTHERS = frozenset({
    "iou", "nms", "conf", "confidence", "grad", "gradient", "gradients", "clip", "clipping", "norm", "lr", "plateau",
    "patience", "stop", "stopping", "early", "improvement", "delta", "spike", "diverge", "divergence", "nan",
    "explosion", "freq", "frequency", "count", "vocab", "size", "length", "len", "time", "memory", "overlap", "box",
    "bbox", "anchor", "mask", "bin", "pixel", "area", "depth", "edge", "prune", "pruning", "sparsity", "quant",
    "weight", "update", "warmup", "step", "epoch", "dedup", "duplicate", "hash", "ngram", "silence", "vad", "energy",
    "noise", "sample", "top", "filter", "merge", "match", "matching", "pseudo", "teacher", "cache", "gap", "ratio",
    "keypoint", "visibility", "rare", "correlation", "p", "value", "significance", "train", "training", "max", "min",
})  # fmt: skip
_CALIBRATES = lazily(
    r"roc_curve|precision_recall_curve|det_curve|TunedThresholdClassifierCV|FixedThresholdClassifier|youden|"
    r"(nan)?(percentile|quantile)s?|.*(best|optimal|optimum|tuned|calibrat|find|search|select|choose|fit)\w*_?thr\w*|"
    r".*thr\w*_?(search|sweep|grid|range|path|file|json|candidates)\w*|calibrat\w*|thresholds|thrs|cutoffs",
    re.IGNORECASE,
)
_SCORES = lazily(r".*(scores?|nll|perplexit\w*|reconstruction\w*|anomal\w*|likelihood\w*|loss(es)?)", re.IGNORECASE)
_DECLARED = (Origin.CONSTANT, Origin.FUNCTION, Origin.DATACLASS)
_ORDINARY = (0.0, 0.5, 1.0)
"""Where a logit, a probability and a filter that lets all through decide by themselves."""


@rule("CFG013", severity="warning", pre=True, explains=("EVA002", "EVA003"))
def hard_coded_threshold(program: Program, scores: Scores | None, *, min_scores: int = 20) -> Iterator[Finding]:
    """A decision threshold is a constant in the source although there are scores to set it by.

    ## What it checks
    Constants, default parameters and dataclass fields whose name says that they are the threshold of a decision about
    examples (`ANOMALY_THRESHOLD = 5.0`, `score_cutoff=12`), where no source of the program chooses a threshold (by a
    ROC or precision-recall curve, a quantile, a search) or loads one. The source that declares it must compute scores
    or losses. Where a table of at least `min_scores` scored examples lies beside it, `THRESHOLD` or `score_threshold`
    is enough; without one the name must say what is decided (anomalies, fraud, outliers, a class). 0, 0.5 and 1 are
    what logits and probabilities suggest and no finding, nor are thresholds of another kind: overlap of boxes,
    gradient clipping, early stopping, filters of the data. An option of the command line is a person's to set, and is
    not meant.

    ## Why it matters
    Losses and distances have no scale that is known beforehand: a threshold of 5 separates nothing where every example
    scores 17. It also goes on unchanged when the model is trained again and all scores move.

    ## Inputs
    Constants and defaults of the source; per-example scores, where they were saved.

    ## Options
    `min_scores` (default 20 examples: fewer do not settle a threshold).

    ## Fix
    Only shown: choose the threshold on validation scores, and load it.

    ## When to ignore
    A threshold that a specification or a regulation gives.

    ## Source
    Measured on a detector of log anomalies with a threshold of 5.0 whose 169 examples all scored 17.43. The 380
    labelled runs have no such constant.
    """
    if not program.sources:
        raise NotApplicable("no source was found")
    table = max((t for t in scores or () if t.rows >= min_scores), key=lambda t: t.rows, default=None)
    for source in program.sources:
        if not any(_SCORES.fullmatch(name) for name in source.names):
            continue
        for option in source.options:
            value = as_number(option.default)
            if value is None or abs(value) in _ORDINARY or option.flags or option.origin not in _DECLARED:
                continue
            if _decides(option, beside_scores=table is not None):
                if any(_CALIBRATES.fullmatch(name) for each in program.sources for name in _read(each)):
                    return
                yield _finding(option, value, table)
                return


def _read(source: PythonSource) -> Iterator[str]:
    yield from source.names
    for call in source.calls:
        yield call.last


def _decides(option: Option, *, beside_scores: bool) -> bool:
    """Whether a name says that its threshold decides about examples."""
    words = {w.lower() for w in _WORDS.findall(option.name)}
    if not words & _THRESHOLD or words & _OTHERS:
        return False
    rest = words - _THRESHOLD
    return bool(rest & _DECIDES) or (beside_scores and (not rest or bool(rest & _MAY_DECIDE)))


def _finding(option: Option, value: float, table: ScoreTable | None) -> Finding:
    evidence = [Evidence("threshold", value, at=option.source)]
    beside = "and nothing in the program chooses one by its scores"
    if table is not None:
        evidence.append(Evidence("scored examples", table.rows, at=table.source))
        beside = f"although {table.rows:,} scored examples could set it ({table.source})"
    return Finding(
        f"the decision threshold {option.name} is the constant {value:g}, {beside}",
        at=option.source,
        evidence=tuple(evidence),
        fix=Fix.show(
            "choose the threshold on the scores of validation examples that no test uses, save it with the model, and "
            f"load it in place of {value:g}"
        ),
    )
