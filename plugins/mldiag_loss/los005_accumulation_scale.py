"""LOS005: the logged loss is that of several micro-batches together."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, LossScale, NotApplicable, Program, Settings, rule


@rule("LOS005", severity="warning", explains=("CUR009", "LOS007", "LOS008"))
def accumulation_scale(
    settings: Settings,
    scale: LossScale,
    program: Program | None,
    *,
    level_ratio: float = 1.35,
    each_ratio: float = 1.5,
    min_factor: float = 3.0,
    min_alone: float = 4.0,
    first_below: float = 0.85,
    first_above: float = 1.15,
) -> Iterator[Finding]:
    """The logged train loss is the expected one times, or divided by, the number of accumulated micro-batches.

    ## What it checks
    With k micro-batches to an optimizer step, whether the train loss is k times the validation loss at all evaluations,
    or began at k ln C where C is the number of classes or vocabulary entries: the losses of the micro-batches were
    summed, not averaged. And whether it began at ln C / k beside a validation loss that did not: what was divided for
    the gradient was logged, and only one of the k was.

    ## Why it matters
    A logged sum cannot be compared with the validation loss, with other runs, or with ln C. Where the loss is not
    divided before `backward()` either, the gradients are k times too large too: with SGD the learning rate is in effect
    k times higher, and a clip norm cuts k times earlier.

    ## Inputs
    The setting `grad_accum`; `train/loss`, with `val/loss`, or with `num_classes` or `vocab_size`, in nats.

    ## Options
    - `level_ratio`: how far the median of train / validation loss may lie from k, as a ratio (1.35).
    - `each_ratio`: the same for each evaluation (1.5). The labelled faulty runs lie within 1.27; runs that overfit
      leave it, since their ratio falls, and so do noisy ones with few held-out examples (0.6 to 1.7).
    - `min_factor`: least k that the ratio alone decides (3): the train loss, measured with dropout and before the
      validation, is up to 2.5 times the validation loss throughout in healthy runs; in faulty ones 4.0 times and more.
    - `min_alone`: least k that the first loss alone decides, where there is no validation and nothing says that the
      model is new (4). A rate that is too high, and trained weights in a new place, begin at 1.7 to 2.1 times ln C.
    - `first_below`, `first_above`: first loss / (k ln C) (0.85 and 1.15). In the labelled runs, 1.035 and 1.042 of the
      faulty ones; first losses of healthy ones are 0.92 to 1.13 times ln C.

    ## Fix
    Shown: divide the loss of each micro-batch by k before `backward()`, and log the mean over the k. Where the trainer
    divides the gradient itself, the logged value alone is to be divided. A log does not tell the two apart; the fix
    does where the source shows a framework that divides: Accelerate's and Lightning's own accumulation.

    ## When to ignore
    A sum that was logged on purpose. The gradients may be right all the same.

    ## Source
    Hugging Face transformers, issue 35204 (the loss that 4.46 logs is not divided by the accumulation), pull
    requests 35207 and 35438 (doubled with two micro-batches), and 527 for the divided one. ln C: Karpathy 2019, A
    Recipe for Training Neural Networks ("verify loss @ init").
    """
    k = settings.require("grad_accum", int)
    if k < 2:
        raise NotApplicable(f"{k} micro-batch to a step: nothing is accumulated")
    initial, pair = scale.initial, scale.pair
    sustained = k >= min_factor and scale.keeps_to(k, level_ratio, each_ratio)
    began = scale.begins_at(k, first_below, first_above) and _accumulated(scale, k, level_ratio, min_alone)
    divided = scale.begins_at(1 / k, first_below, first_above) and _begins_below(scale, k, each_ratio)
    if not (sustained or began or divided):
        return
    evidence = [Evidence("micro-batches to a step", k, None, settings.where("grad_accum"))]
    said = []
    if pair is not None and scale.ratios:
        low, high = scale.range
        said.append(f"{pair.train.name} was {low:.3g} to {high:.3g} times {pair.val.name} at {len(pair)} evaluations")
        evidence += [
            Evidence("lowest train / validation loss", low, k / each_ratio, pair.train.source),
            Evidence("highest train / validation loss", high, k * each_ratio, pair.val.source),
            Evidence("evaluations", len(pair)),
        ]
    if initial is not None and (began or divided):
        said.append(
            f"{initial.curve.name} began at {initial.value:.4g}, {initial.ratio:.3g} times "
            f"ln {initial.chance.classes:,} = {initial.chance.loss:.4g}"
        )
        expected = initial.chance.loss * k if began else initial.chance.loss / k
        evidence += [
            Evidence(f"first {initial.curve.name}", initial.value, expected, initial.source, "nat"),
            Evidence("ln C", initial.chance.loss, None, initial.chance.source, "nat"),
            Evidence("first loss / ln C", initial.ratio, k if began else 1 / k),
            Evidence(initial.chance.name, initial.chance.classes, None, initial.chance.source),
        ]
    yield Finding(
        f"{', and '.join(said)}, with {k} micro-batches to a step: {_cause(k, divided=divided)}",
        at=pair.train.at(0) if initial is None and pair is not None else initial.source if initial else None,
        evidence=tuple(evidence),
        fix=Fix.show(_advice(k, settings, program, divided=divided)),
    )


def _accumulated(scale: LossScale, k: int, level: float, alone: float) -> bool:
    """Whether a first loss of k ln C is due to accumulation, and not to a model that began so badly.

    Then the held-out loss is lower by that factor. Without one, k has to be large, or the model new.
    """
    if scale.ratios:
        return scale.range[0] >= k / level and scale.middle <= k * level
    return scale.pair is None and scale.initial is not None and (k >= alone or bool(scale.initial.fresh))


def _begins_below(scale: LossScale, k: int, each: float) -> bool:
    """The first evaluation shows the same factor, and so not a model that was better than a guess."""
    return bool(scale.ratios) and 1 / (k * each) <= scale.ratios[0] <= min(each / k, 0.75)


def _cause(k: int, *, divided: bool) -> str:
    if divided:
        return f"the loss of one micro-batch was logged after it was divided by {k}"
    return f"the losses of {k} micro-batches were summed, not averaged"


def _advice(k: int, settings: Settings, program: Program | None, *, divided: bool) -> str:
    if divided:
        return f"log the loss before it is divided by {k}, or the sum of the {k} divided ones"
    if any(v.key == "gradient_accumulation_steps" and v.source.path.endswith("training_args.json") for v in settings):
        return (
            f"divide the logged loss by {k} to read it; versions of Hugging Face's Trainer sum it (transformers issue "
            "35204): update, or divide in a compute_loss of your own that ignores num_items_in_batch"
        )
    divider = _divides(program)
    if divider:
        return f"log the mean over the {k} micro-batches; {divider} divides the gradients"
    return f"divide the loss by {k} before backward(), unless that is done already, and log the mean over the {k}"


def _divides(program: Program | None) -> str:
    """The framework that divides the loss by the accumulation before it goes backward; empty where none is seen."""
    if program is None:
        return ""
    calls = [c for s in program.sources for c in s.calls]
    own = any(c.last == "manual_backward" for c in calls)
    for call in calls:
        if call.last == "Accelerator" and "gradient_accumulation_steps" in call.keywords:
            return f"Accelerate ({call.source})"
        if call.last == "Trainer" and "accumulate_grad_batches" in call.keywords and not own:
            return f"Lightning ({call.source})"
    return ""
