"""CRC-32C (Castagnoli), as TFRecord uses it: byte by byte, and for very many records at once by its linearity.

The CRC of a message is the XOR of what each of its bytes contributes, which depends only on the byte and on how many
bytes follow it, and of a constant for the length. Records that differ in few places are therefore checked by the CRC
of what they share and a look-up for each byte in which they differ.

Source: RFC 3720, appendix B.4; the mask: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/lib/hash/crc32c.h
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # reflected
_ALL = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8
ROW = 128
"""Bytes of a row of a long message; the rows are worked through side by side and then joined."""


@cache
def table() -> tuple[int, ...]:
    """What each byte contributes when it is the last."""
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        found.append(value)
    return tuple(found)


@cache
def contributions(distance: int) -> tuple[int, ...]:
    """What each byte contributes with so many bytes behind it."""
    if not distance:
        return table()
    last = table()
    return tuple(last[value & 255] ^ value >> 8 for value in contributions(distance - 1))


def crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C of a message."""
    return linear(data, _ALL) ^ _ALL


def linear(data: bytes | memoryview, state: int = 0) -> int:
    """The register after a message, without the inversions at both ends: XOR of messages is XOR of results."""
    steps = table()
    for byte in data:
        state = steps[(state ^ byte) & 255] ^ state >> 8
    return state


def masked(crc: int) -> int:
    """The CRC as it is stored, so that a CRC of data with CRCs in it stays a good one."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ALL


@lru_cache(1024)
def length_offset(size: int) -> int:
    """What separates `crc32c` from `linear` for messages of a length."""
    return _shifted(_ALL, size) ^ _ALL


def _times(columns: tuple[int, ...], state: int) -> int:
    """A 32 × 32 matrix over GF(2), by columns, times a register."""
    found = 0
    for bit in range(32):
        if state >> bit & 1:
            found ^= columns[bit]
    return found


@cache
def _doubled(exponent: int) -> tuple[int, ...]:
    """What 2^exponent zero bytes do to the register."""
    if not exponent:
        return tuple(linear(b"\0", 1 << bit) for bit in range(32))
    half = _doubled(exponent - 1)
    return tuple(_times(half, column) for column in half)


def _shifted(state: int, size: int) -> int:
    """A register after `size` more zero bytes."""
    for exponent in range(size.bit_length()):
        if size >> exponent & 1:
            state = _times(_doubled(exponent), state)
    return state


def joined(first: int, second: int, size: int) -> int:
    """The CRC of two messages in a row, from that of each and the length of the second."""
    return _shifted(first, size) ^ second


# The rest is for many records at once.


@cache
def distance_tables(count: int) -> NDArray[np.uint32]:
    """Shape (count, 256): what each byte contributes with 0, 1, ... bytes behind it."""
    import numpy as np

    last = np.array(table(), dtype=np.uint32)
    found = np.empty((count, 256), dtype=np.uint32)
    for row in range(count):
        found[row] = last if not row else last[found[row - 1] & 255] ^ found[row - 1] >> 8
    return found


@cache
def _shift_tables(exponent: int) -> NDArray[np.uint32]:
    """Shape (4, 256): what 2^exponent zero bytes do to a register, by its bytes."""
    import numpy as np

    columns = _doubled(exponent)
    found = np.zeros((4, 256), dtype=np.uint32)
    for bit in range(32):
        byte, size = bit // 8, 1 << bit % 8
        found[byte, size : 2 * size] = found[byte, :size] ^ np.uint32(columns[bit])
    return found


@cache
def _pair_tables() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """What the lower and the upper half of four bytes contribute, by the 65,536 values of each."""
    import numpy as np

    last, values = distance_tables(4), np.arange(65536)
    return last[3][values & 255] ^ last[2][values >> 8], last[1][values & 255] ^ last[0][values >> 8]


def masked_lengths(lengths: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The masked CRCs of lengths, each in eight bytes, as record headers have them."""
    import numpy as np

    tables = distance_tables(8)
    found = np.full(lengths.shape, length_offset(8), dtype=np.uint32)
    for byte in range(8):
        found ^= tables[7 - byte][(lengths >> np.uint64(8 * byte)).astype(np.uint8)]
    return (found >> np.uint32(15) | found << np.uint32(17)) + np.uint32(_MASK_DELTA)


def unmasked(stored: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """CRCs as they were before `masked`."""
    import numpy as np

    rotated = stored - np.uint32(_MASK_DELTA)
    return rotated >> np.uint32(17) | rotated << np.uint32(15)


def crcs_of(messages: list[memoryview]) -> NDArray[np.uint32]:
    """The CRC-32C of each of several messages."""
    import numpy as np

    # A register of ones at the start inverts the first four bytes: shorter messages are done one by one.
    crcs = np.array([crc32c(m) if len(m) < 4 else 0 for m in messages], dtype=np.uint32)
    long = [i for i, m in enumerate(messages) if len(m) >= 4]
    if long:
        crcs[long] = _long_crcs([messages[i] for i in long])
    return crcs


def _long_crcs(messages: list[memoryview]) -> NDArray[np.uint32]:
    import numpy as np

    sizes = np.array([len(m) for m in messages], dtype=np.int64)
    rows = (sizes + ROW - 1) // ROW
    ends = np.cumsum(rows)
    block = np.zeros((int(ends[-1]), ROW), dtype=np.uint8)
    flat = block.reshape(-1)
    view = flat.data
    # Zeros before a message leave the linear part as it is.
    starts = ends * ROW - sizes
    for message, start in zip(messages, starts.tolist(), strict=True):
        view[start : start + len(message)] = message
    flat[starts[:, None] + np.arange(4)] ^= 255
    low, high = _pair_tables()
    words = block.view("<u4")
    found = np.zeros(len(block), dtype=np.uint32)
    for column in range(ROW // 4):
        halves = (found ^ words[:, column]).view("<u2")
        found = low.take(halves[::2])
        found ^= high.take(halves[1::2])
    behind = np.repeat(ends, rows) - np.arange(1, len(block) + 1)
    for bit in range(int(rows.max()).bit_length()):
        moved = np.flatnonzero(behind >> bit & 1)
        if len(moved):
            shift, old = _shift_tables(ROW.bit_length() - 1 + bit), found[moved]
            found[moved] = (
                shift[0][old & 255] ^ shift[1][old >> 8 & 255] ^ shift[2][old >> 16 & 255] ^ shift[3][old >> 24]
            )
    return np.asarray(~np.bitwise_xor.reduceat(found, ends - rows), dtype=np.uint32)
