"""What is asked of the columns of a text log: in Python for short ones, as numpy is slow to import, else in numpy."""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence

LONG = 50_000
"""Values from which on numpy is used: reading as many lines takes longer than its import."""


def count_nan(values: array[float]) -> int:
    """How many values are NaN."""
    if len(values) < LONG:
        return sum(map(math.isnan, values))
    import numpy as np

    return int(np.isnan(values).sum())


def are_whole(values: array[float]) -> bool:
    """Whether all finite values are whole numbers."""
    if len(values) < LONG:
        return not any(v != math.floor(v) for v in values if math.isfinite(v))
    import numpy as np

    found = np.asarray(values)
    return bool((found[np.isfinite(found)] % 1 == 0).all())


def varies(values: array[float]) -> bool:
    """Whether there are different values."""
    return any(v != values[0] for v in values)


def falls(values: array[float]) -> bool:
    """Whether some value is below the one before it."""
    if len(values) < LONG:
        return any(a > b for a, b in itertools.pairwise(values))
    import numpy as np

    return bool((np.diff(values) < 0).any())


def restarts(steps: array[float], epochs: array[float]) -> bool:
    """Whether a counter falls back as the epoch rises, at most of the rises."""
    if len(steps) < LONG:
        rising = [b <= a for (a, e), (b, f) in itertools.pairwise(zip(steps, epochs, strict=True)) if f > e]
        return any(rising) and 2 * sum(rising) >= len(rising)
    import numpy as np

    rises = np.diff(epochs) > 0
    back = int((np.diff(steps)[rises] <= 0).sum())
    return back > 0 and 2 * back >= int(rises.sum())


def scaled(values: array[float], factor: float) -> array[float]:
    """Every value times a factor; one below 1 divides, so that 93.2 % is the number nearest to 0.932."""
    if len(values) < LONG:
        return array("d", (v / 100 for v in values) if factor == 0.01 else (v * factor for v in values))
    import numpy as np

    found = np.asarray(values)
    return array("d", (found / 100 if factor == 0.01 else found * factor).tobytes())


def shares(values: array[float], totals: array[float]) -> array[float]:
    """Values by totals, NaN where a total is zero."""
    return array("d", (v / n if n else math.nan for v, n in zip(values, totals, strict=True)))


def lines(at: array[float]) -> array[int]:
    """The lines of places."""
    if len(at) < LONG:
        return array("q", map(int, at))
    import numpy as np

    return array("q", np.asarray(at).astype(np.int64).tobytes())


def picked(values: array[float], chosen: Sequence[int]) -> array[float]:
    """The values at some positions."""
    return array("d", map(values.__getitem__, chosen))


def joined(columns: Sequence[tuple[array[float], ...]]) -> tuple[array[float], ...]:
    """Rows of several tables as one, in the order of their first column; of equal ones, of the tables."""
    if len(columns) == 1:
        return columns[0]
    chained = [array("d", itertools.chain.from_iterable(c)) for c in zip(*columns, strict=True)]
    if len(chained[0]) < LONG:
        order: Sequence[int] = sorted(range(len(chained[0])), key=chained[0].__getitem__)
    else:
        import numpy as np

        order = np.argsort(np.asarray(chained[0]), kind="stable").tolist()
    return tuple(picked(c, order) for c in chained)


class Track:
    """Lines that name an epoch or a step, and which."""

    def __init__(self, parts: Iterable[tuple[array[float], array[float]]] = ()) -> None:
        self.at, self.values = joined(list(parts) or [(array("d"), array("d"))])

    def inherited(self, at: array[float]) -> array[float]:
        """For each place the last value named before it, NaN where there is none."""
        if not self.at:
            return array("d", [math.nan]) * len(at)
        if len(at) < LONG and len(self.at) < LONG:
            found = (bisect_right(self.at, a) for a in at)
            return array("d", (self.values[i - 1] if i else math.nan for i in found))
        import numpy as np

        indices = np.searchsorted(np.asarray(self.at), np.asarray(at), side="right")
        values = np.concatenate([[math.nan], np.asarray(self.values)])
        return array("d", values[indices].tobytes())
