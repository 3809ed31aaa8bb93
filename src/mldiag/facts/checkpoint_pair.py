"""Two checkpoints of one run, the first and the last of one model: which tensors are the same bytes in both."""

from __future__ import annotations

from msgspec import Struct

from mldiag.checkpoints import Tensor
from mldiag.errors import NotApplicable, ReadError
from mldiag.facts import fact
from mldiag.facts.saved_models import SavedModel, SavedModels
from mldiag.facts.tensor_statistics import TensorStatistics

_STEP = 2**16
"""Values of a block: of tensors that differ, the first block shows it, and no more is read."""


class CheckpointPair(Struct, frozen=True, dict=True):
    """The first and the last checkpoint of one model.

    Attributes:
        unit: `step` or `epoch`, what `apart` is counted in; empty where nothing says when they were saved.
        apart: how far they lie from each other; None where nothing says.
    """

    first: SavedModel
    last: SavedModel
    statistics: TensorStatistics
    unit: str = ""
    apart: float | None = None

    def same(self, tensor: Tensor) -> bool:
        """Whether a tensor of the last checkpoint is the same bytes in the first. Both are read block by block.

        Raises:
            NotApplicable: one of them cannot be read.
        """
        known: dict[str, bool] = self.__dict__.setdefault("_known", {})
        if tensor.name not in known:
            try:
                known[tensor.name] = self._same(tensor)
            except ReadError as error:
                raise NotApplicable(f"{tensor.name}: {error.reason}") from error
        return known[tensor.name]

    def _same(self, tensor: Tensor) -> bool:
        import numpy as np

        other = self.first.checkpoint.by_name.get(tensor.name)
        if other is None or other.shape != tensor.shape or other.dtype != tensor.dtype:
            return False
        left = self.statistics.values(self.first.checkpoint).blocks(other, _STEP)
        right = self.statistics.values(self.last.checkpoint).blocks(tensor, _STEP)
        pairs = zip(left, right, strict=False)
        return all(len(a) == len(b) and np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in pairs)


@fact
def checkpoint_pair(saved: SavedModels, statistics: TensorStatistics) -> CheckpointPair:
    """Of the model with the most weights of which two checkpoints are of different steps, or of unknown ones."""
    by_kind: dict[object, list[SavedModel]] = {}
    for model in saved:
        by_kind.setdefault(model.signature, []).append(model)
    for models in sorted(by_kind.values(), key=lambda found: -found[0].checkpoint.count):
        for unit in ("step", "epoch"):
            dated = [(at, m) for m in models if (at := getattr(m, unit)) is not None]
            if len(dated) > 1:
                first, last = min(dated, key=lambda d: d[0]), max(dated, key=lambda d: d[0])
                if last[0] > first[0]:
                    return CheckpointPair(first[1], last[1], statistics, unit, last[0] - first[0])
                break
        else:
            undated = [m for m in models if m.step is None and m.epoch is None]
            if len(models) > 1 and undated:
                return CheckpointPair(models[0], undated[-1], statistics)
    raise NotApplicable("no two checkpoints of one model from different steps")
