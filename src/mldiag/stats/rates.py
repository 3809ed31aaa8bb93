"""How sure a share is that was counted."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""Φ⁻¹(0.975): the normal quantile of a two-sided 95 % interval."""


def wilson_interval(found: int, tried: int, z: float = Z95) -> tuple[float, float]:
    """Confidence interval of a share that was counted as `found` of `tried`.

    The score interval (Wilson 1927, J. Amer. Statist. Assoc. 22, 209-212), which covers well for few trials and for
    shares near 0 and 1 too (Brown, Cai and DasGupta 2001, Statist. Sci. 16, 101-133).

    Returns:
        Lower and upper limit, within [0, 1]; (0, 1) where nothing was tried.

    Raises:
        ValueError: `found` is below 0 or above `tried`.
    """
    if not 0 <= found <= tried:
        raise ValueError(f"{found} of {tried} is no share")
    if not tried:
        return 0.0, 1.0
    share = found / tried
    scale = 1 + z * z / tried
    center = (share + z * z / (2 * tried)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    # At both ends the limit is the share itself, which rounding would miss.
    low = 0.0 if found == 0 else max(0.0, center - half)
    high = 1.0 if found == tried else min(1.0, center + half)
    return low, high
