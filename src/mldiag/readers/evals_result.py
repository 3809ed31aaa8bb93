"""The `evals_result` that XGBoost and LightGBM return, as JSON."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mldiag.artifacts import Artifact, Series
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._tables.columns import is_cell, number, shortened
from mldiag.vocabulary import series_name, split_of

_SET = lazily(r"(train(ing)?|valid(ation)?|eval|test|dev|dtrain|dtest|dvalid|learn)([_-]?\d+)?", re.IGNORECASE)
_NUMBERED = lazily(r"(validation|valid|eval)_\d+|training", re.IGNORECASE)
# "If there's more than one item in eval_set, the last entry will be used for early stopping": `XGBModel` in
# https://xgboost.readthedocs.io/en/stable/python/python_api.html
_ORDERED = lazily(r"validation_\d+")
# What boosting libraries measure, and neural networks seldom by these names.
_BOOSTED = lazily(
    r"(m?(log_?loss|error)|(binary|multi)_(logloss|error)|auc(_mu|pr)?|rmsle|l[12]|mape|mphe|gamma(_deviance)?|poisson|"
    r"quantile|huber|fair|tweedie|(poisson|gamma|tweedie)-\w+|(ndcg|map|pre)(@\d+)?-?|average_precision|"
    r"cross_entropy(_lambda)?|kullback_leibler|kldiv|xentropy|aft-nloglik|merror)(@[\d.]+)?",
    re.IGNORECASE,
)
_SHARED = frozenset({"rmse", "mae", "error"})


def _sets(document: object) -> Mapping[str, Mapping[str, list[Any]]] | None:
    """Set → metric → values, where the document is one of boosting."""
    if not isinstance(document, dict) or not document or not all(_SET.fullmatch(str(k)) for k in document):
        return None
    metrics = [m for m in document.values() if isinstance(m, dict) and m]
    if len(metrics) < len(document):
        return None
    names = {str(n) for m in metrics for n in m}
    lists = [v for m in metrics for v in m.values()]
    if not all(isinstance(v, list) and v and all(map(is_cell, v)) for v in lists):
        return None
    boosted = [n for n in names if _BOOSTED.fullmatch(n)]
    other = [n for n in names if n not in boosted and n.lower() not in _SHARED]
    named = any(_NUMBERED.fullmatch(str(k)) for k in document)
    return document if named or (boosted and not other) else None


def _prefixes(sets: Iterable[str]) -> Mapping[str, str]:
    """Set → the split that its series are named with, numbered where another set is meant by it."""
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    ordered = [n for n in sets if _ORDERED.fullmatch(n)]
    for name in sets:
        split = split_of(name) or "val"
        if name in ordered:
            found[name] = split if name == ordered[-1] else f"{split}/set{name.rpartition('_')[2]}"
        else:
            found[name] = f"{split}/{counts[split]}" if counts[split] else split
            counts[split] += 1
    return found


def _is_evals_result(file: File) -> bool:
    head = file.head.lstrip()
    if not head.startswith(b"{") or not re.match(rb'\{\s*"(train|valid|eval|test|dev|dtrain|dtest|learn)', head):
        return False
    return _sets(file.json_so_far.document) is not None


@reader("*.json", matches=_is_evals_result, priority=25, post=True)
def evals_result(file: File) -> Iterator[Artifact]:
    """The `evals_result` of XGBoost and LightGBM: a list per evaluation set and metric, one value per boosting round.

    Steps are rounds, counted from 0. Of several sets of one split the first is meant by the split's name; others keep a
    number. XGBoost's wrapper for scikit-learn names its sets by their order alone (`validation_0`, `validation_1`): of
    those the last is meant, which is the one that XGBoost stops early by, while the first often is the training set.
    The same lists under other names are a training history of epochs, and read as such. Of a cut file all values that
    stand whole before the cut are read.
    """
    document, _, cut = file.json_so_far
    sets = _sets(document)
    if sets is None:
        raise ReadError("no lists of one value per boosting round")
    prefixes = _prefixes(sets)
    for name, metrics in sets.items():
        prefix = prefixes[name]
        for metric, values in metrics.items():
            cells = [number(v) for v in values]
            data = array("d", (float("nan") if c is None else c for c in cells))
            nulls = tuple(i for i, v in enumerate(values) if v is None)
            raw = f"{name}/{metric}"
            place = shortened(file.find(f'"{metric}"', key=raw))
            yield Series(series_name(f"{prefix}/{metric}"), raw, data, place, array("d", range(len(data))), nulls=nulls)
    if cut is not None:
        raise cut
