"""Values that stand out above the local level of a series: how far, when, and whether the series came back."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence

from msgspec import Struct

from mldiag.stats.basics import LONG, median, spread
from mldiag.stats.noise import noise

BLOCKS = 4096
"""Blocks that a long series is reduced to: what follows then costs the same for any length."""

PARTS = 16
"""Parts of a series whose noise is estimated apart, where each has 50 values at least."""

NORMAL_ABOVE_4 = 1e-4
"""Share of points that normal noise (3e-5, one-sided) and a level that is itself uncertain put above 4 sigma."""


class Spike(Struct, frozen=True):
    """One excursion above the local level.

    Attributes:
        start, peak, end: positions of its first value above the band, of its highest, and of the first value after it
            that is back at the level it left; `end` is None where none is.
        value: the highest value.
        level: median of the values before it.
        z: (value - level) / noise.
    """

    start: int
    peak: int
    end: int | None
    value: float
    level: float
    z: float


class Excursions(Struct, frozen=True):
    """What `excursions` found.

    Attributes:
        spikes: beyond the limit, in order.
        lesser: how many more there are beyond half of it, of the same kind but smaller.
        sigma: noise of a value, as a share of its level where `relative`, else in the unit of the values.
    """

    spikes: tuple[Spike, ...]
    lesser: int
    sigma: float
    relative: bool

    @property
    def apart(self) -> bool:
        """The spikes are apart from the bulk.

        Noise with a heavy tail has more values between half the limit and the limit than beyond it: of a power law
        x^-a, a >= 1, the share between them is 1 - 2^-a, half or more. Here it has to be less than a third.
        """
        return len(self.spikes) > 2 * self.lesser


def excursions(values: Sequence[float], limit: float = 8.0, factor: float = 1.5, window: int = 15) -> Excursions:
    """Excursions above the median of the values before, beyond `limit` times the noise and `factor` times that level.

    The level looks back only: what comes down from above, as the beginning of every run does, is never one. Where all
    levels are above zero the noise is taken as a share of the level, since both shrink together. It is the largest of
    three estimates: from second differences of the whole and of the part of the series, and from the spread about the
    level, which holds slow wandering too. A long series is reduced to the medians and maxima of `BLOCKS` blocks first.

    Args:
        values: finite, in order.
        limit: in standard deviations of the noise.
        factor: of the level; where levels are not above zero, `factor - 1` of the spread of the levels instead.
        window: values that the level is the median of; fewer in a short series, at least three.
    """
    n = len(values)
    if n < 6:
        return Excursions((), 0, 0.0, False)
    levels, peaks, places, local, relative = _prepared(values)
    m = len(levels)
    size = max(3, min(window, m // 8))
    before = trailing_medians(levels, size)
    scale = before if relative else [1.0] * m
    off = [(levels[i] - before[i]) / scale[i] for i in range(size, m)]
    sigma = max(median(local), spread(off), 1e-9 if relative else 1e-9 * max(map(abs, levels)))
    noises = [max(sigma, local[i * len(local) // m]) * scale[i] for i in range(m)]
    reach = 0.0 if relative else (factor - 1) * (max(before) - min(before))
    found, lesser = [], 0
    i = min(3, size)
    while i < m:
        level = before[i]
        band = limit / 2 * noises[i]
        if peaks[i] - level <= band:
            i += 1
            continue
        end = _recovered(levels, peaks, i, level, band)
        top = max(range(i, m if end is None else max(end, i + 1)), key=peaks.__getitem__)
        rise, z = peaks[top] - level, (peaks[top] - level) / noises[i]
        if z > limit and (peaks[top] > factor * level if relative else rise > reach):
            last = None if end is None else places[end]
            found.append(Spike(places[i], places[top], last, peaks[top], level, z))
        else:
            lesser += 1
        i = m if end is None else max(end, i + 1)
    chance = int(NORMAL_ABOVE_4 * n)
    return Excursions(tuple(found), max(0, lesser - chance), sigma, relative)


def _prepared(values: Sequence[float]) -> tuple[Sequence[float], Sequence[float], Sequence[int], list[float], bool]:
    """Levels and maxima of short stretches, the maxima's positions, the noise of a value in each part, and its unit."""
    n = len(values)
    if n < LONG:
        relative = min(values) > 0
        scaled = values
        if relative:
            scaled = [v / s for v, s in zip(values, trailing_medians(values, 5), strict=True)]
        return values, values, range(n), _noises(scaled), relative
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    size = -(-n // BLOCKS)
    whole = n // size * size
    blocks = data[:whole].reshape(-1, size)
    medians, tops = np.median(blocks, axis=1), blocks.argmax(axis=1)
    rows = np.arange(len(blocks))
    relative = bool((data > 0).all())
    noises = _noises(array("d", (blocks / medians[:, None] if relative else blocks).tobytes()))
    return medians.tolist(), blocks[rows, tops].tolist(), (rows * size + tops).tolist(), noises, relative


def _noises(values: Sequence[float]) -> list[float]:
    """The noise in each of up to `PARTS` parts: it need not shrink or grow with the level."""
    n = len(values)
    parts = max(1, min(PARTS, n // 50))
    return [noise(values[i * n // parts : (i + 1) * n // parts]) for i in range(parts)]


def trailing_medians(values: Sequence[float], size: int) -> list[float]:
    """For each position the median of up to `size` values before it; at the first its own value."""
    window: list[float] = []
    levels = [values[0]]
    for i, entered in enumerate(values[:-1]):
        insort(window, entered)
        if len(window) > size:
            del window[bisect_left(window, values[i - size])]
        k = len(window)
        levels.append(window[k // 2] if k % 2 else (window[k // 2 - 1] + window[k // 2]) / 2)
    return levels


def _recovered(levels: Sequence[float], peaks: Sequence[float], start: int, level: float, band: float) -> int | None:
    """The first position from which two values (one at the end) are within the band again; None where none is."""
    n = len(levels)
    for i in range(start + 1, n):
        if peaks[i] - level <= band and (i + 1 == n or levels[i + 1] - level <= band):
            return i
    return None
