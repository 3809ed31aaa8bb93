"""CUR004: the loss went back up."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import Curves, Evidence, Finding, NotApplicable, Settings, Steering, rule, stats
from mldiag_curves.lower_rate import lower_rate

_ADVICE = "lower the learning rate or lengthen the warm-up, and clip the gradient norm"
_ENOUGH = 20
"""Values up to the best level of which the noise can be told."""


@rule("CUR004", severity="error", explains=("CUR002", "CUR014", "CUR015", "CUR016"), gives_way_to=("CUR005",))
def divergence(
    curves: Curves,
    settings: Settings | None,
    steering: Steering | None,
    *,
    max_given_back: float = 0.5,
    max_rise: float = 1.5,
    min_rise_given_back: float = 0.15,
    max_lasting_rise: float = 1.2,
    min_lasting_given_back: float = 0.05,
    lasting_share: float = 0.2,
    min_slow_rise: float = 1.05,
    min_slow_given_back: float = 0.1,
    slow_errors: float = 10.0,
    min_gain: float = 0.05,
    errors: float = 4.0,
    max_earlier_rise: float = 0.5,
    min_points: int = 6,
    lr_factor: float = 0.3,
) -> Iterator[Finding]:
    """The train loss rose for good: the end of the run gave back what had been gained.

    ## What it checks
    The median of the last tenth of the train loss (of three values at least) against the best median of a window of
    the same size before it and the level of the first values. It has diverged when half of the gain is lost, when it
    ends at 1.5 times its best level, when it lay at 1.2 times that over the last fifth and did not fall there, when it
    rose slowly, but beyond all doubt, through more than half of the run, or when it rose so from the start. One bad
    value at the end, a spike that recovers, and the bumps of a cyclic schedule do not count. Only values before the
    first NaN are looked at. Where the log shows that the program itself turned what the loss measures meanwhile (the
    weight of a term, the noise on the inputs, a length), the rule is skipped.

    ## Why it matters
    The weights at the end are worse than those of earlier, and more steps make them worse still.

    ## Inputs
    `train/loss`, else `val/loss`, any unit; `lr`.

    ## Options
    - `max_given_back`: share of the gain that was lost (0.5).
    - `max_rise`: end / best level (1.5), where at least `min_rise_given_back` of the gain is lost (0.15).
    - `max_lasting_rise`: level / best level over the last `lasting_share` of the train loss (1.2, 0.2), where at least
      `min_lasting_given_back` of the gain is lost (0.05).
    - `min_slow_rise`, `min_slow_given_back`, `slow_errors`: end / best level, share of the gain and standard errors
      (1.05, 0.1, 10) of a rise that lasted more than half of the run. No labelled healthy run rises by three.
    - `min_gain`: gain / start that makes a share of it meaningful (0.05), where it is beyond `errors`, too.
    - `errors`: rise in standard errors of the difference of two levels (4), by the noise before the rise.
    - `max_earlier_rise`: rise before the best level / rise at the end, from which the loss swings instead (0.5).
    - `min_points`: finite values (6).
    - `lr_factor`: next rate / logged peak rate in the fix (0.3: about half an order of magnitude).

    ## Fix
    Unsafe: the learning rate is set to `lr_factor` of the logged peak, where the setting can be edited and is higher.
    Shown otherwise.

    ## When to ignore
    The objective changed on purpose during the run (curriculum, a growing penalty), or it follows a moving target
    (BYOL, DINO). Losses of reinforcement and adversarial training are not judged.

    ## Source
    Thresholds: chosen on 262 labelled runs with a loss (122 of them read with a provisional parser for formats that
    had no reader then); those of the lasting rise on 140 and on simulated runs. No run was held out.
    Rates beyond the edge of stability diverge: Cohen et al. 2021, arXiv:2103.00065.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    curve = curves.require("train/loss", "val/loss", "test/loss")
    if len(curve) < min_points:
        raise NotApplicable(f"{len(curve)} finite losses; at least {min_points} are needed")
    values = stats.binned(curve.values)
    start = stats.median(values[: min(3, len(values) // 3)])
    place, best = stats.best_level(values)
    end = stats.tail_level(values)
    rise, gain = end - best, start - best
    window = stats.window_size(len(values), 0.1, 3)
    # A divergence is noisy itself: its values must not hide it.
    before = values[: place + 1]
    error = stats.level_error(stats.noise(before if len(before) >= _ENOUGH else values), window)
    if place >= 0.9 * len(values) or rise <= errors * math.sqrt(2) * error:
        return
    doubt = errors * math.sqrt(2) * stats.level_error(stats.noise(values), min(3, len(values) // 3))
    lost = rise / gain if gain > max(min_gain * abs(start), doubt) else None
    given_back = lost is not None and lost >= max_given_back
    risen = best > 0 and end >= max_rise * best and (lost is None or lost >= min_rise_given_back)
    late = values[len(values) - stats.window_size(len(values), lasting_share, 3) :]
    recovers = stats.falls(late) and stats.head_level(late) - end > errors * error
    lasted = best > 0 and min(end, stats.median(late)) >= max_lasting_rise * best and not recovers
    lasted = lasted and (lost is None or lost >= min_lasting_given_back) and curve.name == "train/loss"
    slow = best > 0 and end >= min_slow_rise * best and lost is not None and lost >= min_slow_given_back
    slow = slow and place <= len(values) // 2 and rise > slow_errors * math.sqrt(2) * error
    slow = slow and not recovers and curve.name == "train/loss"
    if not (given_back or risen or lasted or slow) or stats.largest_rise(before, window) >= max_earlier_rise * rise:
        return
    turned = steering.moved(place / len(values)) if steering is not None else None
    if turned is not None:
        raise NotApplicable(
            f"{curve.name} rose while the program turned {turned.name}: it measures something else by then"
        )
    limit = max_rise if risen or given_back else max_lasting_rise if lasted else min_slow_rise
    where = curve.place(place * len(curve) // len(values))
    what = f", {100 * lost:.0f} % of what it had gained" if lost is not None else ""
    lr = curves.get("lr")
    evidence = [
        Evidence("loss at the start", start, None, curve.source),
        Evidence("best level", best, None, curve.source),
        Evidence("best level around", where, None, curve.source),
        Evidence("loss at the end", end, limit * best if best > 0 else None, curve.at(-1)),
        *([Evidence("share of the gain given back", lost, max_given_back)] if lost is not None else []),
        Evidence("standard error of a level", error),
        Evidence("logged values", len(curve)),
    ]
    if lr is not None:
        evidence.append(Evidence("peak learning rate", max(lr.values), None, lr.source))
    yield Finding(
        f"{curve.name} fell from {start:.4g} to {best:.4g} around {where} and rose to {end:.4g} at the end{what}"
        if lost is not None
        else f"{curve.name} rose from {best:.4g} around {where} to {end:.4g} at the end",
        at=curve.at(-1),
        evidence=tuple(evidence),
        fix=lower_rate(settings, lr, lr_factor, _ADVICE),
    )
