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
FOLDS = (47, 51, 55, 85, 90, 100, 104)
"""x^104 = x^57 + x^53 + x^49 + x^19 + x^14 + x^4 + 1 modulo the polynomial, and also for x^(2^k) in place of x, as
squaring keeps sums: a word can be left out of a message when it is added to the words at these distances behind it, or
at 2^k times these."""
FOLDED = 128
"""Words to which messages are folded; a power of two of at least `FOLDS[-1]`."""


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
    """The CRCs of messages of at least four bytes: those of about one size at a time, side by side."""
    import numpy as np

    sizes = np.array([len(m) for m in messages])
    classes = np.frexp(np.maximum(sizes - 1, 0))[1]  # the exponent of the next power of two
    found = np.empty(len(messages), dtype=np.uint32)
    for exponent in np.unique(classes).tolist():
        members = np.flatnonzero(classes == exponent)
        count = 1 << max(exponent - 2, 0)
        if count > FOLDED:
            count = (int(sizes[members].max()) + 3) // 4
        words = _folded(_side_by_side([messages[i] for i in members.tolist()], sizes[members], count))
        while len(words) > 1:
            half = len(words) // 2
            words = _moved(words[:half], half.bit_length() + 1) ^ words[half:]
        found[members] = ~_moved(words[0], 2)
    return found


def _side_by_side(messages: list[memoryview], sizes: NDArray[np.int64], count: int) -> NDArray[np.uint32]:
    """Messages as columns of so many words, with their first four bytes inverted: a register of ones does that."""
    import numpy as np

    rows = np.zeros((len(messages), count), dtype="<u4")
    flat = rows.reshape(-1).view(np.uint8)
    # Zeros before a message leave the register as it is.
    starts = 4 * count * np.arange(1, len(messages) + 1) - sizes
    view = flat.data
    for message, start in zip(messages, starts.tolist(), strict=True):
        view[start : start + len(message)] = message
    flat[starts[:, None] + np.arange(4)] ^= 255
    return np.ascontiguousarray(rows.T)


def _folded(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Columns of at most `FOLDED` words that leave the register as longer ones do; works in place."""
    size = len(words)
    start, unit = 0, max(size // FOLDS[-1], 1)
    unit = 1 << unit.bit_length() - 1
    while size - start > FOLDED:
        while unit > 1 and size - start <= FOLDS[-1] * unit:
            unit //= 2
        count = min(FOLDS[0] * unit, size - start - max(FOLDS[-1] * unit, FOLDED))
        for distance in FOLDS:
            words[start + distance * unit :][:count] ^= words[start : start + count]
        start += count
    return words[start:]


def _moved(registers: NDArray[np.uint32], exponent: int) -> NDArray[np.uint32]:
    """Registers after 2^exponent zero bytes."""
    import numpy as np

    tables, digits = _shift_tables(exponent), registers.view(np.uint8).reshape(*registers.shape, 4)
    found: NDArray[np.uint32] = tables[0].take(digits[..., 0])
    for byte in (1, 2, 3):
        found ^= tables[byte].take(digits[..., byte])
    return found
