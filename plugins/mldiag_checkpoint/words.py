"""What the rules of this family share: lists of names, and where a checkpoint stands in its run."""

from __future__ import annotations

from collections.abc import Sequence

from mldiag.api import Metrics, NotApplicable, Part, SavedModel, Source, TensorStatistics


def listed(names: Sequence[str], few: int = 3) -> str:
    """The first names of several, for a message."""
    shown = ", ".join(n if len(n) <= 80 else f"{n[:40]}...{n[-35:]}" for n in names[:few])
    return shown if len(names) <= few else f"{shown} and {len(names) - few:,} more"


def at(model: SavedModel, tensor: str) -> Source:
    """The place of a tensor."""
    return Source(model.path, key=tensor)


def moment(model: SavedModel) -> str:
    """` (step 500)`, ` (epoch 3)`, or nothing."""
    if model.step is not None:
        return f" (step {model.step:,.0f})"
    return f" (epoch {model.epoch:g})" if model.epoch is not None else ""


def is_trained(model: SavedModel, metrics: Metrics | None, statistics: TensorStatistics) -> bool:
    """Whether anything shows that the model was trained, so that nothing has to be as it was initialised.

    Of a file that stands alone its norms tell: scales are initialised at one, running means at zero.
    """
    if model.step or model.epoch or model.best or model.resumable:
        return True
    if model.step == 0:
        return False
    if any(s.name.startswith("train/") and len(s) > 1 for s in metrics or ()):
        return True
    fresh = ("norm", "ln_", "bn", "layernorm")
    for tensor in model.parts(Part.VECTOR, Part.BUFFER):
        name = tensor.name.lower()
        scale = tensor.count > 1 and any(word in name for word in fresh) and not name.endswith(("mask", "ids"))
        zeros = model.checkpoint.format in ("keras", "hdf5", "flax", "tensorflow") and tensor.count > 1
        try:
            found = statistics.of(model.checkpoint, tensor) if scale or zeros or "running_mean" in name else None
        except NotApplicable:
            continue
        if found is not None and found.min != found.max:
            return True
    return False
