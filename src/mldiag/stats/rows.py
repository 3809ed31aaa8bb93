"""Rows of a table that were never trained: they are still independent noise of one size, and the rows before are not.

Every usual initialisation draws the values of a table independently from one distribution around zero, and weight decay
scales all of them alike. So rows that no gradient reached have squared norms that spread as sums of independent
values do, no component in common, and no likeness to their neighbours. Training gives each of those up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 32
"""Rows of the smallest table that is looked at: in a smaller one, trained rows trend as a step does."""
_LEAST = 4
"""Rows of a tail, of which a test can say something."""


class Untrained(Struct, frozen=True):
    """The tail of a table.

    Attributes:
        start: the first row of it.
        rms, head_rms: root mean square of the values in it, and in the rows just before.
        likeness, head_likeness: mean cosine of neighbouring rows in it, and in the rows just before.
        z: how far the two parts are apart, in standard errors, by the one of both that tells more.
    """

    start: int
    rows: int
    rms: float
    head_rms: float
    likeness: float
    head_likeness: float
    z: float


def untrained_tail(blocks: Iterable[NDArray[Any]], rows: int, width: int, *, apart: float = 6.0) -> Untrained | None:
    """The last rows that look as they were drawn, where those before look otherwise; None where there is no such tail.

    Args:
        blocks: the rows in order, a few at a time, each of `width` values.
        apart: standard errors that both parts have to differ by.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        squares, cosines, sums, fourth = _measured(blocks, rows, width)
    if rows < _ROWS or not np.isfinite(squares).all():
        return None
    # Rows of zeros at the end are padding, drawn by nobody.
    if not squares[-1] > 0 or not squares.any():
        return None
    logs = np.log(np.maximum(squares, squares[squares > 0].min()))
    start = _change(logs, cosines)
    if start is None:
        return None
    tail, near = squares[start:], cosines[start:]
    m = len(tail)
    mean = float(tail.mean())
    # Squared norms of independent values: their relative variance is (kurtosis - 1) / width.
    kurtosis = float(fourth[start:].mean()) / mean**2
    expected = max(kurtosis - 1, 0.5) / width
    spread = float(tail.var(ddof=1)) / mean**2 if m > 1 else expected
    if spread > expected * (1 + 4 * math.sqrt(2 / m)) + 0.002 or kurtosis > 4:
        return None
    if abs(float(near.mean())) > 4 / math.sqrt(width * max(1, len(near))) + 0.01:
        return None
    # What all have in common: m times the squared means of the columns is chi-squared with `width` degrees of freedom.
    mark = -(-start // _spacing(rows))
    counted = rows - mark * _spacing(rows)
    common = float(((sums[-1] - sums[mark]) ** 2).sum()) / (counted * mean) if counted > 0 else 0.0
    if common > width * (1 + 5 * math.sqrt(2 / width)):
        return None
    if m >= 4 * _LEAST and _welch(logs[start : start + m // 2], logs[start + m // 2 :], expected) > 5:
        return None  # still changing, as trained rows do that are read less and less
    local = max(0, start - min(64, max(2 * _LEAST, rows // 10)))
    head, before = squares[local:start], cosines[local:start]
    by_size, by_likeness = _welch(logs[local:start], logs[start:], expected), _welch(before, near, 1 / width)
    z = max(by_size, by_likeness)
    if z < apart:
        return None
    return Untrained(
        start, rows, math.sqrt(mean), math.sqrt(float(head.mean())), float(near.mean()), float(before.mean()), z
    )


def _measured(blocks: Iterable[NDArray[Any]], rows: int, width: int) -> tuple[NDArray[Any], ...]:
    """Of each row: mean square, cosine with the one before, mean fourth power; and sums of all before some of them."""
    import numpy as np

    squares, fourth, cosines = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    spacing = _spacing(rows)
    marks = np.zeros((-(-rows // spacing) + 1, width))
    at, last = 0, None
    for block in blocks:
        cells = block.astype(np.float64)
        n = len(cells)
        powers = cells * cells
        squares[at : at + n] = powers.mean(1)
        fourth[at : at + n] = (powers * powers).mean(1)
        group = np.arange(at, at + n) // spacing + 1
        edges = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
        marks[group[edges]] += np.add.reduceat(cells, edges, axis=0)
        whole = cells if last is None else np.vstack((last, cells))
        sizes = np.sqrt((whole * whole).sum(1))
        dots = (whole[1:] * whole[:-1]).sum(1)
        begin = at + 1 if last is None else at
        cosines[begin : begin + len(dots)] = dots / np.maximum(sizes[1:] * sizes[:-1], 1e-300)
        last = cells[-1:].copy()
        at += n
    if at != rows:
        raise ValueError(f"{at} rows where {rows} were promised")
    cosines[0] = cosines[1]
    return squares, cosines, np.cumsum(marks, axis=0), fourth


def _spacing(rows: int) -> int:
    """Rows between two sums that are kept: of a large table not of each."""
    return -(-rows // 1024)


def _change(logs: NDArray[Any], cosines: NDArray[Any]) -> int | None:
    """The row from which on all rows differ most from the few before it, in size and likeness.

    Only those just before are held against the tail: trained rows have a trend of their own, as first positions are
    read most.
    """
    import numpy as np

    n = len(logs)
    near = min(64, max(2 * _LEAST, n // 10))
    if n < near + _LEAST:
        return None
    k = np.arange(near, n - _LEAST + 1)
    scores = np.zeros(len(k))
    for values in (logs, cosines):
        first = np.concatenate(([0.0], np.cumsum(values)))
        second = np.concatenate(([0.0], np.cumsum(values * values)))
        before, after = (first[k] - first[k - near]) / near, (first[n] - first[k]) / (n - k)
        left = np.maximum((second[k] - second[k - near]) / near - before**2, 1e-12)
        right = np.maximum((second[n] - second[k]) / (n - k) - after**2, 1e-12)
        scores += (before - after) ** 2 / (left / near + right / (n - k))
    return _sharpened(logs, cosines, int(k[scores.argmax()]), near)


def _sharpened(logs: NDArray[Any], cosines: NDArray[Any], start: int, near: int) -> int:
    """The row around a first guess at which two fixed levels change over best (least squares)."""
    import numpy as np

    n = len(logs)
    low, high = max(_LEAST, start - near), min(n - _LEAST, start + near)
    behind = min(high, n - max(_LEAST, (n - start) // 2))
    gain = np.zeros(high - low)
    for values in (logs, cosines):
        before, after = values[max(0, low - near) : low].mean(), values[behind:].mean()
        noise = max(float(values[behind:].var()), 1e-12)
        cells = values[low:high]
        gain += ((cells - before) ** 2 - (cells - after) ** 2) / noise
    # What lies behind a row is gained by calling it untrained.
    suffix = np.concatenate((np.cumsum(gain[::-1])[::-1], [0.0]))
    return low + int(suffix.argmax())


def _welch(left: NDArray[Any], right: NDArray[Any], least: float) -> float:
    """Standard errors between two means (Welch 1947); the variance of a few values is taken as at least `least`."""
    if len(left) < 2 or len(right) < 2:
        return 0.0
    spreads = (max(float(part.var(ddof=1)), least) / len(part) for part in (left, right))
    error = math.sqrt(sum(spreads))
    return abs(float(left.mean() - right.mean())) / error if error > 0 else 0.0
