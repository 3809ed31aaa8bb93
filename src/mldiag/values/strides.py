"""Values that do not lie in C order, brought into it block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mldiag.errors import ReadError
from mldiag.values.streams import Stream, bytes_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 4 * 2**20
"""Bytes of a block that is gathered from all over the file."""
_NEAR = 2**18
"""Bytes that are rather read in one go, needed or not, than piece by piece."""
_MOST_READS = 2**22
"""Pieces of a tensor: that many take some seconds."""


def extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first to the last."""
    return 0 if 0 in shape else sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1


def blocks(
    stream: Stream, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """The values in C order, block by block; strides count elements, and are not below zero."""
    import numpy as np

    if max(extent(shape, strides), math.prod(shape)) * dtype.itemsize <= _BLOCK:
        buffer = np.empty(extent(shape, strides), dtype)
        stream.fill(0, bytes_in(buffer))
        view = np.lib.stride_tricks.as_strided(buffer, shape, [s * dtype.itemsize for s in strides])
        # A row may be as long as all of it, so the copy into C order is made as a whole.
        yield np.ascontiguousarray(view).reshape(-1)
        return
    gather = _Gather(stream, dtype)
    yield from gather.blocks(0, shape, strides)


class _Gather:
    def __init__(self, stream: Stream, dtype: np.dtype[Any]) -> None:
        self._stream = stream
        self._dtype = dtype
        self._left = _MOST_READS

    def blocks(self, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Iterator[NDArray[Any]]:
        import numpy as np

        row = math.prod(shape[1:]) * self._dtype.itemsize
        if row > _BLOCK:
            for i in range(shape[0]):
                yield from self.blocks(start + i * strides[0], shape[1:], strides[1:])
            return
        step = max(1, _BLOCK // max(row, 1))
        for i in range(0, shape[0], step):
            block = np.empty((min(step, shape[0] - i), *shape[1:]), self._dtype)
            self._into(block, start + i * strides[0], strides)
            yield block.reshape(-1)

    def _into(self, block: NDArray[Any], start: int, strides: tuple[int, ...]) -> None:
        """Fills a block: what lies close together is read as one, what does not is halved where it is widest."""
        import numpy as np

        span = extent(block.shape, strides)
        size = span * self._dtype.itemsize
        if size <= _NEAR or (span <= 2 * block.size and size <= 2 * _BLOCK):
            self._left -= 1
            if self._left < 0:
                raise ReadError(f"its values lie in more than the {_MOST_READS:,} pieces that are read")
            buffer = np.empty(span, self._dtype)
            self._stream.fill(start * self._dtype.itemsize, bytes_in(buffer))
            block[...] = np.lib.stride_tricks.as_strided(
                buffer, block.shape, [s * self._dtype.itemsize for s in strides]
            )
            return
        axis = max(range(block.ndim), key=lambda a: (block.shape[a] - 1) * strides[a])
        before, middle = (slice(None),) * axis, block.shape[axis] // 2
        self._into(block[(*before, slice(0, middle))], start, strides)
        self._into(block[(*before, slice(middle, None))], start + middle * strides[axis], strides)
