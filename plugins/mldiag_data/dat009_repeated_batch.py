"""DAT009: every step trains on the same batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    LossPair,
    Metrics,
    NotApplicable,
    Program,
    Series,
    lazily,
    rule,
)

_IDS = lazily(
    r"(?:^|/)(?:batch|sample|example|data|input|row)s?_?(?:ids|indices|hash|hashes|checksum|fingerprint|digest|keys)$",
    words=("ids", "indices", "hash", "checksum", "fingerprint", "digest", "keys"),
)
_IDIOM = "same batch"


@rule(
    "DAT009",
    severity="error",
    explains=("CUR001", "CUR002", "CUR012", "CUR014", "CUR016"),
    gives_way_to=("CUR004", "CUR005"),
)
def repeated_batch(
    metrics: Metrics | None,
    losses: LossPair | None,
    program: Program | None,
    *,
    min_ids: int = 10,
    min_ids_per_epoch: float = 3.0,
    max_floor: float = 0.05,
    min_falling: float = 0.98,
    min_values: int = 20,
    min_values_per_evaluation: float = 3.0,
    max_best: float = 0.25,
    min_rise: float = 0.05,
) -> Iterator[Finding]:
    """The loader gives the same batch at every step.

    ## What it checks
    1. What the log says of the batches: a series of their ids, indices or checksums (`batch_ids`, `sample_indices`,
       `batch_hash`) that is one value although the step changes, several times in an epoch.
    2. The losses: the train loss, logged several times between evaluations, falls at nearly every value, as no loss of
       changing batches does, to a twentieth of where it began or less, while the validation loss was best in the first
       quarter of the evaluations and rose.
    3. The source: `next(iter(loader))` inside the training loop, of a `DataLoader` that does not shuffle.

    ## Why it matters
    The model learns one batch by heart. A train loss of zero after a hundred steps looks like success; the rest of the
    data was never seen.

    ## Inputs
    A series of ids; `train/loss` with `val/loss` (or `test/loss`); Python sources.

    ## Options
    - `min_ids` (10 values) and `min_ids_per_epoch` (3): how often one value must have been logged; a loader in a fixed
      order gives the same batch once in each epoch.
    - `max_floor` (0.05): train loss at the end / at the start.
    - `min_falling` (0.98): share of the train values that are no higher than the one before. Of 160 labelled runs with
      15 values and more those with a repeated batch have 1.0; of the others with several values per evaluation and a
      loss that ended as low, the highest is 0.76.
    - `min_values` (20), `min_values_per_evaluation` (3): train values in all and per evaluation, so that they are of
      single batches rather than means over an epoch.
    - `max_best` (0.25): place of the best evaluation as a share of all; with a repeated batch 0, of healthy runs whose
      train loss fell as low 0.36 and more.
    - `min_rise` (0.05): rise of the validation loss above its best / its best. With a repeated batch 0.21 and 0.53.

    ## Fix
    Shown: make the iterator once, before the loop.

    ## When to ignore
    A test of whether the model can fit one batch.

    ## Source
    The two labelled runs with a repeated batch; overfitting one batch is a usual test (Karpathy 2019, "A Recipe for
    Training Neural Networks"), whose curve this is.
    """
    if metrics is None and program is None:
        raise NotApplicable("neither a log nor a source of the training program")
    found = [
        *(_by_ids(metrics, min_ids, min_ids_per_epoch) if metrics is not None else ()),
        *(
            _by_loss(losses, max_floor, min_falling, min_values, min_values_per_evaluation, max_best, min_rise)
            if losses is not None and not losses.mismatch
            else ()
        ),
        *_by_source(program),
    ]
    # They are three views of one loader: the surest stands for all.
    yield from found[:1]


def _by_ids(metrics: Metrics, least: int, per_epoch: float) -> Iterator[Finding]:
    for series in metrics:
        if not _IDS.search(series.raw_name.lower()) or len(series) < least or len(set(series.data)) != 1:
            continue
        epochs = _epochs(series)
        if series.step_data is not None and len(set(series.step_data)) < len(series) / 2:
            continue
        if len(series) < per_epoch * epochs:
            continue
        yield Finding(
            f"{series.raw_name} was {series.data[0]:,.10g} at all {len(series):,} logged steps: every step had "
            "the same batch",
            at=series.source,
            evidence=(
                Evidence("different values", 1, 2, series.source),
                Evidence("logged steps", len(series), least, series.source),
                Evidence("epochs", epochs, at=series.source),
                Evidence(series.raw_name, series.data[0], at=series.at(0)),
            ),
            fix=Fix.show(_FIX),
        )
        return


def _epochs(series: Series) -> float:
    if series.epoch_data is None or not len(series.epoch_data):
        return 1.0
    return max(1.0, max(series.epoch_data) - min(series.epoch_data))


def _by_loss(
    losses: LossPair,
    max_floor: float,
    min_falling: float,
    min_values: int,
    per_evaluation: float,
    max_best: float,
    min_rise: float,
) -> Iterator[Finding]:
    values, val = losses.train.values, losses.val_levels
    if len(values) < max(min_values, per_evaluation * len(val)) or losses.train.begun_late:
        return
    began, ended, best = values[0], losses.end[0], val[losses.best_at]
    if not 0 < ended <= max_floor * began or losses.best_at > max_best * len(val):
        return
    falling = sum(b <= a for a, b in pairwise(values)) / (len(values) - 1)
    if best <= 0 or losses.end[1] < (1 + min_rise) * best or falling < min_falling:
        return
    name = losses.quantity
    yield Finding(
        f"train {name} fell from {began:.4g} to {ended:.4g} and was no higher than the value before at "
        f"{100 * falling:.0f} % of {len(values):,} logged values, as it is when every step has the same batch; "
        f"validation {name} was best at evaluation {losses.best_at + 1} of {len(val)}, {best:.4g}, and ended at "
        f"{losses.end[1]:.4g}",
        at=losses.train.source,
        evidence=(
            Evidence(f"train {name} at the start", began, None, losses.train.at(0)),
            Evidence(f"train {name} at the end", ended, max_floor * began, losses.train.at(-1)),
            Evidence("share of values no higher than the one before", falling, min_falling, losses.train.source),
            Evidence("logged values", len(values), min_values),
            Evidence("best evaluation", losses.best_at + 1, None, losses.at(losses.best_at)),
            Evidence(f"best validation {name}", best, None, losses.at(losses.best_at)),
            Evidence(f"validation {name} at the end", losses.end[1], (1 + min_rise) * best, losses.val.at(-1)),
            Evidence("evaluations", len(val)),
        ),
        fix=Fix.show(_FIX),
    )


def _by_source(program: Program | None) -> Iterator[Finding]:
    for source in program.sources if program is not None else ():
        for idiom in source.idioms:
            if idiom.name == _IDIOM:
                loader = idiom.detail("loader")
                yield Finding(
                    f"next(iter({loader})) stands in the training loop, and {loader} does not shuffle: each step makes "
                    "the iterator anew and gets its first batch",
                    at=idiom.source,
                    evidence=(
                        Evidence("loader", loader, at=idiom.also[0] if idiom.also else idiom.source),
                        Evidence("iterators made in a step", 1, 0, idiom.source),
                    ),
                    fix=Fix.show(_FIX),
                )


_FIX = (
    "make the iterator once, before the loop, and print what it yields at two steps: an iterator that is made anew at "
)
_FIX += "every step gives its first batch"
