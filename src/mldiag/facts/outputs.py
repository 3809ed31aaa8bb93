"""Among how many classes a model chooses: as stated, else as wide as the last layer of its checkpoint."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from msgspec import Struct

from mldiag.checkpoints import Checkpoint, Checkpoints
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.chance import Chance
from mldiag.facts.curves import Curves
from mldiag.patterns import lazily

_STATE = lazily(r"optim|callback|ema|momentum|loops|scheduler|slot|rng|queue|running|buffer", re.IGNORECASE)
_BIASES = (("weight", "bias"), ("kernel", "bias"), ("vars/0", "vars/1"))
_SCORES = ("val/accuracy", "train/accuracy", "test/accuracy")


class Outputs(Struct, frozen=True):
    """A guess among the classes of a model.

    Attributes:
        chance: as the settings or the source state the classes, else from the checkpoint.
    """

    chance: Chance


@fact
def outputs(chance: Chance | None, checkpoints: Checkpoints | None, curves: Curves | None) -> Outputs:
    """Where nothing states the classes, from the one layer that nothing follows, of a model whose accuracy is logged.

    Models of several heads, and those in which layers meet otherwise than one after another (a Transformer), have no
    such layer. One output is a regression, a probability or a margin.
    """
    if chance is not None:
        return Outputs(chance)
    if checkpoints is None or curves is None or curves.get(*_SCORES) is None:
        raise NotApplicable("nothing states the number of classes, and no checkpoint of a classifier shows it")
    found = {end: (checkpoint, name) for checkpoint in checkpoints for end, name in [_end(checkpoint)]}
    if len(found) != 1 or 0 in found:
        raise NotApplicable("nothing states the number of classes, and no last layer shows it")
    [(classes, (checkpoint, name))] = found.items()
    return Outputs(Chance(classes, math.log(classes), 1 / classes, checkpoint.source, f"outputs of {name}"))


def _end(checkpoint: Checkpoint) -> tuple[int, str]:
    """Width and name of the layer that nothing follows; 0 where there are several, or it has one output."""
    layers = list(_layers(checkpoint))
    taken = {fed for fed, _, _ in layers}
    ends = {(width, name) for _, width, name in layers if width not in taken}
    width, name = ends.pop() if len(ends) == 1 else (0, "")
    return (width, name) if width > 1 else (0, "")


def _layers(checkpoint: Checkpoint) -> Iterator[tuple[int, int, str]]:
    """Inputs, outputs and name of every matrix; its bias says which side is which."""
    for tensor in checkpoint.tensors:
        if len(tensor.shape) != 2 or _STATE.search(tensor.name):
            continue
        for weight, bias in _BIASES:
            other = tensor.name.removesuffix(weight) + bias
            beside = checkpoint.by_name.get(other) if tensor.name.endswith(weight) else None
            if beside is not None and len(beside.shape) == 1 and beside.shape[0] in tensor.shape:
                a, b = tensor.shape
                width = beside.shape[0]
                yield (b if width == a else a), width, tensor.name
