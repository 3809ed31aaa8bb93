"""MessagePack as Flax writes it, walked through without reading the arrays.

Sources: https://github.com/msgpack/msgpack/blob/master/spec.md; Flax, `flax/serialization.py` (`_MsgpackExtType`,
`_chunk`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

from mldiag.artifacts import Artifact, Scalar
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._weights.binary import MAX_RANK, MAX_TENSORS, Window, bytes_of, listed, shape_of, shown, window

ARRAY, _COMPLEX, NUMBER = 1, 2, 3
"""Flax' extension types: an array, a complex number, a number of NumPy."""
MAX_VALUES = 1_000_000
MAX_DEPTH = 64
MAX_TEXT = 1_000
MAX_NAME = 2_000
"""Longest name of a value with those of all it lies in."""
MAX_SCALARS = 2_000
_CHUNKED = "__msgpack_chunked_array__"

_NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h",
            0xD2: ">i", 0xD3: ">q"}  # fmt: skip
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_LISTS, _MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}
_SCALARS = {"float32": "<f", "float64": "<d", "float16": "<e", "int8": "<b", "int16": "<h", "int32": "<i",
            "int64": "<q", "uint8": "<B", "uint16": "<H", "uint32": "<I", "uint64": "<Q", "bool": "<?"}  # fmt: skip


class _Bad(ValueError):
    """Bytes that are no MessagePack, or more than are read."""


class _Walk:
    PIECE = 2**14

    def __init__(self, window: Window) -> None:
        self._window = window
        self._piece = b""
        self._from = 0
        self._left = MAX_VALUES
        self.at = 0
        self.tensors: list[Tensor] = []
        self.chunks: dict[str, list[Tensor]] = {}
        self.scalars: dict[str, Scalar] = {}
        self.troubles: list[str] = []

    def take(self, size: int) -> bytes:
        start = self.at - self._from
        if start < 0 or start + size > len(self._piece):
            if self.at + size > self._window.size:
                raise _Bad(f"the file ends at byte {self._window.size:,}, within a value (cut file)")
            self._piece, self._from, start = self._window.some(self.at, max(size, self.PIECE)), self.at, 0
        if start + size > len(self._piece):
            raise _Bad(f"the file ends at byte {self._window.size:,}, within a value (cut file)")
        self.at += size
        return self._piece[start : start + size]

    def skip(self, size: int) -> None:
        if self.at + size > self._window.size:
            raise _Bad(f"the file ends at byte {self._window.size:,}, within a value (cut file)")
        self.at += size

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def value(self, name: str, depth: int = 0) -> None:
        """A value, noted by the name it has in the tree."""
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise _Bad(f"more than the {MAX_VALUES:,} values, or the {MAX_DEPTH} levels, that are looked at")
        if len(name) > MAX_NAME:
            raise _Bad(f"a name of more than {MAX_NAME:,} characters")
        self._left -= len(name) // 50  # each value has a copy of the names it lies in
        kind = self.take(1)[0]
        if 0x80 <= kind < 0x90 or kind in _MAPS:
            self.map(name, self.number(_MAPS[kind]) if kind in _MAPS else kind & 15, depth)
        elif 0x90 <= kind < 0xA0 or kind in _LISTS:
            size = self.number(_LISTS[kind]) if kind in _LISTS else kind & 15
            for index in range(size):
                self.value(f"{name}/{index}", depth + 1)
        elif kind in _EXTENSIONS or kind in _FIXED:
            size = _FIXED[kind] if kind in _FIXED else self.number(_EXTENSIONS[kind])
            self.extension(name, self.take(1)[0], size)
        elif kind in _BYTES:
            self.skip(self.number(_BYTES[kind]))
        else:
            self.scalar(name, kind)

    def map(self, name: str, count: int, depth: int) -> None:
        tensors, scalars = len(self.tensors), len(self.scalars)
        chunked = False
        for _ in range(count):
            key = self.key()
            chunked = chunked or key == _CHUNKED
            self.value(f"{name}/{key}" if name else key, depth + 1)
        if chunked:
            self.join(name, tensors, scalars)

    def join(self, name: str, tensors: int, scalars: int) -> None:
        """One tensor of the chunks that an array over a gigabyte is written in; its shape stands beside them."""
        sizes = []
        while len(self.scalars) > scalars:
            key, value = self.scalars.popitem()
            if key.rpartition("/")[0].endswith("shape"):
                sizes.append(value)
        shape, chunks = shape_of(sizes[::-1]), self.tensors[tensors:]
        if shape is not None and chunks:
            self.tensors[tensors:] = [Tensor(name, shape, chunks[0].dtype)]
            self.chunks[name] = chunks

    def key(self) -> str:
        kind = self.take(1)[0]
        if 0xA0 <= kind <= 0xBF:
            size = kind & 31
        elif kind in _TEXTS:
            size = self.number(_TEXTS[kind])
        elif kind < 0x80:
            return str(kind)
        elif kind in _NUMBERS:
            return str(struct.unpack(_NUMBERS[kind], self.take(struct.calcsize(_NUMBERS[kind])))[0])
        else:
            raise _Bad(f"a key of type 0x{kind:02x} at byte {self.at:,}")
        if size > MAX_TEXT:
            raise _Bad(f"a key of {size:,} bytes")
        return self.take(size).decode("utf-8", "replace")

    def scalar(self, name: str, kind: int) -> None:
        found: Scalar
        if kind < 0x80 or kind >= 0xE0:
            found = kind if kind < 0x80 else kind - 256
        elif kind in (0xC0, 0xC2, 0xC3):
            found = {0xC0: None, 0xC2: False, 0xC3: True}[kind]
        elif kind in _NUMBERS:
            found = struct.unpack(_NUMBERS[kind], self.take(struct.calcsize(_NUMBERS[kind])))[0]
        elif 0xA0 <= kind <= 0xBF or kind in _TEXTS:
            size = self.number(_TEXTS[kind]) if kind in _TEXTS else kind & 31
            if size > MAX_TEXT:
                self.skip(size)
                return
            found = self.take(size).decode("utf-8", "replace")
        else:
            raise _Bad(f"a value of type 0x{kind:02x} at byte {self.at:,}")
        self.note(name, found)

    def note(self, name: str, found: Scalar) -> None:
        if len(self.scalars) < MAX_SCALARS:
            self.scalars[name] = found

    def extension(self, name: str, kind: int, size: int) -> None:
        """An array or a number: a message of its own with shape, type and bytes."""
        start, end = self.at, self.at + size
        if kind not in (ARRAY, NUMBER):
            self.skip(size)
            return
        if end > self._window.size:
            cut = True
            end = self._window.size
        else:
            cut = False
        shape, dtype, length = self.inner(end)
        if shape is None:
            raise _Bad(f"{shown(name)} at byte {start:,} has no shape, type and bytes")
        at = self.at
        if kind == NUMBER:
            packing = _SCALARS.get(dtype)
            data = self.take(min(length, 64))
            if packing and struct.calcsize(packing) == length:
                self.note(name, struct.unpack(packing, data)[0])
        else:
            if len(self.tensors) == MAX_TENSORS:
                raise _Bad(f"more than the {MAX_TENSORS:,} arrays that are looked at")
            self.tensors.append(Tensor(name, shape, dtype, at, length))
            wanted = bytes_of(shape, dtype)
            if wanted is not None and wanted != length:
                self.troubles.append(f"{shown(name)}: {length:,} bytes for shape {list(shape)} of {dtype}")
        if cut:
            raise _Bad(f"the file ends at byte {self._window.size:,}, within {shown(name)} (cut file)")
        self.at = end

    def inner(self, end: int) -> tuple[tuple[int, ...] | None, str, int]:
        """Shape, type and number of bytes; then the bytes follow."""
        if self.take(1)[0] != 0x93:
            return None, "", 0
        kind = self.take(1)[0]
        if kind in _LISTS:
            rank = self.number(_LISTS[kind])
        elif 0x90 <= kind < 0xA0:
            rank = kind & 15
        else:
            return None, "", 0
        if rank > MAX_RANK:
            return None, "", 0
        self._left -= rank
        sizes = [self.integer() for _ in range(rank)]
        dtype = self.key()
        kind = self.take(1)[0]
        length = self.number(_BYTES[kind]) if kind in _BYTES else -1
        return shape_of(sizes) if length >= 0 and self.at <= end else None, dtype, length

    def integer(self) -> int:
        kind = self.take(1)[0]
        if kind < 0x80:
            return kind
        packing = _NUMBERS.get(kind)
        if packing is None or kind < 0xCC:
            return -1
        found: int = struct.unpack(packing, self.take(struct.calcsize(packing)))[0]
        return found


def chunks(file: File) -> dict[str, list[Tensor]]:
    """Of arrays that were written in chunks, where these lie, by name."""
    with window(file) as whole:
        walk = _Walk(whole)
        with suppress(_Bad):
            walk.value("")
    return walk.chunks


def read(file: File) -> Iterator[Artifact]:
    """What a file holds, then what is wrong with it."""
    trouble = ""
    with window(file) as whole:
        walk = _Walk(whole)
        try:
            walk.value("")
            if walk.at < whole.size:
                trouble = f"{whole.size - walk.at:,} bytes behind the end of the checkpoint"
        except _Bad as error:
            trouble = str(error)
    if not walk.tensors and trouble:
        raise ReadError(f"no checkpoint of Flax: {trouble}")
    scalars = {name.replace("/", "."): value for name, value in walk.scalars.items()}
    yield Checkpoint("flax", tuple(walk.tensors), file.at(), scalars)
    if trouble or walk.troubles:
        raise ReadError("; ".join(filter(None, (trouble, listed(walk.troubles)))), partial=True)
