"""By what the shape of a table tells that its rows are examples, and not the steps of a run or its final results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from mldiag.patterns import lazily
from mldiag.readers._tables.columns import number
from mldiag.vocabulary import axis, normalized, split_of

FEWEST_ROWS = 4
"""Fewer rows have no shape to tell."""
CURVE = 0.25
"""Mean distance of neighbours, as a share of that of values half the table apart by size, below which the values are
ordered in time. In random order it is 2/3 for evenly spread values; smooth curves are below a tenth."""


_IDS = lazily(
    r"(.*_)?(id|ids|idx|uid|guid|uuid|index|qid|row|no|nr|key|filename|file|file_name|path|image|img|img_name|"
    r"sample|example|unnamed:_0|doc|item|record|session|kennung|nummer|kundennr|lfdnr)|"
)
_TRUTHS = lazily(
    r"(.*_)?(labels?|targets?|y|y_true|true|truth|gold|ground_truth|gt|actual|class|references?|is_correct|correct|"
    r"label_name|answer|answers|expected|rotulo|etiqueta|alvo|etikett|wahr|zielwert|verdadeiro)(_\w+)?"
)
_PREDICTED = lazily(
    r"(.*_)?(y_pred|preds?|predict|predicted|predictions?|y_hat|y_score|scores?|y_prob|probs?|proba|probability|"
    r"probabilities|logits?|logprobs?|logp|confidence|conf|margin|hypothesis|output|p\d|prob\d|score\d|"
    r"wahrscheinlichkeit|probabilidade|probabilidad|probabilite|pontuacao|escore|puntuacion|vorhersage|previsto|previsao|"
    r"predito|prediccion)(_\w+)?"
)
_LOSS = lazily(
    r"(.*_)?(loss|nll|losses|perplexity|ppl|cross_entropy|ce|surprisal|error|residual|verlust|perda|perdida)"
)
_TEXTS = lazily(r"(.*_)?(text|sentence\d?|prompt|question|context|premise|hypothesis|source|document|tokens|word)")
_PER_EXAMPLE_FILE = lazily(
    r".*(per_?(example|sample|instance|item|image|doc|document|token|sequence|seq|row)|predict|(^|_)preds?($|_)|"
    r"(^|_)scores?($|_)|(^|_)losses($|_)|(^|_)oof($|_)|out_of_fold|logits|(^|_)probs?($|_)|probabilities|odds|"
    r"perplexities|(^|_)verluste($|_)|vorhersagen?|predicoes|previsoes|predicciones|example_loss|sample_loss|confidences?|(^|_)labels($|_)|detections|misclassified|errors_by)",
    words=(
        "per",
        "pred",
        "previs",
        "vorhersage",
        "verlust",
        "score",
        "loss",
        "oof",
        "out_of_fold",
        "logits",
        "prob",
        "odds",
        "confidence",
        "label",
        "detections",
        "misclassified",
        "errors_by",
    ),
)
_RESULTS_FILE = lazily(
    r".*(metrics|result_table|leaderboard|summary|history|progress|hparams|config|report|comparison|benchmark|"
    r"learning_curve|ablation|(^|_)log(s|$|_)|training|training_log)",
    words=(
        "metrics",
        "result",
        "leaderboard",
        "summary",
        "history",
        "progress",
        "hparams",
        "config",
        "report",
        "comparison",
        "benchmark",
        "curve",
        "ablation",
        "log",
        "training",
    ),
)
# Scores of a whole data set, never of one example.
_AGGREGATES = frozenset({
    "accuracy", "acc", "f1", "auc", "auroc", "roc", "precision", "recall", "map", "map50", "rmse", "r2", "mcc", "kappa",
    "miou", "mse", "mae", "auprc", "balanced", "macro", "micro",
})  # fmt: skip
_GROUPS = frozenset({
    "model", "model_name", "method", "algorithm", "dataset", "experiment", "run", "run_id", "run_name", "seed", "trial",
    "trial_id", "config", "optimizer", "variant", "lr", "learning_rate", "batch_size", "epochs",
})  # fmt: skip
SPLIT_COLUMNS = frozenset({"split", "subset", "phase", "set", "partition", "fold_type", "stage"})
_TRUTH_CELLS = {"true": 1.0, "false": 0.0}
_NULLS = frozenset({"", "nan", "null", "none", "na", "n/a", "<na>", "-"})


def is_named_for_examples(stem: str) -> bool:
    """Whether a file is named for what it says of each example: `per_example_losses`, `test_predictions`, `oof`."""
    return _PER_EXAMPLE_FILE.match(stem) is not None


def may_describe(name: str) -> bool:
    """Whether a column's name is one that examples have: an id, a truth, a prediction, a text."""
    plain = normalized(name)
    return any(kind.fullmatch(plain) for kind in (_IDS, _TRUTHS, _PREDICTED, _TEXTS))


def tells_apart(name: str) -> bool:
    """Whether a column's name is one of what an example is known by: an id, a path, a text."""
    plain = normalized(name)
    return _IDS.fullmatch(plain) is not None or _TEXTS.fullmatch(plain) is not None


class Sample(Struct, frozen=True):
    """The first rows: column → cells as they stand."""

    columns: Mapping[str, Sequence[Any]]
    rows: int


def are_examples(sample: Sample, stem: str) -> bool:
    """Ids, truths, predictions and texts speak for examples; steps, epochs and scores of whole sets against."""
    if sample.rows < FEWEST_ROWS:
        return False
    plain = {normalized(name): cells for name, cells in sample.columns.items()}
    numeric = {n for n, cells in plain.items() if is_numeric(cells)}
    counted = [n for n in plain if axis(n) in ("step", "epoch") and _varies(plain[n])]
    ids = [n for n in plain if _IDS.fullmatch(n) and n not in counted and _is_unique(plain[n])]
    predicted = [n for n in plain if _PREDICTED.fullmatch(n) and not _is_of_split(n)]
    truths = [n for n in plain if _TRUTHS.fullmatch(n) and n not in predicted and not _is_of_split(n)]
    losses = [n for n in numeric if _LOSS.fullmatch(n) and not _is_of_split(n)]
    texts = [n for n in plain if n not in numeric and (_TEXTS.fullmatch(n) or _is_prose(plain[n]))]
    if not numeric - set(ids):
        return False
    aggregated = [n for n in numeric if _AGGREGATES & set(n.split("_")) or _is_of_split(n)]
    grouped = _GROUPS & set(plain)
    if (aggregated or grouped) and not (truths and predicted) and not (ids and truths):
        return False
    named = is_named_for_examples(stem)
    if counted and not (truths and (predicted or losses)):
        return False
    if _RESULTS_FILE.match(stem) and not named and not (truths and predicted):
        return False
    if truths and (predicted or losses or (ids and named)):
        return True
    if predicted and (ids or texts or named):
        return True
    if ids and losses and not counted:
        return True
    if texts and losses and not counted:
        return True
    return named and not counted and not _is_ordered_curve(plain, numeric, ids)


def _is_of_split(name: str) -> bool:
    """`val_acc`, `train_loss`: of a whole split."""
    return split_of(name) is not None and "_" in name and _LOSS.fullmatch(name.split("_", 1)[1]) is not None


def _is_ordered_curve(plain: Mapping[str, Sequence[Any]], numeric: set[str], ids: list[str]) -> bool:
    """Whether values are ordered in time: each near the one before, as in a curve, far nearer than to a random one."""
    for name in numeric - set(ids):
        if _IDS.fullmatch(name):
            continue  # of documents, each of several rows
        values = [v for c in plain[name] if (v := value_of(c)) is not None and math.isfinite(v)]
        if len(values) < 2 * FEWEST_ROWS:
            continue
        spread = _mean_distance(sorted(values), len(values) // 2)
        if spread and _mean_distance(values, 1) < CURVE * spread:
            return True
    return False


def _mean_distance(values: Sequence[float], apart: int) -> float:
    pairs = list(zip(values, values[apart:], strict=False))
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def value_of(cell: object) -> float | None:
    if isinstance(cell, bool):
        return float(cell)
    found = number(cell)
    return _TRUTH_CELLS.get(cell.strip().lower()) if found is None and isinstance(cell, str) else found


def is_null(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _NULLS)


def is_numeric(cells: Sequence[object]) -> bool:
    filled = [c for c in cells if not is_null(c)]
    return bool(filled) and sum(value_of(c) is not None for c in filled) > len(filled) / 2


def _varies(cells: Sequence[object]) -> bool:
    return len(set(map(str, cells))) > 1


def _is_unique(cells: Sequence[object]) -> bool:
    filled = [str(c) for c in cells if not is_null(c)]
    return len(filled) >= FEWEST_ROWS and len(set(filled)) == len(filled)


def _is_prose(cells: Sequence[object]) -> bool:
    """Mostly different texts of several words: sentences, not names of classes or models."""
    filled = [c for c in cells if isinstance(c, str) and not is_null(c)]
    return len(set(filled)) > len(filled) / 2 and sum(" " in c.strip() for c in filled) > len(filled) / 2
