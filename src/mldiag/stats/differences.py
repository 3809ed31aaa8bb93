"""How far two tensors of one shape are apart, in one pass over the values of both, as float64.

The relative distance is `‖a − b‖₂ / ‖a‖₂`, the cosine `a·b / (‖a‖₂ ‖b‖₂)`, over the places where both are finite. Sums
are of blocks, added up in float64. Where squares would leave the range of float64, both are looked at once more, scaled
by a power of two (Blue 1978, A Portable Fortran Program to Find the Euclidean Norm of a Vector).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Blocks = Callable[[], Iterator[NDArray[Any]]]
    """Gives the values in C order from the beginning, each time it is called; the next block may overwrite a block."""

STEP = 2**16
"""Values that are looked at together: half a megabyte of float64 of each tensor, which stays in the cache of a core."""
_SPAN = 4096
_SAFE = (1e-140, 1e140)
"""Between these, squares of float64 values and sums of them keep their digits."""


class Difference(Struct, frozen=True):
    """How far two tensors are apart.

    Attributes:
        count: values of each.
        identical: stored as the same type, and every bit is the same.
        changed: places with another number, or where what is not finite differs. 0 and -0 are the same number, and
            NaN is the same as NaN.
        unmatched: those of them where one is NaN or infinite and the other is something else.
        max, mean: largest and mean of `|a - b|`, where both are finite; None where they nowhere are.
        relative: `‖a - b‖ / ‖a‖`; infinite where `a` is zero and `b` is not; None where nothing is finite in both.
        cosine: of the angle between them; None where one has no length.
    """

    count: int
    identical: bool
    changed: int = 0
    unmatched: int = 0
    max: float | None = 0.0
    mean: float | None = 0.0
    relative: float | None = 0.0
    cosine: float | None = 1.0


def difference(a: Blocks, b: Blocks, dtypes: tuple[str, str]) -> Difference:
    """Compares two tensors of as many values.

    Args:
        dtypes: as stored (`bfloat16`, `>f4`); blocks hold the bits of types that numpy does not have.
    """
    import numpy as np

    first, second = map(_native, dtypes)
    if first == second:
        count = 0
        for x, y in _side_by_side(a(), b()):
            if not np.array_equal(_bits(x), _bits(y)):
                break
            count += len(x)
        else:
            return Difference(count, True)
    with np.errstate(all="ignore"):
        sums = _summed(a, b, (first, second), 0)
        size = max(sums.largest)
        if size and not (_SAFE[0] < min(s for s in sums.largest if s) and size < _SAFE[1]):
            return _summed(a, b, (first, second), -math.frexp(size)[1]).difference()
    return sums.difference()


class _Sums:
    """What is added up; of values times two to the `power`."""

    def __init__(self, power: int) -> None:
        self.power = power
        self.count = self.finite = self.changed = self.unmatched = 0
        self.max = self.apart = 0.0
        self.squares = [0.0, 0.0, 0.0, 0.0]
        self.largest = [0.0, 0.0]

    def difference(self) -> Difference:
        if not self.finite:
            none = (None, None, None, None) if self.count else (0.0, 0.0, 0.0, 1.0)
            return Difference(self.count, False, self.changed, self.unmatched, *none)
        apart, a, b, product = self.squares
        length = math.sqrt(a) * math.sqrt(b)
        relative = math.sqrt(apart) / math.sqrt(a) if a else math.inf if self.max else 0.0
        cosine = min(max(product / length, -1.0), 1.0) if length else 1.0 if a == b else None
        return Difference(
            self.count,
            False,
            self.changed,
            self.unmatched,
            _raised(self.max, -self.power),
            _raised(self.apart / self.finite, -self.power),
            relative,
            cosine,
        )


def _raised(value: float, power: int) -> float:
    try:
        return math.ldexp(value, power)
    except OverflowError:
        return math.inf


def _summed(a: Blocks, b: Blocks, dtypes: tuple[str, str], power: int) -> _Sums:
    import numpy as np

    sums = _Sums(power)
    whole = _whole_numbers(dtypes)
    widen = [_widening(dtype, np.empty(STEP)) for dtype in dtypes]
    room = np.empty(STEP)
    for x, y in _side_by_side(a(), b()):
        sums.count += len(x)
        wide, other = widen[0](x), widen[1](y)
        if power:
            wide, other = np.ldexp(wide, power), np.ldexp(other, power)
        if wide.dtype.kind == "c":
            sums.changed += int(np.count_nonzero((wide != other) & ~(np.isnan(wide) & np.isnan(other))))
            _add_complex(sums, wide, other)
            continue
        if whole:
            # As float64 they would lose what is above 53 bits.
            apart = (np.maximum(x, y).view(whole) - np.minimum(x, y).view(whole)).astype(np.float64)
        else:
            apart = np.subtract(wide, other, out=room[: len(x)])
        squares = _dot(apart, apart)
        if not math.isfinite(squares):
            wide, other = _finite(sums, wide, other)
            apart = np.subtract(wide, other)
            squares = _dot(apart, apart)
        _add(sums, wide, other, apart, squares)
    return sums


def _finite(sums: _Sums, a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The places where both are finite; those where they are not alike are counted."""
    import numpy as np

    both = np.isfinite(a) & np.isfinite(b)
    rest, others = a[~both], b[~both]
    alike = (rest == others) | (np.isnan(rest) & np.isnan(others))
    unmatched = len(rest) - int(np.count_nonzero(alike))
    sums.unmatched += unmatched
    sums.changed += unmatched
    return a[both], b[both]


def _add(sums: _Sums, a: NDArray[Any], b: NDArray[Any], apart: NDArray[Any], squares: float) -> None:
    import numpy as np

    if not len(a):
        return
    sums.finite += len(a)
    for i, (x, y, known) in enumerate(((apart, apart, squares), (a, a, None), (b, b, None), (a, b, None))):
        sums.squares[i] += _dot(x, y) if known is None else known
    for i, x in enumerate((a, b)):
        sums.largest[i] = max(sums.largest[i], float(x.max()), -float(x.min()))
    sums.changed += int(np.count_nonzero(apart))
    np.abs(apart, out=apart)
    sums.max = max(sums.max, float(apart.max()))
    sums.apart += float(apart.sum())


def _dot(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The scalar product, in spans too short for a BLAS to share them among threads, which costs more than it saves."""
    import numpy as np

    whole = len(a) // _SPAN * _SPAN
    total = float(np.dot(a[whole:], b[whole:]))
    if whole:
        spans = np.matmul(a[:whole].reshape(-1, 1, _SPAN), b[:whole].reshape(-1, _SPAN, 1))
        total += float(spans.sum())
    return total


def _add_complex(sums: _Sums, a: NDArray[Any], b: NDArray[Any]) -> None:
    import numpy as np

    both = np.isfinite(a) & np.isfinite(b)
    rest, others = a[~both], b[~both]
    sums.unmatched += len(rest) - int(np.count_nonzero((rest == others) | (np.isnan(rest) & np.isnan(others))))
    a, b = a[both], b[both]
    if not len(a):
        return
    apart = np.abs(a - b)
    sums.finite += len(a)
    for i, term in enumerate((apart * apart, np.abs(a) ** 2, np.abs(b) ** 2, (a * b.conj()).real)):
        sums.squares[i] += float(term.sum())
    for i, x in enumerate((a, b)):
        sums.largest[i] = max(sums.largest[i], float(np.abs(x).max()))
    sums.max = max(sums.max, float(apart.max()))
    sums.apart += float(apart.sum())


def _side_by_side(a: Iterator[NDArray[Any]], b: Iterator[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """The values of both in pieces of one length, up to `STEP`, however long their blocks are."""
    import numpy as np

    x: NDArray[Any] = np.empty(0)
    y: NDArray[Any] = np.empty(0)
    while True:
        # A block is overwritten by the next one, which is asked for only when nothing of it is left.
        while not len(x):
            found = next(a, None)
            if found is None:
                return
            x = found
        while not len(y):
            found = next(b, None)
            if found is None:
                return
            y = found
        count = min(len(x), len(y), STEP)
        yield x[:count], y[:count]
        x, y = x[count:], y[count:]


def _bits(block: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    size = block.dtype.itemsize
    return block.view(np.uint8) if size not in (2, 4, 8, 16) else block.view(f"u{min(size, 8)}")


def _native(dtype: str) -> str:
    """A type without its order of bytes, which blocks do not have any more."""
    if dtype[:1] not in (">", "<"):
        return dtype
    import numpy as np

    return np.dtype(dtype).name


def _whole_numbers(dtypes: tuple[str, str]) -> str | None:
    """The unsigned type in which differences of two whole numbers of 64 bits have no error."""
    return "u8" if dtypes[0] == dtypes[1] and dtypes[0] in ("int64", "uint64") else None


def _widening(dtype: str, room: NDArray[np.float64]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Blocks, or the bits in them, as float64 or complex128."""
    import numpy as np

    from mldiag.stats.tensors import _eight_bits

    def copied(numbers: NDArray[Any]) -> NDArray[Any]:
        wide = room[: len(numbers)]
        np.copyto(wide, numbers, casting="unsafe")
        return wide

    if dtype == "bfloat16":
        upper = np.empty(STEP, np.uint32)

        def shifted(cells: NDArray[Any]) -> NDArray[Any]:
            np.copyto(upper[: len(cells)], cells)
            return copied(np.left_shift(upper[: len(cells)], np.uint32(16), out=upper[: len(cells)]).view(np.float32))

        return shifted
    if dtype == "float16":
        return lambda cells: copied(cells.view(np.float16))
    if dtype == "bool":
        return lambda cells: copied(cells != 0)
    if dtype.startswith("float8"):
        table = _eight_bits(dtype)
        return lambda cells: copied(table[cells])
    if dtype == "complex32":
        return lambda cells: cells.view(np.float16).astype(np.float64).view(np.complex128)
    if dtype.startswith("complex"):
        return lambda cells: cells.astype(np.complex128)
    return copied
