"""What one pass over the values of a tensor says: counts, extremes, moments, and rows that are all the same.

Moments are of blocks: sums in the precision of the values, of 4,096 at a time, which are then added in float64; blocks
are put together by the formula of Chan, Golub and LeVeque 1979 (Updating Formulae and a Pairwise Algorithm for
Computing Sample Variances, eq. 2.1). Where the mean is not small against the deviation, a block is shifted by it
first, so that nothing cancels. Values whose squares leave the range of float32 are computed in float64, and those that
leave its range too by a power of two (Blue 1978, A Portable Fortran Program to Find the Euclidean Norm of a Vector).
Of float32 values, `mean`, `std` and `l2` are within 1e-6 of the root mean square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEP = 2**18
"""Values of a block: a megabyte of float32."""
_SPAN = 4096
"""Values that are added in their own precision."""
_SAFE = (1e-8, 1e15)
"""Between these, squares of float32 values and sums of them keep their digits."""
_SAFE_64 = (1e-140, 1e140)
_PATTERNS = {"bfloat16": 0x7F80, "float16": 0x7C00}
"""The bits of infinity: what lies above is NaN, what lies below is ordered as the numbers are."""


class Summary(Struct, frozen=True):
    """What the values of a tensor say.

    NaN and infinity are counted, and left out of everything else. Of complex numbers everything is of the magnitude.

    Attributes:
        count, nan, inf, zeros: values in all, those that are NaN, infinite, and zero of either sign.
        min, max, mean, std, l2: of the finite values, `std` divided by their number; None where there are none. Of
            whole numbers `min` and `max` are exact.
        rows: of a tensor of two dimensions and more with at least two values in a row, how many rows there are: what
            lies at one index of the first dimension; else 0.
        constant_rows: those whose values are all the same number.
    """

    count: int
    nan: int
    inf: int
    zeros: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    l2: float | None
    rows: int = 0
    constant_rows: int = 0

    @property
    def finite(self) -> int:
        return self.count - self.nan - self.inf


def step_for(dtype: str, shape: tuple[int, ...]) -> int:
    """Values that are best looked at together: whole rows, where they are not too long."""
    base = {"float64": STEP // 2, "complex128": STEP // 4, "bfloat16": 2 * STEP, "float16": 2 * STEP}.get(dtype, STEP)
    width = math.prod(shape[1:])
    return base // width * width if 0 < width <= base else base


def summary(blocks: Iterable[NDArray[Any]], dtype: str, shape: tuple[int, ...]) -> Summary:
    """One pass over the values in C order; blocks may have any length, and are written over.

    Args:
        dtype: as stored (`bfloat16`, `>f4`); blocks hold the bits of types that numpy does not have.
    """
    import numpy as np

    if dtype.startswith(">"):
        dtype = np.dtype(dtype).name
    sums, rows = Sums(), _Rows(dtype, shape)
    measure = _measure_for(dtype)
    with np.errstate(all="ignore"):
        for block in blocks:
            if len(block):
                cells = block.view(np.uint16) if dtype in _PATTERNS else block
                rows.feed(cells)
                measure(sums, cells)
    return sums.summary(rows)


def numbers(block: NDArray[Any], dtype: str) -> NDArray[Any]:
    """A block of values as numbers, where it holds the bits of a type that numpy does not have."""
    import numpy as np

    dtype = np.dtype(dtype).name if dtype.startswith(">") else dtype
    return _widening(dtype)(block.view(np.uint16) if dtype in _PATTERNS else block)


class Sums:
    """Blocks put together. Moments are of the values divided by two to the `power`."""

    def __init__(self) -> None:
        self.count = self.nan = self.inf = self.zeros = 0
        self.min: float | None = None
        self.max: float | None = None
        self._finite = 0
        self._mean = self._deviations = self._squares = 0.0
        self._power = 0
        self._room: dict[str, Any] = {}

    def room(self, count: int, dtype: str, use: str) -> NDArray[Any]:
        """An array for one use, the same one for every block: new memory costs more than the work in it."""
        import numpy as np

        held = self._room.get(use)
        if held is None or len(held) < count or held.dtype != np.dtype(dtype):
            held = self._room[use] = np.empty(count, dtype)
        found: NDArray[Any] = held[:count]
        return found

    def extremes(self, low: float, high: float) -> None:
        self.min = low if self.min is None or low < self.min else self.min
        self.max = high if self.max is None or high > self.max else self.max

    def add(self, count: int, mean: float, deviations: float, squares: float, power: int = 0) -> None:
        """The number, mean, squared deviations from it and squares of other values."""
        if not count:
            return
        if not squares:  # zeros have no size of their own
            power = self._power
        elif not self._squares:
            self._power = power
        if power != self._power and self._finite:
            # The smaller ones lose what is too small to count beside the larger.
            common = max(power, self._power)
            mean, deviations, squares = _scaled(mean, deviations, squares, power - common)
            self._mean, self._deviations, self._squares = _scaled(
                self._mean, self._deviations, self._squares, self._power - common
            )
            power = common
        self._power = power
        total = self._finite + count
        apart = mean - self._mean
        self._deviations += max(0.0, deviations) + apart * apart * (self._finite * count / total)
        self._mean += apart * (count / total)
        self._squares += squares
        self._finite = total

    def summary(self, rows: _Rows) -> Summary:
        if not self._finite:
            return Summary(
                self.count, self.nan, self.inf, self.zeros, None, None, None, None, None, rows.count, rows.constant
            )
        mean, std, l2 = (
            _raised(x, self._power)
            for x in (self._mean, math.sqrt(self._deviations / self._finite), math.sqrt(self._squares))
        )
        if self.min is not None and self.max is not None:
            mean = float(min(max(mean, self.min), self.max))  # a mean of equal values is that value
        return Summary(
            self.count, self.nan, self.inf, self.zeros, self.min, self.max, mean, std, l2, rows.count, rows.constant
        )


def _scaled(mean: float, deviations: float, squares: float, power: int) -> tuple[float, float, float]:
    return math.ldexp(mean, power), math.ldexp(deviations, 2 * power), math.ldexp(squares, 2 * power)


def _raised(value: float, power: int) -> float:
    try:
        return math.ldexp(value, power)
    except OverflowError:
        return math.copysign(math.inf, value)


class _Rows:
    """Counts rows that are all the same number, in whatever pieces the values come."""

    def __init__(self, dtype: str, shape: tuple[int, ...]) -> None:
        self._width = math.prod(shape[1:]) if len(shape) > 1 else 0
        self.count = shape[0] if self._width > 1 else 0
        self.constant = 0
        self._widen = _widening(dtype)
        self._place = 0  # in the row that a block begins in
        self._first: Any = None
        self._same = True

    def feed(self, block: NDArray[Any]) -> None:
        if not self.count:
            return
        width = self._width
        if self._place:
            head = min(width - self._place, len(block))
            self._part(block[:head])
            block = block[head:]
        whole = len(block) // width * width
        if whole:
            self._whole(block[:whole].reshape(-1, width))
        if whole < len(block):
            self._part(block[whole:])

    def _whole(self, rows: NDArray[Any]) -> None:
        import numpy as np

        # First the ends, which differ in nearly every row that is not constant.
        found = np.flatnonzero(self._widen(rows[:, 0]) == self._widen(rows[:, -1]))
        at_once = max(1, STEP // 4 // self._width)
        for start in range(0, len(found), at_once):
            cells = self._widen(rows[found[start : start + at_once]])
            self.constant += int(np.count_nonzero((cells == cells[:, :1]).all(1)))

    def _part(self, cells: NDArray[Any]) -> None:
        if not self._place:
            self._first, self._same = self._widen(cells[:1].copy())[0], True
        self._same = self._same and self._is(cells[-1:]) and self._is(cells)
        self._place += len(cells)
        if self._place == self._width:
            self.constant += bool(self._same)
            self._place = 0

    def _is(self, cells: NDArray[Any]) -> bool:
        step = STEP // 4
        return all(bool((self._widen(cells[i : i + step]) == self._first).all()) for i in range(0, len(cells), step))


def _measure_for(dtype: str) -> Callable[[Sums, NDArray[Any]], None]:
    import numpy as np

    if dtype in _PATTERNS:
        return lambda sums, block: _patterned(sums, block, dtype)
    if dtype == "float8_e5m2":
        # The upper half of a float16.
        return lambda sums, block: _patterned(sums, block.astype(np.uint16) << np.uint16(8), "float16")
    if dtype == "bool":
        return _truths
    if dtype == "float8_e4m3fn":
        return _four_bits
    widen = _widening(dtype)

    def measure(sums: Sums, block: NDArray[Any]) -> None:
        if block.dtype.kind in "iu" and not dtype.startswith("float") and dtype != "complex32":
            _whole_numbers(sums, block)
        else:
            _floats(sums, widen(block))

    return measure


def _widening(dtype: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Bits as numbers; magnitudes of complex ones."""
    import numpy as np

    if dtype == "bfloat16":
        return lambda cells: (cells.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "float16":
        return lambda cells: np.ascontiguousarray(cells).view(np.float16).astype(np.float32)
    if dtype == "bool":
        return lambda cells: cells != 0
    if dtype.startswith("float8"):
        table = _eight_bits(dtype)
        return lambda cells: table[cells]
    if dtype == "complex32":
        return lambda cells: np.abs(_pairs(np.ascontiguousarray(cells)[..., None].view(np.float16)))
    if dtype in ("complex64", "complex128"):
        return lambda cells: np.abs(cells.astype(np.complex128))
    if dtype.startswith(("float96", "float128")):
        return lambda cells: cells.astype(np.float64)
    if dtype.startswith("complex"):
        return lambda cells: np.abs(cells).astype(np.float64)
    return lambda cells: cells


def _pairs(parts: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    found: NDArray[Any] = parts.astype(np.float64).view(np.complex128)[..., 0]
    return found


def _eight_bits(dtype: str) -> NDArray[np.float32]:
    """The number of each of the 256 patterns (OCP 8-bit Floating Point Specification 1.0; `fnuz`: Noune 2022)."""
    import numpy as np

    exponent, bias, fnuz = {
        "float8_e4m3fn": (4, 7, False), "float8_e5m2": (5, 15, False), "float8_e4m3fnuz": (4, 8, True),
        "float8_e5m2fnuz": (5, 16, True), "float8_e8m0fnu": (8, 127, False),
    }[dtype]  # fmt: skip
    out = []
    for bits in range(256):
        if exponent == 8:
            out.append(math.nan if bits == 255 else 2.0 ** (bits - 127))
            continue
        fraction = 7 - exponent
        high, low = bits >> fraction & (1 << exponent) - 1, bits & (1 << fraction) - 1
        value = math.ldexp(low + (1 << fraction if high else 0), max(high, 1) - bias - fraction)
        if fnuz:
            value = math.nan if bits == 0x80 else value
        elif dtype == "float8_e4m3fn":
            value = math.nan if bits & 0x7F == 0x7F else value
        elif high == 31:
            value = math.nan if low else math.inf
        out.append(-value if bits & 0x80 else value)
    return np.array(out, np.float32)


def _truths(sums: Sums, block: NDArray[Any]) -> None:
    import numpy as np

    count, ones = len(block), int(np.count_nonzero(block))
    sums.count += count
    sums.zeros += count - ones
    sums.extremes(float(ones == count), float(ones > 0))
    sums.add(count, ones / count, ones * (count - ones) / count, float(ones))


def _whole_numbers(sums: Sums, block: NDArray[Any]) -> None:
    import numpy as np

    count = len(block)
    sums.count += count
    sums.zeros += count - int(np.count_nonzero(block))
    low, high = int(block.min()), int(block.max())
    sums.extremes(low, high)
    wide = sums.room(len(block), "f4" if block.dtype.itemsize <= 2 else "f8", "wide")
    np.copyto(wide, block)
    _moments(sums, wide, low, high)


def _floats(sums: Sums, block: NDArray[Any]) -> None:
    import numpy as np

    low, high = float(block.min()), float(block.max())
    sums.count += len(block)
    if not (math.isfinite(low) and math.isfinite(high)):
        sums.nan += int(np.count_nonzero(np.isnan(block)))
        sums.inf += int(np.count_nonzero(np.isinf(block)))
        block = block[np.isfinite(block)]
        if not len(block):
            return
        low, high = float(block.min()), float(block.max())
    sums.zeros += int(np.count_nonzero(np.equal(block, 0, out=sums.room(len(block), "?", "zeros"))))
    sums.extremes(low, high)
    _moments(sums, block, low, high)


def _patterned(sums: Sums, bits: NDArray[np.uint16], dtype: str) -> None:
    """Floats of 16 bits: extremes, zeros and what is not finite by the bits, only the sums by numbers.

    As whole numbers, positive patterns are in the order of the numbers, and negative ones in the opposite one.
    """
    import numpy as np

    infinity = _PATTERNS[dtype]
    signed = bits.view(np.int16)
    top, bottom, far = int(signed.max()), int(signed.min()), int(bits.max())
    if top >= infinity or far >= infinity | 0x8000 or len(bits) % 2:
        wide = _widening(dtype)
        for start in range(0, len(bits), STEP // 2):
            _floats(sums, wide(bits[start : start + STEP // 2]))
        return
    low = far if far >= 0x8000 else bottom  # the largest magnitude below zero, else the smallest number
    high = top if top >= 0 else bottom & 0xFFFF
    least, most = (float(_widening(dtype)(np.array([p], np.uint16))[0]) for p in (low, high))
    sums.count += len(bits)
    if not bits.min():  # there seldom is one, and the least is found sooner than all are counted
        sums.zeros += len(bits) - int(np.count_nonzero(bits))
    if bottom == -0x8000:
        sums.zeros += int(np.count_nonzero(np.equal(bits, 0x8000, out=sums.room(len(bits), "?", "zeros"))))
    sums.extremes(least, most)
    # Two at a time: of each pair, one half is brought up, and the other is where it belongs.
    pairs = bits.view(np.uint32)
    room = np.left_shift(pairs, np.uint32(16), out=sums.room(len(pairs), "u4", "wide"))
    for half in (room, pairs):
        if dtype == "bfloat16":
            if half is pairs:
                np.bitwise_and(half, np.uint32(0xFFFF0000), out=half)
            numbers = half.view(np.float32)
        else:
            # The exponent is three bits shorter: the sign stays, the rest moves down, and 2**112 makes up for the bias.
            np.right_shift(half.view(np.int32), 3, out=half.view(np.int32))
            np.bitwise_and(half, np.uint32(0x8FFFE000), out=half)
            numbers = half.view(np.float32)
            np.multiply(numbers, np.float32(2.0**112), out=numbers)
        _moments(sums, numbers, least, most)


def _four_bits(sums: Sums, block: NDArray[np.uint8]) -> None:
    """`float8_e4m3fn`, by its bits moved to where float32 has them."""
    import numpy as np

    if int(block.max()) == 0xFF or int(block.view(np.int8).max()) == 0x7F:
        _floats(sums, _widening("float8_e4m3fn")(block))
        return
    wide = sums.room(len(block), "i4", "wide")
    np.copyto(wide, block.view(np.int8))
    np.left_shift(wide, 20, out=wide)
    np.bitwise_and(wide, 0x87F00000 - 2**32, out=wide)
    numbers = wide.view(np.float32)
    np.multiply(numbers, np.float32(2.0**120), out=numbers)
    _floats(sums, numbers)


def _moments(sums: Sums, block: NDArray[Any], low: float, high: float) -> None:
    """Adds finite values between two limits."""
    import numpy as np

    count, size = len(block), max(abs(low), abs(high))
    power = 0
    if size == 0:
        sums.add(count, 0.0, 0.0, 0.0)
        return
    if block.dtype == np.float32 and not _SAFE[0] < size < _SAFE[1]:
        block = block.astype(np.float64)
    if block.dtype == np.float64 and not _SAFE_64[0] < size < _SAFE_64[1]:
        power = math.frexp(size)[1]
        block = np.ldexp(block, -power)
        low, high = math.ldexp(low, -power), math.ldexp(high, -power)
    if low == high:
        sums.add(count, low, 0.0, count * low * low, power)
        return
    total, squares = _sums(block)
    mean = total / count
    if total * mean <= squares / 2:
        sums.add(count, mean, squares - total * mean, squares, power)
        return
    shift = block.dtype.type(mean)
    rest, deviations = _sums(np.subtract(block, shift, out=sums.room(len(block), block.dtype.str, "shifted")))
    mean = float(shift) + rest / count
    sums.add(count, mean, deviations - rest * rest / count, squares, power)


def _sums(block: NDArray[Any]) -> tuple[float, float]:
    """The sum and the sum of squares."""
    import numpy as np

    whole = len(block) // _SPAN * _SPAN
    total = squares = 0.0
    if whole:
        rows = block[:whole].reshape(-1, 1, _SPAN)
        total = float(np.matmul(rows, np.ones((_SPAN, 1), block.dtype)).sum(dtype=np.float64))
        squares = float(np.matmul(rows, rows.transpose(0, 2, 1)).sum(dtype=np.float64))
    if whole < len(block):
        rest = block[whole:]
        total += float(rest.sum(dtype=np.float64))
        squares += float(np.dot(rest, rest))
    return total, squares
