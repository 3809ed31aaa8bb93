"""Final results in JSON: one number per quantity."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

from mldiag.artifacts import Artifact, Series
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._configs.settings import recorded
from mldiag.readers._tables.columns import flat, number, shortened
from mldiag.vocabulary import axis, is_metric, normalized, split_of

SIZE_LIMIT = 2**18
"""Results of one evaluation take a few kilobytes."""

_SCORES = frozenset({
    "f1", "precision", "recall", "auc", "auroc", "mae", "mse", "rmse", "r2", "bleu", "rouge", "wer", "cer", "map",
    "iou", "miou", "dice", "mcc", "score", "em", "psnr", "ssim", "rouge1", "rouge2", "rougel", "rougelsum", "ap",
})  # fmt: skip

_WORK = ("_runtime", "_samples", "_per_second", "_time", "_steps")
"""Endings of what a part of the run took, which is no quality of the model."""


def _is_result(name: str) -> bool:
    if name.endswith(_WORK):
        return False
    return is_metric(name) or bool(_SCORES & set(normalized(name).split("_")))


def _numbers(document: object) -> Mapping[str, object] | None:
    """The document as one flat record, where it holds mostly numbers and a result among them."""
    if not isinstance(document, dict) or not document:
        return None
    row = flat(document)
    found = [k for k, v in row.items() if number(v) is not None]
    scalars = [v for v in row.values() if not isinstance(v, list)]
    return row if len(found) > len(scalars) / 2 and any(map(_is_result, found)) else None


@reader(
    "*results.json", "*metrics.json", "*scores.json", "*evaluation.json", "*summary.json", "metrics*.json",
    matches=lambda file: file.size <= SIZE_LIMIT and file.head.lstrip()[:1] == b"{" and _numbers(file.json) is not None,
    priority=8, post=True,
)  # fmt: skip
def final_results(file: File) -> Iterator[Artifact]:
    """Results: Hugging Face's `all_results.json` and `eval_results.json`, hand-written `metrics.json` and the like.

    A quantity whose split is known, by its name (`eval_loss`, `{"test": {"f1": …}}`) or the file's, is a series of one
    value, at the `epoch` or `step` that stands beside it. Everything else is a record of the run: numbers of no known
    split, sizes, times, and what Hugging Face's Trainer sums up of the training (its `train_loss` is a mean over all
    steps, and no point of the curve).
    """
    row = _numbers(file.json)
    if row is None:
        raise ReadError("no object of numbers with a result among them")
    of_file = split_of(file.name.rsplit(".", 1)[0])
    counters = {axis(k): n for k, v in row.items() if axis(k) and (n := number(v)) is not None}
    steps, epochs = (array("d", [counters[k]]) if k in counters else None for k in ("step", "epoch"))
    kept: dict[str, object] = {}
    for name, value in row.items():
        found = number(value)
        split = split_of(name) or ("test" if name.startswith("predict_") else of_file)
        summed = split == "train" and any("train_runtime" in k for k in row)
        if found is None or axis(name) or split is None or summed or not _is_result(name):
            kept[name] = value
            continue
        raw = name if split_of(name) or name.startswith("predict_") else f"{split}/{name}"
        place = shortened(file.find(f'"{name.rsplit("/", 1)[-1]}"', key=name))
        yield Series("", raw, array("d", [found]), place, steps, epochs)
    yield from recorded({k: v for k, v in kept.items() if not isinstance(v, list)}, file)
