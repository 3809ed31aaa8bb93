"""TFRecord, the framing of TensorBoard's event files: length, its CRC, data, its CRC.

A record whose CRC does not fit is left out. Where a length is damaged too, reading goes on at the next header whose CRC
fits. Bytes at the end that a writer has not finished are no damage.

Source: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct

from mldiag.readers._events.crc32c import crc32c, masked

HEADER, FOOTER = 12, 4
FRAME = HEADER + FOOTER

_header = struct.Struct("<QI")


class Damage(Struct):
    """What could not be read.

    Attributes:
        places: stretches without a good record; a stretch is one record, or more where lengths are damaged too.
        bytes: their bytes. `first`: where the first of them begins.
    """

    places: int = 0
    bytes: int = 0
    first: int | None = None

    def lost(self, start: int, stop: int) -> None:
        """Counts a stretch."""
        self.places += 1
        self.bytes += stop - start
        self.first = start if self.first is None else min(start, self.first)


@lru_cache(4096)
def length_crc(length: int) -> int:
    """The masked CRC of a length."""
    return masked(crc32c(length.to_bytes(8, "little")))


def length_at(data: bytes | bytearray | memoryview, at: int) -> int | None:
    """The length in the header at a place; None where its CRC does not fit."""
    length, crc = _header.unpack_from(data, at)
    return int(length) if length >> 48 == 0 and length_crc(length) == crc else None


def walk(data: bytes, damage: Damage, take: Callable[[int, int], bool]) -> None:
    """Hands the place and length of every record to `take`, which says whether the CRC of its data fits."""
    at, end = 0, len(data)
    while at + HEADER <= end:
        length = length_at(data, at)
        behind = at + FRAME + (length or 0)
        if length is None:
            follower = next_record(data, at + 1)
        elif behind > end:
            follower = next_record(data, at + HEADER)
            if follower is None:
                return  # the record that is being written
        elif take(at, length):
            at = behind
            continue
        elif behind + HEADER > end or length_at(data, behind) is not None:
            follower = behind
        else:
            follower = next_record(data, at + HEADER)
        damage.lost(at, end if follower is None else follower)
        at = end if follower is None else follower


def next_record(data: bytes, start: int) -> int | None:
    """Where the next whole record with a good header begins."""
    end = len(data)
    # Lengths are below 2^32: the upper half of each is four zero bytes.
    zeros = data.find(b"\0\0\0\0", start + 4)
    while zeros >= 0 and zeros + 8 <= end:
        at = zeros - 4
        length, crc = _header.unpack_from(data, at)
        if 0 < length <= end - at - FRAME and length_crc(length) == crc:
            return at
        zeros = data.find(b"\0\0\0\0", zeros + 1)
    return None
