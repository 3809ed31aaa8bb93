"""CUR008: the loss swung up and down instead of settling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from mldiag.api import Curve, Curves, Evidence, Finding, NotApplicable, Settings, rule, stats
from mldiag_curves.lower_rate import lower_rate

_HELD_OUT = ("val/loss", "test/loss")
_MOST = 400
"""Evaluations that are looked at one by one; of more, medians. Of train losses the last ones."""
_ADVICE = "lower the learning rate, enlarge the batch, or average the weights"
_LEAST_TRAIN = 40
"""Train losses, of a batch each, from which turning at every value is told from noise."""


class _Swings(Struct, frozen=True):
    """Changes of ln(level) from each to the next.

    Attributes:
        levels: how many are compared.
        count, large: changes that are large, and their share.
        turns: share of the changes that turn the direction.
        net: |last - first level| / sum of all changes, in logarithms: 1 for a way that goes in one direction.
        factor: the change in the middle of the large ones, as a factor.
    """

    levels: int
    count: int
    large: float
    turns: float
    net: float
    factor: float


@rule("CUR008", severity="warning", gives_way_to=("CUR003", "CUR004", "CUR005", "CUR006"))
def oscillation(
    curves: Curves,
    settings: Settings | None,
    *,
    min_swing: float = 1.5,
    min_large: float = 0.18,
    min_count: int = 3,
    min_turns: float = 0.2,
    max_net: float = 0.5,
    since: float = 0.6,
    min_level: float = 0.01,
    max_restarts: int = 1,
    min_evaluations: int = 10,
    lr_factor: float = 0.3,
) -> Iterator[Finding]:
    """The loss swung up and down by large factors to the end instead of settling.

    ## What it checks
    The last 40 % of the validation loss: a fifth of the changes from one evaluation to the next is by a factor of 1.5
    or more, the direction turns, and the ups and downs lead nowhere.
    The same validation set is measured each time, so that a swing is one of the weights. A train loss is measured on
    other data at each step: its changes must turn more often than those of noise do, which is
    two thirds and four standard errors. Left alone: a log that holds several batches of each evaluation (the values
    repeat at a fixed distance), a learning rate that goes up and down, a loss near zero, which a single example moves
    by factors.

    ## Why it matters
    The steps are too large to settle, or the model is too sensitive to them: which evaluation is the last decides the
    result.

    ## Inputs
    `val/loss`, else `test/loss`, at least 10 evaluations above zero; else `train/loss`, at least 40; `lr`.

    ## Options
    - `min_swing`: larger / smaller of two levels in a row, from which a change is large (1.5).
    - `min_large`, `min_count`: share of the changes that are, and how many (0.18, 3).
    - `min_turns`: share of the changes that turn the direction (0.2; without a trend two thirds do).
    - `max_net`: what all changes lead to / their sum, in logarithms (0.5).
    - `since`: share of the run after which evaluations are looked at (0.6).
    - `min_level`: level there / level at the start (0.01).
    - `max_restarts`: times that the learning rate may rise by a fifth in that part (1).
    - `min_evaluations`: evaluations (10).
    - `lr_factor`: next rate / logged peak in the fix (0.3: about half an order of magnitude).

    ## Fix
    Unsafe: the learning rate is set to `lr_factor` of the logged peak, where the setting can be edited and is higher.
    Shown otherwise.

    ## When to ignore
    The evaluation draws other data, or samples, each time: then it is its noise.

    ## Source
    Share of large changes in the last 40 % of the evaluations, on 147 labelled runs with ten or more, none held out:
    oscillating ones 0.21 to 0.65; healthy ones up to 0.07, but for one with a single large change in 15 evaluations.
    Turns of noise: Bienaymé 1874, Bull. Soc. Math. France 2, 153. Rates at the edge of stability: Cohen et al. 2021,
    arXiv:2103.00065.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    held_out = curves.get(*_HELD_OUT)
    curve = held_out if held_out is not None and len(held_out) >= min_evaluations else curves.get("train/loss")
    least = min_evaluations if curve is held_out else _LEAST_TRAIN
    if curve is None or len(curve) < least:
        raise NotApplicable(f"fewer than {min_evaluations} evaluations and {_LEAST_TRAIN} train losses")
    if min(curve.values) <= 0:
        raise NotApplicable(f"{curve.name} is not always above zero: its swings are no factors")
    lr = curves.get("lr")
    if _restarts(lr, since) > max_restarts:
        raise NotApplicable("the learning rate goes up and down, and the loss with it")
    fixed = curve is held_out
    levels = stats.binned(curve.values, _MOST) if fixed else curve.values[-_MOST:]
    late = levels[round((since if fixed else 1 - since) * len(levels)) :]
    if stats.median(late) < min_level * max(curve.values[:3]):
        return
    found = _swings(late, math.log(min_swing))
    least_turns = min_turns if fixed else _most_turns(len(late))
    if found.large < min_large or found.count < min_count or found.turns < least_turns or found.net > max_net:
        return
    if fixed and stats.repetition(curve.values):
        return
    span = len(late) * len(curve) // len(levels) if fixed else len(late)
    where = curve.place(len(curve) - span)
    compared = "evaluations" if fixed else "values"
    yield Finding(
        f"{curve.name} swung to the end: from {where} on {found.count} of {found.levels - 1} changes between "
        f"{compared} were by a factor of {min_swing:g} or more, {found.factor:.3g} in the middle of them, up and "
        f"down; it lay between {min(late):.4g} and {max(late):.4g}",
        at=curve.at(-1),
        evidence=(
            Evidence("large changes", found.count, min_count, curve.source),
            Evidence("share of the changes that are large", found.large, min_large),
            Evidence("factor from which a change is large", min_swing),
            Evidence("middle large change, as a factor", found.factor),
            Evidence("share of the changes that turn", found.turns, least_turns),
            Evidence("net change / all changes", found.net, max_net),
            Evidence("lowest", min(late)),
            Evidence("highest", max(late)),
            Evidence(compared, found.levels),
            Evidence("looked at from", where),
            *([Evidence("peak learning rate", max(lr.values), None, lr.source)] if lr is not None else []),
        ),
        fix=lower_rate(settings, lr, lr_factor, _ADVICE),
    )


def _swings(levels: Sequence[float], limit: float) -> _Swings:
    changes = [math.log(b / a) for a, b in pairwise(levels)]
    large = [abs(c) for c in changes if abs(c) >= limit]
    turns = sum(a * b < 0 for a, b in pairwise(changes))
    way = sum(map(abs, changes))
    return _Swings(
        len(levels),
        len(large),
        len(large) / len(changes),
        turns / (len(changes) - 1),
        abs(math.log(levels[-1] / levels[0])) / way if way else 1.0,
        math.exp(stats.median(large)) if large else 1.0,
    )


def _most_turns(n: int) -> float:
    """Share of the changes that turn in `n` values of noise, at most (4 standard deviations, Bienaymé 1874)."""
    return min(1.0, 2 / 3 + 4 * math.sqrt((16 * n - 29) / 90) / (n - 2))


def _restarts(lr: Curve | None, since: float) -> int:
    """How often the rate rises by a fifth or more after a share of the run."""
    if lr is None:
        return 0
    rates = stats.binned(lr.values)
    late = rates[round(since * len(rates)) :]
    count, lowest = 0, math.inf
    for rate in late:
        lowest = min(lowest, rate)
        if rate > 1.2 * lowest:
            count, lowest = count + 1, rate
    return count
