"""The values of tensors, a block at a time: of every format whose header the readers understand, by no library of it.

Nothing is unpickled and no code of a file runs: values are numbers at known places. What a header promises is held
against the size of the file before room is made for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._weights.binary import Window, shown, window
from mldiag.values.streams import HELD, Held, Inflated, Joined, Span, Stream, bytes_in
from mldiag.values.types import refusal, storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 2**20
"""Bytes of a block: about as much as lies in the cache of a core, so that one can be looked at several times."""
_REPEATED = 64 * 2**20
"""Bytes of a tensor that repeats fewer bytes of its file (`expand`); more are refused: four bytes can promise any."""


class Values:
    """The values of the tensors of one checkpoint.

    Args:
        root: the folder that the paths in the checkpoint are relative to.
    """

    def __init__(self, root: Path, checkpoint: Checkpoint) -> None:
        self._root = root
        self._checkpoint = checkpoint
        self._known: dict[tuple[str, str], Any] = {}

    def dtype(self, tensor: Tensor) -> np.dtype[Any]:
        """The type of the blocks: bits (`uint16`, `uint8`) for those that numpy does not have (`bfloat16`, 8 bits).

        Raises:
            ReadError: the values are no numbers, or not one by one; the reason says which.
        """
        found = storage(tensor.dtype)
        if found is None:
            raise ReadError(refusal(tensor.dtype))
        return found[0]

    def blocks(self, tensor: Tensor, step: int | None = None) -> Iterator[NDArray[Any]]:
        """The values in C order as one-dimensional arrays in the byte order of this machine.

        Each array may be written to, and is overwritten by the next one. All but the last have `step` elements, where
        the values lie in C order in the file; else as many as come.

        Args:
            step: elements of a block; as many as `BLOCK` bytes have where it is not given.

        Raises:
            ReadError: there are none, with the reason.
        """
        if not tensor.count:
            self.dtype(tensor)
            return
        with self._opened(tensor) as (source, swapped):
            dtype = self.dtype(tensor)
            step = step or max(1, BLOCK // dtype.itemsize)
            for block in _of(source, tensor, dtype, step):
                yield block.byteswap(inplace=True) if swapped else block

    def bytes(self, tensor: Tensor) -> Iterator[memoryview]:
        """The bytes as they are stored, in the file's order; of quantised numbers too."""
        with self._opened(tensor) as (source, _):
            if not isinstance(source, Span | Held | Joined | Inflated):
                raise ReadError("its values lie in chunks, which have no order of bytes")
            buffer = bytearray(min(BLOCK, source.size))
            for at in range(0, source.size, BLOCK):
                view = memoryview(buffer)[: source.size - at]
                source.fill(at, view)
                yield view

    @contextmanager
    def _opened(self, tensor: Tensor) -> Iterator[tuple[Any, bool]]:
        """Where the values come from, and whether their bytes have to be turned around."""
        file = File(self._root, tensor.path or self._checkpoint.path)
        found = storage(tensor.dtype)
        wanted = None if found is None else tensor.count * found[0].itemsize
        with window(file) as whole:
            big = False
            if tensor.offset is not None:
                if tensor.size is None:
                    raise ReadError(refusal(tensor.dtype))
                source: Any = Span(whole, tensor.offset, tensor.size)
                big = self._checkpoint.format == "pytorch" and self._is_big(file, whole)
            elif found is None:
                raise ReadError(refusal(tensor.dtype))
            else:
                source, big = self._elsewhere(file, whole, tensor, found[0])
            _check(source, tensor, wanted)
            yield source, found is not None and found[1] != big

    def _elsewhere(self, file: File, whole: Window, tensor: Tensor, dtype: np.dtype[Any]) -> tuple[Any, bool]:
        """The source of values that the header gives no place of."""
        kind = self._checkpoint.format
        if kind == "numpy":
            return _member(whole, tensor.name, tensor.count * dtype.itemsize), False
        if kind == "pytorch":
            return self._pickled(file, whole, tensor, dtype)
        if kind in ("hdf5", "keras"):
            from mldiag.values.hdf5 import Datasets

            return self._once("hdf5", file.path, lambda: Datasets(whole, kind)).source(whole, tensor, dtype), False
        if kind == "onnx":
            from mldiag.readers._weights.onnx import lists
            from mldiag.values.onnx import Listed

            place = self._once("onnx", file.path, lambda: lists(whole)).get(tensor.name)
            if place is None:
                raise ReadError("the file holds no values of it")
            return Listed(whole, *place), False
        if kind == "flax":
            from mldiag.readers._weights.flax import chunks

            parts = self._once("flax", file.path, lambda: chunks(file)).get(tensor.name)
            if not parts:
                raise ReadError("the file holds no values of it")
            return Joined([Span(whole, p.offset or 0, p.size or 0) for p in parts]), False
        if kind == "tensorflow":
            raise ReadError("it was saved in slices, which are not put together")
        raise ReadError("the header does not say where its values lie")

    def _pickled(self, file: File, whole: Window, tensor: Tensor, dtype: np.dtype[Any]) -> tuple[Stream, bool]:
        """Storages that are compressed, and arrays of NumPy, which lie in the pickle itself."""
        from mldiag.readers._weights.pytorch import storages

        parts = self._once("pytorch", file.path, lambda: storages(file, whole))
        stored = parts.tensors.get(tensor.name)
        if stored is not None and stored.held is not None:
            return Held(stored.held), stored.big
        member = None if stored is None or stored.key is None else parts.member(stored)
        if stored is None or member is None:
            raise ReadError("the file holds no values of it (sparse, of another device, or without a storage)")
        size = _extent(tensor) * dtype.itemsize
        archive = type(parts.archive)(whole)
        return _inflated(whole, archive, member, stored.start * dtype.itemsize, size), parts.big

    def _is_big(self, file: File, whole: Window) -> bool:
        from mldiag.readers._weights.pytorch import is_big

        is_zip = file.head.startswith(b"PK\x03\x04")
        return is_zip and bool(self._once("order", file.path, lambda: is_big(whole)))

    def _once(self, what: str, path: str, read: Any) -> Any:
        key = what, path
        if key not in self._known:
            self._known[key] = read()
        return self._known[key]


def _of(source: Any, tensor: Tensor, dtype: np.dtype[Any], step: int) -> Iterator[NDArray[Any]]:
    import numpy as np

    if hasattr(source, "blocks"):
        yield from source.blocks(tensor, dtype, step)
        return
    if tensor.strides is not None:
        from mldiag.values.strides import blocks

        if isinstance(source, Inflated):
            # Compressed bytes cannot be read here and there.
            if source.size > HELD:
                raise ReadError(
                    f"it is compressed and not in C order: {source.size:,} bytes, more than the {HELD:,} held at once"
                )
            held = bytearray(source.size)
            source.fill(0, memoryview(held))
            source = Held(held)
        yield from blocks(source, tensor.shape, tensor.strides, dtype)
        return
    count = tensor.count
    buffer = np.empty(min(step, count), dtype)
    view = bytes_in(buffer)
    for at in range(0, count, step):
        n = min(step, count - at)
        source.fill(at * dtype.itemsize, view[: n * dtype.itemsize])
        yield buffer[:n]


def _extent(tensor: Tensor) -> int:
    from mldiag.values.strides import extent

    return tensor.count if tensor.strides is None else extent(tensor.shape, tensor.strides)


def _check(source: Any, tensor: Tensor, wanted: int | None) -> None:
    """Whether there are as many bytes as the shape asks for, and no fewer than it repeats."""
    size = getattr(source, "size", None)
    if wanted is None or size is None or not tensor.count:
        return
    needed = wanted // tensor.count * _extent(tensor)
    if size < needed:
        raise ReadError(f"{size:,} bytes, where shape {list(tensor.shape)} of {tensor.dtype} asks for {needed:,}")
    if wanted > max(size, _REPEATED):
        raise ReadError(f"it repeats {size:,} bytes to {wanted:,}, more than the {_REPEATED:,} that are read")


def _member(whole: Window, name: str, size: int) -> Inflated:
    """An array of a compressed `.npz`."""
    from mldiag.readers._weights.numpy_headers import header
    from mldiag.readers._weights.zip import Archive

    archive = Archive(whole)
    member = archive.members.get(f"{name}.npy")
    if member is None:
        raise ReadError(f"no array {shown(name)} in the archive")
    return _inflated(whole, archive, member, header(archive.start(member, 2**16), name).start, size)


def _inflated(whole: Window, archive: Any, member: Any, start: int, size: int) -> Inflated:
    from mldiag.readers._weights.zip import DEFLATED

    if member.encrypted:
        raise ReadError("its values are encrypted")
    if member.method != DEFLATED:
        raise ReadError(f"its values are compressed by method {member.method}, which is not understood")
    if start + size > member.size:
        raise ReadError(f"the archive holds {member.size:,} bytes of it, where its shape asks for {start + size:,}")
    return Inflated(whole, archive.offset(member), member.packed, start, size)
