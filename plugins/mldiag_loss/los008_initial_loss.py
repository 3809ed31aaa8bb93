"""LOS008: the untrained model was not as bad as a guess, or much worse."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import Curves, Evidence, Finding, Fix, InitialLoss, NotApplicable, Program, Settings, Windows, rule

_ENTROPY = (
    "cross_entropy", "CrossEntropyLoss", "NLLLoss", "nll_loss", "SparseCategoricalCrossentropy",
    "CategoricalCrossentropy", "sparse_categorical_crossentropy", "categorical_crossentropy",
    "softmax_cross_entropy_with_integer_labels", "softmax_cross_entropy", "sparse_softmax_cross_entropy_with_logits",
)  # fmt: skip
_OTHERS = (
    "BCELoss", "BCEWithLogitsLoss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "BinaryCrossentropy",
    "sigmoid_binary_cross_entropy", "mse_loss", "MSELoss", "CTCLoss", "ctc_loss", "kl_div", "KLDivLoss",
)  # fmt: skip


@rule("LOS008", severity="warning", gives_way_to=("LOS005", "LOS006", "LOS010"))
def initial_loss(
    initial: InitialLoss,
    curves: Curves,
    settings: Settings | None,
    program: Program | None,
    windows: Windows | None,
    *,
    min_excess: float = 1.5,
    min_excess_ratio: float = 1.25,
    min_deficit: float = 0.5,
    max_deficit_ratio: float = 0.8,
    unit_tolerance: float = 0.03,
) -> Iterator[Finding]:
    """The first train loss of a fresh classifier or language model is far from that of a guess among its classes.

    ## What it checks
    The train loss at step 0 or 1, before the first update shows, against ln C, for a model that is new by its settings
    or source, with a cross-entropy over C classes. Higher: the answers of the untrained model are far from even. Lower:
    an untrained model cannot know anything, so C, the loss or the weights are other than stated.

    ## Why it matters
    Too high, the first thousands of steps go into unlearning the initialization, and gradients are large while they do.
    Too low, the loss is not what one thinks it is: positions that count without being predicted, a factor, another
    logarithm, another number of classes, weights that were trained before.

    ## Inputs
    `train/loss` in nats with steps; `num_classes` or `vocab_size`; the source, or settings that say how training
    begins.

    ## Options
    - `min_excess` (nat, 1.5) and `min_excess_ratio` (1.25): first loss above ln C, both at least. Logits of spread s
      cost about s²/2, so 1.5 are logits of 1.7. Healthy language models of 128,000 entries were seen 0.9 above.
    - `min_deficit` (nat, 0.5) and `max_deficit_ratio` (0.8): first loss below ln C, both at least.
    - `unit_tolerance`: relative distance from log2 C that is called bits (0.03).

    ## Fix
    Shown: scale the last layer or its initialization down; or correct what is logged.

    ## When to ignore
    Weights that came from elsewhere in a way that neither settings nor source show; auxiliary losses in the total; a
    focal or weighted cross-entropy.

    ## Source
    Karpathy 2019, A Recipe for Training Neural Networks ("verify loss @ init"). For small logits of variance s² the
    expected cross-entropy is ln C + s²/2 (1 - 1/C): second order of log-sum-exp.
    """
    if not initial.untrained:
        raise NotApplicable(f"the first train loss is of {initial.curve.place(0)}, after the first updates")
    if initial.trained:
        raise NotApplicable(f"the model was trained before: {initial.trained}")
    if not initial.fresh:
        raise NotApplicable("nothing says that the model is new")
    parts = [n for n in curves if n.startswith("train/loss/")]
    if parts:
        raise NotApplicable(f"the train loss has parts ({parts[0]}): what it begins at is not known")
    proof = _entropy(initial, curves, settings, program, windows)
    if not proof:
        raise NotApplicable("nothing says that the loss is a cross-entropy over the classes")
    guess, value = initial.chance, initial.value
    excess = value - guess.loss
    high = excess >= min_excess and initial.ratio >= min_excess_ratio
    if not high and not (-excess >= min_deficit and initial.ratio <= max_deficit_ratio):
        return
    bits = high and abs(initial.ratio * math.log(2) - 1) <= unit_tolerance
    things = "vocabulary entries" if guess.name == "vocab_size" else "classes"
    yield Finding(
        f"{initial.curve.name} began at {value:.4g} at {initial.curve.place(0)}; a new model that guesses among "
        f"{guess.classes:,} {things} has ln {guess.classes:,} = {guess.loss:.4g}: {_meaning(initial, bits=bits)}",
        at=initial.source,
        evidence=(
            Evidence(
                f"first {initial.curve.name}", value, _limit(guess.loss, high, min_excess, min_deficit), initial.source
            ),
            Evidence("ln C", guess.loss, None, guess.source, "nat"),
            Evidence("first loss - ln C", excess, min_excess if high else -min_deficit, None, "nat"),
            Evidence("first loss / ln C", initial.ratio, min_excess_ratio if high else max_deficit_ratio),
            Evidence(guess.name, guess.classes, None, guess.source),
            Evidence("the model is new", initial.fresh),
            Evidence("the loss is a cross-entropy", proof),
        ),
        fix=Fix.show(_advice(high=high, bits=bits)),
    )


def _limit(guess: float, high: bool, excess: float, deficit: float) -> float:
    return guess + excess if high else guess - deficit


def _meaning(initial: InitialLoss, *, bits: bool) -> str:
    excess = initial.value - initial.chance.loss
    if bits:
        return f"it is {initial.ratio:.3g} times that, as if it were logged in bits"
    if excess > 0:
        return f"it was {excess:.3g} nat worse than a guess, with answers that were sure and wrong"
    return f"it was {-excess:.3g} nat better than a guess, though nothing was learned yet"


def _advice(*, high: bool, bits: bool) -> str:
    if bits:
        return "log the loss in nats, or say that it is in bits"
    if high:
        return "make the last layer's initial weights smaller, and check that the loss is a mean over the targets"
    return (
        "check the number of classes, positions that count without being targets, factors of the loss, loaded weights"
    )


def _entropy(
    initial: InitialLoss, curves: Curves, settings: Settings | None, program: Program | None, windows: Windows | None
) -> str:
    """What says that the loss is a cross-entropy over the classes and nothing else."""
    named = str((settings.get("loss") if settings is not None else "") or "").lower().replace("_", "")
    if named:
        right = ("crossentropy" in named and "binary" not in named) or named in ("ce", "nll")
        return f"the loss is {named}" if right else ""
    if program is not None and program.sources:
        if next(program.calls_to(*_OTHERS), None) is not None:
            return ""
        call = next(program.calls_to(*_ENTROPY), None)
        if call is not None:
            return f"{call.last} at {call.source}"
    ppl = curves.get("train/perplexity", "val/perplexity")
    if ppl is not None:
        return f"series {ppl.name}"
    return windows.text if windows is not None and initial.chance.name == "vocab_size" else ""
