"""Binary files read piece by piece at known positions: what the readers of checkpoints share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from mldiag.errors import ReadError, os_reason
from mldiag.files import File

HEADER_LIMIT = 100_000_000
"""Largest header, in bytes, that is read; the limit of the safetensors library (`MAX_HEADER_SIZE`)."""

MAX_RANK = 64
"""Dimensions of a tensor; NumPy 2 stops at 64, every other format at fewer."""

MAX_TENSORS = 200_000
"""Tensors of a file; the largest models, with experts and the state of an optimizer, have some ten thousand."""

MAX_JSON = 4_000_000
"""Brackets, commas and colons of a JSON document in a header: a tensor has about 13; each costs 70 bytes at most."""

ITEM_SIZES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16, "complex32": 4,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "qint8": 1, "quint8": 1, "qint32": 4,
}  # fmt: skip
"""Bytes of an element by its type; types of less than a byte are not here."""


class Window:
    """A file, or a part of one that is a file of its own, read by position.

    Args:
        base: where the part begins; positions count from there.
        size: bytes of the part.
    """

    def __init__(self, stream: BinaryIO, size: int, base: int = 0) -> None:
        self._stream = stream
        self.size = size
        self.base = base

    def read(self, at: int, size: int, what: str) -> bytes:
        """Exactly these bytes.

        Raises:
            ReadError: the file ends before; `what` names the part of the format that is cut.
        """
        if at < 0 or at + size > self.size:
            raise ReadError(
                f"{what} should be bytes {at:,} to {at + size:,}, but there are only {self.size:,} (cut file)"
            )
        data = self.some(at, size)
        if len(data) < size:
            raise ReadError(f"{what} is cut: {len(data):,} of {size:,} bytes are there")
        return data

    def some(self, at: int, size: int) -> bytes:
        """Up to so many bytes: fewer at the end of the part."""
        try:
            self._stream.seek(self.base + at)
            return self._stream.read(max(0, min(size, self.size - at)))
        except (OSError, OverflowError) as error:
            reason = os_reason(error) if isinstance(error, OSError) else "a position beyond what a file can have"
            raise ReadError(f"cannot be read: {reason}") from error

    def fill(self, at: int, view: memoryview, what: str) -> None:
        """Exactly these bytes, into a buffer that is used again.

        Raises:
            ReadError: as of `read`.
        """
        size = view.nbytes
        if at < 0 or at + size > self.size:
            raise ReadError(
                f"{what} should be bytes {at:,} to {at + size:,}, but there are only {self.size:,} (cut file)"
            )
        try:
            self._stream.seek(self.base + at)
            filled = 0
            while filled < size:
                more = self._stream.readinto(view[filled:])  # type: ignore[attr-defined]
                if not more:
                    raise ReadError(f"{what} is cut: {filled:,} of {size:,} bytes are there")
                filled += more
        except OSError as error:
            raise ReadError(f"cannot be read: {os_reason(error)}") from error

    def number(self, at: int, size: int, what: str) -> int:
        """An unsigned little-endian number."""
        return int.from_bytes(self.read(at, size, what), "little")

    def part(self, at: int, size: int) -> Window:
        """A file inside this one."""
        return Window(self._stream, min(size, max(0, self.size - at)), self.base + at)


@contextmanager
def window(file: File) -> Iterator[Window]:
    """A file to read by position; refuses an empty one and a Git LFS pointer."""
    if not file.size or not file.head:
        raise ReadError("the file is empty")
    with file.open() as stream:
        yield Window(stream, file.size)


def shape_of(numbers: object) -> tuple[int, ...] | None:
    """A shape: whole numbers that are not negative, of which there are not too many; None for anything else.

    The elements must be countable in 63 bits even where one dimension is 0: no library makes others.
    """
    shape = sizes_of(numbers)
    count = 1
    for size in shape or ():
        count *= size or 1
        if count >= 2**63:
            return None
    return shape


def sizes_of(numbers: object) -> tuple[int, ...] | None:
    """Whole numbers that are not negative, of which there are not too many (strides, offsets); None for others."""
    if not isinstance(numbers, list | tuple) or len(numbers) > MAX_RANK:
        return None
    if not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
        return None
    return tuple(numbers)


def decoded(data: bytes, what: str, most: int = MAX_JSON) -> Any:
    """A JSON document from a header. Each bracket of two characters would cost 64 bytes, so they are counted first.

    Raises:
        ReadError: no JSON, or too much of it.
    """
    if sum(data.count(c) for c in (b"[", b"{", b",", b":")) > most:
        raise ReadError(f"{what} has more than the {most:,} values and separators that are read")
    import msgspec

    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ReadError(f"{what} is not valid JSON: {error}") from error


def bytes_of(shape: tuple[int, ...], dtype: str) -> int | None:
    """Bytes of a dense tensor; None for types whose elements have no size of their own."""
    size = ITEM_SIZES.get(dtype)
    return None if size is None else math.prod(shape) * size


def shown(name: str, longest: int = 80) -> str:
    """A name from a file as a message can have it: on one line, not too long."""
    printable = "".join(c if c.isprintable() else "?" for c in name[: longest + 1])
    return printable if len(printable) <= longest else f"{printable[: longest - 3]}..."


def listed(names: list[str], few: int = 3) -> str:
    """The first of several remarks, shortened, for a message."""
    told = ", ".join(shown(n, 150) for n in names[:few])
    return told if len(names) <= few else f"{told} and {len(names) - few:,} more"
