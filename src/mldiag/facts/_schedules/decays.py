"""Ways in which a learning rate goes down, and the search for the one, and its end, that logged rates follow.

With u from 0 to 1 between the start and the end of the decay, and floor c:

| kind | rate | where from |
|---|---|---|
| polynomial | c + A (1 - u)^p; linear where p = 1 | Keras `PolynomialDecay`; nnU-Net with p = 0.9 |
| cosine | c + A (1 + cos πu) / 2 | Loshchilov and Hutter 2017, "SGDR", eq. 5 |
| exponential | A r^x | `ExponentialLR`; has no end |
| inverse-sqrt | A / √(x + s) | Vaswani et al. 2017, section 5.3; has no end |
| inverse-time | A / (x + s) | Keras `InverseTimeDecay` and `decay=`; has no end |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from operator import mul

from msgspec import Struct

POWERS = (1.0, 0.9, 2.0, 0.5, 3.0)
"""Exponents that recipes use: linear, DeepLab's and nnU-Net's 0.9, Caffe's 0.5, quadratic and cubic."""

CURVED = 2.0
"""Power from which the bend shows the floor; of a straight line's end the rates cannot tell it."""

HIGHER = 1.05
"""Largest ratio of the peak and the highest logged rate: the interval of a log with twenty points and a warm-up."""

SAME = 2.0
"""Fits whose error is within this factor of the best one's are as good as it."""

MAX_ERROR = 0.012
"""Largest root mean square error of a fit, as a share of the logged drop, beyond the rounding of the log. Foreign
shapes that a free end bends closest (a cosine over a line, an exponential over a power) are above 0.02 once a third of
the decay is seen."""

EXACT = 1e-4
"""Error, as a share of a drop of at least 30 % of the rate, at which a fit needs no comparison with others."""

_GOLDEN = (3 - math.sqrt(5)) / 2
_SEARCHED = 12  # points that a search looks at; what it finds is settled on all of them
_CLOSE, _ROUNDS = 1e-5, 16  # of a logarithm of a length
_LONGEST = 30.0  # an end further away than this many times what is seen is no end that the rates could tell


class Decay(Struct, frozen=True):
    """One way down that fits.

    Attributes:
        kind: as in the table above; `linear` for a power of one.
        end: where on the axis the floor is reached; None for a kind without an end.
        floor: the rate there.
        power: of a polynomial.
        error: root mean square distance to the logged rates, in rate.
    """

    kind: str
    end: float | None
    floor: float
    power: float | None
    error: float


Points = Sequence[tuple[float, float]]
Floats = Sequence[float]


def fitted(points: Points, starts: Sequence[float], floors: Sequence[float], rounding: float) -> list[Decay]:
    """The decays that fit as well as the best does, the simplest first; none where not even the best fits.

    Args:
        points: place and rate of each point of the decay, going down; 5 or more.
        starts: places at which the decay may begin (it lies between two logged points).
        floors: rates that it may end at, the likeliest first.
        rounding: largest error of the rounding of these rates.
    """
    xs, vs = [x for x, _ in points], [v for _, v in points]
    top, bottom = vs[0], vs[-1]
    below = [f for f in floors if f <= bottom * (1 + 1e-9)]
    exact = EXACT * (top - bottom) if top - bottom >= 0.3 * top else -1.0
    found: list[Decay] = []
    for way in (_named, _cosines, _endless, _free_powers):
        for decay in way(xs, vs, starts, below, found, rounding):
            if decay.error <= exact:
                return [decay]
            found.append(decay)
    free = _cosine(xs, vs, starts, None, rounding)
    if free is not None and free.floor > 0:
        found.append(free)
    if not found:
        return []
    best = min(d.error for d in found)
    allowed = max(SAME * best, 0.6 * rounding, 1e-9 * top)
    if best > max(MAX_ERROR * (top - bottom), rounding):
        return []
    good = [d for d in found if d.error <= allowed]
    good.sort(key=lambda d: (d.kind != "linear", d.kind != "cosine" or d is free, d.power not in POWERS))
    return good


Way = Iterator[Decay]


def _named(xs: Floats, vs: Floats, starts: Floats, floors: Floats, found: list[Decay], rounding: float) -> Way:
    """Named powers to each floor; curved ones also to a tenth of the peak, where recipes end without saying so."""
    tenth = 0.1 * vs[0]
    ways = [(floor, p) for floor in floors for p in POWERS]
    ways += [(tenth, p) for p in POWERS if p >= CURVED and tenth <= vs[-1]]
    return (d for floor, p in ways if (d := _power(xs, vs, floor, p)) is not None)


def _cosines(xs: Floats, vs: Floats, starts: Floats, floors: Floats, found: list[Decay], rounding: float) -> Way:
    return (d for floor in floors if (d := _cosine(xs, vs, starts, floor, rounding)) is not None)


def _endless(xs: Floats, vs: Floats, starts: Floats, floors: Floats, found: list[Decay], rounding: float) -> Way:
    inverse = (_inverse(xs, vs, 2, "inverse-sqrt"), _inverse(xs, vs, 1, "inverse-time"))
    return (d for d in (_exponential(xs, vs), *inverse) if d is not None)


def _free_powers(xs: Floats, vs: Floats, starts: Floats, floors: Floats, found: list[Decay], rounding: float) -> Way:
    """Powers that no recipe names, where they fit far better than the named ones."""
    some, rates = _few(xs), _few(vs)
    named = [d for d in found if d.power in POWERS]
    for floor in floors:
        least = min((d.error for d in named if d.floor == floor), default=math.inf)
        if least <= 0.5 * rounding:
            continue  # nothing fits twice as well as rounding allows

        def cost(size: float, floor: float = floor) -> float:
            return _error(_power(some, rates, floor, math.exp(size)))

        power = _minimum(cost, math.log(0.4), math.log(5.0), 7, 1e-3)
        best = _power(xs, vs, floor, math.exp(power))
        if best is not None and best.error < 0.5 * least:
            yield best


def _error(decay: Decay | None) -> float:
    return math.inf if decay is None else decay.error


def _few(values: Floats) -> Floats:
    return [*values[: len(values) - 1 : max(1, len(values) // _SEARCHED)], values[-1]]


def _power(xs: Floats, vs: Floats, floor: float, power: float) -> Decay | None:
    """(v - c)^(1/p) is a straight line that meets zero at the end; each point weighs as its rate does."""
    if power == 1:
        line = _line(xs, [max(v - floor, 0.0) for v in vs], [1.0 if v > floor else 0.0 for v in vs])
    else:
        root, weight = 1 / power, 2 * (power - 1)
        roots = [(v - floor) ** root if v > floor else 0.0 for v in vs]
        line = _line(xs, roots, [y**weight if y > 0 else 0.0 for y in roots])
    if line is None or line[1] >= 0:
        return None
    a, b = line
    end = -a / b
    if not xs[0] < end < xs[0] + _LONGEST * (xs[-1] - xs[0]):
        return None
    if power == 1:
        error = _rms([v - floor - (a + b * x if x < end else 0.0) for x, v in zip(xs, vs, strict=True)])
        return Decay("linear", end, floor, power, error)
    # A point next to the end may come out below zero.
    error = _rms([v - floor - max(a + b * x, 0.0) ** power for x, v in zip(xs, vs, strict=True)])
    return Decay("polynomial", end, floor, power, error)


def _cosine(xs: Floats, vs: Floats, starts: Floats, floor: float | None, rounding: float) -> Decay | None:
    """The best half cosine over its start and length; its height, and a floor that is not given, follow from both.

    Start and length are searched on some of the points; the length is then settled on all of them.
    """
    some, rates = _few(xs), _few(vs)
    drop = vs[0] - vs[-1]
    near = 0.1 * EXACT * drop
    apart = (max(starts) - min(starts)) / max(xs[-1] - max(starts), 1e-12 * (xs[-1] - xs[0]))
    # Another start changes no more than its distance; what is further off than that fits from none.
    far = 2 * max(MAX_ERROR * drop, rounding) + apart * drop
    found: list[tuple[float, float, float]] = []
    for start in starts:
        seen = xs[-1] - start
        if seen <= 0:
            continue

        def cost(size: float, start: float = start) -> float:
            return _half_cosine(some, rates, start, math.exp(size), floor)[0]

        low, high = math.log(0.8 * seen), math.log(_LONGEST * seen)
        length = None
        if found:
            # The best length from one start is about that from another.
            about = min(max(found[0][2], low), high)
            length = _minimum(cost, max(about - 0.2, low), min(about + 0.2, high), 3, 1e-3)
            if abs(abs(length - about) - 0.2) < 0.01:
                length = None
        if length is None:
            length = _minimum(cost, low, high, 8, 1e-3)
        found.append((cost(length), start, length))
        if found[-1][0] <= near:
            break
        if found[0][0] > far:
            return None
    if not found:
        return None
    _, start, about = min(found)
    if about > math.log(0.95 * _LONGEST * (xs[-1] - start)):
        return None  # the longer the better: what is seen is as good as level
    length = _minimum(
        lambda size: _half_cosine(xs, vs, start, math.exp(size), floor)[0], about - 0.02, about + 0.02, 3, _CLOSE
    )
    error, low, _ = _half_cosine(xs, vs, start, math.exp(length), floor)
    return Decay("cosine", start + math.exp(length), low, None, error)


def _half_cosine(
    xs: Floats, vs: Floats, start: float, length: float, floor: float | None
) -> tuple[float, float, float]:
    """Root mean square error, floor and height of the best half cosine of this start and length."""
    cos, turn, end = math.cos, math.pi / length, start + length
    if xs[0] >= start and xs[-1] <= end:
        waves = [0.5 + 0.5 * cos((x - start) * turn) for x in xs]
    else:
        waves = [0.5 + 0.5 * cos((min(max(x, start), end) - start) * turn) for x in xs]
    low = floor
    if low is None:
        line = _line(waves, vs, [1.0] * len(waves))
        low = 0.0 if line is None else max(line[0], 0.0)
    squares = sum(map(mul, waves, waves))
    above = sum(map(mul, waves, vs)) - low * sum(waves)
    # It comes from the peak, of which the highest logged rate may lack a little; else height and length of a first
    # part could make up for each other.
    top = vs[0] - low
    height = min(max(above / (squares or 1.0), top), HIGHER * top)
    return _rms([v - low - height * w for w, v in zip(waves, vs, strict=True)]), low, height


def _exponential(xs: Floats, vs: Floats) -> Decay | None:
    if min(vs) <= 0:
        return None
    line = _line(xs, [math.log(v) for v in vs], [v * v for v in vs])
    if line is None or line[1] >= 0:
        return None
    a, b = line
    return Decay("exponential", None, 0.0, None, _rms([v - math.exp(a + b * x) for x, v in zip(xs, vs, strict=True)]))


def _inverse(xs: Floats, vs: Floats, power: int, kind: str) -> Decay | None:
    """v^-power is a straight line that rises; each point weighs as its rate does."""
    if vs[-1] <= 0:
        return None
    line = _line(xs, [v**-power for v in vs], [v ** (2 * (power + 1)) for v in vs])
    if line is None or line[1] <= 0:
        return None
    a, b = line
    if a + b * xs[0] <= 0:
        return None
    root = -1 / power
    return Decay(kind, None, 0.0, None, _rms([v - (a + b * x) ** root for x, v in zip(xs, vs, strict=True)]))


def _line(xs: Floats, ys: Floats, weights: Floats) -> tuple[float, float] | None:
    """Weighted least squares: intercept and slope; None where the places are one."""
    total = sum(weights)
    if total <= 0 or len(xs) < 2:
        return None
    mx, my = sum(map(mul, weights, xs)) / total, sum(map(mul, weights, ys)) / total
    apart = [x - mx for x in xs]
    weighed = [*map(mul, weights, apart)]
    sxx = sum(map(mul, weighed, apart))
    if sxx <= 0:
        return None
    slope = sum(map(mul, weighed, [y - my for y in ys])) / sxx
    return my - slope * mx, slope


def _rms(errors: Sequence[float]) -> float:
    return math.sqrt(sum(map(mul, errors, errors)) / len(errors))


def _minimum(cost: Callable[[float], float], low: float, high: float, grid: int, close: float) -> float:
    """Where a root mean square error is lowest: on a grid, then by Brent's method about its lowest point.

    The square of such an error is nearly a parabola there (Brent 1973, "Algorithms for minimization without
    derivatives", chapter 5).
    """
    places = [low + (high - low) * i / (grid - 1) for i in range(grid)]
    costs = [cost(p) ** 2 for p in places]
    best = min(range(grid), key=costs.__getitem__)
    a, b = places[max(best - 1, 0)], places[min(best + 1, grid - 1)]
    x = w = v = places[best]
    fx = fw = fv = costs[best]
    if 0 < best < grid - 1:
        # The grid has the first parabola already.
        (fw, w), (fv, v) = sorted(((costs[best - 1], a), (costs[best + 1], b)))
    step = before = b - a
    for _ in range(_ROUNDS):
        middle = 0.5 * (a + b)
        if abs(x - middle) + 0.5 * (b - a) <= 2 * close:
            break
        r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
        p, q = (x - v) * q - (x - w) * r, 2 * (q - r)
        p, q = (-p, q) if q > 0 else (p, -q)
        if q and math.isfinite(p) and abs(p) < abs(0.5 * q * before) and q * (a - x) < p < q * (b - x):
            before, step = step, p / q
        else:
            before = (a if x >= middle else b) - x
            step = _GOLDEN * before
        if abs(step) < close:
            step = math.copysign(close, step)
        u = x + step
        fu = cost(u) ** 2
        if fu <= fx:
            a, b = (x, b) if u >= x else (a, x)
            v, fv, w, fw, x, fx = w, fw, x, fx, u, fu
        else:
            a, b = (u, b) if u < x else (a, u)
            if fu <= fw or w == x:
                v, fv, w, fw = w, fw, u, fu
            elif fu <= fv or v in (x, w):
                v, fv = u, fu
    return x
