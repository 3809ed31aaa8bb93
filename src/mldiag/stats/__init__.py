"""Numerics shared by rules: robust level, noise and trend of short and long series.

Short series are worked on in plain Python, so that a small audit imports no numpy; from `LONG` points on numpy is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mldiag.stats.agreement import (
        same_digits as same_digits,
        written_unit as written_unit,
    )
    from mldiag.stats.basics import (
        LONG as LONG,
        MAD_TO_SIGMA as MAD_TO_SIGMA,
        MEDIAN_EFFICIENCY as MEDIAN_EFFICIENCY,
        always_rises as always_rises,
        count_finite as count_finite,
        extremes as extremes,
        finite as finite,
        first_lowest as first_lowest,
        has_repeats as has_repeats,
        mean as mean,
        median as median,
        not_finite as not_finite,
        relative_range as relative_range,
        spread as spread,
    )
    from mldiag.stats.changes import (
        level_change as level_change,
        level_changes as level_changes,
    )
    from mldiag.stats.levels import (
        best_level as best_level,
        binned as binned,
        head_level as head_level,
        largest_rise as largest_rise,
        tail_level as tail_level,
        window_size as window_size,
    )
    from mldiag.stats.noise import (
        level_error as level_error,
        noise as noise,
    )
    from mldiag.stats.periods import (
        event_period as event_period,
        repetition as repetition,
    )
    from mldiag.stats.rates import wilson_interval as wilson_interval
    from mldiag.stats.smoothing import (
        added_smoothing_floor as added_smoothing_floor,
        added_smoothing_mass as added_smoothing_mass,
        smoothing_floor as smoothing_floor,
    )
    from mldiag.stats.spikes import (
        Excursions as Excursions,
        Spike as Spike,
        excursions as excursions,
    )
    from mldiag.stats.trends import (
        falls as falls,
        noise_explains as noise_explains,
        trend as trend,
    )
else:

    def __getattr__(name: str) -> object:
        from mldiag.index import promised_by

        return promised_by(__name__, name)

    def __dir__() -> list[str]:
        from mldiag.index import promised

        return sorted({*globals(), *promised(__name__)})
