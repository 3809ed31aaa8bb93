"""CKP003: tensors that did not change between two checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    CheckpointPair,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Part,
    Program,
    Settings,
    Severity,
    Tensor,
    is_adapter,
    is_of_another,
    rule,
)
from mldiag_checkpoint.words import at, listed

_FREEZING = ("freeze", "frozen", "unfreeze", "frozen_layers", "trainable", "requires_grad_", "stop_gradient", "lora",
             "peft", "adapter", "linear_probe", "linear_probing", "feature_extract")  # fmt: skip
_PRETRAINED = ("backbone", "base_model", "pretrained", "feature_extractor", "features", "bert", "roberta", "distilbert",
               "vit", "resnet", "mobilenet", "efficientnet", "vgg", "clip", "wav2vec2", "whisper", "trunk", "vae",
               "text_encoder", "image_encoder", "vision_model", "vision_tower", "language_model")  # fmt: skip
_UNUSED = ("pooler",)


@rule("CKP003", severity="error", explains=("CUR003", "CUR014"))
def unchanged_tensor(
    pair: CheckpointPair,
    settings: Settings | None,
    program: Program | None,
    *,
    min_values: int = 8,
    min_steps: float = 2,
    min_trunk_share: float = 0.5,
    max_listed: int = 5,
) -> Iterator[Finding]:
    """Weights are bit for bit the same in two checkpoints of one run, though they should have been trained.

    ## What it checks
    The first and the last checkpoint of a model (by the step or epoch in their metadata or names): every weight of two
    dimensions and more, compared byte by byte. An error where some are the same while others changed, and where all
    are although steps lie between them.

    Nothing is said of what is frozen on purpose: where settings or source freeze (`freeze`, `requires_grad_`,
    `trainable`, LoRA and adapters), and of what is never trained: buffers, tables of sines, numbers that are no floats,
    models beside the trained one (teacher, moving average), layers known to be unused (BERT's pooler). Where the source
    speaks of `requires_grad` and no more, and where most of the weights stayed the same under the name of a pretrained
    model, it is an information. Biases and scales are not judged: before a batch norm they get no gradient.

    ## Why it matters
    The optimizer was not given these weights, or no gradient reaches them: the model has the layers, and trains
    without them. The loss falls all the same, so that nothing else shows it.

    ## Inputs
    Two checkpoints of one model; settings and source, to know what is frozen on purpose. Of weights that changed only
    the first block is read.

    ## Options
    - `min_values` (8): values from which on a tensor is judged.
    - `min_steps` (2 steps): distance of two checkpoints that are the same in all from which on that is an error.
    - `min_trunk_share` (0.5): share of the weights from which on a pretrained model's name explains that they stayed.
    - `max_listed` (5 tensors): tensors that are listed in the evidence.

    ## Fix
    Shown: give the optimizer all parameters (`model.parameters()`), after the model was built as a whole.

    ## When to ignore
    Layers that are frozen by code that is not part of the run's folder.

    ## Source
    With any optimizer a weight of 32 bits with a gradient changes within a step, unless the update is below 6e-8 of it
    (IEEE 754, binary32).
    """
    changed: list[Tensor] = []
    same: list[Tensor] = []
    for tensor in pair.last.parts(Part.WEIGHT):
        if tensor.count < min_values or is_of_another(tensor.name):
            continue
        try:
            (same if pair.same(tensor) else changed).append(tensor)
        except NotApplicable:
            continue
    kept = [t for t in same if not _is_meant(pair, t)]
    if not kept or (not changed and (pair.apart is None or pair.apart < (min_steps if pair.unit == "step" else 1))):
        return
    reason = _frozen(settings, program)
    if reason or any(is_adapter(t.name) for t in pair.last.checkpoint.tensors):
        return
    total, still = sum(t.count for t in (*changed, *same)), sum(t.count for t in kept)
    names = [t.name for t in kept]
    trunk = changed and still >= min_trunk_share * total and all(_is_pretrained(n) for n in names)
    asks = any("requires_grad" in s.names for s in (program.sources if program else ()))
    between = f" {pair.apart:,.0f} {pair.unit}s apart" if pair.apart is not None else ""
    what = (
        f"{len(kept)} of {len(kept) + len(changed)} weights ({listed(names)}) are bit for bit the same"
        if changed
        else f"none of {len(kept)} weights changed: they are bit for bit the same"
    )
    yield Finding(
        f"{what} in {pair.first.path} and {pair.last.path}{between}",
        at=at(pair.last, names[0]),
        severity=Severity.INFO if trunk or (asks and changed) else Severity.ERROR,
        evidence=(
            Evidence("weights that are the same", len(kept), 0, at(pair.last, names[0])),
            Evidence("weights that changed", len(changed), None, pair.last.checkpoint.source),
            Evidence("share of the values that are the same", still / total),
            *(
                [Evidence(f"{pair.unit}s between", pair.apart, None, pair.first.step_at or pair.first.epoch_at)]
                if pair.unit
                else []
            ),
            *(Evidence(f"values of {t.name}", t.count, None, at(pair.last, t.name)) for t in kept[:max_listed]),
        ),
        fix=Fix.show("give the optimizer the parameters of the whole model, and look for what cuts their gradient off"),
    )


def _is_meant(pair: CheckpointPair, tensor: Tensor) -> bool:
    """Whether a tensor is never trained: sines, one value throughout, what is known to be unused."""
    lowered = tensor.name.lower()
    if any(word in lowered for word in _UNUSED):
        return True
    try:
        found = pair.statistics.of(pair.last.checkpoint, tensor)
    except NotApplicable:
        return True
    if found.min is None or found.max is None or found.l2 is None or found.nan or found.inf:
        return True  # NaN is CKP001's to tell
    if found.min == found.max:
        return True  # and a constant CKP002's
    # Sines and cosines of the same angles: their squares add up to one for each pair.
    waves = found.min >= -1 and found.max <= 1 and abs(found.l2**2 - found.count / 2) < 1e-3 * found.count
    return waves and any(word in lowered for word in ("pos", "pe", "sin", "freq", "time", "rot"))


def _is_pretrained(name: str) -> bool:
    parts = name.lower().replace("/", ".").split(".")
    return any(p.startswith(_PRETRAINED) for p in parts)


def _frozen(settings: Settings | None, program: Program | None) -> str:
    """What of the run freezes; empty where nothing does."""
    for value in settings or ():
        words = value.key.split("_")
        if value.value in (None, False, 0, "", "none", "None"):
            continue
        if any(w.startswith(("freez", "frozen", "unfreez", "trainable", "lora", "peft", "adapter")) for w in words):
            return value.key
    for source in program.sources if program else ():
        for name in source.names:
            if any(word in name.lower() for word in _FREEZING):
                return name
        call = next((c for c in source.calls if c.last in ("requires_grad_", "stop_gradient", "freeze")), None)
        if call is not None:
            return call.last
        for call in source.calls:
            if call.keywords.get("trainable") is False or call.keywords.get("freeze") is True:
                return call.last
            if call.last == "from_pretrained" and "Embedding" in call.resolved:
                return "Embedding.from_pretrained"  # frozen unless it says otherwise
    return ""
