"""LevelDB's log format as W&B writes it: records in blocks of 32 KiB, each piece with a checksum of its own.

Sources: https://github.com/google/leveldb/blob/main/doc/log_format.md; `wandb/sdk/internal/datastore.py`, which checks
with zlib's CRC-32, neither masked nor Castagnoli's as LevelDB's is, and puts seven bytes of its own in front.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 32_768
RECORD_LIMIT = 64 * 2**20
"""Longest record, in bytes, that is put together from its pieces."""

_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_WINDOW = 32 * BLOCK
_SEEDS = tuple(zlib.crc32(bytes([kind])) for kind in range(_LAST + 1))


class Log:
    """The records of a log; what is damaged is passed over and counted.

    Behind a damaged piece reading goes on with the next one, if a valid one stands there, else with the next block, as
    LevelDB does. A record that the end of the file cuts is still being written, or was when the run was killed: it is
    left out and is no damage, unless a valid one stands behind.

    Args:
        prefix: bytes before the first record, which belong to the first block.

    Attributes:
        damaged: places with damage so far.
        lost: bytes that were passed over there.
        first: byte offset of the first damage.
    """

    def __init__(self, stream: BinaryIO, prefix: int = 0) -> None:
        self.damaged = 0
        self.lost = 0
        self.first: int | None = None
        self._stream = stream
        self._prefix = prefix

    def __iter__(self) -> Iterator[bytes]:
        base, at = 0, self._prefix
        parts: list[bytes] = []
        size = 0
        sound = True
        while window := self._stream.read(_WINDOW):
            end = len(window)
            while at < end:
                room = BLOCK - at % BLOCK
                if room < _HEADER.size:
                    at += room
                    continue
                if end - at < _HEADER.size:
                    return
                crc, length, kind = _HEADER.unpack_from(window, at)
                stop = at + _HEADER.size + length
                fits = _FULL <= kind <= _LAST and length <= room - _HEADER.size
                if fits and stop > end:
                    # Either cut, or damaged in its length; what is sound behind it tells.
                    resumed = next((p for p in range(at + 1, end - _HEADER.size) if _is_sound(window, p)), end)
                    if resumed == end:
                        return
                    self._lose(base + at, resumed - at + size, new=sound)
                    parts, size, sound, at = [], 0, False, resumed
                    continue
                data = window[at + _HEADER.size : stop]
                if not fits or zlib.crc32(data, _SEEDS[kind]) != crc:
                    resumed = stop if fits and _is_sound(window, stop) else at + room
                    self._lose(base + at, min(resumed, end) - at + size, new=sound)
                    parts, size, sound, at = [], 0, False, resumed
                    continue
                at = stop
                if kind == _FULL:
                    if parts:  # its other pieces never came
                        self._lose(base + at, size, new=sound)
                        parts, size = [], 0
                    sound = True
                    yield data
                elif kind == _FIRST:
                    if parts:
                        self._lose(base + at, size, new=sound)
                    parts, size, sound = [data], length, True
                elif not parts or size + length > RECORD_LIMIT:
                    self._lose(base + at - length, size + length, new=sound)
                    parts, size, sound = [], 0, False
                else:
                    parts.append(data)
                    size += length
                    if kind == _LAST:
                        yield b"".join(parts)
                        parts, size = [], 0
            base += end
            at -= end

    def _lose(self, offset: int, count: int, *, new: bool) -> None:
        """Counts lost bytes; `new` where what came before them was sound."""
        self.damaged += new
        self.lost += count
        self.first = offset if self.first is None else self.first


def _is_sound(window: bytes, at: int) -> bool:
    """Whether a valid piece, or the end of what is there, stands at a position."""
    room = BLOCK - at % BLOCK
    if room < _HEADER.size or at == len(window):
        return True
    if len(window) - at < _HEADER.size:
        return False
    crc, length, kind = _HEADER.unpack_from(window, at)
    stop = at + _HEADER.size + length
    if not _FULL <= kind <= _LAST or length > room - _HEADER.size or stop > len(window):
        return False
    return bool(zlib.crc32(window[at + _HEADER.size : stop], _SEEDS[kind]) == crc)
