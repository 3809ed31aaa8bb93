"""The directory of a zip archive and where its members lie, without the standard library's `zipfile`.

`zipfile` hides where the bytes of a member begin, and imports what a small audit does without.

Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from msgspec import Struct

from mldiag.errors import ReadError
from mldiag.readers._weights.binary import Window, shown

DIRECTORY_LIMIT = 64 * 2**20
"""Bytes of a directory; a checkpoint of 100,000 tensors has about 8 MB."""
MAX_MEMBERS = 250_000

STORED, DEFLATED = 0, 8
_END, _END64, _LOCATOR, _ENTRY, _LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"
_FULL = 0xFFFFFFFF


class Member(Struct, frozen=True):
    """One file of an archive: `packed` bytes there, `size` when unpacked; `header` is where its local header lies."""

    name: str
    method: int
    packed: int
    size: int
    header: int
    encrypted: bool


class Archive:
    """The members of an archive, by name; of two of one name the later counts.

    Raises:
        ReadError: there is no directory at the end, which a file has that was not written to its end, or it is damaged.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        at, size, shift = self._directory()
        self._shift = shift
        data = window.read(at, size, "the directory of the zip archive")
        self.members = {}
        left = window.size
        for member in _members(data):
            self.members[member.name] = member
            # A file of kilobytes could be read for hours where its members share their bytes.
            left -= member.packed if member.packed <= window.size else 0
            if left < 0:
                raise ReadError("a zip archive whose members overlap")
            if len(self.members) > MAX_MEMBERS:
                raise ReadError(f"a zip archive of more than the {MAX_MEMBERS:,} members that are read")

    def _directory(self) -> tuple[int, int, int]:
        """Where the directory lies, its size, and by how much all positions are off (data in front of the archive)."""
        window = self._window
        start = max(0, window.size - 65_557)
        tail = window.some(start, window.size - start)
        found = tail.rfind(_END)
        if found < 0 or found + 22 > len(tail):
            raise ReadError("a zip archive without its directory at the end (cut file)")
        size, at = struct.unpack_from("<II", tail, found + 12)
        end = start + found
        # PyTorch writes the zip64 record always, needed or not: the directory then ends where that begins.
        if found >= 20 and tail[found - 20 : found - 16] == _LOCATOR:
            (record,) = struct.unpack_from("<Q", tail, found - 12)
            head = window.read(record, 56, "the zip64 record")
            if head[:4] != _END64:
                raise ReadError("a zip archive whose zip64 record is damaged")
            size, at = struct.unpack_from("<QQ", head, 40)
            end = record
        if size > DIRECTORY_LIMIT:
            raise ReadError(f"a zip archive with a directory of {size:,} bytes, more than the {DIRECTORY_LIMIT:,} read")
        if size > end:
            raise ReadError("a zip archive whose directory is damaged")
        return end - size, size, end - size - at

    def offset(self, member: Member) -> int:
        """Where the bytes of a member begin."""
        at = member.header + self._shift
        head = self._window.read(at, 30, f"the header of {shown(member.name)}")
        if head[:4] != _LOCAL:
            raise ReadError(f"no header of {shown(member.name)} where the zip directory says one is")
        name, extra = struct.unpack_from("<HH", head, 26)
        return int(at + 30 + name + extra)

    def read(self, member: Member, limit: int) -> bytes:
        """A member, unpacked."""
        if member.encrypted:
            raise ReadError(f"{shown(member.name)} is encrypted")
        if max(member.size, member.packed) > limit:
            raise ReadError(f"{shown(member.name)} has {member.size:,} bytes, more than the {limit:,} that are read")
        data = self._window.read(self.offset(member), member.packed, shown(member.name))
        if member.method == STORED:
            return data
        if member.method != DEFLATED:
            raise ReadError(f"{shown(member.name)} is compressed by method {member.method}, which is not understood")
        return inflated(data, member.size, shown(member.name))

    def start(self, member: Member, size: int) -> bytes:
        """Up to so many bytes of the beginning of a member, unpacked."""
        if member.encrypted:
            raise ReadError(f"{shown(member.name)} is encrypted")
        data = self._window.some(self.offset(member), min(size, member.packed))
        if member.method == STORED:
            return data
        if member.method != DEFLATED:
            raise ReadError(f"{shown(member.name)} is compressed by method {member.method}, which is not understood")
        import zlib

        try:
            return zlib.decompressobj(-15).decompress(data, size)
        except zlib.error as error:
            raise ReadError(f"{shown(member.name)} cannot be unpacked: {error}") from error

    def part(self, member: Member) -> Window:
        """A member that is not compressed, as a file of its own."""
        return self._window.part(self.offset(member), member.packed)


def inflated(data: bytes, size: int, name: str) -> bytes:
    """Up to `size` bytes of what was compressed."""
    import zlib

    try:
        unpacked = zlib.decompressobj(-15).decompress(data, max(size, 1))
    except zlib.error as error:
        raise ReadError(f"{name} cannot be unpacked: {error}") from error
    if len(unpacked) != size:
        raise ReadError(f"{name} unpacks to {len(unpacked):,} bytes, not the {size:,} that the directory says")
    return unpacked


def _members(data: bytes) -> Iterator[Member]:
    at = 0
    while at < len(data):
        if data[at : at + 4] != _ENTRY or at + 46 > len(data):
            raise ReadError("a zip archive whose directory is damaged")
        flags, method = struct.unpack_from("<HH", data, at + 8)
        packed, size, name_size, extra_size, note = struct.unpack_from("<IIHHH", data, at + 20)
        (header,) = struct.unpack_from("<I", data, at + 42)
        name = data[at + 46 : at + 46 + name_size].decode("utf-8", "replace")
        if _FULL in (packed, size, header):
            extra = data[at + 46 + name_size : at + 46 + name_size + extra_size]
            size, packed, header = _zip64(extra, size, packed, header)
        yield Member(name, method, packed, size, header, bool(flags & 1))
        at += 46 + name_size + extra_size + note


def _zip64(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            return (
                next(numbers, size) if size == _FULL else size,
                next(numbers, packed) if packed == _FULL else packed,
                next(numbers, header) if header == _FULL else header,
            )
        at += 4 + length
    return size, packed, header
