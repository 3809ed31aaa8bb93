"""Objects in a fractal heap of HDF5, listed by a B-tree of version 2: where groups of the new layout keep many links.

Source: HDF5 File Format Specification 3.0, III.A.2 (B-trees of version 2) and III.G (fractal heaps).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from msgspec import Struct

from mldiag.errors import ReadError
from mldiag.readers._weights.binary import Window

MAX_OBJECTS = 200_000
_MANAGED, _TINY = 0, 2
_LINKS_BY_NAME, _LINKS_BY_ORDER = 5, 6
_NODE_LIMIT = 2**20
_MAX_DEPTH = 16


class _Heap(Struct, frozen=True):
    """A heap: blocks double in size from row to row, `width` of them in each."""

    width: int
    smallest: int
    largest_direct: int
    root: int
    rows: int
    offset_bytes: int
    length_bytes: int


def objects(file: Window, heap_at: int, index_at: int, offsets: int, lengths: int) -> Iterator[bytes]:
    """Every object that the index lists.

    Args:
        offsets, lengths: bytes of an address and of a size in this file.
    """
    heap = _heap(file, heap_at, offsets, lengths)
    for place in _ids(file, index_at, offsets, lengths):
        kind = place[0] >> 4 & 3
        if kind == _TINY:
            yield place[1 : 2 + (place[0] & 15)]
        elif kind == _MANAGED:
            start = int.from_bytes(place[1 : 1 + heap.offset_bytes], "little")
            size = int.from_bytes(place[1 + heap.offset_bytes :][: heap.length_bytes], "little")
            yield file.read(_address(file, heap, start, offsets), size, "a link")
        else:
            raise ReadError("a link of a size that lies outside its heap, which is not understood")


def _heap(file: Window, at: int, offsets: int, lengths: int) -> _Heap:
    size = 22 + 12 * lengths + 3 * offsets
    data = file.read(at, size, "the heap of a group")
    if data[:4] != b"FRHP" or struct.unpack_from("<H", data, 7)[0]:
        raise ReadError("no heap of a group, or one that is compressed, which is not understood")
    (largest_object,) = struct.unpack_from("<I", data, 10)
    where = 14 + 10 * lengths + 2 * offsets
    width = int.from_bytes(data[where : where + 2], "little")
    smallest = int.from_bytes(data[where + 2 : where + 2 + lengths], "little")
    direct = int.from_bytes(data[where + 2 + lengths : where + 2 + 2 * lengths], "little")
    where += 2 + 2 * lengths
    bits = int.from_bytes(data[where : where + 2], "little")
    root = int.from_bytes(data[where + 4 : where + 4 + offsets], "little")
    rows = int.from_bytes(data[where + 4 + offsets : where + 6 + offsets], "little")
    powers = all(0 < n < 2**40 and not n & (n - 1) for n in (width, smallest, direct))
    if not powers or direct < smallest or bits > 64 or rows > 64:
        raise ReadError("a damaged heap of a group")
    length_bytes = min((direct.bit_length() + 6) // 8, (largest_object.bit_length() + 7) // 8)
    return _Heap(width, smallest, direct, root, rows, (bits + 7) // 8, max(1, length_bytes))


def _address(file: Window, heap: _Heap, start: int, offsets: int) -> int:
    """Where in the file a position in the heap lies."""
    block, rows = heap.root, heap.rows
    for _ in range(64):
        if not rows:
            return block + start
        row, size, before = 0, heap.smallest, 0
        while start >= before + heap.width * size:
            before += heap.width * size
            row, size = row + 1, size * (1 if row == 0 else 2)
            if row >= rows:
                raise ReadError("a link that lies outside the heap of its group")
        column = (start - before) // size
        entry = block + 5 + offsets + heap.offset_bytes + (row * heap.width + column) * offsets
        if file.read(block, 4, "a block of a heap") != b"FHIB":
            raise ReadError("a damaged heap of a group")
        block = file.number(entry, offsets, "a block of a heap")
        start -= before + column * size
        # A block too large to hold objects itself holds rows of smaller ones.
        rows = 0 if size <= heap.largest_direct else size.bit_length() - (heap.smallest * heap.width).bit_length() + 1
    raise ReadError("a heap of a group without end")


def _ids(file: Window, at: int, offsets: int, lengths: int) -> Iterator[bytes]:
    """The places of the objects in the heap, in the order of the index."""
    head = file.read(at, 16 + offsets + 2 + lengths, "the index of a group")
    if head[:4] != b"BTHD" or head[5] not in (_LINKS_BY_NAME, _LINKS_BY_ORDER):
        raise ReadError("no index of a group")
    node, record, depth = struct.unpack_from("<IHH", head, 6)
    root = int.from_bytes(head[16 : 16 + offsets], "little")
    (count,) = struct.unpack_from("<H", head, 16 + offsets)
    skipped = 4 if head[5] == _LINKS_BY_NAME else 8
    if not skipped < record <= 64 or not record + 10 < node <= _NODE_LIMIT or depth > _MAX_DEPTH:
        raise ReadError("a damaged index of a group")
    most = (node - 10) // record
    count_bytes = (most.bit_length() + 7) // 8
    # Below a pointer to an inner node stands how many records there are in all, as wide as the most there can be.
    totals, below = [0], most
    for level in range(1, depth + 1):
        pointer = offsets + count_bytes + totals[level - 1]
        fitting = max(0, (node - 10 - pointer) // (record + pointer))
        below = (fitting + 1) * below + fitting
        totals.append((below.bit_length() + 7) // 8)
    nodes = [(root, count, depth)] if count else []
    found = 0
    while nodes:
        address, count, level = nodes.pop()
        found += count + 1
        if found > 2 * MAX_OBJECTS:
            raise ReadError(f"a group of more than {MAX_OBJECTS:,} members")
        data = file.read(address, min(node, file.size - address), "a node of the index of a group")
        if data[:4] != (b"BTIN" if level else b"BTLF"):
            raise ReadError("a damaged node in the index of a group")
        behind = 6 + count * record
        for start in range(6, behind, record):
            if start + record <= len(data):
                yield data[start + skipped : start + record]
        if level:
            step = offsets + count_bytes + totals[level - 1]
            for start in range(behind, behind + (count + 1) * step, step):
                child = int.from_bytes(data[start : start + offsets], "little")
                held = int.from_bytes(data[start + offsets : start + offsets + count_bytes], "little")
                nodes.append((child, held, level - 1))
