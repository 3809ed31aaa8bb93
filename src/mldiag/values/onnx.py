"""Numbers of an ONNX initializer that stand in the message one by one instead of as raw bytes.

Source: https://github.com/onnx/onnx, `onnx/onnx.proto`, `TensorProto`: types of less than 32 bits lie in `int32_data`,
float16 and the like as their bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mldiag.checkpoints import Tensor
from mldiag.errors import ReadError
from mldiag.readers._protobuf import I32, I64, LEN, Malformed
from mldiag.readers._weights.binary import Window
from mldiag.readers._weights.onnx import numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIXED = {4: "<f4", 10: "<f8"}
_TEXTS = 6
_PIECE = 2**16
_LONE = 2**14
"""Numbers with a field each that are gathered before they are handed on."""


class Listed:
    """One initializer, whose message lies between two positions."""

    def __init__(self, window: Window, start: int, end: int) -> None:
        self._window, self._start, self._end = window, start, end

    def blocks(self, tensor: Tensor, dtype: np.dtype[Any], step: int) -> Iterator[NDArray[Any]]:
        found = 0
        try:
            for block in self._numbers():
                block = _as(block, dtype)
                found += len(block)
                if found > tensor.count:
                    break
                yield block
        except Malformed as error:
            raise ReadError(f"its values are damaged: {error}") from error
        if found != tensor.count:
            raise ReadError(
                f"{'more' if found > tensor.count else f'only {found:,}'} values where it has {tensor.count:,}"
            )

    def _numbers(self) -> Iterator[NDArray[Any]]:
        import numpy as np

        lone: list[int] = []
        raw = bytearray()
        code = ""
        for number, wire, value, size in numbers(self._window, self._start, self._end):
            if number == _TEXTS:
                raise ReadError("its values are text, not numbers")
            if wire == LEN:
                yield from self._fixed(value, size, _FIXED[number]) if number in _FIXED else self._varints(value, size)
            elif wire in (I32, I64):
                code = _FIXED.get(number, "<f4")
                raw += self._window.read(value, size, "its values")
            else:
                lone.append(value)
            if len(lone) >= _LONE or len(raw) >= _PIECE:
                yield np.frombuffer(bytes(raw), code) if raw else np.array(lone, np.uint64)
                lone, raw = [], bytearray()
        if lone or raw:
            yield np.frombuffer(bytes(raw), code) if raw else np.array(lone, np.uint64)

    def _fixed(self, at: int, size: int, code: str) -> Iterator[NDArray[Any]]:
        import numpy as np

        if size % np.dtype(code).itemsize:
            raise ReadError("its values end within a number")
        for start in range(at, at + size, _PIECE):
            yield np.frombuffer(self._window.read(start, min(_PIECE, at + size - start), "its values"), code)

    def _varints(self, at: int, size: int) -> Iterator[NDArray[np.uint64]]:
        import numpy as np

        rest = b""
        for start in range(at, at + size, _PIECE):
            data = rest + self._window.read(start, min(_PIECE, at + size - start), "its values")
            cells = np.frombuffer(data, np.uint8)
            ends = np.flatnonzero(cells < 128)
            behind = int(ends[-1]) + 1 if len(ends) else 0
            rest = data[behind:]
            if len(rest) > 10:
                raise ReadError("its values have a number without end")
            if len(ends):
                yield _decoded(cells[:behind], ends)
        if rest:
            raise ReadError("its values end within a number")


def _decoded(cells: NDArray[np.uint8], ends: NDArray[Any]) -> NDArray[np.uint64]:
    """Numbers of seven bits a byte, the lowest first (protobuf's varint)."""
    import numpy as np

    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    lengths = ends - starts + 1
    if int(lengths.max()) > 10:
        raise ReadError("its values have a number of more than ten bytes")
    out = np.zeros(len(ends), np.uint64)
    for k in range(int(lengths.max())):
        has = lengths > k
        out[has] |= (cells[starts[has] + k] & 127).astype(np.uint64) << np.uint64(7 * k)
    return out


def _as(block: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers as they stand in the list as those of the tensor."""
    import numpy as np

    if dtype.kind == "c":
        if block.dtype.itemsize * 2 != dtype.itemsize or block.dtype.kind != "f" or len(block) % 2:
            raise ReadError("its values stand in a list of another type")
        return block.view(dtype).copy()
    if (block.dtype.kind == "f") != (dtype.kind == "f" and dtype.itemsize > 2):
        raise ReadError("its values stand in a list of another type")
    if block.dtype.kind == "f":
        return block.astype(dtype)
    # A negative number is written as its 64 bits; of bits, the lower ones count.
    return block.astype(np.dtype(f"u{dtype.itemsize}")).view(dtype)
