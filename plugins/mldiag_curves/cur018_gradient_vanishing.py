"""CUR018: the gradient all but vanished while the loss was still high."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Curves, Evidence, Finding, Fix, GradientNorm, NotApplicable, rule, stats


@rule("CUR018", severity="warning", explains=("CUR003",))
def gradient_vanishing(
    norm: GradientNorm,
    curves: Curves,
    *,
    max_share: float = 0.05,
    dead: float = 1e-7,
    max_gain: float = 0.1,
    max_gain_dead: float = 0.5,
    warm_up: float = 0.05,
    late: float = 0.2,
    min_points: int = 10,
) -> Iterator[Finding]:
    """The gradient norm fell to next to nothing while the loss was still where it began.

    ## What it checks
    The median norm of the last fifth of the run against that of the tenth behind the first twentieth: below 5 % of it
    while the train loss has lost less than a tenth of its first level; or below 1e-7 from wherever it began, while
    the loss has lost less than half. A norm that becomes small because the loss has become small is what training is
    for.

    ## Why it matters
    Without a gradient no further step changes anything: dead units, saturated sigmoids, a detached loss, parameters
    that are not in the graph, half precision in which small gradients round to zero.

    ## Inputs
    `grad_norm`, before the clipping where both are logged; `train/loss` at any steps of the same run.

    ## Options
    - `max_share` (0.05): late / early norm.
    - `dead` (1e-7): norm that moves nothing, whatever it was before.
    - `max_gain` (0.1), `max_gain_dead` (0.5): fall of the loss / its first level, up to which it is still high; beside
      a small and beside a dead norm.
    - `warm_up` (0.05), `late` (0.2): parts of the run left out at its start, and looked at, at its end.
    - `min_points` (10): finite norms, and losses.

    ## Fix
    Shown: the cause is in the model or the loss.

    ## When to ignore
    The objective's own floor is near its start (a pretrained model with little left to learn).

    ## Source
    1e-7: the limit of SageMaker Debugger's VanishingGradient. Measured on 47 labelled runs with ten norms and more: 10
    to 440 % of the early level is left at the end of all but one, whose loss fell from 0.7 to 0.0002. Hochreiter et
    al. 2001, Gradient flow in recurrent nets.
    """
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} does not measure progress")
    loss, curve = curves.require("train/loss"), norm.curve
    if min(len(curve), len(loss)) < min_points:
        raise NotApplicable(f"{len(curve)} finite gradient norms and {len(loss)} losses; {min_points} are needed")
    if curve.begun_late:
        raise NotApplicable(f"the log begins at {curve.place(0)} of {curve.place(-1)}: what came before is not known")
    begin = max(1, round(warm_up * len(curve)))
    values = curve.values[begin:]
    early = stats.head_level(values)
    size = stats.window_size(len(values), late, 3)
    end = stats.median(values[len(values) - size :])
    start = stats.head_level(loss.values)
    best = stats.best_level(stats.binned(loss.values))[1]
    if start <= 0:
        raise NotApplicable(f"the loss starts at {start:.3g}: it cannot be told whether it is high")
    gain = (start - best) / start
    zero = end < dead
    if gain >= (max_gain_dead if zero else max_gain) or not (zero or end < max_share * early):
        return
    spoken = f"{100 * end / early:.2g} % of its early level ({early:.3g})" if early > end else f"below {dead:g}"
    yield Finding(
        f"the gradient norm was {end:.2g} over the last fifth of the run, {spoken}, while the train loss had come from "
        f"{start:.4g} to {best:.4g} only",
        at=curve.at(-1),
        evidence=(
            Evidence("norm, early", early, None, curve.at(begin)),
            Evidence("norm, last fifth", end, dead if zero else max_share * early, curve.at(-1)),
            Evidence("train loss at the start", start, None, loss.source),
            Evidence("best level of the train loss", best, None, loss.source),
            Evidence("fall of the loss / start", gain, max_gain_dead if zero else max_gain),
            Evidence("finite norms", len(curve), min_points),
        ),
        fix=Fix.show(
            "look for units that are dead or saturated, for a detached loss, and for gradients lost in half precision"
        ),
    )
