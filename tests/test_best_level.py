"""The best level of a long series: windows that are passed over cannot be lower than those that are tried."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from mldiag import stats
from mldiag.stats import levels

values = st.lists(st.floats(-5, 5) | st.sampled_from([0.0, 1.0]), min_size=2, max_size=200)


@given(values, st.floats(0.05, 1), st.integers(1, 20))
def test_the_lowest_window_is_found_at_any_stride(data: list[float], share: float, strides: int) -> None:
    wanted = stats.best_level(data, share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "LONG", 1)
        patch.setattr(levels, "STRIDES", strides)
        assert stats.best_level(data, share) == wanted
