"""EVA006: runs whose settings differ and whose results do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    Group,
    Member,
    NotApplicable,
    Reference,
    SettingValue,
    is_lower_better,
    rule,
)

_INFLUENTIAL = (
    "lr", "optimizer", "batch_size", "grad_accum", "dropout", "weight_decay", "label_smoothing", "d_model",
    "num_layers", "num_heads", "d_ff", "rnn_units", "cell", "seq_len", "stride", "loss", "warmup_steps", "lr_schedule",
)  # fmt: skip
_NAMED = 4
"""Settings that a message names."""


@rule("EVA006", severity="error")
def identical_runs(
    group: Group, *, least_values: int = 4, most_worse: float = 0.2, band: float = 0.1, least_runs: int = 3
) -> Iterator[Finding]:
    """Runs have different settings and the same results.

    ## What it checks
    Two things, over all runs of one audit. Runs whose losses and scores agree to the last digit although settings
    differ that must change training: a setting was not applied. And runs of different settings whose best values lie in
    one narrow band far below their references: they share a bottleneck that the settings do not touch.
    ## Why it matters
    An ablation that compares a program with itself proves nothing, and a sweep below a common ceiling tunes what does
    not matter.
    ## Inputs
    Losses and scores of at least two runs, with the settings that took effect. Settings that must change training:
    learning rate, optimizer, batch size, accumulation, dropout, weight decay, label smoothing, sizes of the model,
    sequence length, stride, loss, warm-up and schedule. Seeds, lengths and paths are left out: a run that stopped early
    does not depend on them. References as in EVA008.
    ## Options
    `least_values` (default 4, values): different values that equal series must have together; fewer can agree by
    chance or by rounding. `most_worse` (default 0.2, a share of the reference): as in EVA008. `band` (default 0.1, a
    share of the distance to the nearest reference): how narrow the band is; a run that a setting brought a tenth of the
    way closer is not held back with the others. `least_runs` (default 3): runs in the band.
    ## Fix
    Shown: only the program can tell where the value is lost.
    ## When to ignore
    A setting that the chosen model does not use.
    ## Source
    The founding recommender experiments: four configurations at nDCG@10 0.0440 to 0.0462, published 0.130 to 0.169.
    """
    if not group.common:
        raise NotApplicable("no loss or score is common to two runs")
    yield from _unchanged(group, least_values)
    yield from _held_back(group, most_worse, band, least_runs)


def _unchanged(group: Group, least_values: int) -> Iterator[Finding]:
    told: set[str] = set()
    for i, one in enumerate(group.members):
        same = [m for m in group.members[i + 1 :] if m.path not in told and _same(one, m, least_values)]
        for other in same:
            differing = {
                name: (a, b)
                for name, values in group.differing((one, other)).items()
                if name in _INFLUENTIAL and (a := values[0]) is not None and (b := values[1]) is not None
            }
            if not differing:
                continue
            told.add(other.path)
            yield _identical(one, other, differing)


def _same(one: Member, other: Member, least_values: int) -> bool:
    """Every series that both have is the same to the last digit, and they have enough values to show it."""
    common = one.results.keys() & other.results.keys()
    if any(one.results[name].digest != other.results[name].digest for name in common):
        return False
    return max((one.results[name].distinct for name in common), default=0) >= least_values


def _identical(one: Member, other: Member, differing: Mapping[str, tuple[SettingValue, SettingValue]]) -> Finding:
    name = min(one.results.keys() & other.results.keys(), key=lambda n: (not n.startswith("val/"), "loss" not in n, n))
    result = other.results[name]
    said = ", ".join(f"{key} {a.value} and {b.value}" for key, (a, b) in list(differing.items())[:_NAMED])
    return Finding(
        f"{other.name} has the {result.count:,} values of {name} that {one.name} has, to the last digit "
        f"(last {result.last:.6g}), although their settings differ: {said}",
        at=next(iter(differing.values()))[1].source,
        evidence=(
            Evidence(f"last {name} of {one.name}", one.results[name].last, at=one.results[name].source),
            Evidence(f"last {name} of {other.name}", result.last, at=result.source),
            Evidence("equal values", result.count, at=result.source),
            *(
                Evidence(f"{key} of {member.name}", _shown(value), at=value.source)
                for key, values in differing.items()
                for member, value in zip((one, other), values, strict=True)
            ),
        ),
        fix=Fix.show(f"find where the program drops {next(iter(differing))}, and train {other.name} again"),
    )


def _shown(value: SettingValue) -> str | float:
    return (
        value.value if isinstance(value.value, int | float) and not isinstance(value.value, bool) else str(value.value)
    )


def _held_back(group: Group, most_worse: float, band: float, least_runs: int) -> Iterator[Finding]:
    for name in group.common:
        held = [(m, r) for m in group.members if name in m.results and (r := _nearest(m, name)) is not None]
        lower = is_lower_better(name)
        best = [m.results[name].lowest if lower else m.results[name].highest for m, _ in held]
        if len(held) < least_runs or not all(
            _worse(b, r.value, lower) > most_worse for b, (_, r) in zip(best, held, strict=True)
        ):
            continue
        distance = min(abs(r.value - b) for b, (_, r) in zip(best, held, strict=True))
        width = max(best) - min(best)
        differing = list(group.differing(m for m, _ in held))
        if width <= band * distance and differing:
            yield _bottleneck(name, [m for m, _ in held], best, [r for _, r in held], differing)


def _nearest(member: Member, name: str) -> Reference | None:
    """The reference of a metric that is easiest to reach."""
    own = [r for r in member.references if r.metric == name and r.value > 0]
    return (max if is_lower_better(name) else min)(own, key=lambda r: r.value) if own else None


def _worse(best: float, reference: float, lower: bool) -> float:
    return best / reference - 1 if lower else 1 - best / reference


def _bottleneck(
    name: str,
    members: Sequence[Member],
    best: Sequence[float],
    references: Sequence[Reference],
    differing: Sequence[str],
) -> Finding:
    values = [r.value for r in references]
    stated = f"{min(values):.4g}" + (f" to {max(values):.4g}" if max(values) > min(values) else "")
    return Finding(
        f"{len(members)} runs of different settings ({', '.join(differing[:_NAMED])}) all ended between "
        f"{min(best):.4g} and {max(best):.4g} in {name}, a band of {max(best) - min(best):.2g}, far from the "
        f"reference of {stated}: what holds them there is common to all",
        at=members[0].results[name].source,
        evidence=(
            *(
                Evidence(f"best {name} of {m.name}", b, at=m.results[name].source)
                for m, b in zip(members, best, strict=True)
            ),
            *(
                Evidence(f"reference of {m.name}", r.value, at=r.source)
                for m, r in zip(members, references, strict=True)
            ),
            Evidence("width of the band", max(best) - min(best)),
        ),
        fix=Fix.show("look for what the runs share (loss, data, evaluation) before trying further settings"),
    )
