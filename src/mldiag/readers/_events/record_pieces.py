"""TFRecord files of any size with numpy: where the records lie, a piece of the file at a time.

Headers are found by their zero bytes and their CRC and proven by the chain that they form: each record must end where
the next begins. What breaks the chain is looked at byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import BinaryIO

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mldiag.readers._events.crc32c import crc32c, crcs_of, joined, masked, masked_lengths
from mldiag.readers._events.tfrecord import FOOTER, FRAME, HEADER, Damage, length_at

PIECE = 3 * 2**19
"""Bytes read at a time: enough that numpy's cost per call does not count, few enough that the work stays in cache."""
LARGEST = 32 * 2**20
"""Bytes of a record that is handed out; of larger ones only the CRC is checked."""

_Ints = NDArray[np.int64]
_WINDOW = 65536


class Piece(Struct):
    """Whole records: `data` with `starts` and `lengths` of records in it; `offset` is its place in the file."""

    data: NDArray[np.uint8]
    offset: int
    starts: _Ints
    lengths: _Ints


@cache
def _short_lengths() -> NDArray[np.uint32]:
    return masked_lengths(np.arange(65536, dtype=np.uint64))


def headers(data: NDArray[np.uint8]) -> tuple[_Ints, _Ints]:
    """Places and lengths of what looks like headers of records of 1 to 65,535 bytes, ascending: nearly all there are.

    Such a header has six zero bytes behind the two of its length. Wherever it lies, one word of four bytes holds
    nothing but zeros behind its first byte, and the zeros of the next end where the header's CRC begins.
    """
    if len(data) < HEADER:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    words = data[: len(data) & ~3].view("<u4")
    blank = words < 256
    last = np.flatnonzero(blank[:-1] > blank[1:])
    last = last[np.searchsorted(last, 1) :]
    behind = words.take(last + 1)
    starts = 4 * last - 4
    for bits in (0xFF, 0xFFFF, 0xFFFFFF):
        starts += behind & np.uint32(bits) == 0
    starts = starts[: np.searchsorted(starts, len(data) - HEADER, side="right")]
    good, lengths = _checked(data, starts)
    if good.all():
        return starts, lengths
    # The CRC may begin with a zero as well.
    starts[~good] -= 1
    starts = starts[starts >= 0]
    good, lengths = _checked(data, starts)
    return starts[good], lengths[good]


def _checked(data: NDArray[np.uint8], starts: _Ints) -> tuple[NDArray[np.bool_], _Ints]:
    """Where there are headers with a good CRC, and the lengths in them."""
    found = np.ndarray((len(data) - HEADER + 1,), f"V{HEADER}", data, 0, (1,))[starts].view("<u4").reshape(-1, 3)
    lengths, upper, crcs = found.T
    good = (_short_lengths().take(lengths, mode="clip") == crcs) & (upper == 0) & (lengths < 65536) & (lengths > 0)
    return good, lengths.astype(np.int64)


class Pieces:
    """The records of a stream, piece by piece. Their lengths are proven, the CRCs of their data are not checked yet.

    Args:
        size: bytes of the stream that are read; what a writer appends meanwhile is left for the next time.
        damage: gets the stretches without records.
    """

    def __init__(self, stream: BinaryIO, size: int, damage: Damage) -> None:
        self._stream = stream
        self._size = size
        self._damage = damage
        self._buffer = np.empty(PIECE, dtype=np.uint8)
        self._filled = 0
        self._offset = 0
        # Where a search for the next record began, and whether it is no loss should there be none.
        self._lost_from: int | None = None
        self._cut = False

    def __iter__(self) -> Iterator[Piece]:
        while True:
            self._fill()
            whole = self._offset + self._filled >= self._size
            starts, lengths, used = self._chain(whole)
            if len(starts):
                yield Piece(self._buffer[: self._filled], self._offset, starts, lengths)
            if whole:
                if self._lost_from is not None and not self._cut:
                    self._damage.lost(self._lost_from, self._size)
                return
            if used:
                self._drop(used)
            else:
                self._grow()

    def _fill(self) -> None:
        view = self._buffer.data
        wanted = min(len(self._buffer), self._size - self._offset)
        while self._filled < wanted:
            found = self._stream.readinto(view[self._filled : wanted])  # type: ignore[attr-defined]
            if not found:
                self._size = self._offset + self._filled  # the file has shrunk
                return
            self._filled += found

    def _drop(self, used: int) -> None:
        rest = self._filled - used
        self._buffer[:rest] = self._buffer[used : self._filled].copy()
        self._filled = rest
        self._offset += used

    def _grow(self) -> None:
        """Makes room for the record at the front, or passes over it."""
        length = length_at(self._buffer.data, 0) or 0
        if length <= LARGEST:
            larger = np.empty(max(2 * len(self._buffer), length + FRAME + HEADER), dtype=np.uint8)
            larger[: self._filled] = self._buffer[: self._filled]
            self._buffer = larger
            return
        start, behind = self._offset, self._offset + FRAME + length
        good = self._large_is_good(length)
        used = behind - start
        if not good:
            self._stream.seek(behind)
            header = self._stream.read(HEADER)
            if behind < self._size and (len(header) < HEADER or length_at(header, 0) is None):
                self._lost_from, self._cut, used = start, False, HEADER
            else:
                self._damage.lost(start, behind)
        self._offset, self._filled = start + used, 0
        self._stream.seek(self._offset)

    def _large_is_good(self, length: int) -> bool:
        self._stream.seek(self._offset + HEADER)
        crc, left = crc32c(b""), length
        while left:
            piece = self._stream.read(min(PIECE, left))
            if not piece:
                return False
            crc = joined(crc, int(crcs_of([memoryview(piece)])[0]), len(piece))
            left -= len(piece)
        return int.from_bytes(self._stream.read(FOOTER), "little") == masked(crc)

    def _chain(self, whole: bool) -> tuple[_Ints, _Ints, int]:
        """Starts and lengths of the whole records in the buffer, and the bytes that are done with."""
        data, view = self._buffer[: self._filled], self._buffer[: self._filled].data
        starts, lengths = headers(data)
        ends = starts + lengths + FRAME
        breaks = np.append(np.flatnonzero(ends[:-1] != starts[1:]), len(starts) - 1)
        found: list[tuple[_Ints, _Ints]] = []
        at = 0
        if self._lost_from is not None:
            at = self._resumed(starts, 0)
        while at + HEADER <= self._filled:
            index = int(np.searchsorted(starts, at))
            if index < len(starts) and starts[index] == at:
                stop = int(breaks[np.searchsorted(breaks, index)]) + 1
                if ends[stop - 1] > self._filled:
                    stop -= 1
                if stop > index:
                    found.append((starts[index:stop], lengths[index:stop]))
                    at = int(ends[stop - 1])
                    continue
            length = length_at(view, at)
            behind = at + FRAME + (length or 0)
            if length is not None and behind <= self._filled:
                found.append((np.array([at]), np.array([length])))
                at = behind
                continue
            if length is not None and self._offset + behind <= self._size:
                break  # goes on in the next piece
            self._lost_from, self._cut = self._offset + at, length is not None
            if length is not None:
                at = self._resumed(starts, at + HEADER)
            elif found and not self._is_good(*(int(part[-1]) for part in found[-1])):
                # The damage began in the record before, and its length may be what is wrong.
                last = found.pop()
                if len(last[0]) > 1:
                    found.append((last[0][:-1], last[1][:-1]))
                at = int(last[0][-1])
                self._lost_from = self._offset + at
                at = self._resumed(starts, at + HEADER)
            else:
                at = self._resumed(starts, at + 1)
        if not found:
            none = np.empty(0, dtype=np.int64)
            return none, none, at
        if at + HEADER > self._filled and self._lost_from is None and not whole:
            # Whether the last record is followed by a header is known with the next piece only.
            at = int(found[-1][0][-1])
            found[-1] = found[-1][0][:-1], found[-1][1][:-1]
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]), at

    def _is_good(self, start: int, length: int) -> bool:
        data = self._buffer[start + HEADER : start + HEADER + length].data
        stored = int.from_bytes(self._buffer[start + HEADER + length : start + FRAME + length].data, "little")
        return masked(int(crcs_of([data])[0])) == stored

    def _resumed(self, starts: _Ints, at: int) -> int:
        """Where the next whole record begins at or behind a place; the end of what can be told, where none does."""
        limit = self._size - self._offset
        index = int(np.searchsorted(starts, at))
        bound = int(starts[index]) if index < len(starts) else self._filled
        while True:
            found = self._searched(at, min(bound + 1, self._filled - HEADER + 1), limit)
            if found is not None:
                assert self._lost_from is not None
                self._damage.lost(self._lost_from, self._offset + found)
                self._lost_from = None
                return found
            if bound >= self._filled:
                return max(at, self._filled - HEADER + 1)
            index += 1
            at, bound = bound + 1, int(starts[index]) if index < len(starts) else self._filled

    def _searched(self, start: int, stop: int, limit: int) -> int | None:
        """The first place in a range that has a good header of a record that ends before the limit."""
        for begin in range(start, stop, _WINDOW):
            count = min(stop - begin, _WINDOW)
            data = np.ndarray((count,), "<u8", self._buffer, begin, (1,))
            likely = np.flatnonzero((data > 0) & (data < max(limit - begin, 1)))
            if len(likely):
                crcs = np.ndarray((count,), "<u4", self._buffer, begin + 8, (1,))[likely]
                fits = likely[crcs == masked_lengths(data[likely])]
                for place in fits.tolist():
                    if begin + place + FRAME + int(data[place]) <= limit:
                        return int(begin + place)
        return None
