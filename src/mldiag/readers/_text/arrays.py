"""What is asked of the columns of a text log: in Python for short ones, as numpy is slow to import, else in numpy."""

from __future__ import annotations

import itertools
import math
import statistics
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence, Sized

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
    whole = np.floor(found) == found
    return bool(whole.all() or (whole | np.isnan(found)).all())


def varies(values: array[float]) -> bool:
    """Whether there are different values."""
    if len(values) < LONG:
        return any(v != values[0] for v in values)
    import numpy as np

    found = np.asarray(values)
    return bool(found[0] != found[-1] or (found != found[0]).any())


def falls(values: array[float]) -> bool:
    """Whether some value is below the one before it."""
    if len(values) < LONG:
        return any(a > b for a, b in itertools.pairwise(values))
    import numpy as np

    found = np.asarray(values)
    return bool((found[1:] < found[:-1]).any())


def rises(values: array[float]) -> tuple[int, int]:
    """How often a value is above the one before it, and how often below."""
    if len(values) < LONG:
        pairs = list(itertools.pairwise(values))
        return sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
    import numpy as np

    found = np.asarray(values)
    return int((found[1:] > found[:-1]).sum()), int((found[1:] < found[:-1]).sum())


def usual_rise(values: array[float]) -> tuple[float, float] | None:
    """By how much a value is most often above the one before it, and the share of rises by so much; None: none rises.

    One, if any rise is by one.
    """
    if len(values) < LONG:
        found = [b - a for a, b in itertools.pairwise(values) if b > a]
        if not found:
            return None
        usual = 1.0 if 1 in found else statistics.mode(found)
        return usual, found.count(usual) / len(found)
    import numpy as np

    steps = np.diff(values)
    steps = steps[steps > 0]
    if not len(steps):
        return None
    amounts, counts = np.unique(steps, return_counts=True)
    most = int(np.flatnonzero(amounts == 1)[0]) if (amounts == 1).any() else int(counts.argmax())
    return float(amounts[most]), float(counts[most]) / len(steps)


def restarts(steps: array[float], epochs: array[float]) -> bool:
    """Whether a counter falls back as the epoch rises, at most of the rises."""
    if len(steps) < LONG:
        rising = [b <= a for (a, e), (b, f) in itertools.pairwise(zip(steps, epochs, strict=True)) if f > e]
        return any(rising) and 2 * sum(rising) >= len(rising)
    import numpy as np

    counted, named = np.asarray(steps), np.asarray(epochs)
    at = np.flatnonzero(named[1:] > named[:-1])
    back = int((counted[at + 1] <= counted[at]).sum())
    return back > 0 and 2 * back >= len(at)


def counted_on(counted: array[float], epochs: array[float], lengths: array[float], first: float) -> array[float]:
    """Steps of a run from those `counted` within epochs of some `lengths`; `first`: the first epoch's number."""
    if len(counted) < LONG:
        return array("d", (c + (e - first) * n for c, e, n in zip(counted, epochs, lengths, strict=True)))
    import numpy as np

    return as_array(np.asarray(counted) + (np.asarray(epochs) - first) * np.asarray(lengths))


def scaled(values: array[float], factor: float) -> array[float]:
    """Every value times a factor; one below 1 divides, so that 93.2 % is the number nearest to 0.932."""
    if len(values) < LONG:
        return array("d", (v / 100 for v in values) if factor == 0.01 else (v * factor for v in values))
    import numpy as np

    found = np.asarray(values)
    return as_array(found / 100 if factor == 0.01 else found * factor)


def shares(values: array[float], totals: array[float]) -> array[float]:
    """Values by totals, NaN where a total is zero."""
    if len(values) < LONG:
        return array("d", (v / n if n else math.nan for v, n in zip(values, totals, strict=True)))
    import numpy as np

    with np.errstate(all="ignore"):
        return as_array(np.where(np.asarray(totals) == 0, math.nan, np.asarray(values) / np.asarray(totals)))


def lines(at: array[float]) -> array[int]:
    """The lines of places."""
    if len(at) < LONG:
        return array("q", map(int, at))
    import numpy as np

    return _as_positions(np.asarray(at))


def picked(values: array[float], chosen: array[int]) -> array[float]:
    """The values at some positions."""
    if len(chosen) < LONG:
        return array("d", map(values.__getitem__, chosen))
    import numpy as np

    return as_array(np.asarray(values).take(chosen))


def full(counts: array[float], totals: array[float]) -> array[int]:
    """The positions of counts that have reached their totals."""
    if len(counts) < LONG:
        return array("q", (i for i, (n, m) in enumerate(zip(counts, totals, strict=True)) if n == m))
    import numpy as np

    return _as_positions(np.flatnonzero(np.asarray(counts) == np.asarray(totals)))


def below(values: array[float], codes: array[float], limit: float) -> array[float]:
    """The values whose codes are below a limit."""
    if len(values) < LONG:
        return array("d", (v for v, c in zip(values, codes, strict=True) if c < limit))
    import numpy as np

    return as_array(np.asarray(values)[np.asarray(codes) < limit])


def replaced(values: array[float], others: array[float], codes: array[float], limit: float) -> array[float]:
    """The values, and the others where the codes are not below a limit."""
    if len(values) < LONG:
        return array("d", (v if c < limit else o for v, o, c in zip(values, others, codes, strict=True)))
    import numpy as np

    return as_array(np.where(np.asarray(codes) < limit, np.asarray(values), np.asarray(others)))


def within(values: array[float], allowed: set[float], codes: array[float]) -> array[float]:
    """The codes of the values that are none of some, zero for those that are."""
    if len(values) < LONG:
        return array("d", (0.0 if v in allowed else c for v, c in zip(values, codes, strict=True)))
    import numpy as np

    return as_array(np.where(np.isin(np.asarray(values), list(allowed)), 0.0, np.asarray(codes)))


def different(values: array[float]) -> set[float]:
    """The different values."""
    if len(values) < LONG:
        return set(values)
    import numpy as np

    return set(np.unique(np.asarray(values)).tolist())


def positions(codes: array[float], chosen: array[int] | None) -> dict[float, array[int]]:
    """The positions of each code, of some positions or of all; in the order in which the codes come."""
    if len(codes) < LONG:
        found: dict[float, array[int]] = {}
        for i in range(len(codes)) if chosen is None else chosen:
            found.setdefault(codes[i], array("q")).append(i)
        return found
    import numpy as np

    at = np.arange(len(codes)) if chosen is None else np.asarray(chosen)
    own = np.asarray(codes)[at]
    kinds, first = np.unique(own, return_index=True)
    return {float(kinds[k]): _as_positions(at[own == kinds[k]]) for k in np.argsort(first)}


def order_of(places: Sequence[array[float]]) -> array[int] | None:
    """The positions of all places, part behind part, in ascending order; None if they have it already."""
    if len(places) == 1:
        return None
    if sum(map(len, places)) < LONG:
        chained = array("d", itertools.chain.from_iterable(places))
        return array("q", sorted(range(len(chained)), key=chained.__getitem__))
    import numpy as np

    return _as_positions(np.argsort(np.concatenate(places), kind="stable"))


def ordered(parts: Sequence[array[float]], order: array[int] | None) -> array[float]:
    """The values of all parts in the order that `order_of` gives."""
    if order is None:
        return parts[0]
    if len(order) < LONG:
        return picked(array("d", itertools.chain.from_iterable(parts)), order)
    import numpy as np

    found = array("d", [0.0]) * len(order)
    np.concatenate(parts).take(order, out=np.frombuffer(found), mode="clip")
    return found


def changes(parts: Sequence[tuple[array[float], float]]) -> list[tuple[float, float]]:
    """Places with a code each, in order: each where another code than that of the place before it begins."""
    if sum(len(at) for at, _ in parts) < LONG:
        places = sorted(((a, code) for at, code in parts for a in at), key=lambda place: place[0])
        return [p for i, p in enumerate(places) if not i or places[i - 1][1] != p[1]]
    import numpy as np

    every = np.concatenate([at for at, _ in parts])
    order = np.argsort(every, kind="stable")
    codes = np.repeat([code for _, code in parts], [len(at) for at, _ in parts])[order]
    begins = np.r_[0, np.flatnonzero(codes[1:] != codes[:-1]) + 1]
    return list(zip(every[order][begins].tolist(), codes[begins].tolist(), strict=True))


def preceding(parts: Sequence[array[float]], wanted: Collection[int]) -> dict[int, list[int]]:
    """For each wanted part, of which parts the places are that stand before each of its own."""
    found: dict[int, list[int]] = {number: [] for number in wanted}
    pairs: Iterable[tuple[int, int]]
    if sum(map(len, parts)) < LONG:
        places = [n for _, n in sorted((a, n) for n, at in enumerate(parts) for a in at)]
        pairs = itertools.pairwise(places)
    else:
        import numpy as np

        order = np.argsort(np.concatenate(parts), kind="stable")
        numbers = np.repeat(np.arange(len(parts)), [len(at) for at in parts])[order]
        chosen = np.isin(numbers[1:], list(wanted))
        pairs = zip(numbers[:-1][chosen].tolist(), numbers[1:][chosen].tolist(), strict=True)
    for before, number in pairs:
        if number in found:
            found[number].append(before)
    return found


class Track:
    """Lines that name an epoch or a step, and which."""

    def __init__(self, parts: Sequence[tuple[array[float], array[float]]] = ()) -> None:
        places = [at for at, _ in parts] or [array("d")]
        order = order_of(places)
        self.at = ordered(places, order)
        self.values = ordered([values for _, values in parts] or [array("d")], order)

    @property
    def least(self) -> float | None:
        """The smallest value that is named, None where there is none."""
        if len(self.values) < LONG:
            return min(self.values, default=None)
        import numpy as np

        return float(np.asarray(self.values).min())

    def inherited(self, at: array[float], before: float = math.nan) -> array[float]:
        """For each place the last value named before it, another where there is none."""
        if not self.at:
            return array("d", [before]) * len(at)
        if len(at) < LONG and len(self.at) < LONG:
            found = (bisect_right(self.at, a) for a in at)
            return array("d", (self.values[i - 1] if i else before for i in found))
        import numpy as np

        indices = np.searchsorted(np.asarray(self.at), np.asarray(at), side="right")
        return as_array(np.concatenate([[before], np.asarray(self.values)])[indices])


def as_array(values: Sized) -> array[float]:
    """Floats of numpy as an array."""
    import numpy as np

    found = array("d", [0.0]) * len(values)
    if found:
        np.frombuffer(found)[:] = np.asarray(values)
    return found


def _as_positions(values: Sized) -> array[int]:
    import numpy as np

    found = array("q", [0]) * len(values)
    if found:
        np.frombuffer(found, np.int64)[:] = np.asarray(values)
    return found
