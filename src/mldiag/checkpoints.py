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
        name: as stored; keys of nested containers are joined with `/`, since the keys themselves hold dots
            (`model/encoder.weight`, `params/Dense_0/kernel`). Empty for a file that is one unnamed array.
        dtype: in the spelling of NumPy and PyTorch (`float32`, `bfloat16`, `int64`); quantised blocks keep the format's
            own name (`q8_0`), and so do types that neither library has (`object`, `string`).
        offset, size: where its bytes lie in the file and how many they span; None where the header does not say, or
            where they are compressed or in pieces. Tensors that share memory have the same offset.
        path: the file they lie in, relative to the run's root; None where it is the checkpoint's own.
        strides: in elements, where the values do not lie in C order; None where they do.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int | None = None
    size: int | None = None
    path: str | None = None
    strides: tuple[int, ...] | None = None

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)


class Checkpoint(Struct, frozen=True, dict=True):
    """One file, or one set of files, of weights.

    Attributes:
        format: `safetensors`, `pytorch`, `numpy`, `gguf`, `hdf5`, `keras`, `onnx`, `tensorflow`, `flax`.
        metadata: scalars, and short lists of them, that the header holds beside the tensors (`step`, `epoch`,
            `hyper_parameters.lr`), nested keys joined with dots.
        source: the file; of a set, its index.
        calls: what loading a pickle would import and call beyond rebuilding tensors (`package.module.Name`); it was
            not called here.
    """

    format: str
    tensors: tuple[Tensor, ...]
    source: Source
    metadata: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)
    calls: tuple[str, ...] = ()

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
