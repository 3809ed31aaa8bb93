"""The shape of logged learning rates: a rise, a level part, and a way down, with their places on the axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct

from mldiag.facts._schedules.decays import Decay, fitted
from mldiag.facts._schedules.grain import Grain, grain_of
from mldiag.stats import LONG, extremes, median

FLAT = 0.001
"""Relative change of the rate below which it counts as level: logs round to 3 or 4 digits."""

JUMP = 0.25
"""Rise from one point to the next, as a share of the peak, that is no part of a smooth schedule sampled so finely."""

MIN_DECAY = 6
"""Points of a decay below which many shapes fit."""

MIN_STAIRS = 3
"""Levels of a rise in even steps: two differences that can be alike."""

MIN_RUNGS = 8
"""Regular levels from which a staircase is a smooth schedule that moves once in a while (once per epoch)."""

_LEAST, _MOST = 1e-30, 1e30  # anything else is no learning rate, and powers of it are no numbers
_POINTS = 400
_FITTED = 64
_ROUND = ((1, 0.02), (2, 0.004))
"""Digits and relative distance within which an end is a round number, as people plan runs."""


class ScheduleKind(StrEnum):
    """What a learning rate does over the run."""

    CONSTANT = "constant"
    RISING = "rising"
    LINEAR = "linear"
    COSINE = "cosine"
    POLYNOMIAL = "polynomial"
    EXPONENTIAL = "exponential"
    INVERSE_SQRT = "inverse-sqrt"
    INVERSE_TIME = "inverse-time"
    STEP = "step"
    RESTARTS = "restarts"
    ONE_CYCLE = "one-cycle"
    UNKNOWN = "unknown"


class Shape(Struct, frozen=True):
    """What the logged rates do. Places are on the axis of the log.

    Attributes:
        kind: `UNKNOWN` where several kinds fit as well, or none does.
        peak: the highest rate.
        warmup: where the rise that the rates began with reaches, or reached, the peak; None without such a rise. Of a
            rate that never stops rising it is the last place.
        slope: rise of the rate per unit of the axis; 0 without a straight rise.
        risen: points of the rise, or levels of a staircase, below the peak.
        start: where the decay begins.
        end: where it reaches its floor; None for a kind without an end, or where the rates cannot tell.
        ends: lowest and highest end of all decays that fit as well.
        reached: the end lies within the log.
        floor: the rate at the end; the last one where nothing goes on from it.
        power: of a polynomial.
        jumps: places of sudden drops (step) or sudden rises (restarts).
        rung: length on the axis of one level of a staircase, 0 for rates that move between any two points.
        error: root mean square distance of the fit, as a share of the logged drop.
        grain: how the rates were rounded.
    """

    kind: ScheduleKind
    peak: float
    warmup: float | None = None
    slope: float = 0.0
    risen: int = 0
    start: float = 0.0
    end: float | None = None
    ends: tuple[float, float] | None = None
    reached: bool = False
    floor: float = 0.0
    power: float | None = None
    jumps: tuple[float, ...] = ()
    rung: float = 0.0
    error: float = 0.0
    grain: Grain = Grain()


class _Rise(Struct, frozen=True):
    warmup: float | None = None
    slope: float = 0.0
    points: int = 0
    curved: bool = False


Points = list[tuple[float, float]]


def recognised(axis: Sequence[float], values: Sequence[float], floors: Sequence[float] = ()) -> Shape:
    """The shape of rates at places that rise, and of which one is above zero.

    Args:
        floors: rates that a decay may end at by the settings.
    """
    low, top = extremes(values)
    if not (_LEAST <= top <= _MOST and low >= 0):
        return Shape(ScheduleKind.UNKNOWN, top, start=axis[0], floor=values[-1])
    grain = grain_of(values)
    slack = max(FLAT * top, grain.half(top))
    points = _sampled(axis, values, first_at_least(values, top - slack))
    if top - min(v for _, v in points) <= slack:
        return Shape(ScheduleKind.CONSTANT, top, start=axis[-1], floor=values[-1], grain=grain)
    points, rung = _smoothed(points, grain)
    at = _peak(points, top, slack)
    rise = _rise(points[: at + 1], slack)
    if points[-1][1] >= top - slack and (stairs := _stairs(points, grain)) is not None:
        slope, risen, length = stairs
        return Shape(ScheduleKind.RISING, top, axis[-1], slope, risen, axis[-1], floor=top, rung=length, grain=grain)
    # Rates within the rounding of the peak may be the last ones of the rise.
    near = 3 * slack / rise.slope if rise.slope > 0 else 0.0
    still = at >= len(points) - 2 or points[-1][0] - points[at][0] <= near
    if rise.points and still and points[-1][1] >= top - slack:
        # It rises to the last point, or nearly: nothing was logged of what follows.
        return Shape(
            ScheduleKind.RISING, top, axis[-1], rise.slope, rise.points, axis[-1], floor=top, rung=rung, grain=grain
        )
    level = at
    while level + 1 < len(points) and points[level + 1][1] >= top - slack:
        level += 1
    base = Shape(
        ScheduleKind.UNKNOWN,
        top,
        rise.warmup,
        rise.slope,
        rise.points,
        points[level][0],
        floor=points[-1][1],
        rung=rung,
        grain=grain,
    )
    return _descended(base, rise, points, at, level, floors, slack)


def _descended(
    base: Shape, rise: _Rise, points: Points, at: int, level: int, floors: Sequence[float], slack: float
) -> Shape:
    """What follows the peak."""
    rest = points[level:]
    if len(rest) == 1:
        return _with(base, kind=ScheduleKind.CONSTANT)
    rises = [x for (_, a), (x, b) in pairwise(rest) if b - a > JUMP * base.peak]
    if any(b - a > slack for (_, a), (_, b) in pairwise(rest)):
        wave = _wave(base, rest, _starts(points, rise, at, level), slack)
        if wave is not base or not rises:
            return wave
    if rises:
        falling = sum(b < a for (_, a), (_, b) in pairwise(rest))
        smooth = falling >= 0.6 * (len(rest) - 1 - len(rises))
        return _with(base, kind=ScheduleKind.RESTARTS if smooth else ScheduleKind.UNKNOWN, jumps=tuple(rises))
    levels = _levels(rest)
    if not base.rung and _is_stepped(levels, base.grain):
        drops = tuple(x for x, _, _ in levels[1:])
        return _with(base, kind=ScheduleKind.STEP, jumps=drops) if _are_steps(levels) else base
    return _smooth(base, rise, points, at, level, floors)


def _smooth(base: Shape, rise: _Rise, points: Points, at: int, level: int, floors: Sequence[float]) -> Shape:
    rest = points[level:]
    last = rest[-1][1]
    tail = next(i for i, (_, v) in enumerate(rest) if v <= last + max(base.grain.half(last), 1e-4 * base.peak))
    still = len(rest) - tail >= 3
    # Level again at the end it has reached its floor, unless the level is one of many that coarse rounding made.
    ended = still and base.grain.unit < 0.02 * base.peak
    body = rest[: tail + ended] if still else rest
    known = (last,) if ended else (*(f for f in floors if 0 < f < base.peak), 0.0)
    starts = _starts(points, rise, at, level)
    fits = _fits(base, body, starts, known)
    if rise.points and level == at and _first_error(fits) > 0.003 * (body[0][1] - body[-1][1]):
        # The highest logged rate may still be one of the rise.
        fits = min(fits, _fits(base, body[1:], starts, known), key=_first_error)
    if not fits:
        return base
    chosen = _likeliest(fits)
    kinds = {"polynomial" if d.kind == "linear" else d.kind for d in fits}
    kind = ScheduleKind(chosen.kind) if len(kinds) == 1 else ScheduleKind.UNKNOWN
    if kind is ScheduleKind.COSINE and rise.curved:
        kind = ScheduleKind.ONE_CYCLE
    every = [d.end for d in fits if d.end is not None]
    end = chosen.end if len(every) == len(fits) else None
    if ended and end is not None:
        # Past its end a decay is level: the end lies between the last point above the floor and the first one on it.
        end = min(max(end, body[-2][0]), body[-1][0])
        every = [end]
    return _with(
        base,
        kind=kind,
        end=end,
        ends=(min(every), max(every)) if end is not None else None,
        reached=ended,
        floor=chosen.floor if end is not None else last,
        power=chosen.power if kind in (ScheduleKind.LINEAR, ScheduleKind.POLYNOMIAL) else None,
        error=chosen.error / (body[0][1] - body[-1][1]),
    )


def _fits(base: Shape, body: Points, starts: Sequence[float], floors: Sequence[float]) -> list[Decay]:
    if len(body) < MIN_DECAY:
        return []
    thin = [body[round(i * (len(body) - 1) / (_FITTED - 1))] for i in range(_FITTED)] if len(body) > _FITTED else body
    return fitted(thin, starts, floors, base.grain.half(max(v for _, v in thin)))


def _first_error(fits: list[Decay]) -> float:
    return fits[0].error if fits else math.inf


def _likeliest(fits: list[Decay]) -> Decay:
    """Of decays that fit alike the one whose end is the roundest number, else the simplest."""
    return min(enumerate(fits), key=lambda f: (_roundness(f[1].end), f[0]))[1]


def _roundness(end: float | None) -> int:
    """0 for an end near a number of one digit, 1 near one of two, 2 for any other."""
    if end is None or end <= 0:
        return len(_ROUND)
    for rank, (digits, apart) in enumerate(_ROUND):
        if abs(float(f"{end:.{digits - 1}e}") / end - 1) <= apart:
            return rank
    return len(_ROUND)


def _wave(base: Shape, rest: Points, starts: Sequence[float], slack: float) -> Shape:
    """A cosine that was stepped past its end comes back up (PyTorch's `CosineAnnealingLR`, Hugging Face's)."""
    trough = next(i for i, (here, after) in enumerate(pairwise(rest)) if after[1] - here[1] > slack)
    low = min(v for _, v in rest)
    height = base.peak - low
    if trough < 3 or rest[trough][1] > low + 0.1 * height or rest[-1][0] - rest[trough][0] < 0.2 * rest[trough][0]:
        return base
    gap = max(b[0] - a[0] for a, b in pairwise(rest[trough - 2 : trough + 3]))
    thin = rest[:: max(1, len(rest) // 100)]
    fits = (
        (_wave_error(thin, start, rest[trough][0] + gap * i / 16 - start, low, height), start, gap * i / 16)
        for start in starts
        for i in range(-16, 17)
        if rest[trough][0] - gap > start
    )
    error, _, shift = min(fits, default=(math.inf, 0.0, 0.0))
    if error > 0.03 * height:
        return base
    end = rest[trough][0] + shift
    found = _with(base, kind=ScheduleKind.COSINE, end=end, ends=(end, end), reached=True, floor=low)
    return _with(found, jumps=(end,), error=error / height)


def _wave_error(points: Points, start: float, length: float, low: float, height: float) -> float:
    errors = [v - low - height * 0.5 * (1 + math.cos(math.pi * (x - start) / length)) for x, v in points]
    return math.sqrt(math.fsum(e * e for e in errors) / len(errors))


def _peak(points: Points, top: float, slack: float) -> int:
    """The first point at the peak; where the rates fall on the way to it (restarts), the end of the first rise, if that
    comes near the peak, too.
    """
    at = next(i for i, (_, v) in enumerate(points) if v >= top - slack)
    turn = next((i for i in range(at) if points[i + 1][1] < points[i][1] - slack), at)
    return turn if points[turn][1] >= 0.9 * top else at


def _rise(points: Points, slack: float) -> _Rise:
    """The rise to the first peak, from at most 80 % of it, without turning back."""
    if len(points) < 2 or any(b < a - slack for (_, a), (_, b) in pairwise(points)):
        return _Rise()
    top = points[-1][1]
    if points[0][1] > 0.8 * top:
        return _Rise()
    below = [(x, v) for x, v in points if v < 0.99 * top]
    if len(below) < 2:
        # One point below the peak: the line through it and zero, as far as the next point allows.
        (x, v), reached = below[0], points[-1][0]
        place = min(max(top * x / v, x), reached) if v > 0 and x > 0 else reached
        return _Rise(place, 0.0, 1)
    n = len(below)
    mx, mv = sum(x for x, _ in below) / n, sum(v for _, v in below) / n
    slope = sum((x - mx) * (v - mv) for x, v in below) / sum((x - mx) ** 2 for x, _ in below)
    if slope <= 0:
        return _Rise()
    error = math.sqrt(sum((v - mv - slope * (x - mx)) ** 2 for x, v in below) / n)
    curved = n >= 4 and error > 0.015 * (below[-1][1] - below[0][1]) + slack
    place = mx + (top - mv) / slope
    place = points[-1][0] if curved else min(max(place, below[-1][0]), points[-1][0])
    return _Rise(place, 0.0 if curved else slope, n, curved)


def _stairs(points: Points, grain: Grain) -> tuple[float, int, float] | None:
    """Slope, levels below the last and length of a level of rates that go up in a few even steps to the last one."""
    levels = _levels(points)
    if not MIN_STAIRS <= len(levels) <= len(points) // 2 or any(b <= a for (_, a, _), (_, b, _) in pairwise(levels)):
        return None
    gaps = sorted(b[0] - a[0] for a, b in pairwise(points))
    gap = 1.01 * gaps[9 * len(gaps) // 10]
    lengths = [b[0] - a[0] for a, b in pairwise(levels[1:])]
    usual = (levels[-1][0] - levels[1][0]) / len(lengths)
    even = usual >= 1.9 * gap and all(abs(x - usual) <= gap for x in lengths)
    # A log may begin within the first level and end within the last one.
    within = levels[1][0] - levels[0][0] <= usual + gap and points[-1][0] - levels[-1][0] <= usual + gap
    heights = [b[1] - a[1] for a, b in pairwise(levels)]
    height = (levels[-1][1] - levels[0][1]) / len(heights)
    alike = all(abs(h - height) <= 0.02 * height + 2 * grain.half(levels[-1][1]) for h in heights)
    if not (even and within and alike) or _by_rounding(levels, grain):
        return None
    return height / usual, len(levels) - 1, usual


def _starts(points: Points, rise: _Rise, at: int, level: int) -> tuple[float, ...]:
    """Where the decay may begin: it lies between two logged points, or somewhere on a level part, which may be the
    flat top of a cosine as well as a held peak.
    """
    here, first = points[level][0], points[at][0]
    after = points[level + 1][0]
    if at == 0:
        gap = points[1][0] - first
        before = max(first - gap, 0.0) if first <= 1.5 * gap else first
    else:
        before = points[at - 1][0] if rise.warmup is None else rise.warmup
    if level == at:
        return tuple(dict.fromkeys((here, (here + before) / 2, before)))
    return tuple(dict.fromkeys((before, first, (first + here) / 2, here, (here + after) / 2)))


def first_at_least(values: Sequence[float], limit: float) -> int:
    """Position of the first value that reaches a limit; there has to be one."""
    if len(values) < LONG:
        return next(i for i, v in enumerate(values) if v >= limit)
    import numpy as np

    return int(np.argmax(np.asarray(values, np.float64) >= limit))


def _sampled(axis: Sequence[float], values: Sequence[float], peak: int) -> Points:
    """At most some hundred points: a third of the rise, the rest evenly over all; the first and the last are kept."""
    n = len(values)
    if n <= _POINTS:
        return list(zip(axis, values, strict=True))
    kept = {round(i * (n - 1) / (_POINTS - 1)) for i in range(_POINTS)}
    kept |= {round(i * peak / (_POINTS // 3)) for i in range(_POINTS // 3 + 1)} | {min(peak + 1, n - 1)}
    return [(axis[i], values[i]) for i in sorted(kept)]


def _levels(points: Points) -> list[tuple[float, float, int]]:
    """First place, rate and number of points of each stretch of equal rates."""
    found: list[tuple[float, float, int]] = []
    for x, v in points:
        if found and abs(v - found[-1][1]) <= 1e-6 * abs(v):
            found[-1] = (*found[-1][:2], found[-1][2] + 1)
        else:
            found.append((x, v, 1))
    return found


def _smoothed(points: Points, grain: Grain) -> tuple[Points, float]:
    """A regular staircase as the first points of its levels, and the length of one level; other rates as they are."""
    levels = _levels(points)
    inner = levels[1:-1]
    if len(inner) < MIN_RUNGS - 2 or len(levels) > 0.6 * len(points) or _by_rounding(levels, grain):
        return points, 0.0
    lengths = [b[0] - a[0] for a, b in pairwise(levels[1:])]
    usual = median(lengths)
    gaps = sorted(b[0] - a[0] for a, b in pairwise(points))
    gap = gaps[9 * len(gaps) // 10]  # a sample of a long log is unevenly spaced
    regular = sum(abs(x - usual) <= gap * 1.01 for x in lengths)
    if usual < 1.9 * gap or regular < 0.8 * len(lengths):
        return points, 0.0
    kept = [(x, v) for x, v, _ in levels]
    # A long level at an end is a held peak or a floor, and stays as long as it is.
    if points[-1][0] - levels[-1][0] > 1.5 * usual:
        kept += [(levels[-1][0] + usual * i, levels[-1][1]) for i in (1, 2)]
    mean = (levels[-1][0] - levels[1][0]) / (len(levels) - 2)
    return kept, mean if abs(mean - usual) <= gap else usual


def _by_rounding(levels: list[tuple[float, float, int]], grain: Grain) -> bool:
    """Neighbouring levels differ by one unit of the last written digit: the rate moved on between them."""
    steps = [abs(a - b) / (2 * grain.half(max(a, b)) or math.inf) for (_, a, _), (_, b, _) in pairwise(levels)]
    return bool(steps) and 0 < median(steps) <= 1.5


def _is_stepped(levels: list[tuple[float, float, int]], grain: Grain) -> bool:
    """Few levels, however long the first and the last are, which a smooth decay may have held."""
    if len(levels) == 2:
        return True
    inner = sum(n for _, _, n in levels[1:-1])
    return len(levels) - 2 <= 0.4 * inner and not _by_rounding(levels, grain)


def _are_steps(levels: list[tuple[float, float, int]]) -> bool:
    """Drops by a factor, or at places without a rhythm, as steps have them; a coarse staircase of a smooth decay has
    neither.
    """
    ratios = [b / a for (_, a, _), (_, b, _) in pairwise(levels) if a > 0]
    if max(ratios) - min(ratios) <= 0.03 or max(ratios) <= 0.6:
        return True
    lengths = [b[0] - a[0] for a, b in pairwise(levels)]
    return max(lengths) > 1.5 * min(lengths)


def _with(shape: Shape, **changes: object) -> Shape:
    from msgspec.structs import replace

    return replace(shape, **changes)
