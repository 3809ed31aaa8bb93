"""The weights of an ONNX model, found by seeking over everything else.

Source: https://github.com/onnx/onnx, `onnx/onnx.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct, field

from mldiag.artifacts import Artifact, Scalar
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File, size_of
from mldiag.readers._protobuf import I32, I64, LEN, VARINT, Malformed, signed, varint
from mldiag.readers._weights.binary import ITEM_SIZES, MAX_RANK, MAX_TENSORS, Window, listed, shape_of, shown, window

TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn_x2", 24: "float8_e8m0fnu",
}  # fmt: skip
MAX_TEXT = 4_096
MAX_FIELDS = 2_000_000
"""Fields that are walked through; the graphs of the largest language models have some hundred thousand."""
MAX_TEXTS = 32 * 2**20
"""Bytes of all names and properties together."""
MAX_PROPERTIES = 2_000

_GRAPH, _INITIALIZER = 7, 5
_TEXTS = {2: "producer_name", 3: "producer_version", 4: "domain"}
_NUMBERS = {1: "ir_version", 5: "model_version"}
_PROPERTIES = 14
# Of a TensorProto; the lists hold numbers in the message itself.
_RAW, _EXTERNAL, _LISTS = 9, 13, frozenset({4, 5, 6, 7, 10, 11})
_PLACE = frozenset({"location", "offset", "length"})
_PACKED = {4: "float32", 10: "float64"}
"""Lists whose bytes are those of the tensor, where they stand in one piece."""


class _Walk:
    """Fields of messages in a file, by position."""

    PIECE = 2**16

    def __init__(self, window: Window) -> None:
        self.window = window
        self._piece = b""
        self._from = 0
        self._left = MAX_FIELDS
        self._texts = MAX_TEXTS

    def bytes(self, at: int, size: int) -> bytes:
        """Up to so many bytes."""
        start = at - self._from
        if start < 0 or start + size > len(self._piece):
            self._piece, self._from, start = self.window.some(at, max(size, self.PIECE)), at, 0
        return self._piece[start : start + size]

    def fields(self, at: int, end: int, *, cut: bool = False) -> Iterator[tuple[int, int, int, int]]:
        """Number and wire type of each field, and its value, or where its bytes begin and how many they are.

        With `cut`, what is there of a last field that is cut comes before the error.
        """
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise ReadError(f"more than the {MAX_FIELDS:,} fields that are looked at")
            head = self.bytes(at, min(20, end - at))
            tag, used = varint(head, 0)
            number, wire = tag >> 3, tag & 7
            if not number:
                raise Malformed("a field with the number 0")
            if wire == VARINT:
                value, used = varint(head, used)
                yield number, wire, value, 0
                at += used
                continue
            if wire == LEN:
                size, used = varint(head, used)
            elif wire in (I64, I32):
                size = 8 if wire == I64 else 4
            else:
                raise Malformed(f"wire type {wire}")
            if at + used + size > end:
                if cut and wire == LEN:
                    yield number, wire, at + used, end - at - used
                raise Malformed("a field that is cut")
            yield number, wire, at + used, size
            at += used + size

    def text(self, at: int, size: int) -> str:
        if size > MAX_TEXT:
            return ""
        self._texts -= size
        if self._texts < 0:
            raise Malformed(f"more than the {MAX_TEXTS:,} bytes of names that are read")
        return self.bytes(at, size).decode("utf-8", "replace")

    def count(self, more: int) -> None:
        """Counts what is read like fields, but is none."""
        self._left -= more


class _Weight(Struct):
    name: str = ""
    kind: int = 0
    dims: list[int] = field(default_factory=list)
    raw: tuple[int, int] | None = None
    packed: tuple[int, int, int] | None = None
    filled: bool = False
    external: dict[str, str] = field(default_factory=dict)


def read(file: File) -> Iterator[Artifact]:
    """What a model holds, then what is wrong with it."""
    metadata: dict[str, Scalar] = {}
    weights: list[_Weight] = []
    trouble, graph = "", False
    with window(file) as whole:
        walk = _Walk(whole)
        try:
            for number, wire, value, size in walk.fields(0, whole.size, cut=True):
                if number == _GRAPH and wire == LEN:
                    graph = True
                    for inner, kind, at, length in walk.fields(value, value + size):
                        if inner == _INITIALIZER and kind == LEN:
                            if len(weights) == MAX_TENSORS:
                                raise Malformed(f"more than the {MAX_TENSORS:,} tensors that are read")
                            weights.append(_weight(walk, at, at + length))
                elif number in _TEXTS and wire == LEN:
                    metadata[_TEXTS[number]] = walk.text(value, size)
                elif number in _NUMBERS and wire == VARINT:
                    metadata[_NUMBERS[number]] = signed(value)
                elif number == _PROPERTIES and wire == LEN and len(metadata) < MAX_PROPERTIES:
                    key, text = _entry(walk, value, size)
                    metadata[key] = text
        except Malformed as error:
            trouble = f"no ONNX model, or a damaged one: {error}, after {len(weights):,} tensors"
            if not weights and not metadata:
                raise ReadError(trouble) from error
    if not metadata and not weights:
        raise ReadError("no ONNX model: neither a producer nor a graph was found")
    if not graph and not trouble:
        trouble = "an ONNX model without its graph (cut file)"
    tensors, troubles = _tensors(file, weights)
    yield Checkpoint("onnx", tuple(tensors), file.at(), metadata)
    if trouble or troubles:
        told = f"{len(troubles):,} of {len(weights):,} tensors are wrong: {listed(troubles)}" if troubles else ""
        raise ReadError("; ".join(filter(None, (trouble, told))), partial=True)


def lists(window: Window) -> dict[str, tuple[int, int]]:
    """By name, where the message of each initializer begins and ends whose numbers stand in it one by one."""
    walk = _Walk(window)
    found: dict[str, tuple[int, int]] = {}
    with suppress(Malformed, ReadError):
        for number, wire, value, size in walk.fields(0, window.size, cut=True):
            if number != _GRAPH or wire != LEN:
                continue
            for inner, kind, at, length in walk.fields(value, value + size):
                if inner == _INITIALIZER and kind == LEN and len(found) < MAX_TENSORS:
                    weight = _weight(walk, at, at + length)
                    if weight.filled and weight.raw is None:
                        found.setdefault(weight.name, (at, at + length))
    return found


def numbers(window: Window, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of one initializer that hold its numbers, as `_Walk.fields` gives them."""
    for field_ in _Walk(window).fields(start, end):
        if field_[0] in _LISTS:
            yield field_


def _weight(walk: _Walk, start: int, end: int) -> _Weight:
    found = _Weight()
    for number, wire, value, size in walk.fields(start, end):
        if number == 1 and wire == VARINT:
            found.dims.append(signed(value))
        elif number == 1 and wire == LEN and size <= 10 * MAX_RANK:
            data, at = walk.bytes(value, size), 0
            while at < len(data):
                dim, at = varint(data, at)
                found.dims.append(signed(dim))
            walk.count(len(found.dims))
        elif number == 2 and wire == VARINT:
            found.kind = value
        elif number == 8 and wire == LEN:
            found.name = walk.text(value, size)
        elif number == _RAW and wire == LEN:
            found.raw = value, size
        elif number == _EXTERNAL and wire == LEN:
            key, text = _entry(walk, value, size)
            if key in _PLACE:
                found.external[key] = text
        elif number in _PACKED and wire == LEN and found.raw is None and not found.filled:
            found.packed = number, value, size
            found.filled = True
        elif number in _LISTS:
            found.packed, found.filled = None, True
        if len(found.dims) > MAX_RANK:
            raise Malformed(f"a tensor of more than {MAX_RANK} dimensions")
    return found


def _entry(walk: _Walk, at: int, size: int) -> tuple[str, str]:
    """Key and value of a `StringStringEntryProto`."""
    texts = {n: walk.text(v, s) for n, w, v, s in walk.fields(at, at + size) if w == LEN}
    return texts.get(1, ""), texts.get(2, "")


def _tensors(file: File, weights: list[_Weight]) -> tuple[list[Tensor], list[str]]:
    tensors, troubles = [], []
    folder = file.path[: len(file.path) - len(file.name)]
    sizes: dict[str, int | None] = {}
    for weight in weights:
        shape = shape_of(weight.dims)
        if shape is None:
            troubles.append(f"{shown(weight.name)}: the shape {weight.dims[:8]}")
            continue
        dtype = TYPES.get(weight.kind, f"type {weight.kind}")
        item = ITEM_SIZES.get(dtype)
        tensor = Tensor(weight.name, shape, dtype)
        wanted = None if item is None else tensor.count * item
        if weight.external:
            offset, size, path, trouble = _external(file, folder, weight.external, wanted, sizes)
            tensor = Tensor(weight.name, shape, dtype, offset, size, path)
            if trouble:
                troubles.append(f"{shown(weight.name)}: {trouble}")
        elif weight.raw is not None:
            tensor = Tensor(weight.name, shape, dtype, *weight.raw)
            if wanted is not None and weight.raw[1] != wanted:
                troubles.append(f"{shown(weight.name)}: {weight.raw[1]:,} bytes for shape {list(shape)} of {dtype}")
        elif weight.packed is not None and _PACKED[weight.packed[0]] == dtype and weight.packed[2] == wanted:
            tensor = Tensor(weight.name, shape, dtype, *weight.packed[1:])
        elif not weight.filled and tensor.count:
            troubles.append(f"{shown(weight.name)}: no values")
        tensors.append(tensor)
    return tensors, troubles


def _external(
    file: File, folder: str, entry: dict[str, str], wanted: int | None, sizes: dict[str, int | None]
) -> tuple[int | None, int | None, str | None, str]:
    """Where the numbers lie that a file beside the model holds, and what is wrong with that."""
    name = entry.get("location", "")
    if not name or name.startswith("/") or ".." in name.split("/") or "\\" in name:
        return None, None, None, f"its values lie in {name[:80]!r}, which is no file beside the model"
    if name not in sizes:
        sizes[name] = size_of(file.root, folder + name)
    held = sizes[name]
    if held is None:
        return None, None, folder + name, f"its values lie in {name}, which is missing"
    numbers = [entry.get("offset", "0"), entry.get("length", "")]
    offset, length = (int(n) if n.isdecimal() and len(n) < 20 else None for n in numbers)
    if offset is None:
        return None, None, folder + name, f"its values lie at {numbers[0][:40]!r}, which is no number"
    length = wanted if length is None else length
    trouble = ""
    if length is not None and offset + length > held:
        trouble = f"its values reach to byte {offset + length:,} of {name}, which has {held:,}"
    elif wanted is not None and length != wanted:
        trouble = f"{length:,} bytes where its shape asks for {wanted:,}"
    return offset, length, folder + name, trouble
