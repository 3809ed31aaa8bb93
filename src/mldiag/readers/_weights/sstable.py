"""Tables of LevelDB, in which TensorFlow keeps the index of a checkpoint.

Sources: https://github.com/google/leveldb, `doc/table_format.md`; https://github.com/google/snappy,
`format_description.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.errors import ReadError
from mldiag.readers._events.crc32c import crc32c, masked
from mldiag.readers._protobuf import Malformed, varint
from mldiag.readers._weights.binary import Window

MAGIC = bytes.fromhex("57fb808b247547db")
BLOCK_LIMIT = 4 * 2**20
"""Bytes of a block; TensorFlow writes blocks of 256 kB."""
MAX_ENTRIES = 200_000
"""Entries; one of a long key or value counts for more."""
MAX_KEY = 4_096
TABLE_LIMIT = 64 * 2**20
"""Bytes of all blocks; each has a checksum, which is computed byte by byte. 100,000 tensors take 6 MB."""
_NONE, _SNAPPY = 0, 1


def entries(window: Window) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in their order.

    Raises:
        ReadError: the table is cut or damaged; the entries before it were yielded.
    """
    footer = window.read(max(0, window.size - 48), 48, "the end of the table")
    if footer[40:] != MAGIC:
        raise ReadError("no table of LevelDB: its magic number is not at the end (cut file)")
    try:
        at = 0
        for _ in range(2):
            _, at = varint(footer, at)
        start, at = varint(footer, at)
        size, at = varint(footer, at)
        left, unread = MAX_ENTRIES, min(window.size, TABLE_LIMIT)
        for _, handle in _pairs(_block(window, start, size)):
            place, behind = varint(handle, 0)
            length, _ = varint(handle, behind)
            unread -= length
            if unread < 0:
                raise Malformed("its blocks overlap, or are more than are read")
            for pair in _pairs(_block(window, place, length)):
                left -= 1 + (len(pair[0]) + len(pair[1])) // 200
                if left < 0:
                    raise ReadError(f"the table has more than the {MAX_ENTRIES:,} entries that are read")
                yield pair
    except Malformed as error:
        raise ReadError(f"the table is damaged: {error}") from error


def _block(window: Window, at: int, size: int) -> bytes:
    """A block, unpacked, its checksum checked."""
    if size > BLOCK_LIMIT:
        raise ReadError(f"the table has a block of {size:,} bytes, more than the {BLOCK_LIMIT:,} that are read")
    data = window.read(at, size + 5, "a block of the table")
    if masked(crc32c(data[: size + 1])) != int.from_bytes(data[size + 1 :], "little"):
        raise ReadError(f"the block at byte {at:,} does not fit its checksum")
    if data[size] == _NONE:
        return data[:size]
    if data[size] == _SNAPPY:
        return unsnapped(data[:size])
    raise ReadError(f"the block at byte {at:,} is compressed by method {data[size]}, which is not understood")


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block; a key leaves out what it shares with the one before."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if len(block) < 4 or end < 0:
        raise Malformed("a block without its restarts")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + own + size > end:
            raise Malformed("an entry that is cut")
        if shared + own > MAX_KEY:
            raise Malformed(f"a key of {shared + own:,} bytes")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def unsnapped(data: bytes, limit: int = BLOCK_LIMIT) -> bytes:
    """What Snappy compressed, in its raw format.

    Raises:
        Malformed: the bytes are no such thing, or it would be more than `limit` bytes.
    """
    size, at = varint(data, 0)
    if size > limit:
        raise Malformed(f"a block that unpacks to {size:,} bytes")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        kind, at = tag & 3, at + 1
        if kind == 0:
            length = (tag >> 2) + 1
            if length > 60:
                width = length - 60
                length = int.from_bytes(data[at : at + width], "little") + 1
                at += width
            if at + length > len(data):
                raise Malformed("a literal that is cut")
            out += data[at : at + length]
            at += length
        else:
            width = (1, 1, 2, 4)[kind]
            if at + width > len(data):
                raise Malformed("a copy that is cut")
            back = int.from_bytes(data[at : at + width], "little")
            at += width
            length = (tag >> 2) + 1
            if kind == 1:
                length, back = ((tag >> 2) & 7) + 4, back | (tag >> 5) << 8
            if not 0 < back <= len(out):
                raise Malformed("a copy of what is not there")
            piece = bytes(out[-back : len(out) - back + length]) if length <= back else bytes(out[-back:])
            out += (piece * (length // len(piece) + 1))[:length]
        if len(out) > size:
            raise Malformed("more bytes than were promised")
    if len(out) != size:
        raise Malformed(f"{len(out):,} bytes where {size:,} were promised")
    return bytes(out)
