"""What only a look at every value of a checkpoint tells: NaN, extremes, moments, constant rows of each tensor.

Tensors are read one by one when a rule asks for them, in blocks of bounded size, each once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from mldiag.checkpoints import Checkpoint, Checkpoints, Tensor
from mldiag.errors import NotApplicable, ReadError
from mldiag.facts import fact
from mldiag.run import Run

if TYPE_CHECKING:
    from mldiag.stats.tensors import Summary
    from mldiag.values import Values

MOST_BYTES = 2**38
"""Bytes of tensors that are read of one run: 256 GiB, more than a model of 20 billion parameters with Adam's moments
in float32. A gigabyte takes 0.2 s from memory and what the disk takes else, so all of it some minutes."""

TURNED = 2**25
"""Bytes of a transposed tensor up to which its rows are put together: of a gigabyte that takes a minute. Larger ones
are read in the order they lie in, and nothing is said of their rows."""


class TensorStatistics(Struct, frozen=True, dict=True):
    """The checkpoints of a run with what the values of each tensor say."""

    checkpoints: tuple[Checkpoint, ...]
    root: Path
    limit: int = MOST_BYTES

    def of(self, checkpoint: Checkpoint, tensor: Tensor | str) -> Summary:
        """What the values of one tensor say; tensors that are the same bytes are read once.

        Raises:
            NotApplicable: there is no such tensor, or it cannot be read; the message is the reason.
        """
        found = self._of(checkpoint, self._tensor(checkpoint, tensor))
        if isinstance(found, str):
            raise NotApplicable(found)
        return found

    def each(self, checkpoint: Checkpoint) -> Iterator[tuple[Tensor, Summary]]:
        """The tensors that can be read, in their order in the file."""
        for tensor in checkpoint.tensors:
            found = self._of(checkpoint, tensor)
            if not isinstance(found, str):
                yield tensor, found

    def refused(self, checkpoint: Checkpoint) -> Iterator[tuple[Tensor, str]]:
        """The others, with the reason. Reads what was not read yet."""
        for tensor in checkpoint.tensors:
            found = self._of(checkpoint, tensor)
            if isinstance(found, str):
                yield tensor, found

    def values(self, checkpoint: Checkpoint) -> Values:
        """A way to the values themselves, for what one pass does not tell."""
        from mldiag.values import Values

        known: dict[str, Values] = self.__dict__.setdefault("_values", {})
        if checkpoint.path not in known:
            known[checkpoint.path] = Values(self.root, checkpoint)
        return known[checkpoint.path]

    def _tensor(self, checkpoint: Checkpoint, tensor: Tensor | str) -> Tensor:
        if isinstance(tensor, Tensor):
            return tensor
        named = checkpoint.by_name.get(tensor)
        if named is None:
            raise NotApplicable(f"{checkpoint.path} has no tensor {tensor}")
        return named

    def _of(self, checkpoint: Checkpoint, tensor: Tensor) -> Summary | str:
        known: dict[object, Summary | str] = self.__dict__.setdefault("_known", {})
        path = tensor.path or checkpoint.path
        place = tensor.name if tensor.offset is None else tensor.offset
        key = path, place, tensor.dtype, tensor.shape, tensor.strides
        if key not in known:
            try:
                known[key] = self._read(checkpoint, tensor)
            except ReadError as error:
                known[key] = f"{path}, {tensor.name or 'the array'}: {error.reason}"
        return known[key]

    def _read(self, checkpoint: Checkpoint, tensor: Tensor) -> Summary:
        from mldiag.stats.tensors import step_for, summary

        values = self.values(checkpoint)
        size = tensor.count * values.dtype(tensor).itemsize
        read = self.__dict__.setdefault("_bytes", 0) + size
        if read > self.limit:
            raise ReadError(f"more than the {self.limit / 2**30:,.0f} GiB of values that are read of one run")
        self.__dict__["_bytes"] = read
        if size > TURNED and _is_dense(tensor):
            tensor = replace(tensor, shape=(tensor.count,), strides=None)
        return summary(values.blocks(tensor, step_for(tensor.dtype, tensor.shape)), tensor.dtype, tensor.shape)


def _is_dense(tensor: Tensor) -> bool:
    """Whether the values lie in one piece without gaps, only in another order than C's."""
    if tensor.strides is None:
        return False
    step = 1
    for stride, n in sorted((s, n) for s, n in zip(tensor.strides, tensor.shape, strict=True) if n > 1):
        if stride != step:
            return False
        step *= n
    return True


@fact
def tensor_statistics(run: Run, checkpoints: Checkpoints) -> TensorStatistics:
    """The checkpoints with a way to their values."""
    return TensorStatistics(tuple(checkpoints), run.root)
