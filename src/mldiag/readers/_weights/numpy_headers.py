"""The header of an array of NumPy.

Source: `numpy/lib/format.py` of NumPy 2.4 (format versions 1.0 to 3.0).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from msgspec import Struct

from mldiag.artifacts import Artifact
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers._weights.binary import listed, shape_of, shown, window
from mldiag.readers._weights.zip import STORED, Archive
from mldiag.vocabulary import split_of

MAGIC = b"\x93NUMPY"
_SHORT = 1024  # bytes in which nearly every header ends
LONGEST = 2**20
"""Bytes of a header; NumPy itself refuses to parse one over 10,000 that it does not trust."""

_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}
_NAMED = {"O": "object", "U": "str", "S": "bytes", "a": "bytes", "M": "datetime64", "m": "timedelta64"}
_TOKENS = lazily(r"(^|[\W_])(tokens?|tokeni[sz]ed|token_?ids|input_?ids|corpus|ids)([\W_]|\d|$)")
_ID_TYPES = frozenset({"uint16", "uint32", "int32", "int64", "uint64", ">u2", ">u4", ">i4", ">i8"})


class Header(Struct, frozen=True):
    """One array: `item` bytes an element, or None; `start` is where its values begin, behind the header."""

    dtype: str
    shape: tuple[int, ...]
    fortran: bool
    item: int | None
    start: int


def header(data: bytes, name: str) -> Header:
    """The header that an array begins with.

    Raises:
        ReadError: there is none, or it is damaged.
    """
    if data[:6] != MAGIC or len(data) < 12:
        raise ReadError(f"{shown(name)} does not begin with the magic bytes of NumPy")
    width = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    if data[6] not in (1, 2, 3) or length > LONGEST:
        raise ReadError(f"{shown(name)} has a header of version {data[6]} and {length:,} bytes: not understood")
    start = 8 + width + length
    if len(data) < start:
        raise ReadError(f"{shown(name)} ends within its header (cut file)")
    text = data[8 + width : start].decode("utf-8", "replace")
    shape_text = re.search(r"'shape':\s*\(([\d\s,L]*)\)", text)
    order = re.search(r"'fortran_order':\s*(True|False)", text)
    descr = re.search(r"'descr':\s*(?:'([^']{1,40})'|(\[))", text)
    if not shape_text or not order or not descr:
        raise ReadError(f"{shown(name)} has a header without descr, fortran_order and shape")
    numbers = [p.strip().removesuffix("L") for p in shape_text[1].split(",") if p.strip()]
    shape = shape_of([int(n) for n in numbers if len(n) < 20 and n.isdecimal()])
    if shape is None or len(shape) != len(numbers):
        raise ReadError(f"{shown(name)} has the shape ({shown(shape_text[1], 40)}), which is none")
    dtype, item = _dtype(descr[1]) if descr[1] else ("structured", None)
    return Header(dtype, shape, order[1] == "True" and len(shape) > 1, item, start)


def _dtype(descr: str) -> tuple[str, int | None]:
    """The type by the name of NumPy, and its bytes."""
    found = re.fullmatch(r"([<>|=]?)([?a-zA-Z])(\d{0,5})(?:\[.*\])?", descr)
    if not found:
        return descr, None
    order, kind, digits = found.groups()
    size = int(digits) if digits else 1
    if kind in ("b", "?"):
        return "bool", 1
    if kind == "O":
        return "object", None
    if kind == "V":
        return f"void{8 * size}", size
    if kind == "U":
        return "str", 4 * size
    if kind not in _KINDS:
        return _NAMED.get(kind, descr), size
    return (f">{kind}{size}" if order == ">" and size > 1 else f"{_KINDS[kind]}{8 * size}"), size


def read(file: File) -> Iterator[Artifact]:
    """The arrays of a file, then what is wrong with them."""
    with window(file) as whole:
        if file.head.startswith(b"PK"):
            yield from _archive(file, Archive(whole))
            return
        data = whole.some(0, 2**16)
        if data[:6] == MAGIC and int.from_bytes(data[8:12], "little") <= LONGEST and data[6:7] in (b"\2", b"\3"):
            data = whole.some(0, 12 + int.from_bytes(data[8:12], "little"))
        found = header(data, "the file")
    tensor = _tensor("", found, found.start)
    yield Checkpoint("numpy", (tensor,), file.at())
    if trouble := cut(file, found):
        raise ReadError(trouble, partial=True)


def cut(file: File, found: Header) -> str:
    """What is missing of an array's values; empty where nothing is."""
    wanted = found.start + math.prod(found.shape) * (found.item or 0)
    if file.size >= wanted:
        return ""
    return f"{file.size:,} bytes where shape {list(found.shape)} of {found.dtype} asks for {wanted:,} (cut file)"


def _archive(file: File, archive: Archive) -> Iterator[Artifact]:
    tensors, troubles = [], []
    for member in archive.members.values():
        if not member.name.endswith(".npy"):
            continue
        try:
            data = archive.start(member, _SHORT)
            found = header(archive.start(member, 2**16) if len(data) == _SHORT else data, member.name)
            start = archive.offset(member) + found.start if member.method == STORED else None
        except ReadError as error:
            troubles.append(error.reason)
            continue
        tensor = _tensor(member.name.removesuffix(".npy"), found, start)
        tensors.append(tensor)
        if found.item is not None and found.start + math.prod(found.shape) * found.item > member.size:
            troubles.append(f"{member.name} is shorter than its shape {list(found.shape)} asks for")
    if not tensors and troubles:
        raise ReadError(f"no array can be read: {listed(troubles)}")
    yield Checkpoint("numpy", tuple(tensors), file.at())
    if troubles:
        raise ReadError(f"{len(troubles):,} arrays are damaged: {listed(troubles)}", partial=True)


def _tensor(name: str, found: Header, start: int | None) -> Tensor:
    size = None if found.item is None or start is None else math.prod(found.shape) * found.item
    strides: tuple[int, ...] | None = None
    if found.fortran:
        steps, step = [], 1
        for n in found.shape:
            steps.append(step)
            step *= max(n, 1)
        strides = tuple(steps)
    return Tensor(name, found.shape, found.dtype, None if size is None else start, size, None, strides)


def of_tokens(file: File) -> Header | None:
    """The header of an array that holds token ids, as its name and type say; None for every other."""
    stem = file.name.lower().rsplit(".", 1)[0]
    bare = re.sub(r"[_-]?\d+$", "", stem)
    # A one-dimensional `train.npy` of whole numbers is text; `train_labels.npy` and `y_train.npy` are not.
    named = bool(_TOKENS.search(stem)) or bare in ("train", "val", "valid", "validation", "test", "train_data")
    try:
        found = header(file.head, "the file")
    except ReadError:
        return None
    short = (
        found.dtype in ("uint16", "uint32")
        and bool(split_of(bare))
        and not re.search(r"label|target|(^|_)y(_|$)", stem)
    )
    return found if len(found.shape) == 1 and found.dtype in _ID_TYPES and (named or short) else None
