"""Wilson's interval against what it is defined by, and against how often it covers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from mldiag.stats import wilson_interval
from mldiag.stats.rates import Z95

counts = st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_both_limits_lie_z_standard_errors_from_the_share(count: tuple[int, int]) -> None:
    """The definition: the limits are the p for which |p̂ - p| = z √(p (1 - p) / n)."""
    found, tried = count
    low, high = wilson_interval(found, tried)
    assert 0 <= low <= high <= 1
    if not tried:
        assert (low, high) == (0, 1)
        return
    share = found / tried
    assert low <= share <= high
    for limit in (low, high):
        if 0 < limit < 1:
            assert abs(share - limit) == pytest.approx(
                Z95 * math.sqrt(limit * (1 - limit) / tried), rel=1e-6, abs=1e-12
            )


@given(counts)
def test_it_is_the_mirror_of_the_opposite(count: tuple[int, int]) -> None:
    found, tried = count
    low, high = wilson_interval(found, tried)
    assert wilson_interval(tried - found, tried) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(st.integers(1, 200), st.integers(0, 200))
def test_more_trials_of_the_same_share_narrow_it(tried: int, found: int) -> None:
    found = min(found, tried)
    low, high = wilson_interval(found, tried)
    nearer = wilson_interval(4 * found, 4 * tried)
    assert nearer[1] - nearer[0] < high - low


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
def test_it_covers_about_as_often_as_it_says(p: float) -> None:
    """Exactly, by the binomial distribution, averaged over sample sizes; the score interval is near 95 % on average."""
    cover = []
    for n in range(20, 60):
        chance = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        inside = sum(c for k, c in enumerate(chance) if wilson_interval(k, n)[0] <= p <= wilson_interval(k, n)[1])
        cover.append(inside)
    assert sum(cover) / len(cover) == pytest.approx(0.95, abs=0.02)


def test_known_values() -> None:
    """Brown, Cai and DasGupta's worked form: 0 of 10 reaches z² / (n + z²)."""
    assert wilson_interval(0, 10)[1] == pytest.approx(Z95**2 / (10 + Z95**2))
    assert wilson_interval(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson_interval(3, 2)
