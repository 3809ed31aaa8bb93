"""CUR017: the norm of the gradient grew far above its level."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from mldiag.api import (
    Breaks,
    Curve,
    Curves,
    Evidence,
    Finding,
    Fix,
    GradientNorm,
    NotApplicable,
    Settings,
    Severity,
    edit_setting,
    rule,
    stats,
)

_BINS = 256
_LEVEL = 5
"""Values at least that the level before a rise is the median of."""


@rule("CUR017", severity="warning", explains=("CUR004", "CUR005", "CUR006"))
def gradient_explosion(
    norm: GradientNorm,
    curves: Curves,
    breaks: Breaks,
    settings: Settings | None,
    *,
    max_factor: float = 10.0,
    warm_up: float = 0.05,
    sustained_share: float = 0.03,
    min_tied: int = 3,
    min_loss_rise: float = 0.3,
    min_loss_fall: float = 0.2,
    min_points: int = 12,
    clip_norm: float = 1.0,
) -> Iterator[Finding]:
    """The gradient norm rose to many times its level, and stayed there or took the loss with it.

    ## What it checks
    The norm behind the first twentieth of the run, against the median of all values of it before the place in
    question. It exploded where the median of a stretch is above ten times that and twice what nine in ten values
    before were below; or where the last values before the loss or the norm became NaN are. Single values above ten
    times the level count where they are above the norms of the start and the loss jumped at the same steps, three
    times at least, unless many lie between four and eight times their noise: then the data have a heavy tail. High
    norms that come down at the start of a run or in which the loss came down (a model that leaves its first plateau),
    and single ones at which it does nothing, are ordinary.

    An error where the norm is still there at the end or the loss became NaN; otherwise a warning. Values that are NaN
    or infinite are another rule's (non-finite): here they only end the series.

    ## Why it matters
    One step along such a gradient undoes many; with a moving average of squares (Adam) the steps after it are too
    small instead.

    ## Inputs
    `grad_norm`, before the clipping where both are logged, any unit; the train loss; setting `clip_norm`.

    ## Options
    - `max_factor` (10): norm / median before.
    - `warm_up` (0.05): part of the run left out at its start, at least one value.
    - `sustained_share` (0.03): length of the stretch as a share of the run, at least three values.
    - `min_tied` (3): single high norms at which the loss jumped.
    - `min_loss_rise` (0.3): such a jump of the loss / what it had gained since the start.
    - `min_loss_fall` (0.2): fall of the loss in a stretch of high norms / all it gained, with which it was learning.
    - `min_points` (12): finite norms.
    - `clip_norm` (1.0): norm to clip at in the fix, or the level of the norm, rounded up, where that is higher.

    ## Fix
    Unsafe: clipping is switched on, or its limit lowered, where the setting can be edited. Shown otherwise.

    ## When to ignore
    The loss changed on purpose (a new part of a curriculum). Reinforcement and adversarial training are not judged.

    ## Source
    Ten times: peers use 10 times the mean or median. Measured on 37 labelled runs with a norm, none of which explodes:
    the highest stretch was at 5.7 times the median before it (early in a short run), mostly at 1 to 3. Clipping:
    Pascanu et al. 2013, arXiv:1211.5063.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"norms beside {curves.reinforcement or curves.adversarial} follow a moving objective")
    curve = norm.curve
    if len(curve) < min_points:
        raise NotApplicable(f"{len(curve)} finite gradient norms; at least {min_points} are needed")
    begin = max(1, round(warm_up * len(curve)))
    values = curve.values[begin:]
    broken = next((b.series.name for b in breaks.items if b.series.name in ("train/loss", curve.name)), "")
    found = _sustained(values, max_factor, sustained_share) or (_last(values, max_factor) if broken else None)
    loss = curves.get("train/loss")
    if found is not None and not found[3] and _learns(curve, begin + found[0], sustained_share, loss, min_loss_fall):
        found = None
    if found is not None:
        start, level, high, stays = found
        at = begin + start
        where = f"from {curve.place(at)} on" if stays else f"around {curve.place(at)}"
        ending = f", and {broken.replace('/', ' ')} was no number after that" if broken and stays else ""
        yield Finding(
            f"the gradient norm rose to {high:.3g} {where}, {high / level:.3g} times its median before ({level:.3g})"
            + (ending or (", and stayed there to the end" if stays else ", and came back")),
            at=curve.at(at),
            severity=Severity.ERROR if stays else Severity.WARNING,
            evidence=(
                Evidence("median norm before", level, None, curve.source),
                Evidence("norm, median of the stretch", high, max_factor * level, curve.at(at)),
                Evidence("norm / median before", high / level, max_factor),
                Evidence("rise begins at", curve.place(at), None, curve.at(at)),
                Evidence("finite norms", len(curve)),
            ),
            fix=_fix(settings, level, clip_norm),
        )
        return
    tied = _tied(curve, begin, loss, max_factor, min_loss_rise)
    if len(tied) < min_tied:
        return
    worst = max(tied, key=lambda s: s.value / s.level)
    at = begin + worst.peak
    yield Finding(
        f"the gradient norm was above {max_factor:g} times its level at {len(tied)} places where the loss jumped as "
        f"well, up to {worst.value:.3g} ({curve.place(at)}; {worst.value / worst.level:.3g} times)",
        at=curve.at(at),
        evidence=(
            Evidence("high norms at which the loss jumped", len(tied), min_tied),
            Evidence("highest norm", worst.value, max_factor * worst.level, curve.at(at)),
            Evidence("level before it", worst.level, None, curve.at(at)),
            Evidence("finite norms", len(curve)),
        ),
        fix=_fix(settings, worst.level, clip_norm),
    )


def _sustained(values: Sequence[float], factor: float, share: float) -> tuple[int, float, float, bool] | None:
    """Start, level before, median of the stretch, and whether the end of the series is there too."""
    data = stats.binned(values, _BINS)
    n = len(data)
    size = stats.window_size(n, share, 3)
    for i in range(max(_LEVEL, n // 10), n - size + 1):
        if data[i] <= 2 * min(data[:i]):
            continue
        before = sorted(data[:i])
        level, upper = stats.median(before), before[int(0.9 * (i - 1))]
        high = stats.median(data[i : i + size])
        if level > 0 and data[i] > factor * level and high > max(factor * level, 2 * upper):
            end = stats.median(data[n - size :])
            return i * len(values) // n, level, max(high, end), end > factor * level
    return None


def _learns(curve: Curve, at: int, share: float, loss: Curve | None, least: float) -> bool:
    """Whether the loss came down in the stretch of high norms: a model that leaves its first plateau."""
    if loss is None:
        return False
    size = stats.window_size(len(curve), share, 3)
    before, within = (
        [loss.values[k] for i, k in zip(*curve.common(loss), strict=True) if low <= i < high]
        for low, high in ((at - size, at), (at, at + size))
    )
    gained = stats.head_level(loss.values) - stats.best_level(stats.binned(loss.values))[1]
    return bool(before and within) and stats.median(before) - stats.median(within) >= max(least * gained, 0.0) > 0


def _last(values: Sequence[float], factor: float) -> tuple[int, float, float, bool] | None:
    """The last one or two values, where the run broke behind them."""
    for count in (2, 1):
        before, last = values[:-count], values[len(values) - count :]
        level = stats.median(before) if len(before) >= _LEVEL else 0.0
        if level > 0 and min(last) > factor * level and min(last) > 2 * sorted(before)[int(0.9 * (len(before) - 1))]:
            return len(before), level, max(last), True
    return None


def _tied(curve: Curve, begin: int, loss: Curve | None, factor: float, min_rise: float) -> list[stats.Spike]:
    """Single high norms within two logged values of a jump of the loss."""
    if loss is None or len(loss) < 20:
        return []
    found = stats.excursions(curve.values[begin:], 8.0, factor)
    # Of a few examples that are nearly learnt one that is not has many times their gradient, but not that of the start.
    early = max(curve.values[:begin])
    spikes = [s for s in found.spikes if s.level > 0 and s.value > early]
    if not spikes or not found.apart:
        return []
    gained = stats.head_level(loss.values) - stats.best_level(stats.binned(loss.values))[1]
    mine, others = curve.common(loss)
    jumps = stats.excursions(loss.values, 8.0, 1.2).spikes
    highs = [s for s in jumps if gained > 0 and s.value - s.level >= min_rise * gained]
    tied = []
    for s in spikes:
        k = bisect_left(mine, begin + s.peak)
        if k < len(mine) and any(h.start - 2 <= others[k] <= (h.end or len(loss)) + 2 for h in highs):
            tied.append(s)
    return tied


def _fix(settings: Settings | None, level: float, clip_norm: float) -> Fix:
    """Clipping at the limit, or at the usual norm rounded up to one digit where that is higher."""
    limit = max(clip_norm, float(f"{1.5 * level:.1g}"))
    stated = settings.get("clip_norm", float) if settings is not None else None
    if settings is None or stated is None or 0 < stated <= limit:
        return Fix.show("clip the gradient norm, lower the learning rate or lengthen the warm-up; look at the batches")
    return Fix.unsafe(f"clip the gradient norm at {limit:g}", edit_setting(settings.effective("clip_norm"), limit))
