"""Whether values rise or fall along their order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mldiag.stats.basics import median
from mldiag.stats.levels import binned, head_level, tail_level, window_size
from mldiag.stats.noise import level_error, noise


def trend(values: Sequence[float]) -> float:
    """Kendall's τ of the values against their order, -1 (always falling) to 1 (always rising); ties count for neither.

    Kendall 1938, Biometrika 30, 81-93. Longer series are binned to 128 medians first, so the cost is bounded.
    """
    data = binned(values, 128)
    n = len(data)
    if n < 2:
        return 0.0
    score = sum((data[j] > data[i]) - (data[j] < data[i]) for i in range(n) for j in range(i + 1, n))
    return score / (n * (n - 1) / 2)


def falls(values: Sequence[float]) -> bool:
    """Whether the values fall along their order: Mann-Kendall test, one-sided at 5 %, on at most 128 binned medians.

    z = τ / √(2 (2n + 5) / (9 n (n - 1))) < -1.645 (Mann 1945, Econometrica 13, 245-259). Needs independent noise.
    """
    n = min(len(values), 128)
    return n > 2 and trend(values) < -1.645 * math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))


def noise_explains(values: Sequence[float], fall: float, errors: float = 4.0) -> bool:
    """Whether a fall from the first three values to a later level is within the noise of at least twenty values.

    The fall must be below `errors` standard errors of a level of three (four, since the lowest of many levels is met),
    the outer thirds must not differ by more than two of theirs, the last tenth must not lie below the first by one of
    theirs, and the whole must not fall.
    """
    n = len(values)
    if n < 20 or falls(values):
        return False
    sigma, third = noise(values), n // 3
    apart = median(values[:third]) - median(values[-third:])
    ends = head_level(values) - tail_level(values)
    return (
        fall <= errors * level_error(sigma, 3)
        and apart <= 2 * math.sqrt(2) * level_error(sigma, third)
        and ends <= level_error(sigma, window_size(n, 0.1, 3))
    )
