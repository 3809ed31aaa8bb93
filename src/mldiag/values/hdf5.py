"""Datasets of HDF5 that do not lie in one piece: in the header, in chunks, compressed.

Source: HDF5 File Format Specification 3.0, III.A.1 (B-trees of version 1), IV.A.2.i (layout), IV.A.2.l (filters).
Understood are chunks that a B-tree of version 1 lists, as h5py and Keras write them, one chunk alone, and chunks one
behind the other; gzip, shuffle and Fletcher's checksum, which is passed over.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from mldiag.checkpoints import Tensor
from mldiag.errors import ReadError
from mldiag.readers._weights.binary import Window
from mldiag.readers._weights.hdf5 import Dataset, Hdf5
from mldiag.values.streams import HELD, Held

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CHUNKS = 2**16
"""Chunks of a dataset; h5py makes them of some hundred kilobytes to a megabyte."""
MAX_CHUNK = 4 * 2**20
"""Bytes of a chunk; libhdf5 keeps no more than one megabyte of them at hand."""
_SLAB = 8 * 2**20
_MOST_OFTEN = 16
"""How often a chunk is unpacked at most, where the rows it reaches over do not fit into memory together."""
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_COMPACT, _CONTIGUOUS, _CHUNKED = 0, 1, 2
_NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32015: "zstd"}


class Datasets:
    """The datasets of a file, with what their values went through.

    Args:
        kind: `keras` for an archive with the file in it.
    """

    def __init__(self, whole: Window, kind: str) -> None:
        base, size = 0, whole.size
        if kind == "keras":
            from mldiag.readers._weights.zip import STORED, Archive

            archive = Archive(whole)
            member = archive.members.get("model.weights.h5")
            if member is None or member.method != STORED:
                raise ReadError("its weights are compressed in the archive, which Keras does not do")
            base, size = archive.offset(member), member.packed
        tree = Hdf5(whole.part(base, size))
        self._base = tree.file.base
        self._size = tree.file.size
        self._widths = tree.widths
        self._by_name = {d.name: d for d in tree.datasets}

    def source(self, whole: Window, tensor: Tensor, dtype: np.dtype[Any]) -> Any:
        found = self._by_name.get(tensor.name)
        if found is None:
            raise ReadError("the file holds no values of it")
        data = found.layout
        try:
            return self._source(whole.part(self._base, self._size), found, data, dtype)
        except (struct.error, IndexError) as error:
            raise ReadError(f"how its values lie cannot be read: {error}") from error

    def _source(self, file: Window, found: Dataset, data: bytes, dtype: np.dtype[Any]) -> Any:
        if len(data) < 2 or data[0] not in (3, 4):
            raise ReadError(f"how its values lie is told in version {data[0] if data else 0}, where 3 and 4 are known")
        if data[1] == _COMPACT:
            (size,) = struct.unpack_from("<H", data, 2)
            return Held(data[4 : 4 + size])
        if data[1] == _CONTIGUOUS:
            raise ReadError("its values were never written")
        if data[1] != _CHUNKED:
            raise ReadError("its values lie in other files")
        steps = _filters(found.filters)
        if data[0] == 3:
            rank = data[2] - 1
            root = int.from_bytes(data[3 : 3 + self._widths[0]], "little")
            sizes = struct.unpack_from(f"<{rank + 1}I", data, 3 + self._widths[0])
            chunk = self._shape(found, sizes[:-1], dtype)
            places = _tree(file, root, rank, self._widths[0], found.shape, chunk)
        else:
            rank, width = data[3] - 1, data[4]
            sizes = tuple(int.from_bytes(data[5 + i * width :][:width], "little") for i in range(rank + 1))
            chunk = self._shape(found, sizes[:-1], dtype)
            places = self._without_tree(data, 5 + (rank + 1) * width, chunk, dtype, found.shape)
        return Chunked(file, chunk, places, steps)

    def _shape(self, found: Dataset, chunk: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
        if len(chunk) != len(found.shape) or not all(chunk):
            raise ReadError(f"chunks of shape {list(chunk)} for a dataset of {list(found.shape)}")
        if math.prod(chunk) * dtype.itemsize > MAX_CHUNK:
            raise ReadError(
                f"its chunks have {math.prod(chunk) * dtype.itemsize:,} bytes, more than the {MAX_CHUNK:,} held at once"
            )
        count = math.prod(-(-n // c) for n, c in zip(found.shape, chunk, strict=True))
        if count > MAX_CHUNKS:
            raise ReadError(f"it lies in {count:,} chunks, more than the {MAX_CHUNKS:,} that are looked up")
        return chunk

    def _without_tree(
        self, data: bytes, at: int, chunk: tuple[int, ...], dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> dict[int, tuple[int, int, int]]:
        """Layout of version 4: the index is one chunk, or all of them lie one behind the other."""
        kind, flags, at = data[at], data[2], at + 1
        size = math.prod(chunk) * dtype.itemsize
        if kind == 1:
            mask = 0
            if flags & 2:
                size = int.from_bytes(data[at : at + self._widths[1]], "little")
                (mask,) = struct.unpack_from("<I", data, at + self._widths[1])
                at += self._widths[1] + 4
            return {0: (int.from_bytes(data[at : at + self._widths[0]], "little"), size, mask)}
        if kind == 2:
            start = int.from_bytes(data[at : at + self._widths[0]], "little")
            count = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
            return {i: (start + i * size, size, 0) for i in range(count)}
        names = {3: "a fixed array", 4: "an extensible array", 5: "a B-tree of version 2"}
        raise ReadError(f"its chunks are listed by {names.get(kind, f'index {kind}')}, which is not understood")


def _filters(data: bytes) -> list[int]:
    """What the values went through, in order (IV.A.2.l)."""
    if not data:
        return []
    version, count = data[0], data[1]
    at = 8 if version == 1 else 2
    found = []
    for _ in range(count):
        (kind,) = struct.unpack_from("<H", data, at)
        length = 0
        if version == 1 or kind >= 256:
            (length,) = struct.unpack_from("<H", data, at + 2)
            at += 8
        else:
            at += 6
        (values,) = struct.unpack_from("<H", data, at - 2)
        at += (-(-length // 8) * 8 if version == 1 else length) + 4 * (values + (values % 2 if version == 1 else 0))
        if kind not in (_DEFLATE, _SHUFFLE, _FLETCHER):
            raise ReadError(f"its values are compressed by {_NAMES.get(kind, f'filter {kind}')}, which is not read")
        found.append(kind)
    return found


def _tree(
    file: Window, root: int, rank: int, width: int, shape: tuple[int, ...], chunk: tuple[int, ...]
) -> dict[int, tuple[int, int, int]]:
    """By the number of the chunk in C order: address, bytes there, filters that were left out."""
    if root == 256**width - 1:
        return {}
    grid = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    key = 8 + 8 * (rank + 1)
    found: dict[int, tuple[int, int, int]] = {}
    nodes, seen = [root], set[int]()
    while nodes:
        at = nodes.pop()
        if at in seen or len(seen) > 2 * MAX_CHUNKS:
            raise ReadError("the index of its chunks has no end")
        seen.add(at)
        head = file.read(at, 8, "the index of its chunks")
        if head[:5] != b"TREE\x01":
            raise ReadError(f"no index of chunks at byte {at:,}")
        level, used = head[5], int.from_bytes(head[6:8], "little")
        entries = file.read(at + 8 + 2 * width, used * (key + width), "the index of its chunks")
        for start in range(0, len(entries), key + width):
            address = int.from_bytes(entries[start + key : start + key + width], "little")
            if level:
                nodes.append(address)
                continue
            size, mask, *begin = struct.unpack_from(f"<II{rank}Q", entries, start)
            number = 0
            for n, c, cells in zip(begin, chunk, grid, strict=True):
                if n % c or n // c >= cells:
                    raise ReadError(f"a chunk at {begin}, where there is none")
                number = number * cells + n // c
            found[number] = address, size, mask
    return found


class Chunked:
    """A dataset in chunks."""

    def __init__(
        self, file: Window, chunk: tuple[int, ...], places: dict[int, tuple[int, int, int]], steps: list[int]
    ) -> None:
        self._file, self._chunk, self._places, self._steps = file, chunk, places, steps

    def blocks(self, tensor: Tensor, dtype: np.dtype[Any], step: int) -> Iterator[NDArray[Any]]:
        """Slabs of as many rows as a chunk has, or as fit into memory."""
        import numpy as np

        shape, chunk = tensor.shape, self._chunk
        grid = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
        if len(self._places) < math.prod(grid):
            missing = math.prod(grid) - len(self._places)
            raise ReadError(f"{missing:,} of its {math.prod(grid):,} chunks were never written")
        row = math.prod(shape[1:]) * dtype.itemsize
        rows = min(chunk[0], _SLAB // max(row, 1))
        if rows == 0 or -(-chunk[0] // rows) > _MOST_OFTEN:
            raise ReadError(f"its chunks reach over {chunk[0] * row:,} bytes, more than the {HELD:,} held at once")
        per_row = math.prod(grid[1:])
        for begin in range(0, shape[0], chunk[0]):
            for first in range(begin, min(begin + chunk[0], shape[0]), rows):
                count = min(rows, begin + chunk[0] - first, shape[0] - first)
                slab = np.empty((count, *shape[1:]), dtype)
                number = begin // chunk[0] * per_row
                for cell in product(*(range(n) for n in grid[1:])):
                    piece = self._decoded(number, dtype)[first - begin : first - begin + count]
                    number += 1
                    where = tuple(
                        slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(cell, chunk[1:], shape[1:], strict=True)
                    )
                    slab[(slice(None), *where)] = piece[(slice(None), *(slice(0, w.stop - w.start) for w in where))]
                yield slab.reshape(-1)

    def _decoded(self, number: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        import zlib

        import numpy as np

        address, size, mask = self._places[number]
        wanted = math.prod(self._chunk) * dtype.itemsize
        if size > wanted + wanted // 8 + 1024:
            raise ReadError(f"a chunk of {size:,} bytes for {wanted:,}")
        data = self._file.read(address, size, "a chunk of its values")
        for index in reversed(range(len(self._steps))):
            if mask >> index & 1:
                continue
            kind = self._steps[index]
            if kind == _FLETCHER:
                data = data[:-4]
            elif kind == _DEFLATE:
                try:
                    data = zlib.decompressobj().decompress(data, wanted + 4)
                except zlib.error as error:
                    raise ReadError(f"a chunk of its values cannot be unpacked: {error}") from error
            elif len(data) >= wanted:
                # The first bytes of all elements, then the second ones, and so on.
                cells = np.frombuffer(data, np.uint8, wanted).reshape(dtype.itemsize, -1)
                data = np.ascontiguousarray(cells.T).tobytes() + data[wanted:]
        if len(data) < wanted:
            raise ReadError(f"a chunk of its values has {len(data):,} bytes, not {wanted:,}")
        return np.frombuffer(data, dtype, math.prod(self._chunk)).reshape(self._chunk)
