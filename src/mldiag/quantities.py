"""What the name of a series says about it as a measure: whether it is a whole score, and whether 1 is the best.

A whole score is of all data, not of one class or part: `val/f1_macro`, `test/dice_score`, not `val/dice_liver`.
"""

from __future__ import annotations

import re

_CAPPED = frozenset({
    "accuracy", "acc", "f1", "fscore", "auc", "auroc", "auprc", "aupr", "ap", "map", "dice", "iou", "miou", "precision",
    "recall", "ssim", "mcc", "kappa", "jaccard", "sensitivity", "specificity", "ndcg", "mrr", "em", "r2", "pck", "pq",
    "bleu", "rouge", "meteor", "chrf",
})  # fmt: skip
_UNCAPPED = frozenset({"psnr", "perplexity", "mae", "mse", "rmse", "wer", "cer", "ter"})

_LOWER = frozenset({
    "loss", "losses", "perplexity", "ppl", "error", "err", "mae", "mse", "rmse", "mape", "wer", "cer", "ter", "nll",
    "fid", "lpips", "bpc", "bpd", "bpb",
})  # fmt: skip

_QUALIFIERS = frozenset({
    "score", "coef", "coefficient", "index", "mean", "avg", "average", "macro", "micro", "weighted", "samples",
    "binary", "multiclass", "multilabel", "top", "top1", "top3", "top5", "0", "1", "3", "5", "10", "50", "75", "95",
    "at", "exact", "match", "seq", "sequence", "token", "word", "char", "goal", "joint", "overall", "total", "global",
    "bbox", "segm", "mask", "box", "b", "m", "balanced", "categorical", "sparse", "pixel", "img", "image", "eval",
    "evaluator", "epoch", "ema", "metric",
})  # fmt: skip
"""Words that say how a score was counted. Any other may name a class, which the data need not hold."""


def is_whole_score(name: str) -> bool:
    """Whether a series is by its name a score of how good the model is, on all of a split's data."""
    split, _, quantity = name.partition("/")
    if split not in ("train", "val", "test") or "/" in quantity:
        return False
    words = _words(quantity)
    scores = _CAPPED | _UNCAPPED
    return quantity == "exact_match" or (bool(words & scores) and words <= scores | _QUALIFIERS)


def is_capped(name: str) -> bool:
    """Whether 1 (or 100 %) is the best that such a score can be, by its name."""
    words = _words(name.rpartition("/")[2])
    return not words & _UNCAPPED and (bool(words & _CAPPED) or {"exact", "match"} <= words)


def is_lower_better(name: str) -> bool:
    """Whether the lower value of a series is the better one, by its name: losses, errors, perplexities, distances."""
    parts = name.lower().split("/")
    words = set(re.split(r"[_\W]+", parts[-1]))
    return "loss" in parts or bool(words & _LOWER) or parts[-1].startswith("bits_per")


def _words(quantity: str) -> set[str]:
    """The words of a name; `map50` is a `map`."""
    words = {w for w in re.split(r"[_\W]+", quantity.lower()) if w}
    known = _CAPPED | _UNCAPPED | _QUALIFIERS
    return {w if w in known else w.rstrip("0123456789") if w.rstrip("0123456789") in known else w for w in words}
