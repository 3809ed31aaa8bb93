"""LOS006: the loss is a sum over the batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import (
    Call,
    Curves,
    Evidence,
    Finding,
    Fix,
    LossScale,
    NotApplicable,
    Program,
    Settings,
    Source,
    as_count,
    rule,
    stats,
)

_EVALUATED = (
    "per_device_eval_batch_size", "eval_batch_size", "val_batch_size", "valid_batch_size", "validation_batch_size",
    "test_batch_size", "dev_batch_size", "eval_bs", "val_bs", "batch_size_eval", "batch_size_val",
)  # fmt: skip
_GAUSSIAN = math.pi / 2
"""Mean square / squared mean magnitude of Gaussian errors; 2 for Laplacian ones."""


@rule("LOS006", severity="warning", explains=("LOS007", "LOS008", "CUR009"), gives_way_to=("LOS005",))
def sum_reduction(
    settings: Settings | None,
    curves: Curves,
    scale: LossScale | None,
    program: Program | None,
    *,
    min_size: int = 8,
    level_ratio: float = 1.5,
    each_ratio: float = 2.0,
    first_below: float = 0.75,
    first_above: float = 1.2,
    max_spread: float = 8.0,
    max_mean: float = 20.0,
    min_summed: float = 4.0,
) -> Iterator[Finding]:
    """The train or validation loss is a sum over the examples of a batch, not their mean.

    ## What it checks
    Whether the first train loss is n ln C, or the train loss n times the validation loss (or the other way round) at
    all evaluations, where n is the batch size, that of evaluation, or the tokens of a batch. Where the source asks for
    a sum (`reduction="sum"`, `size_average=False`), whether the log shows it: a first loss far above ln C, or a
    squared error that is many times the square of the mean error logged beside it.
    Beside such a line a train loss that is `min_size` times the validation loss or more, and
    keeps that factor at all evaluations, is a sum, too, over as many examples as nothing states.

    ## Why it matters
    The gradients grow with the batch, so that learning rate, clip norm and weight decay mean another thing for every
    batch size; the last, smaller batch of an epoch counts less; and nothing can be compared.

    ## Inputs
    `train/loss`, `val/loss`; the settings `batch_size`, one of an evaluation's batch, `seq_len`, `grad_accum`;
    `num_classes`, `vocab_size` or a checkpoint; calls of the source; `mae` or `rmse` beside a squared error.

    ## Options
    - `min_size`: least n that is judged (8).
    - `level_ratio`: how far the median of train / validation loss may lie from n or 1/n, as a ratio (1.5).
    - `each_ratio`: the same for each evaluation (2); the labelled faulty runs stay within 1.43. Of 870 runs the losses
      of one objective differ by a factor of at most 2.5 that they keep at every evaluation, those of sums by 45 and
      more; a run of other components lies at a million, a diverged one at 80.
    - `first_below`, `first_above`: first loss / (n ln C) (0.75 and 1.2).
    - `max_spread`: loss / (squared mean error), from which a squared error is a sum where the source asks for one (8;
      it is 1.57 for Gaussian and 2 for Laplacian errors, and 175 in the labelled faulty runs).
    - `max_mean`: first loss (nat), from which a cross-entropy beside an accuracy is a sum where the source asks for one
      (20; a guess among a quarter of a million classes has 12.4).
    - `min_summed`: first loss / ln C, from which it is a sum where the source asks for one (4).

    ## Fix
    Shown: take the mean (`reduction="mean"`), and choose the learning rate anew, since the gradients become n times
    smaller. In evaluation divide by the number of examples.

    ## When to ignore
    A variational loss that is a sum per example by design, divided by the batch later.

    ## Source
    PyTorch, torch.nn.CrossEntropyLoss, `reduction`; Keras, `Reduction.SUM`. ln C: Karpathy 2019, A Recipe for Training
    Neural Networks.
    """
    if scale is None and program is None:
        raise NotApplicable("no first train loss with a known number of classes, no held-out loss and no source")
    sizes = _sizes(settings or Settings(), min_size)
    summed = _summed(program)
    if not sizes and not summed:
        raise NotApplicable(f"no batch size of at least {min_size} is stated, and no source asks for a sum")
    found = None
    if scale is not None:
        found = _against_guess(scale, sizes, first_below, first_above) or _against_other(
            scale, sizes, level_ratio, each_ratio
        )
        if found is None and summed:
            found = _first_of_sum(scale, min_summed)
    if found is None and summed:
        found = _squares(curves, max_spread) or _entropies(curves, summed, max_mean)
        if found is None and scale is not None:
            found = _apart(scale, min_size, each_ratio)
    if found is None:
        return
    said, at, evidence = found
    if summed:
        said += f"; {summed[0].last} takes the sum at {summed[0].source}"
        evidence = (*evidence, Evidence("reduction in the source", "sum", None, summed[0].source))
    yield Finding(
        said,
        at=at,
        evidence=evidence,
        fix=Fix.show("take the mean over the batch, and choose the learning rate for it anew"),
    )


_Found = tuple[str, Source | None, tuple[Evidence, ...]]


def _sizes(settings: Settings, least: int) -> list[tuple[int, str, Source | None]]:
    """Numbers that a batch may be summed over, with what each counts; the plainest first."""
    batch, length = settings.get("batch_size", int), settings.get("seq_len", int)
    accumulated = settings.get("grad_accum", int) or 1
    where = settings.where("batch_size")
    bases = [(batch, "the batch size", where)] if batch else []
    evaluated = sorted((v for v in settings if v.key in _EVALUATED), key=lambda v: v.source.line is None)
    bases += [(n, v.key, v.source) for v in evaluated if (n := as_count(v.value))]
    if batch and accumulated > 1:
        bases.append((batch * accumulated, "the batch size times the accumulation", where))
    sizes = [b for b in bases if b[0] >= least]
    if length and length > 1:
        sizes += [(n * length, f"the tokens of {what}", at) for n, what, at in bases if n * length >= least]
    return list({n: (n, what, at) for n, what, at in reversed(sizes)}.values())[::-1]


def _summed(program: Program | None) -> list[Call]:
    """Calls in the source that ask for the sum of losses."""
    found = []
    for source in program.sources if program is not None else ():
        for call in source.calls:
            name = call.last.lower()
            if "loss" not in name and "entropy" not in name and "error" not in name and "mse" not in name:
                continue
            # A divergence is summed over the classes by its definition.
            if "kl" not in name and (_is_sum(call) or call.keywords.get("size_average") is False):
                found.append(call)
    return found


def _is_sum(call: Call) -> bool:
    """`reduction="sum"`, or Keras' `reduction=tf.keras.losses.Reduction.SUM`, which is no literal."""
    if "reduction" not in call.keywords:
        return False
    stated, place = call.keywords["reduction"], call.where.get("reduction")
    text = str(stated) if stated is not None else (place.text or "") if place is not None else ""
    return text.lower().rstrip("'\"").endswith((".sum", "sum")) and "over" not in text.lower()


def _against_guess(
    scale: LossScale, sizes: list[tuple[int, str, Source | None]], below: float, above: float
) -> _Found | None:
    initial = scale.initial
    for n, what, at in sizes:
        if initial is not None and scale.begins_at(n, below, above):
            guess = initial.chance
            return (
                f"{initial.curve.name} began at {initial.value:.4g} at {initial.curve.place(0)}, {initial.ratio:.4g} "
                f"times ln {guess.classes:,} = {guess.loss:.4g}, about {n:,}, {what}: it is a sum, not a mean",
                initial.source,
                (
                    Evidence(f"first {initial.curve.name}", initial.value, n * guess.loss, initial.source, "nat"),
                    Evidence("first loss / ln C", initial.ratio, below * n),
                    Evidence("ln C", guess.loss, None, guess.source, "nat"),
                    Evidence(guess.name, guess.classes, None, guess.source),
                    Evidence(what, n, None, at),
                ),
            )
    return None


def _against_other(
    scale: LossScale, sizes: list[tuple[int, str, Source | None]], level: float, each: float
) -> _Found | None:
    pair = scale.pair
    fits = [
        (abs(math.log(scale.middle / factor)), sign, n, what, at)
        for n, what, at in sizes
        for sign, factor in ((1, n), (-1, 1 / n))
        if scale.keeps_to(factor, level, each)
    ]
    if pair is None or not fits:
        return None
    _, sign, n, what, at = min(fits, key=lambda f: f[0])
    low, high = scale.range if sign > 0 else (1 / scale.range[1], 1 / scale.range[0])
    large, small = (pair.train, pair.val) if sign > 0 else (pair.val, pair.train)
    return (
        f"{large.name} was {low:.3g} to {high:.3g} times {small.name} at all {len(pair):,} evaluations, about {n:,}, "
        f"{what}: it is a sum, not a mean",
        large.at(0),
        (
            Evidence(f"lowest {large.name} / {small.name}", low, n / each, large.source),
            Evidence(f"highest {large.name} / {small.name}", high, n * each, small.source),
            Evidence(what, n, None, at),
            Evidence("evaluations", len(pair)),
        ),
    )


def _apart(scale: LossScale, least: int, each: float) -> _Found | None:
    """A train loss that keeps its distance from the validation loss, where no batch size says how many it sums."""
    pair = scale.pair
    if pair is None or scale.middle < least or not scale.keeps_to(scale.middle, each, each):
        return None
    low, high = scale.range
    return (
        f"{pair.train.name} was {low:.3g} to {high:.3g} times {pair.val.name} at all {len(pair):,} evaluations: it is "
        "a sum, not a mean",
        pair.train.at(0),
        (
            Evidence(f"lowest {pair.train.name} / {pair.val.name}", low, least, pair.train.source),
            Evidence(f"highest {pair.train.name} / {pair.val.name}", high, scale.middle * each, pair.val.source),
            Evidence("evaluations", len(pair)),
        ),
    )


def _first_of_sum(scale: LossScale, least: float) -> _Found | None:
    initial = scale.initial
    if initial is None or initial.trained or initial.ratio < least:
        return None
    return (
        f"{initial.curve.name} began at {initial.value:.4g} at {initial.curve.place(0)}, {initial.ratio:.4g} times "
        f"ln {initial.chance.classes:,} = {initial.chance.loss:.4g}",
        initial.source,
        (
            Evidence(f"first {initial.curve.name}", initial.value, None, initial.source, "nat"),
            Evidence("first loss / ln C", initial.ratio, least),
            Evidence("ln C", initial.chance.loss, None, initial.chance.source, "nat"),
            Evidence(initial.chance.name, initial.chance.classes, None, initial.chance.source),
        ),
    )


def _squares(curves: Curves, least: float) -> _Found | None:
    """A squared error that lies too far above the mean error logged beside it."""
    for split in ("val", "test", "train"):
        loss, error = curves.get(f"{split}/loss", f"{split}/mse"), curves.get(f"{split}/mae", f"{split}/rmse")
        if loss is None or error is None:
            continue
        one = _GAUSSIAN if error.name.endswith("mae") else 1.0
        here, there = loss.common(error)
        ratios = [
            loss.values[i] / square
            for i, j in zip(here, there, strict=True)
            if (square := error.values[j] * error.values[j]) > 0 < loss.values[i]
        ]
        if len(ratios) < 2 or (middle := stats.median(ratios)) < least or min(ratios) < least / 2:
            continue
        i, j = here[0], there[0]
        return (
            f"{loss.name} was {middle:.3g} times the square of {error.name} (median of {len(ratios):,} evaluations; at "
            f"{loss.place(i)} {loss.values[i]:.4g} beside {error.values[j]:.3g}), where a mean of squares has about "
            f"{one:.3g}: it is a sum over about {middle / one:.0f} examples",
            loss.at(i),
            (
                Evidence(f"{loss.name} / {error.name} squared", middle, least, loss.source),
                Evidence("the same of a mean, with Gaussian errors", one),
                Evidence("evaluations", len(ratios)),
                Evidence(f"first {loss.name}", loss.values[i], None, loss.at(i)),
                Evidence(f"first {error.name}", error.values[j], None, error.at(j)),
            ),
        )
    return None


def _entropies(curves: Curves, summed: list[Call], highest: float) -> _Found | None:
    """A cross-entropy that begins above that of a guess among any number of classes, beside an accuracy."""
    call = next((c for c in summed if any(word in c.last.lower() for word in ("entropy", "nll", "bce"))), None)
    score = curves.get("val/accuracy", "test/accuracy", "train/accuracy")
    losses = [curve for name in ("train/loss", "val/loss", "test/loss") if (curve := curves.get(name)) is not None]
    loss = next((c for c in losses if c.values[0] >= highest and stats.median(c.values) >= highest / 10), None)
    if call is None or score is None or loss is None:
        return None
    return (
        f"{loss.name} began at {loss.values[0]:.4g} at {loss.place(0)}, beside a first {score.name} of "
        f"{score.values[0]:.3g}; a guess among a quarter of a million classes has 12.4",
        loss.at(0),
        (
            Evidence(f"first {loss.name}", loss.values[0], highest, loss.at(0), "nat"),
            Evidence(f"first {score.name}", score.values[0], None, score.at(0)),
            Evidence("ln 250,000", math.log(250_000), None, None, "nat"),
        ),
    )
