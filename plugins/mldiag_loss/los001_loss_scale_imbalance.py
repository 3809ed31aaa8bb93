"""LOS001: one term of the loss outweighs the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mldiag.api import (
    Edit,
    Evidence,
    Finding,
    Fix,
    LossPart,
    LossParts,
    Program,
    SettingValue,
    Severity,
    add_flag,
    as_number,
    edit_setting,
    rule,
    stats,
)

_METHODS = (
    "or let the weights adapt: uncertainty weighting (Kendall et al. 2018), GradNorm (Chen et al. 2018), dynamic "
    "weight averaging (Liu et al. 2019: softmax over the ratio of each loss to the one before it, temperature 2)"
)


@rule("LOS001", severity="error", explains=("LOS007", "CUR001", "CUR009", "CUR015", "EVA006"))
def loss_scale_imbalance(
    parts: LossParts,
    program: Program | None,
    *,
    error_share: float = 0.99,
    warn_share: float = 0.95,
    min_last_share: float = 0.9,
    extreme_share: float = 0.999,
    max_improved: float = 0.5,
    max_contribution: float = 0.25,
    solved_fall: float = 0.999,
    max_late_fall: float = 0.1,
    min_points: int = 3,
) -> Iterator[Finding]:
    """One term of a loss of several made up nearly all of it.

    ## What it checks
    The logged terms that add up to the total loss, with their weights, to the printed digits; then the share of the
    largest in the sum of all: the median over the run, which must still hold at the end. Where several large terms
    together hold as much and more than half of the terms share what is left, the group is named.
    The others count only where they are tasks of their own: not where their names say that they regularise (KL, weight
    decay, commitment, load balancing, auxiliary terms), where their weight was set below 1, nor where they made
    `max_contribution` of the total's fall, since they were then learned before they became small.
    Below `extreme_share`, one of the others must also have hardly improved, and below `error_share` the largest must
    have been as large from the start: a share alone does not prove that a task starves.

    ## Why it matters
    The gradient follows the terms as they are scaled. A task with 0.05 % of the loss has about that much of the update,
    and the shared layers are trained for the other one; the total falls all the while.

    ## Inputs
    The total loss and its terms, `train/loss` and for example `train/loss/bce`, over the same steps; settings that are
    named after a term and a weight (`w_cls`, `ce_loss_weight`), for the fix.

    ## Options
    - `error_share`, `warn_share`: share of the largest term (0.99, 0.95). Of 20 labelled runs whose terms add up, those
      without this fault have at most 0.963 that holds to the end (speech pretraining; an autoencoder 0.958), the
      others 0.990 and more.
    - `min_last_share`: share over the last tenth that the fault still has (0.9; a run that came out of it ends at 0.73
      and 0.82).
    - `extreme_share`: share from which on a fall of the other terms does not excuse it (0.999): balanced ones end
      there only after they had a considerable part in the fall, or were solved.
    - `max_improved`: fall of a term, as a share of its first level, up to which it hardly improved (0.5).
    - `max_contribution`: share of the other terms in the fall of the total from which on they were learned (0.25).
    - `solved_fall`, `max_late_fall`: where all others fell by 99.9 % they are solved, and what is left is the largest:
      a warning where that fell by at most 10 % over the second half, else nothing (0.999, 0.1).
    - `min_points`: values of each (3).

    ## Fix
    Unsafe where a setting weights the largest term: it gets the weight at which that term is as large as the next one
    was, by the last measured levels; where only the run's own record says it and the program has an option for it, the
    launch command gets the flag. The next run learns differently. Otherwise shown, with that weight. A weight that
    was found for one form of the other loss does not suit another: set it again after adding `pos_weight`.

    ## When to ignore
    Terms that are meant to be small and whose names do not say so; a task that is solved and no longer needs gradient.

    ## Source
    Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses"; Chen et al. 2018, "GradNorm"; Liu et
    al. 2019, "End-to-End Multi-Task Learning with Attention". The founding case: 0.003 beside 6.204, 99.95 %, 2,067
    times.
    """
    if len(parts.totals) < min_points:
        return
    group = _dominant(parts, warn_share)
    if group is None or _reweighted(parts, group[0]) <= warn_share:
        return
    rest = [p for p in parts.parts[len(group) :] if not _meant_small(p, parts)]
    share, last = _share(parts, group), _share(parts, group, 1.0)
    if not rest or (len(group) > 1 and len(rest) <= len(parts.parts) / 2):
        return
    if last <= min_last_share or _contribution(parts, rest) >= max_contribution:
        return
    if share < extreme_share and min(p.fall for p in rest) > max_improved:
        return
    if share <= error_share and _share(parts, group, 0.0) <= warn_share:
        return
    solved = min(p.fall for p in rest) >= solved_fall
    if solved and _still_falls(group[0], max_late_fall):
        return
    severe = share > error_share and len(group) == 1 and not solved
    limit = error_share if severe else warn_share
    yield _finding(parts, group, rest, share, last, limit, severe, program)


def _dominant(parts: LossParts, limit: float) -> Sequence[LossPart] | None:
    """The fewest largest terms, less than half of all, that hold more than the limit; None where it takes more."""
    if _share(parts, parts.parts[:1]) > limit:
        return parts.parts[:1]
    for count in range(2, (len(parts.parts) + 1) // 2):
        # Two terms that hold 95 % of five are ordinary; nearly all is not.
        if _share(parts, parts.parts[:count]) > 1 - (1 - limit) / 5:
            return parts.parts[:count]
    return None


def _share(parts: LossParts, group: Sequence[LossPart], at: float | None = None) -> float:
    """Median share of some terms together, over the run or its first (0) or last tenth (1)."""
    shares = []
    for i in range(len(parts.totals)):
        whole = math.fsum(abs(p.levels[i]) for p in parts.parts)
        shares.append(math.fsum(abs(p.levels[i]) for p in group) / whole if whole else 0.0)
    tenth = max(1, len(shares) // 10)
    return stats.median(shares if at is None else shares[-tenth:] if at else shares[:tenth])


def _reweighted(parts: LossParts, largest: LossPart) -> float:
    """Share of the largest with the weight that settings give it now, where the log was written with a larger one."""
    stated = _number(largest)
    if stated is None or not 0 <= stated < min(1.0, largest.weight):
        return 1.0
    own = [abs(v) * stated / largest.weight for v in largest.levels]
    others = [math.fsum(abs(p.levels[i]) for p in parts.parts[1:]) for i in range(len(own))]
    return stats.median([a / (a + b) if a + b else 0.0 for a, b in zip(own, others, strict=True)])


def _number(part: LossPart) -> float | None:
    return as_number(part.setting.value) if part.setting is not None else None


def _meant_small(part: LossPart, parts: LossParts) -> bool:
    stated = _number(part)
    weighted = part.weight < 1 and not parts.mean
    return part.regularises or weighted or (stated is not None and abs(stated) < 1)


def _still_falls(part: LossPart, least: float) -> bool:
    """Whether a term came down by that share of its level over the second half."""
    late = part.levels[len(part.levels) // 2 :]
    then = stats.head_level(late)
    return then > 0 and (then - part.level) / then > least


def _contribution(parts: LossParts, rest: Sequence[LossPart]) -> float:
    """Share of the other terms in the fall of the total; 0 where it did not fall."""
    fall = stats.head_level(parts.totals) - stats.tail_level(parts.totals)
    own = math.fsum(stats.head_level(p.levels) - stats.tail_level(p.levels) for p in rest)
    return own / fall if fall > 0 else 0.0


def _finding(
    parts: LossParts,
    group: Sequence[LossPart],
    rest: Sequence[LossPart],
    share: float,
    last: float,
    limit: float,
    severe: bool,
    program: Program | None,
) -> Finding:
    largest, following = group[0], rest[0]
    names = " and ".join(p.name for p in group)
    ratio = largest.level / following.level if following.level > 0 else math.inf
    times = f", {_figure(ratio)} times {following.name}" if math.isfinite(ratio) and len(group) == 1 else ""
    others = ", ".join(f"{p.name} {p.level:.4g}" for p in rest[:4])
    levels = ", ".join(f"{p.name} ended at {p.level:.4g}" for p in group)
    movement = sum(p.movement for p in group)
    return Finding(
        f"{names} made up {_percent(share)} of {parts.total.name}, the {'mean' if parts.mean else 'weighted sum'} of "
        f"{len(parts.parts)} terms: {levels}{times}, beside {others}",
        at=largest.curve.at(-1),
        evidence=(
            Evidence(f"share of {names}", share, limit, largest.curve.source),
            Evidence("its share at the end", last, None, largest.curve.at(-1)),
            Evidence("its share of the total's variance", movement),
            *(Evidence(f"{p.name} at the end", p.level, None, p.curve.at(-1)) for p in (*group, *rest[:4])),
            *((Evidence(f"{largest.name} / {following.name}", ratio),) if times else ()),
            *(Evidence(f"weight of {p.name} in {parts.total.name}", p.weight) for p in (*group, *rest[:4])),
            Evidence(f"terms of {parts.total.name}", len(parts.parts), None, parts.total.source),
            Evidence("points that the terms add up to, to the printed digits", parts.explained),
        ),
        severity=Severity.ERROR if severe else Severity.WARNING,
        fix=_fix(largest, following, ratio, program),
    )


def _fix(largest: LossPart, following: LossPart, ratio: float, program: Program | None) -> Fix:
    if not math.isfinite(ratio) or ratio <= 1:
        return Fix.show(f"weight the terms so that they are of one size, {_METHODS}")
    weight = largest.weight / ratio
    setting, stated = largest.setting, _number(largest)
    if setting is not None and stated is not None:
        weight = float(f"{stated / ratio:.2g}")
        title = f"set {setting.key} to {weight:g}, at which {largest.name} is as large as {following.name}, {_METHODS}"
        return Fix.unsafe(title, edit_setting(setting, weight) or _flag(setting, weight, program))
    return Fix.show(
        f"multiply {largest.name} by about {weight:.2g}, at which it is as large as {following.name}, by the measured "
        f"levels; {_METHODS}"
    )


def _flag(setting: SettingValue, weight: float, program: Program | None) -> Edit | None:
    """The edit that gives the weight on the command line, where that does not say it and the program has an option."""
    option = program.main.option(setting.name) if program is not None and program.main is not None else None
    if program is None or program.launch is None or option is None or not option.flags:
        return None
    if any(f.name in option.flags for f in program.launch.flags):
        return None
    return add_flag(program.launch, max(option.flags, key=len), weight)


def _percent(share: float) -> str:
    """With as many digits as tell it from 100 %."""
    missing = 100 * (1 - share)
    decimals = 1 if missing >= 0.1 else min(6, -math.floor(math.log10(missing))) if missing > 0 else 6
    return f"{100 * share:.{decimals}f} %"


def _figure(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio < 1e6 else f"{ratio:.3g}"
