"""CUR011: nothing was measured on held-out data."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Curves, Evidence, Finding, Fix, Metrics, NotApplicable, Run, Series, Unread, lazily, rule, stats

_HELD_OUT = lazily(
    r"(?:^|[^a-z])(?:val|valid|validation|eval|evaluation|test|dev|heldout|held_out|holdout)(?:$|[^a-z])"
)
_WEIGHTS = (
    ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".h5", ".keras", ".npy", ".npz", ".onnx", ".gguf", ".msgpack",
)  # fmt: skip
_STORE = lazily(r"tfevents|\.wandb$")
_LOGS = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".log", ".out")
# Scores that an evaluation of its own measures: detection, segmentation, ranking, translation, speech, images.
_EVALUATED = lazily(
    r"(?:^|[/_. ])(?:m?ap[sml]?\d*|m?iou|dice|pq|ndcg|mrr|hit_?ratio|hit_?rate|hr|bleu\d?|rouge\w*|[wc]er|fid)"
    r"(?:$|[/_@. (:-])",
    words=("ap", "iou", "dice", "pq", "ndcg", "mrr", "hit", "hr", "bleu", "rouge", "wer", "cer", "fid"),
)


@rule("CUR011", severity="warning", explains=("CUR001",))
def no_validation(run: Run, metrics: Metrics, curves: Curves, *, min_points: int = 10) -> Iterator[Finding]:
    """A trained run logged no value on data that it was not trained on.

    ## What it checks
    Whether any series, by its split or its name in the file, was measured on validation, evaluation, development or
    test data. Average precision, IoU, ranking, translation and speech scores count too, since they need an evaluation.
    A column that holds only nulls is no measurement.

    ## Why it matters
    The train loss of a model that memorises falls as well as that of one that learns. Without held-out values nothing
    tells the two apart, and no checkpoint can be chosen.

    ## Inputs
    All series of the run; a train loss with at least `min_points` values, or over two epochs.

    ## Options
    - `min_points`: train losses from which a run counts as trained (10).

    ## Fix
    Shown: a validation split and a regular evaluation need code.

    ## When to ignore
    The evaluation is a separate job whose log lies elsewhere. Reinforcement learning is not judged; neither is a run
    with a file that could not be read, since the evaluation may be in it.

    ## Source
    Goodfellow, Bengio and Courville 2016, Deep Learning, 5.3.
    """
    if curves.reinforcement:
        raise NotApplicable(f"reinforcement learning ({curves.reinforcement}) has no validation set")
    unread = next((u for u in run.unread if not u.partial and _may_hold_an_evaluation(u)), None)
    if unread is not None:
        raise NotApplicable(f"{unread.path} could not be read; the evaluation may be in it")
    train = metrics.get("train/loss") or next((s for s in metrics if s.name.startswith("train/loss/")), None)
    if train is None:
        raise NotApplicable("no train loss")
    first, last = (0.0, -1.0) if train.epoch_data is None else stats.extremes(train.epoch_data)
    epochs = last - first + 1
    if len(train) < min_points and epochs < 2:
        raise NotApplicable(f"{len(train)} train losses; at least {min_points} or two epochs make a trained run")
    # A column of nulls is the place for an evaluation that never came, unless the train loss is null all along too.
    blind = len(train.nulls) == len(train)
    if any(_held_out(s) and (blind or len(s.nulls) < len(s)) for s in metrics):
        return
    yield Finding(
        f"{len(train):,} values of {train.name} were logged and none of validation or test data",
        at=train.source,
        evidence=(
            Evidence("train losses", len(train), min_points, train.source),
            Evidence("series on held-out data", 0, 1),
            Evidence("series", len(metrics.series)),
        ),
        fix=Fix.show("hold out a validation split and evaluate it at least every epoch"),
    )


def _may_hold_an_evaluation(unread: Unread) -> bool:
    name = unread.path.lower()
    if name.endswith(_WEIGHTS):
        return False
    return unread.known or _STORE.search(name) is not None or (name.endswith(_LOGS) and bool(_HELD_OUT.search(name)))


def _held_out(series: Series) -> bool:
    raw = series.raw_name.lower()
    named = series.name.startswith(("val/", "test/")) or _HELD_OUT.search(raw) is not None
    return named or ("train" not in raw and _EVALUATED.search(raw) is not None)
