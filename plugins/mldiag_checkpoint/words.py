"""What the rules of this family share: lists of names, and where a checkpoint stands in its run."""

from __future__ import annotations

from collections.abc import Sequence

from mldiag.api import Metrics, Part, SavedModel, Source


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


def is_trained(model: SavedModel, metrics: Metrics | None) -> bool:
    """Whether anything shows that the model was trained, so that nothing has to be as it was initialised."""
    if model.step or model.epoch or model.best or model.resumable:
        return True
    if model.step == 0:
        return False
    if any(s.name.startswith("train/") and len(s) > 1 for s in metrics or ()):
        return True
    return not any(True for _ in model.parts(Part.VECTOR))
