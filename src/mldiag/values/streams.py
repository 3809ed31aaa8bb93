"""Bytes of a tensor by position: in one piece of a file, in several, compressed, or at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mldiag.errors import ReadError
from mldiag.readers._weights.binary import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

HELD = 8 * 2**20
"""Bytes that are held at once where they cannot be read in the order in which they are wanted."""
_PIECE = 2**16
_DEFLATE_RATIO = 1032
"""DEFLATE makes no more of a byte (RFC 1951: 258 bytes of a match in two bits)."""


class Stream(Protocol):
    """So many bytes, that can be put into a buffer."""

    size: int

    def fill(self, at: int, view: memoryview) -> None:
        """Fills a buffer with the bytes from a position on; `ReadError` where they are not there."""


def bytes_in(buffer: NDArray[Any]) -> memoryview:
    """The memory of a contiguous array, to be filled."""
    import numpy as np

    return buffer.view(np.uint8).data


class Span:
    """A piece of a file."""

    def __init__(self, window: Window, offset: int, size: int) -> None:
        # Checked before anything is made room for: a header may promise any number of bytes.
        if offset < 0 or size < 0 or offset + size > window.size:
            raise ReadError(
                f"its values should be bytes {offset:,} to {offset + size:,}, but there are only {window.size:,} "
                "(cut file)"
            )
        self._window = window
        self._offset = offset
        self.size = size

    def fill(self, at: int, view: memoryview) -> None:
        self._window.fill(self._offset + at, view, "its values")


class Joined:
    """Pieces one behind the other."""

    def __init__(self, parts: Sequence[Stream]) -> None:
        self._parts = parts
        self.size = sum(p.size for p in parts)

    def fill(self, at: int, view: memoryview) -> None:
        for part in self._parts:
            if not view.nbytes:
                return
            if at < part.size:
                count = min(view.nbytes, part.size - at)
                part.fill(at, view[:count])
                view, at = view[count:], 0
            else:
                at -= part.size


class Held:
    """Bytes at hand."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = memoryview(data)
        self.size = len(data)

    def fill(self, at: int, view: memoryview) -> None:
        view[:] = self._data[at : at + view.nbytes]


class Inflated:
    """A piece of a file that DEFLATE compressed, unpacked as it is asked for, front to back.

    Args:
        offset, packed: where the compressed bytes lie, and how many they are.
        start, size: of what is unpacked, the part that is wanted.
    """

    def __init__(self, window: Window, offset: int, packed: int, start: int, size: int) -> None:
        if offset + packed > window.size:
            raise ReadError(f"its compressed values reach to byte {offset + packed:,} of {window.size:,} (cut file)")
        if start + size > packed * _DEFLATE_RATIO + _PIECE:
            raise ReadError(f"{packed:,} compressed bytes cannot hold the {start + size:,} that the header promises")
        self._window, self._offset, self._packed, self._start = window, offset, packed, start
        self.size = size
        self._restart()

    def _restart(self) -> None:
        import zlib

        self._machine: Any = zlib.decompressobj(-15)
        self._read = 0
        self._at = 0
        self._pass(self._start)
        self._at = 0

    def fill(self, at: int, view: memoryview) -> None:
        if at < self._at:
            self._restart()
        self._pass(at - self._at)
        filled = 0
        while filled < view.nbytes:
            piece = self._some(view.nbytes - filled)
            view[filled : filled + len(piece)] = piece
            filled += len(piece)

    def _pass(self, count: int) -> None:
        while count:
            count -= len(self._some(min(count, _PIECE)))

    def _some(self, most: int) -> bytes:
        """The next bytes, at least one."""
        import zlib

        while not self._machine.eof:
            packed = self._machine.unconsumed_tail
            if not packed and self._read < self._packed:
                packed = self._window.some(self._offset + self._read, min(_PIECE, self._packed - self._read))
                self._read += len(packed)
            try:
                found: bytes = self._machine.decompress(packed, min(most, 4 * _PIECE))
            except zlib.error as error:
                raise ReadError(f"its values cannot be unpacked: {error}") from error
            if found:
                self._at += len(found)
                return found
            if not packed:
                break
        raise ReadError("its compressed values end before the shape is filled (cut file)")
