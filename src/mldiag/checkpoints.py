"""Checkpoints as their headers show them: which tensors, of what shape and type. Values are not read here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

from msgspec import Struct, field

from mldiag.artifacts import Collection, Scalar, Source


class Tensor(Struct, frozen=True):
    """One stored tensor.

    Attributes:
        dtype: in the spelling of NumPy and PyTorch (`float32`, `bfloat16`, `int64`); quantised blocks keep the format's
            own name (`q8_0`).
        offset, size: where its bytes lie in the file and how many they are; None where the header does not say, or
            they lie in another file or a compressed member.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int | None = None
    size: int | None = None

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)


class Checkpoint(Struct, frozen=True, dict=True):
    """One file, or one set of files, of weights.

    Attributes:
        format: `safetensors`, `pytorch`, `numpy`, `gguf`, `hdf5`, `onnx`, `tensorflow`, `flax`.
        metadata: scalars that the header holds beside the tensors (`step`, `epoch`, `format`, hyperparameters).
        source: the file.
    """

    format: str
    tensors: tuple[Tensor, ...]
    source: Source
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.source.path

    @cached_property
    def by_name(self) -> Mapping[str, Tensor]:
        return {t.name: t for t in self.tensors}

    @property
    def count(self) -> int:
        """Elements of all tensors; one that is stored twice counts twice."""
        return sum(t.count for t in self.tensors)


class Checkpoints(Collection, frozen=True):
    """The checkpoints of a run."""

    of = Checkpoint
    called = "checkpoints"

    items: tuple[Checkpoint, ...] = ()
