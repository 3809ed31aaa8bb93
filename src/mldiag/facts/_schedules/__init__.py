"""Shapes of learning-rate schedules: each a function of progress, and the search for the one that logged rates follow.

Series of any length are first reduced to a few hundred points, so that the cost does not grow with the log.
"""

from __future__ import annotations

from mldiag.facts._schedules.decays import POWERS as POWERS, Decay as Decay, fitted as fitted
from mldiag.facts._schedules.grain import Grain as Grain, grain_of as grain_of
from mldiag.facts._schedules.names import kind_of as kind_of
from mldiag.facts._schedules.shapes import (
    FLAT as FLAT,
    ScheduleKind as ScheduleKind,
    Shape as Shape,
    first_at_least as first_at_least,
    recognised as recognised,
)
