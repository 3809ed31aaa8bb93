"""CUR006: the loss jumped far above its level."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from mldiag.api import Curve, Curves, Evidence, Finding, Fix, NotApplicable, Severity, rule, stats

_SERIES = ("train/loss", "val/loss", "test/loss")
_LISTED = 5
"""Places that the evidence names."""

_EARLIEST = 20
"""Values at most that are the first ones of a run."""

_STAYS = 1.4
"""Level after a jump / before it, up to the end, with which it has not come back."""

_WAY_DOWN = 7
"""Values from the highest of the first ones on that fall one after the other (tau of -0.9: one pair may not)."""


@rule("CUR006", severity="warning", gives_way_to=("CUR003", "CUR005"))
def loss_spikes(
    curves: Curves,
    *,
    min_sigmas: float = 8.0,
    min_factor: float = 1.5,
    min_spikes: int = 3,
    min_given_back: float = 0.5,
    strong_factor: float = 3.0,
    quiet: float = 0.2,
    max_noise: float = 0.35,
    noisy_sigmas: float = 6.0,
    few_sigmas: float = 12.0,
    max_brief: float = 0.03,
    max_share: float = 0.05,
    lasting_factor: float = 2.5,
    min_early_rise: float = 1.2,
    early_sigmas: float = 3.5,
    restart_factor: float = 2.0,
    alpha: float = 0.01,
    min_points: int = 10,
) -> Iterator[Finding]:
    """The loss jumped far above its level at single places, or once for good.

    ## What it checks
    Every value against the median of up to 15 values before it, in units of the noise. Noise is taken as a share of the
    level, since both shrink together, by the largest of three estimates. A spike is brief, comes back, and gives back
    half of what had been gained by then or, in a quiet loss, is three times the level. Three make a finding; one or
    two only where they rose above the loss that the run started from (one in a train loss is an information). One
    that never came back is enough. Spikes must be apart from the bulk: where half as many values lie between half the
    limit and the limit as beyond it, the noise has a heavy tail, as with small batches, and nothing is said. Left
    alone: a rise with the learning rate (warm restarts) and a rise that comes down slowly (curriculum). Where the noise
    is a large share of the level, logarithms are compared, and only what rose above the loss at the start counts.
    Whether the spikes come at regular distances, and whether that is an epoch, is tested. A rise in the first steps,
    before the loss fell, is told apart: an information.

    ## Why it matters
    Single bad batches (corrupt records, one long sequence, wrong labels) spend the optimizer's state and sometimes the
    run. Spikes of the validation loss say that the weights were bad at that moment, whatever the train loss says.

    ## Inputs
    `train/loss`, `val/loss`, `test/loss`, any unit; `lr`.

    ## Options
    - `min_sigmas`, `min_factor`: height over the noise (8) and value / level (1.5).
    - `min_spikes`: brief spikes (3).
    - `min_given_back`: height / (loss at the start - level) (0.5); or, where the noise / level is at most `quiet`
      (0.2), value / level of `strong_factor` (3).
    - `max_noise`: noise / level up to which values are compared (0.35), and logarithms beyond it.
    - `noisy_sigmas`: height over the noise, both in logarithms, of spikes there (6).
    - `few_sigmas`: height over the noise of one or two spikes (12); they must exceed the loss at the start.
    - `max_brief`: length / run (0.03), five values at least.
    - `max_share`: length of all of them / run (0.05), from which each must have come down by 75 % in three values.
    - `lasting_factor`: highest value / level of a jump that never came back (2.5); without quiet, above the start.
    - `min_early_rise`, `early_sigmas`: highest of the first values / lowest before it (1.2), and its
      height above the first value over the noise (3.5).
    - `restart_factor`: learning rate / rate shortly before from which a rise belongs to the schedule (2).
    - `alpha`: p-value of a period (0.01).
    - `min_points`: finite values (10).

    ## Fix
    Shown: look at the batches of the named steps; clip the gradient norm; at regular distances, look at what happens
    there (end of an epoch, a shard, an evaluation).

    ## When to ignore
    The data hold rare hard examples on purpose.

    ## Source
    Thresholds: chosen on 310 labelled runs with a loss; none was held out. Of one or two spikes those of faulty runs
    rose to 1.8 to 36 times the loss at the start, with a noise below 0.13 of the level; healthy ones stayed below the
    start, had a noise above 0.4, or came down slowly. In logarithms the highest value of 57 noisy losses without
    spikes was at 5.1 sigma; in three runs trained with bad batches these were at 7 to 13. On 300 simulated healthy runs
    nothing is found; five spikes of five times the loss in 19 of 20. Spikes from the state of Adam: Molybog et al.
    2023, arXiv:2304.09871; from bad data: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, 5.1.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    series = [c for c in map(curves.get, _SERIES) if c is not None and len(c) >= min_points]
    if not series:
        raise NotApplicable(f"no loss with at least {min_points} finite values")
    for curve in series:
        early = _early(curve, min_early_rise, early_sigmas)
        if early is not None:
            yield early
        values = _above_zero(curve.values)
        found = stats.excursions(values, min_sigmas, min_factor)
        start = max(curve.values[:3])
        noisy = found.relative and found.sigma > max_noise
        if noisy:
            found = _in_logarithms(values, noisy_sigmas, min_factor)
        lr = curves.get("lr")
        axes = _same_axis(lr, curve)
        sharp = found.relative and not noisy and found.sigma <= quiet
        high = [
            s
            for s in found.spikes
            if s.start >= (0 if early is None else _EARLIEST)
            and (
                s.value - s.level >= min_given_back * (start - s.level)
                or (sharp and s.value >= (lasting_factor if s.end is None else strong_factor) * s.level)
            )
            and (s.value > start or not noisy)
            and not _restarted(lr, axes, s, restart_factor)
        ]
        train, length = curve.name == "train/loss", max(5.0, max_brief * len(curve))
        lasting = (
            high[-1] if high and train and _lasts(curve, high[-1], lasting_factor, 0.0 if sharp else start) else None
        )
        back = [s for s in high if s.end is not None and s.end - s.start <= length]
        # What comes down slowly, again and again, are the parts of a curriculum.
        rare = sum((s.end or s.start) - s.start for s in back) <= max_share * len(curve)
        brief = [s for s in back if rare or _falls_back(curve, s)]
        if lasting is not None and found.sigma > 0 and not noisy:
            yield _for_good(curve, lasting, found.sigma, min_sigmas, lasting_factor)
            continue
        if not brief or _ends_high(curve, min_factor):
            continue
        # Evaluations of the same data have no tail of single batches.
        apart = found.apart if train else len(found.spikes) > found.lesser
        few = (
            all(s.value > start and s.z >= few_sigmas for s in brief)
            and found.lesser == 0
            and not (noisy or curve.begun_late)
        )
        if (len(brief) >= min_spikes and apart) or (few and len(brief) < min_spikes):
            level = Severity.INFO if train and len(brief) == 1 else Severity.WARNING
            limit = noisy_sigmas if noisy else min_sigmas
            yield _brief(curve, brief, found, start, level, (limit, min_factor, min_spikes, alpha), noisy)


def _above_zero(values: Sequence[float]) -> Sequence[float]:
    """Zeros that are small values, rounded, become the smallest value that is none."""
    if stats.extremes(values)[0] != 0:
        return values
    if len(values) < stats.LONG:
        least = min((v for v in values if v > 0), default=0.0)
        return [v or least for v in values]
    import numpy as np

    wide = np.array(values, dtype=np.float64)
    wide[wide == 0] = wide[wide > 0].min(initial=wide.max())
    return array("d", wide.tobytes())


def _in_logarithms(values: Sequence[float], limit: float, factor: float) -> stats.Excursions:
    """Excursions of ln(value), given as values: noise that is a factor has no long tail there."""
    # None is above zero, so that the noise is not taken as a share of them.
    top = stats.extremes(values)[1]
    found = stats.excursions(_logarithms(values, top), limit, factor)
    spikes = tuple(
        stats.Spike(s.start, s.peak, s.end, values[s.peak], top * math.exp(s.level), s.z) for s in found.spikes
    )
    return stats.Excursions(spikes, found.lesser, found.sigma, relative=True)


def _logarithms(values: Sequence[float], of: float) -> Sequence[float]:
    if len(values) < stats.LONG:
        return [math.log(v / of) for v in values]
    import numpy as np

    return array("d", np.log(np.asarray(values, dtype=np.float64) / of).tobytes())


def _same_axis(lr: Curve | None, curve: Curve) -> tuple[Sequence[float], Sequence[float]] | None:
    """Places of the learning rates and of the losses in one unit; None where there is none."""
    for kind in ("step", "epoch") if lr is not None else ():
        rates, losses = lr.axis(kind) if lr else None, curve.axis(kind)
        if rates is not None and losses is not None:
            return rates, losses
    return (range(len(lr)), range(len(curve))) if lr is not None and len(lr) == len(curve) else None


def _restarted(
    lr: Curve | None, axes: tuple[Sequence[float], Sequence[float]] | None, spike: stats.Spike, factor: float
) -> bool:
    """The learning rate rose at the spike: a warm restart."""
    if lr is None or axes is None:
        return False
    rates, losses = axes
    first, last = losses[max(0, spike.start - 3)], losses[spike.peak]
    near = lr.values[bisect_left(rates, first) : bisect_right(rates, last)]
    return len(near) > 1 and near[0] < max(near) / factor


def _lasts(curve: Curve, spike: stats.Spike, factor: float, start: float) -> bool:
    """The jump was followed by at least five values, and by a level that stayed up to the end."""
    after = curve.values[spike.peak + 1 :]
    return (
        spike.end is None
        and len(after) >= 5
        and spike.level > 0
        and spike.value >= max(factor * spike.level, start)
        and min(stats.median(after), stats.tail_level(after)) >= _STAYS * spike.level
    )


def _falls_back(curve: Curve, spike: stats.Spike) -> bool:
    """Within three values most of the rise is gone."""
    after = curve.values[spike.peak + 1 : spike.peak + 4]
    return bool(after) and min(after) - spike.level <= 0.25 * (spike.value - spike.level)


def _ends_high(curve: Curve, factor: float) -> bool:
    """The run ended far above its best: another rule's matter."""
    best, end = stats.best_level(curve.values)[1], stats.tail_level(curve.values)
    return best > 0 and end >= factor * best and end - best >= 0.15 * (stats.head_level(curve.values, least=1) - best)


def _early(curve: Curve, least: float, sigmas: float) -> Finding | None:
    """A rise above the first value within the first values, before the loss fell for good."""
    values = curve.values
    if curve.name != "train/loss" or curve.begun_late or curve.launches > 1 or min(values[:3]) <= 0:
        return None
    reach = max(5, min(_EARLIEST, len(values) // 50))
    peak = max(range(reach), key=values.__getitem__)
    if not 0 < peak < len(values) - 3:
        return None
    lowest, highest, after = min(values[:peak]), values[peak], values[peak : peak + 200]
    if min(after) <= 0 or highest < max(values) or stats.tail_level(values) >= values[0]:
        return None
    # Noise is a share of the level; one heavy batch among many such is told by what follows: no way down.
    sigma, rise = stats.noise([math.log(v) for v in after]), math.log(highest / values[0])
    if highest < least * lowest or rise < max(math.log(1.1), sigmas * sigma) or stats.trend(after[:_WAY_DOWN]) > -0.9:
        return None
    return Finding(
        f"{curve.name} rose from {lowest:.4g} to {highest:.4g} in its first {peak + 1} values, at {curve.place(peak)}, "
        f"before it fell below {values[0]:.4g}, where it had begun",
        at=curve.at(peak),
        severity=Severity.INFO,
        evidence=(
            Evidence("highest early value", highest, least * lowest, curve.at(peak)),
            Evidence("lowest before it", lowest, None, curve.source),
            Evidence("first value", values[0], None, curve.at(0)),
            Evidence("ln(highest / first)", rise, sigmas * sigma),
            Evidence("values up to it", peak + 1),
            Evidence("noise / level after it", sigma),
        ),
        fix=Fix.show("warm the learning rate up over more steps, or lower it"),
    )


def _for_good(curve: Curve, spike: stats.Spike, sigma: float, limit: float, factor: float) -> Finding:
    after = stats.tail_level(curve.values)
    return Finding(
        f"{curve.name} jumped from {spike.level:.4g} to {spike.value:.4g} ({spike.value / spike.level:.3g} times) at "
        f"{curve.place(spike.peak)} and never came back: it ended at {after:.4g}",
        at=curve.at(spike.peak),
        evidence=(
            Evidence("highest value", spike.value, factor * spike.level, curve.at(spike.peak)),
            Evidence("at", curve.place(spike.peak), None, curve.at(spike.peak)),
            Evidence("level before", spike.level),
            Evidence("level at the end", after, None, curve.at(-1)),
            Evidence("height / noise", spike.z, limit),
            Evidence("noise / level", sigma),
        ),
        fix=Fix.show(
            f"restore the last checkpoint before {curve.place(spike.start)}, skip the batches there, and clip the "
            "gradient norm"
        ),
        explains=("CUR004",),
    )


def _brief(
    curve: Curve,
    spikes: Sequence[stats.Spike],
    found: stats.Excursions,
    start: float,
    level: Severity,
    limits: tuple[float, float, int, float],
    noisy: bool,
) -> Finding:
    sigmas, factor, least, alpha = limits
    top = max(spikes, key=lambda s: s.value)
    rhythm, measured = _rhythm(curve, spikes, alpha)
    times = "once" if len(spikes) == 1 else f"{len(spikes):,} times"
    return Finding(
        f"{curve.name} jumped {times} by at least {min(s.z for s in spikes):.3g} standard deviations of its noise and "
        f"came back, at most from {top.level:.4g} to {top.value:.4g} at {curve.place(top.peak)}{rhythm}",
        at=curve.at(top.peak),
        severity=level,
        evidence=(
            Evidence("spikes", len(spikes), least, curve.source),
            Evidence("highest value", top.value, factor * top.level if top.level > 0 else None, curve.at(top.peak)),
            Evidence("level before it", top.level),
            Evidence("at", curve.place(top.peak), None, curve.at(top.peak)),
            Evidence("smallest height / noise", min(s.z for s in spikes), sigmas),
            Evidence(
                f"noise of ln({curve.name})" if noisy else "noise / level" if found.relative else "noise", found.sigma
            ),
            Evidence("highest of the first three values", start, None, curve.source),
            Evidence("places", ", ".join(curve.place(s.peak) for s in spikes[:_LISTED])),
            *measured,
        ),
        fix=Fix.show(
            "look at what happens at this distance: the end of an epoch, a shard of the data, an evaluation"
            if measured
            else "look at the batches at these places (length, labels, corrupt records), and clip the gradient norm"
        ),
        explains=(),
    )


def _rhythm(curve: Curve, spikes: Sequence[stats.Spike], alpha: float) -> tuple[str, tuple[Evidence, ...]]:
    """Whether the spikes come at regular distances, and whether that is an epoch."""
    steps, epochs = curve.axis("step"), curve.axis("epoch")
    axis: Sequence[float] = steps or epochs or range(len(curve))
    unit = "steps" if steps else "epochs" if epochs else "values"
    spacing = (axis[-1] - axis[0]) / max(1, len(axis) - 1)
    period = stats.event_period([axis[s.peak] for s in spikes], spacing, alpha)
    if period is None:
        return "", ()
    said = f"{period.length:,.4g} {unit}"
    evidence = [
        Evidence("period", period.length, None, curve.source, unit.removesuffix("s")),
        Evidence("spikes at it", period.fitting),
        Evidence("p-value", period.p_value, alpha),
    ]
    if steps and epochs and epochs[-1] > epochs[0]:
        epoch = (steps[-1] - steps[0]) / (epochs[-1] - epochs[0])
        if abs(period.length - epoch) <= max(0.05 * epoch, spacing):
            evidence.append(Evidence("steps of an epoch", epoch, None, curve.source, "step"))
            said += ", once an epoch"
    return f"; {period.fitting} of {period.events} at a distance of {said}", tuple(evidence)
