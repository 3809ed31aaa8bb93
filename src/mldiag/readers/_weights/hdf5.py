"""The tree of an HDF5 file: groups, datasets and the attributes of the root, without their values.

Source: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (HDF5 File Format Specification 3.0); the
numbers of sections below are its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from msgspec import Struct

from mldiag.artifacts import Scalar
from mldiag.errors import ReadError
from mldiag.readers._weights.binary import MAX_RANK, Window, bytes_of, shape_of, shown

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 200_000
MAX_DEPTH = 64
MAX_BLOCKS = 10_000
"""Continuations of one object header; blocks that point to each other would never end."""
MAX_HEADER = 16 * 2**20
MAX_TEXT = 2**20
MAX_NAME = 4_096
MAX_READ = 256 * 2**20
"""Bytes of the structure, without values: 200,000 datasets take half of it."""
MAX_STEPS = 2_000_000
"""Messages, links and texts; a dataset has about eight."""
MAX_CHARACTERS = 32 * 2**20
"""Of all names with those of the groups they lie in, and of all texts of the root."""

_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _LAYOUT, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = 1, 2, 3, 6, 8, 12, 16, 17
_FILTERS = 11
_SHARED = 2


class Dataset(Struct, frozen=True):
    """An array: `offset` and `size` of its bytes where they lie in one piece.

    Attributes:
        layout, filters: the messages that say how its values lie and what they went through (IV.A.2.i, IV.A.2.l).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int | None
    size: int | None
    layout: bytes = b""
    filters: bytes = b""


class _Counted(Window):
    """A part of a file whose reads are counted: blocks that lie on or in each other could be read for ever."""

    def __init__(self, whole: Window) -> None:
        super().__init__(whole._stream, whole.size, whole.base)
        self._bytes = min(4 * whole.size + 2**16, MAX_READ)
        self._reads = 2 * MAX_STEPS

    def some(self, at: int, size: int) -> bytes:
        self._bytes -= max(0, min(size, self.size - at))
        self._reads -= 1
        if self._bytes < 0 or self._reads < 0:
            raise ReadError("its blocks lie on each other, or are more than are read")
        return super().some(at, size)


class _Message(Struct, frozen=True):
    kind: int
    flags: int
    data: bytes


class Hdf5:
    """The content of a file.

    Attributes:
        troubles: what could not be followed.
        file: from where addresses count; `widths`: bytes of an address and of a length.
    """

    def __init__(self, window: Window) -> None:
        self._whole = window
        self.datasets: list[Dataset] = []
        self.attributes: dict[str, Scalar] = {}
        self.troubles: list[str] = []
        self._texts: dict[int, dict[int, bytes]] = {}
        self._steps = MAX_STEPS
        self._characters = MAX_CHARACTERS
        root = self._superblock()
        self._walk(root)

    def _superblock(self) -> int:
        whole = self._whole
        start = next((at for at in (0, 512, 1024, 2048, 4096) if whole.some(at, 8) == SIGNATURE), None)
        if start is None:
            raise ReadError("no HDF5 file: its signature was not found")
        head = whole.read(start, 28, "the superblock")
        version = head[8]
        if version > 3:
            raise ReadError(f"a superblock of version {version}, where 0 to 3 are known")
        self._offsets, self._lengths = (head[13], head[14]) if version < 2 else (head[9], head[10])
        if self._offsets not in (2, 4, 8) or self._lengths not in (2, 4, 8):
            raise ReadError("a damaged superblock: sizes of numbers that there are not")
        self._none = 256**self._offsets - 1
        at = start + (12 if version >= 2 else 24 if version == 0 else 28)
        fields = whole.read(at, 6 * self._offsets, "the superblock")
        numbers = [
            int.from_bytes(fields[i : i + self._offsets], "little") for i in range(0, len(fields), self._offsets)
        ]
        base, end, root = numbers[0], numbers[2], numbers[5 if version < 2 else 3]
        self.widths = self._offsets, self._lengths
        # Addresses count from the base address, which is where the superblock lies.
        self._file = _Counted(whole.part(base, whole.size) if base and base < whole.size else whole)
        self._base = base
        self.file = self._file
        if end > whole.size:
            self.troubles.append(f"the file has {whole.size:,} bytes where its superblock says {end:,} (cut file)")
        return root

    def _walk(self, root: int) -> None:
        nodes = [(root, "", 0)]
        seen: set[int] = set()
        while nodes:
            address, name, depth = nodes.pop()
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MAX_OBJECTS or depth > MAX_DEPTH:
                self.troubles.append(f"more than {MAX_OBJECTS:,} objects or {MAX_DEPTH} levels: the rest is left out")
                return
            try:
                messages = list(self._messages(address))
                below = list(self._object(messages, name))
                self._keep((len(name) + 1) * len(below))
            except (ReadError, struct.error, IndexError) as error:
                if not name:
                    raise ReadError(f"the root group cannot be read: {error}") from error
                self.troubles.append(f"{shown(name)}: {error}")
                continue
            nodes += [(at, f"{name}/{key}" if name else key, depth + 1) for key, at in reversed(below)]

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise ReadError(f"more than the {MAX_STEPS:,} messages and links that are read")

    def _keep(self, characters: int) -> None:
        self._characters -= characters
        if self._characters < 0:
            raise ReadError(f"more than the {MAX_CHARACTERS:,} characters of names and texts that are kept")

    def _name(self, data: bytes) -> str:
        if len(data) > MAX_NAME:
            raise ReadError(f"a name of {len(data):,} bytes")
        self._step()
        self._keep(len(data))
        return data.decode("utf-8", "replace")

    def _object(self, messages: list[_Message], name: str) -> Iterator[tuple[str, int]]:
        """Notes a dataset; of a group, the names in it and where they lie."""
        kinds = {m.kind for m in messages}
        if _DATASPACE in kinds and _DATATYPE in kinds:
            self.datasets.append(self._dataset(messages, name))
            return
        for message in messages:
            if message.kind == _SYMBOL_TABLE:
                tree, heap = self._address(message.data, 0), self._address(message.data, self._offsets)
                yield from self._symbols(tree, self._heap(heap))
            elif message.kind == _LINK:
                link = self._link(message.data)
                if link:
                    yield link
            elif message.kind == _LINK_INFO:
                yield from self._dense(message.data, name)
            elif message.kind == _ATTRIBUTE and not name:
                self._attribute(message.data)

    def _number(self, data: bytes, at: int, size: int) -> int:
        if at + size > len(data):
            raise ReadError("a number that is cut")
        return int.from_bytes(data[at : at + size], "little")

    def _address(self, data: bytes, at: int) -> int:
        return self._number(data, at, self._offsets)

    def _messages(self, address: int) -> Iterator[_Message]:
        head = self._file.read(address, 16, "an object header")
        if head[:4] == b"OHDR":
            yield from self._messages_2(address, head[5])
            return
        if head[0] != 1:
            raise ReadError(f"no object header at byte {address:,}")
        count, size = struct.unpack_from("<H", head, 2)[0], struct.unpack_from("<I", head, 8)[0]
        blocks = [(address + 16, size)]
        passed = 0
        for at, length in blocks:
            data = self._block(at, length)
            where = 0
            while where + 8 <= len(data) and count:
                count -= 1
                self._step()
                kind, width, flags = struct.unpack_from("<HHB", data, where)
                message = _Message(kind, flags, data[where + 8 : where + 8 + width])
                where += 8 + width
                if kind == _CONTINUATION:
                    blocks.append(
                        (self._address(message.data, 0), self._number(message.data, self._offsets, self._lengths))
                    )
                    passed += 1
                    if passed > MAX_BLOCKS:
                        raise ReadError("an object header without end")
                else:
                    yield message

    def _messages_2(self, address: int, flags: int) -> Iterator[_Message]:
        at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = self._file.number(at, width, "the size of an object header")
        blocks = [(at + width, size)]
        head = 6 if flags & 4 else 4
        for start, length in blocks:
            data = self._block(start, length)
            where = 0
            while where + head <= len(data):
                self._step()
                kind, size, marks = struct.unpack_from("<BHB", data, where)
                message = _Message(kind, marks, data[where + head : where + head + size])
                where += head + size
                if kind == _CONTINUATION:
                    # A continuation has a signature before its messages and a checksum behind them.
                    begin = self._address(message.data, 0)
                    extent = self._number(message.data, self._offsets, self._lengths)
                    blocks.append((begin + 4, max(0, extent - 8)))
                    if len(blocks) > MAX_BLOCKS:
                        raise ReadError("an object header without end")
                elif kind:
                    yield message

    def _block(self, at: int, size: int) -> bytes:
        if size > MAX_HEADER:
            raise ReadError(f"an object header of {size:,} bytes")
        return self._file.read(at, size, "an object header")

    def _heap(self, address: int) -> bytes:
        """The names of a group."""
        head = self._file.read(address, 8 + 2 * self._lengths + self._offsets, "a heap of names")
        if head[:4] != b"HEAP":
            raise ReadError(f"no heap of names at byte {address:,}")
        size = self._number(head, 8, self._lengths)
        if size > MAX_HEADER:
            raise ReadError(f"a heap of names of {size:,} bytes")
        return self._file.read(self._address(head, 8 + 2 * self._lengths), size, "a heap of names")

    def _symbols(self, address: int, names: bytes) -> Iterator[tuple[str, int]]:
        """The entries of a group, from a B-tree whose leaves are tables of symbols."""
        nodes, seen = [address], set[int]()
        while nodes:
            at = nodes.pop()
            if at in seen or len(seen) > MAX_OBJECTS:
                raise ReadError("a group whose index has no end")
            seen.add(at)
            signature = self._file.read(at, 8, "the index of a group")
            if signature[:4] == b"SNOD":
                yield from self._table(at, struct.unpack_from("<H", signature, 6)[0], names)
            elif signature[:4] == b"TREE" and signature[4] == 0:
                used = struct.unpack_from("<H", signature, 6)[0]
                step = self._lengths + self._offsets
                data = self._file.read(at + 8 + 2 * self._offsets, used * step, "the index of a group")
                nodes += [self._address(data, i * step + self._lengths) for i in reversed(range(used))]
            else:
                raise ReadError(f"no index of a group at byte {at:,}")

    def _table(self, address: int, count: int, names: bytes) -> Iterator[tuple[str, int]]:
        step = 2 * self._offsets + 24
        data = self._file.read(address + 8, count * step, "a table of symbols")
        for at in range(0, count * step, step):
            kind = struct.unpack_from("<I", data, at + 2 * self._offsets)[0]
            start = self._address(data, at)
            end = names.find(b"\0", start, start + MAX_NAME)
            if end < 0:
                raise ReadError("a name that is not in the heap of names, or too long")
            if kind != 2:  # a symbolic link repeats what stands elsewhere
                yield self._name(names[start:end]), self._address(data, at + self._offsets)

    def _link(self, data: bytes) -> tuple[str, int] | None:
        flags = data[1]
        at = 2
        kind = 0
        if flags & 8:
            kind, at = data[at], at + 1
        at += 8 if flags & 4 else 0
        at += 1 if flags & 16 else 0
        width = 1 << (flags & 3)
        size = self._number(data, at, width)
        at += width
        name = self._name(data[at : at + size])
        return (name, self._address(data, at + size)) if kind == 0 else None

    def _dense(self, data: bytes, name: str) -> Iterator[tuple[str, int]]:
        """Links that lie in a fractal heap, as in groups of more than eight."""
        at = 2 + (8 if data[1] & 1 else 0)
        heap = self._address(data, at)
        if heap == self._none:
            return
        from mldiag.readers._weights.hdf5_heap import objects

        index = self._address(data, at + self._offsets)
        links = map(self._link, objects(self._file, heap, index, self._offsets, self._lengths))
        yield from sorted(link for link in links if link)  # the index has them in the order of a hash

    def _dataset(self, messages: list[_Message], name: str) -> Dataset:
        by_kind = {m.kind: m for m in reversed(messages)}
        shape = self._shape(by_kind[_DATASPACE].data)
        datatype = by_kind[_DATATYPE]
        dtype = "committed" if datatype.flags & _SHARED else _dtype(datatype.data)
        offset, size = None, None
        if _LAYOUT in by_kind and _FILTERS not in by_kind:
            offset, size = self._place(by_kind[_LAYOUT].data)
        expected = bytes_of(shape, dtype)
        if offset is not None and size is not None:
            if expected is not None and size < expected:
                self.troubles.append(f"{shown(name)}: {size:,} bytes for shape {list(shape)} of {dtype}")
            if offset + size > self._file.size:
                self.troubles.append(f"{shown(name)} reaches to byte {offset + size:,} of {self._file.size:,}")
            offset += self._file.base
        layout, filters = (by_kind[k].data if k in by_kind else b"" for k in (_LAYOUT, _FILTERS))
        return Dataset(name, shape, dtype, offset, size, layout, filters)

    def _shape(self, data: bytes) -> tuple[int, ...]:
        version, rank = data[0], data[1]
        start = 8 if version == 1 else 4
        if rank > MAX_RANK or (version == 2 and data[3] == 2):
            return (0,)
        sizes = [self._number(data, start + i * self._lengths, self._lengths) for i in range(rank)]
        shape = shape_of(sizes)
        if shape is None:
            raise ReadError(f"the shape {sizes[:8]}, which no array has")
        return shape

    def _place(self, data: bytes) -> tuple[int | None, int | None]:
        """Where the values lie, for datasets in one piece."""
        if data[0] in (3, 4) and data[1] == 1:
            address = self._address(data, 2)
            size = self._number(data, 2 + self._offsets, self._lengths)
            return (None, None) if address == self._none else (address, size)
        return None, None

    def _attribute(self, data: bytes) -> None:
        version = data[0]
        if version not in (1, 2, 3) or (data[1] & 1 and version > 1):
            return
        sizes = struct.unpack_from("<HHH", data, 2)
        at = 9 if version == 3 else 8
        parts = []
        for size in sizes:
            parts.append(data[at : at + size])
            at += -(-size // 8) * 8 if version == 1 else size
        name = self._name(parts[0].split(b"\0")[0][:MAX_NAME])
        if not name or len(parts[1]) < 8 or len(parts[2]) < 2 or parts[2][1]:
            return  # a list, such as the names of the layers, is no scalar
        found = self._scalar(parts[1], data[at:])
        if found is not None:
            self.attributes[name] = found

    def _scalar(self, datatype: bytes, value: bytes) -> Scalar:
        kind, size = datatype[0] & 15, struct.unpack_from("<I", datatype, 4)[0]
        if kind == 3:
            return value[:size].split(b"\0")[0].decode("utf-8", "replace")
        if kind == 9 and datatype[1] & 15 == 1:
            text = self._global(self._address(value, 4), self._number(value, 4 + self._offsets, 4))
            return None if text is None else text[: self._number(value, 0, 4)].decode("utf-8", "replace")
        dtype = _dtype(datatype)
        packing = {
            "float32": "<f", "float64": "<d", "float16": "<e", "int8": "<b", "int16": "<h", "int32": "<i",
            "int64": "<q", "uint8": "<B", "uint16": "<H", "uint32": "<I", "uint64": "<Q", "bool": "<?",
        }.get(dtype)  # fmt: skip
        if packing is None or struct.calcsize(packing) > len(value):
            return None
        found: Scalar = struct.unpack_from(packing, value)[0]
        return found

    def _global(self, address: int, index: int) -> bytes | None:
        """A text of changing length, which lies in a collection of its own."""
        if address not in self._texts:
            self._texts[address] = dict(self._collection(address))
        return self._texts[address].get(index)

    def _collection(self, address: int) -> Iterator[tuple[int, bytes]]:
        head = self._file.read(address, 8 + self._lengths, "a collection of texts")
        size = self._number(head, 8, self._lengths)
        if head[:4] != b"GCOL" or size > MAX_HEADER:
            return
        data = self._file.some(address, size)
        at = 8 + self._lengths
        while at + 8 + self._lengths <= len(data):
            self._step()
            number, length = self._number(data, at, 2), self._number(data, at + 8, self._lengths)
            at += 8 + self._lengths
            if not number:
                return
            text = data[at : at + min(length, MAX_TEXT)]
            self._keep(len(text))
            yield number, text
            at += -(-length // 8) * 8


def _dtype(data: bytes) -> str:
    """The type of a datatype message (IV.A.2.d)."""
    kind, bits, size = data[0] & 15, data[1], struct.unpack_from("<I", data, 4)[0]
    order = ">" if kind in (0, 1) and bits & 1 and size > 1 else ""
    if kind == 0:
        letter = "i" if bits & 8 else "u"
        return f">{letter}{size}" if order else f"{'' if bits & 8 else 'u'}int{8 * size}"
    if kind == 1:
        if size == 2 and len(data) >= 14 and data[13] == 8:
            return "bfloat16"
        return f">f{size}" if order else f"float{8 * size}"
    if kind == 8:
        # An enumeration of two numbers of one byte is how h5py writes truth values.
        count = struct.unpack_from("<H", data, 1)[0]
        return "bool" if size == 1 and count == 2 else "enum"
    if kind == 6 and size in (8, 16) and struct.unpack_from("<H", data, 1)[0] == 2:
        return f"complex{8 * size}"
    names = {2: "time", 3: "bytes", 4: "bitfield", 5: "void", 6: "structured", 7: "reference", 9: "object", 10: "array"}
    if kind == 9 and bits & 15 == 1:
        return "str"
    return names.get(kind, f"type {kind}")
