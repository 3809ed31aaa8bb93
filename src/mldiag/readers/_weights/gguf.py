"""The header of the GGUF format.

Source: https://github.com/ggml-org/ggml, `docs/gguf.md`, and `ggml/src/ggml.c` for the sizes of blocks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from mldiag.artifacts import Artifact, Scalar
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._weights.binary import MAX_TENSORS, Window, listed, shape_of, shown, window
from mldiag.tokens import Tokenizer

MAX_TEXT = 1_000
MAX_ENTRIES = 20_000
"""Entries of the metadata; models have some dozen."""
MAX_NAME = 256
"""Bytes of a tensor's name; ggml itself stops at 64."""
_MAX_DIMS = 8  # ggml itself stops at 4
MAX_ITEMS = 50_000_000
"""Items of all arrays together that are passed over one by one."""
_NESTED = 50  # how much longer that takes where an item is an array itself

TYPES = {
    0: ("float32", 1, 4), 1: ("float16", 1, 2), 2: ("q4_0", 32, 18), 3: ("q4_1", 32, 20), 6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24), 8: ("q8_0", 32, 34), 9: ("q8_1", 32, 36), 10: ("q2_k", 256, 84), 11: ("q3_k", 256, 110),
    12: ("q4_k", 256, 144), 13: ("q5_k", 256, 176), 14: ("q6_k", 256, 210), 15: ("q8_k", 256, 292),
    16: ("iq2_xxs", 256, 66), 17: ("iq2_xs", 256, 74), 18: ("iq3_xxs", 256, 98), 19: ("iq1_s", 256, 50),
    20: ("iq4_nl", 32, 18), 21: ("iq3_s", 256, 110), 22: ("iq2_s", 256, 82), 23: ("iq4_xs", 256, 136),
    24: ("int8", 1, 1), 25: ("int16", 1, 2), 26: ("int32", 1, 4), 27: ("int64", 1, 8), 28: ("float64", 1, 8),
    29: ("iq1_m", 256, 56), 30: ("bfloat16", 1, 2), 34: ("tq1_0", 256, 54), 35: ("tq2_0", 256, 66),
    39: ("mxfp4", 32, 17),
}  # fmt: skip
"""Name, elements of a block, bytes of a block."""

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9
_KINDS = {"gpt2": "bpe", "bert": "wordpiece", "t5": "unigram", "llama": "sentencepiece"}
_SPECIAL = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad", "cls": "cls", "seperator": "sep",
            "separator": "sep", "mask": "mask"}  # fmt: skip


class _Cursor:
    """Reads on from a position, in pieces."""

    PIECE = 2**20

    def __init__(self, window: Window, at: int, wide: bool) -> None:
        self._window = window
        self._piece = b""
        self._from = at
        self.at = at
        self.wide = wide

    def take(self, size: int) -> bytes:
        start = self.at - self._from
        if start + size > len(self._piece):
            if size > self._window.size - self.at:
                raise ReadError(f"the header ends after {self._window.size:,} bytes (cut file)")
            self._piece = self._window.some(self.at, max(size, self.PIECE))
            self._from, start = self.at, 0
            if size > len(self._piece):
                raise ReadError(f"the header ends after {self._window.size:,} bytes (cut file)")
        self.at += size
        return self._piece[start : start + size]

    def skip(self, size: int) -> None:
        if size > self._window.size - self.at:
            raise ReadError(f"the header ends after {self._window.size:,} bytes (cut file)")
        self.at += size
        if self.at - self._from > len(self._piece):
            self._piece, self._from = b"", self.at

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def skip_texts(self, count: int) -> None:
        """Goes behind texts: a vocabulary has hundreds of thousands, so within a piece they are passed in one loop."""
        width, length = (8, struct.Struct("<Q")) if self.wide else (4, struct.Struct("<I"))
        while count:
            piece, at, last = self._piece, self.at - self._from, len(self._piece) - width
            while count and at <= last:
                at += width + length.unpack_from(piece, at)[0]
                count -= 1
            self.skip(self._from + at - self.at)
            if count:
                self.skip(self.length())
                count -= 1

    def length(self) -> int:
        """Version 1 counts in 32 bits, later ones in 64."""
        return self.number(8 if self.wide else 4)

    def text(self) -> str:
        size = self.length()
        if size > MAX_TEXT:
            self.skip(size)
            return ""
        return self.take(size).decode("utf-8", "replace")


def read(file: File) -> Iterator[Artifact]:
    """What a file holds, then what is wrong with it."""
    with window(file) as whole:
        version = whole.number(4, 4, "the version")
        if version not in (1, 2, 3):
            if version in (0x01000000, 0x02000000, 0x03000000):
                raise ReadError("a GGUF file of the other byte order (big endian), which is not read")
            raise ReadError(f"GGUF version {version}, where 1 to 3 are known")
        cursor = _Cursor(whole, 8, version > 1)
        count, entries = cursor.length(), cursor.length()
        if count > MAX_TENSORS or entries > MAX_ENTRIES:
            raise ReadError(
                f"{count:,} tensors and {entries:,} entries of metadata are promised: the header is damaged"
            )
        metadata, lengths = _metadata(cursor, entries)
        tensors, troubles = _tensors(cursor, count, _alignment(metadata), file.size)
    architecture = metadata.get("general.architecture")
    kept = {k: v for k, v in metadata.items() if v != ""} | ({"version": version} if architecture else {})
    yield Checkpoint("gguf", tuple(tensors), file.at(), kept)
    size = lengths.get("tokenizer.ggml.tokens")
    if size:
        kind = _KINDS.get(str(metadata.get("tokenizer.ggml.model")), "vocab")
        yield Tokenizer(file.at(key="tokenizer.ggml.tokens"), kind, size, size - 1, _special(metadata, size))
    if troubles:
        raise ReadError(f"{len(troubles):,} of {count:,} tensors are wrong: {listed(troubles)}", partial=True)


def _alignment(metadata: dict[str, Scalar]) -> int:
    said = metadata.get("general.alignment")
    return said if type(said) is int and 0 < said <= 2**20 else 32


def _special(metadata: dict[str, Scalar], size: int) -> dict[str, int]:
    found = {}
    for name, role in _SPECIAL.items():
        number = metadata.get(f"tokenizer.ggml.{name}_token_id")
        if type(number) is int and 0 <= number < size:
            found[role] = number
    return dict(sorted(found.items()))


def _metadata(cursor: _Cursor, entries: int) -> tuple[dict[str, Scalar], dict[str, int]]:
    """Scalars by key, and of arrays their length."""
    scalars: dict[str, Scalar] = {}
    lengths: dict[str, int] = {}
    left = [MAX_ITEMS]
    for _ in range(entries):
        key = cursor.text()
        kind = cursor.number(4)
        if kind == _ARRAY:
            lengths[key] = _pass_array(cursor, left, 0)
        elif kind == _TEXT:
            scalars[key] = cursor.text()
        else:
            scalars[key] = _scalar(cursor, kind)
    return scalars, lengths


def _scalar(cursor: _Cursor, kind: int) -> Scalar:
    packing = _SCALARS.get(kind)
    if packing is None:
        raise ReadError(f"metadata of type {kind}, where 0 to 12 are known: the header is damaged")
    value: Scalar = struct.unpack(packing, cursor.take(struct.calcsize(packing)))[0]
    return value


def _pass_array(cursor: _Cursor, left: list[int], depth: int) -> int:
    """Goes behind an array; returns its length."""
    kind, count = cursor.number(4), cursor.length()
    if kind in _SCALARS:
        cursor.skip(struct.calcsize(_SCALARS[kind]) * count)
        return count
    left[0] -= count * (_NESTED if kind == _ARRAY else 1)
    if left[0] < 0 or depth > 8 or kind not in (_TEXT, _ARRAY):
        raise ReadError("an array in the metadata is damaged")
    if kind == _TEXT:
        cursor.skip_texts(count)
        return count
    for _ in range(count):
        _pass_array(cursor, left, depth + 1)
    return count


def _tensors(cursor: _Cursor, count: int, alignment: int, size: int) -> tuple[list[Tensor], list[str]]:
    found: list[Tensor] = []
    for _ in range(count):
        name, rank = cursor.text(), cursor.number(4)
        if rank > _MAX_DIMS or len(name) > MAX_NAME:
            raise ReadError(f"{shown(name)} has {rank:,} dimensions or too long a name: the header is damaged")
        sizes = [cursor.length() for _ in range(rank)][::-1]
        shape = shape_of(sizes)
        if shape is None:
            raise ReadError(f"{shown(name)} has the shape {sizes}: the header is damaged")
        kind, at = cursor.number(4), cursor.number(8)
        dtype, block, width = TYPES.get(kind, (f"type {kind}", 0, 0))
        span = math.prod(shape) // block * width if block and math.prod(shape) % block == 0 else None
        found.append(Tensor(name, shape, dtype, at, span))
    start = -(-cursor.at // alignment) * alignment
    tensors, troubles = [], []
    for tensor in found:
        at = start + (tensor.offset or 0)
        if at + (tensor.size or 0) > size:
            troubles.append(f"{shown(tensor.name)} reaches to byte {at + (tensor.size or 0):,} of {size:,}")
        if tensor.size is None and not tensor.dtype.startswith("type "):
            told = f"{tensor.count:,} elements are no whole number of {tensor.dtype} blocks"
            troubles.append(f"{shown(tensor.name)}: {told}")
        tensors.append(Tensor(tensor.name, tensor.shape, tensor.dtype, at, tensor.size))
    return tensors, troubles
