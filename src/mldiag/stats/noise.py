"""How far single values and levels stray from a smooth curve that is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mldiag.stats.basics import LONG, MAD_TO_SIGMA, MEDIAN_EFFICIENCY, median


def noise(values: Sequence[float]) -> float:
    """Standard deviation of the noise about a smooth curve, which is not known.

    A second difference x[i-1] - 2 x[i] + x[i+1] cancels a straight trend and has variance 6 σ² for independent noise
    (pseudo-residuals of Gasser, Sroka and Jennen-Steinmetz 1986, Biometrika 73, 625-633, for equal spacing). Its median
    absolute value / (0.6745 √6) is σ for normal noise and is not moved by spikes (as Davies and Kovac 2001, Ann.
    Statist. 29, 1-65, use first differences). Curvature makes the estimate larger, never smaller.

    Returns:
        σ in the unit of the values; 0 for fewer than three values, of which nothing can be told.
    """
    if len(values) < 3:
        return 0.0
    if len(values) >= LONG:
        import numpy as np

        data = np.asarray(values, dtype=np.float64)
        middle = float(np.median(np.abs(data[:-2] - 2 * data[1:-1] + data[2:])))
    else:
        middle = median([abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)])
    return MAD_TO_SIGMA * middle / math.sqrt(6)


def level_error(sigma: float, count: int) -> float:
    """Standard error of the median of `count` values with noise `sigma`."""
    return MEDIAN_EFFICIENCY * sigma / math.sqrt(max(count, 1))
