"""EVA006: runs whose settings differ and whose results do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    Group,
    Member,
    NotApplicable,
    Reference,
    Result,
    SettingValue,
    Severity,
    as_number,
    is_lower_better,
    lazily,
    rule,
    stats,
)

_INFLUENTIAL = (
    "lr", "optimizer", "batch_size", "grad_accum", "dropout", "weight_decay", "label_smoothing", "d_model",
    "num_layers", "num_heads", "d_ff", "rnn_units", "cell", "seq_len", "stride", "loss", "warmup_steps", "lr_schedule",
    "max_depth", "num_leaves", "lora_r",
)  # fmt: skip
_NO_SCHEDULE = frozenset({"constant", "none", "null", "false", "no", "fixed", ""})
_ONLY_EVALUATES = lazily(r"(?:eval|evaluate|test|inference|predict)(?:_only|uation_only)?")
_NAMED = 4
"""Settings that a message names, and different values of one."""
_TOLD = 6
"""Runs of a group that the evidence lists; the others are counted."""
_STEP_SPREAD = 0.25
"""How far runs of different settings lie apart, as a share of what a series moves at that value."""
_DENSITY = 3.5
"""Width of the band of equal density, in standard deviations of one run: 2 sqrt(pi)."""
_LOOKED_AT = 64
"""Groups of equal series that a run is held against, of those that share one with it."""
_LEAST_DECAY, _USUAL_RATE = 1e-6, 1e-3
"""Share of the weights that a step's decay must take for it to show: a thousand steps take a thousandth."""
_LEAST_SHARE = 0.01
"""How far apart two numbers must lie, as a share of the larger, for training to show it."""
_SYNONYMS = {
    "ce": "crossentropy", "xent": "crossentropy", "categoricalcrossentropy": "crossentropy", "bcewithlogits": "bce",
    "binarycrossentropy": "bce", "meansquarederror": "mse", "meanabsoluteerror": "mae", "l1": "mae", "l2": "mse",
}  # fmt: skip


@rule("EVA006", severity="error")
def identical_runs(
    group: Group,
    *,
    least_values: int = 4,
    max_chance: float = 0.01,
    most_worse: float = 0.2,
    band: float = 0.1,
    least_runs: int = 3,
) -> Iterator[Finding]:
    """Runs have different settings and the same results.

    ## What it checks
    Two things, over all runs of one audit. Runs whose losses and scores agree to the last digit although settings
    differ that must change training: a setting was not applied. And runs of different settings whose best values lie in
    one narrow band far below their references: they share a bottleneck that the settings do not touch.

    Runs that agree are told once, however many they are. Where their values stand at the same times as well, one log
    is a copy of the other, which is information only.
    ## Why it matters
    An ablation that compares a program with itself proves nothing, and a sweep below a common ceiling tunes what does
    not matter.
    ## Inputs
    Losses and scores of at least two runs, with the settings that took effect. Settings that must change training:
    learning rate, optimizer, batch size, accumulation, dropout, weight decay, label smoothing, sizes of the model and
    its trees, sequence length, stride, loss, warm-up and schedule. Seeds, lengths and paths are left out: a run that
    stopped early does not depend on them. So are two spellings of one thing (`Adam`, `torch.optim.adam`), batches that
    accumulation makes equal, a warm-up without a schedule, schedules that wait for a plateau or a milestone, runs that
    only evaluate, numbers within 1 % of each other, and weight decays that differ by less than 0.000001 / learning
    rate. References as in EVA008.
    ## Options
    `least_values` (default 4, values): different values that equal series must have together. `max_chance` (default
    0.01, a probability): chance that any two of the runs agree by rounding. A value of one run hits that of another
    with the written unit / 3.5 standard deviations, a quarter of what the series moves there; and not less often than
    values of the other runs, where there are five and more, do hit each other. 200 simulated runs with accuracies of
    two digits had up to 81 equal pairs. `most_worse` (default 0.2, a share of the reference): as in EVA008. `band`
    (default 0.1, a share of the distance to the nearest reference): how narrow the band is; a run that a setting
    brought a tenth of the way closer is not held back with the others. `least_runs` (default 3): runs in the band.
    ## Fix
    Shown: only the program can tell where the value is lost.
    ## When to ignore
    A setting that the chosen model does not use, such as the dropout of a frozen part.
    ## Source
    The founding recommender experiments: four configurations at nDCG@10 0.0440 to 0.0462, published 0.130 to 0.169.
    """
    if len(group) < 2:
        raise NotApplicable("several runs are compared, and one was checked")
    if not group.common:
        raise NotApplicable("no loss or score is common to two runs")
    alike = _alike(group.members)
    yield from _unchanged(group, alike, least_values, max_chance)
    yield from _held_back(group, [same[0] for same in alike], most_worse, band, least_runs)


def _unchanged(
    group: Group, alike: Sequence[Sequence[Member]], least_values: int, max_chance: float
) -> Iterator[Finding]:
    found: dict[tuple[str, ...], list[list[Member]]] = {}
    for same in alike:
        if len(same) < 2:
            continue
        trained = [m for m in same if not _only_evaluates(m)]
        differing = _differing(group, trained) if len(trained) > 1 else {}
        if not differing:
            continue
        members = [m for m in trained if any(name in m.settings for name in differing)]
        if _enough(members, alike, least_values, max_chance):
            found.setdefault((*differing, *(("copied",) if _are_copies(members) else ())), []).append(members)
    # Pairs of a grid in which one setting is dropped have one cause.
    for groups in found.values():
        yield _identical(groups[0], _differing(group, groups[0]), groups[1:])


def _alike(members: Sequence[Member]) -> list[list[Member]]:
    """Runs of which every series that they share with the first of them is the same to the last digit."""
    clusters: list[list[Member]] = []
    exact: dict[frozenset[tuple[str, int]], list[Member]] = {}
    by_series: dict[tuple[str, int], list[list[Member]]] = {}
    for member in members:
        marks = frozenset((name, result.digest) for name, result in member.results.items())
        found = exact.get(marks)
        if found is None:
            near = (c for mark in marks for c in by_series.get(mark, ())[:_LOOKED_AT])
            found = next((c for c in near if _same(c[0], member)), None)
        if found is None:
            found = []
            clusters.append(found)
            for mark in marks:
                by_series.setdefault(mark, []).append(found)
        exact.setdefault(marks, found)
        found.append(member)
    return clusters


def _same(one: Member, other: Member) -> bool:
    common = one.results.keys() & other.results.keys()
    return bool(common) and all(one.results[name].digest == other.results[name].digest for name in common)


def _only_evaluates(member: Member) -> bool:
    """Whether a run trains nothing, so that no setting of training can change its results."""
    for name, value in member.settings.items():
        said = str(value.value).lower()
        if name in ("do_train", "train") and said in ("false", "0", "no"):
            return True
        if name in ("eval_only", "evaluate", "evaluate_only", "test_only", "only_eval") and said in (
            "true",
            "1",
            "yes",
        ):
            return True
        if name in ("mode", "stage", "task_mode", "action") and _ONLY_EVALUATES.fullmatch(said):
            return True
    return False


def _differing(group: Group, members: Sequence[Member]) -> dict[str, list[SettingValue]]:
    """Of the settings that must change training those that two members state differently, each value once."""
    found: dict[str, list[SettingValue]] = {}
    for name in group.differing(members):
        if name in _INFLUENTIAL:
            values: dict[object, SettingValue] = {}
            for member in members:
                value = member.settings.get(name)
                if value is not None and value.value is not None:
                    values.setdefault(_meant(name, value), value)
            if len(values) > 1:
                found[name] = list(values.values())
    for name in [n for n, values in found.items() if _is_too_small(n, values, members)]:
        del found[name]
    if {"batch_size", "grad_accum"} <= found.keys() and len({_effective_batch(m) for m in members}) == 1:
        del found["batch_size"], found["grad_accum"]
    if "lr_schedule" in found and sum(_acts_at_once(v) for v in found["lr_schedule"]) == 0:
        del found["lr_schedule"]
    if "warmup_steps" in found and _have_no_schedule(members):
        del found["warmup_steps"]
    return found


def _meant(name: str, value: SettingValue) -> object:
    """The same for two spellings: `Adam` and `torch.optim.adam`, `ce` and `CrossEntropyLoss`, `1e-3` and 0.001."""
    number = as_number(value.value)
    if number is not None:
        return number
    plain = str(value.value).lower().rpartition(".")[2]
    for end in ("_fused", "_torch", "_hf", "_apex", "_tf"):
        plain = plain.removesuffix(end)
    plain = "".join(c for c in plain if c.isalnum())
    plain = plain.removesuffix({"loss": "loss", "optimizer": "optimizer", "lr_schedule": "schedule"}.get(name, " "))
    return _SYNONYMS.get(plain, plain)


def _effective_batch(member: Member) -> float | None:
    sizes = [as_number(member.settings[n].value) if n in member.settings else 1.0 for n in ("batch_size", "grad_accum")]
    return None if sizes[0] is None or sizes[1] is None else sizes[0] * sizes[1]


def _is_too_small(name: str, values: Sequence[SettingValue], members: Sequence[Member]) -> bool:
    """Whether a difference cannot be expected to show in the digits of a log."""
    numbers = [n for v in values if (n := as_number(v.value)) is not None]
    if len(numbers) < len(values):
        return False
    low, high = min(numbers), max(numbers)
    if name == "weight_decay":
        rates = [r for m in members if "lr" in m.settings and (r := as_number(m.settings["lr"].value))]
        return (high - low) * max(rates, default=_USUAL_RATE) < _LEAST_DECAY
    return high - low < _LEAST_SHARE * max(abs(low), abs(high))


def _acts_at_once(schedule: SettingValue) -> bool:
    """Whether a schedule changes the rate from the first step on: one for plateaus or by milestones may never act."""
    said = str(schedule.value).lower()
    return said.rpartition(".")[2] not in _NO_SCHEDULE and not any(w in said for w in ("plateau", "step", "milestone"))


def _have_no_schedule(members: Sequence[Member]) -> bool:
    """Whether what the runs state of a schedule is that there is none."""
    stated = {str(m.settings["lr_schedule"].value).lower() for m in members if "lr_schedule" in m.settings}
    return bool(stated) and {s.rpartition(".")[2] for s in stated} <= _NO_SCHEDULE


def _enough(members: Sequence[Member], alike: Sequence[Sequence[Member]], least_values: int, max_chance: float) -> bool:
    """Whether the series are too long and too exact to be equal by chance in any two of the runs."""
    count = sum(map(len, alike))
    pairs = count * (count - 1) / 2
    common = set.intersection(*(set(m.results) for m in members))
    for name in common:
        result = members[0].results[name]
        if result.distinct >= least_values:
            others = [c[0].results[name] for c in alike if name in c[0].results]
            if pairs * max(_by_rounding(result), _by_others(result, others)) <= max_chance:
                return True
    return False


def _by_rounding(result: Result) -> float:
    """Probability that another run has the same values, by how far they move in units of their last digit."""
    unit = stats.written_unit(result.head)
    chance, before = 1.0, None
    for value in result.head:
        if before is not None and value != before:
            chance *= min(1.0, unit / (_DENSITY * _STEP_SPREAD * abs(value - before)))
        before = value
    return chance


def _by_others(result: Result, others: Sequence[Result]) -> float:
    """The same by how often values of different runs agree at a place, where there are enough runs to see it."""
    least = 5
    chance, before = 1.0, None
    for at, value in enumerate(result.head):
        column = [o.head[at] for o in others if len(o.head) > at]
        if len(column) < least:
            return 0.0 if before is None else chance
        if value != before:
            agree = sum(n * (n - 1) for n in Counter(column).values())
            chance *= agree / (len(column) * (len(column) - 1))
        before = value
    return chance


def _compared(members: Sequence[Member]) -> str:
    """The series that is told of."""
    common = set.intersection(*(set(m.results) for m in members))
    return min(common, key=lambda n: (not n.startswith("val/"), "loss" not in n, n))


def _are_copies(members: Sequence[Member]) -> bool:
    """Whether the values were written at the same times, which no two launches do."""
    times = {m.results[_compared(members)].times for m in members}
    return len(times) == 1 and None not in times


def _identical(
    members: Sequence[Member], differing: Mapping[str, Sequence[SettingValue]], further: Sequence[Sequence[Member]]
) -> Finding:
    name = _compared(members)
    first, result = members[0], members[0].results[name]
    copied = _are_copies(members)
    told = members[:_TOLD]
    others = "them" if len(members) > _NAMED else _listed([m.name for m in members[1:]])
    said = "; ".join(f"{key} {_values(values)}" for key, values in list(differing.items())[:_NAMED])
    count = f"{result.count:,} values of {name}" if result.count > 1 else name
    message = (
        f"{others} {'have' if len(members) > 2 else 'has'} the {count} that {first.name} has, to the last digit (last "
        f"{result.last:.6g}), although their settings differ: {said}"
    )
    if len(members) > _NAMED:
        message = (
            f"{len(members):,} runs have the same {count}, to the last digit (last {result.last:.6g}), although their "
            f"settings differ: {said}"
        )
    last = next((m for m in members[1:] if _has_own(m, first, differing)), members[-1])
    key = next((k for k in differing if k in last.settings), next(iter(differing)))
    fix = f"find where the program drops {_listed(list(differing)[:_NAMED])}, and train {others} again"
    if further:
        group_word = "group" if len(further) == 1 else "groups"
        message += f"; likewise {sum(map(len, further)):,} runs in {len(further):,} other {group_word} of equal ones"
    if copied:
        message += "; their times are the same as well, so that one log is a copy of the other"
        fix = "tell which of the settings the log is of, and take the copies out of the comparison"
    return Finding(
        message,
        at=last.settings[key].source if key in last.settings else result.source,
        severity=Severity.INFO if copied else None,
        evidence=(
            *(Evidence(f"last {name} of {m.name}", m.results[name].last, at=m.results[name].source) for m in told),
            Evidence("equal values", result.count, at=result.source),
            *((Evidence("runs", len(members), unit="run"),) if len(members) > 2 else ()),
            *((Evidence("runs of other groups", sum(map(len, further)), unit="run"),) if further else ()),
            *((Evidence("other groups of equal runs", len(further)),) if further else ()),
            *(
                Evidence(f"{key} of {m.name}", _shown(m.settings[key]), at=m.settings[key].source)
                for key in differing
                for m in told
                if key in m.settings
            ),
        ),
        fix=Fix.show(fix),
    )


def _has_own(member: Member, first: Member, differing: Mapping[str, Sequence[SettingValue]]) -> bool:
    """Whether a run states another value than the first one."""
    return any(
        k in member.settings and k in first.settings and _meant(k, member.settings[k]) != _meant(k, first.settings[k])
        for k in differing
    )


def _values(values: Sequence[SettingValue]) -> str:
    shown = [f"{v:.6g}" if isinstance(v := _shown(s), float) else str(v) for s in values]
    if len(shown) <= _NAMED:
        return _listed(shown)
    numbers = [n for s in values if (n := as_number(s.value)) is not None]
    if len(numbers) == len(shown):
        return f"of {min(numbers):.6g} to {max(numbers):.6g}"
    return f"{', '.join(shown[: _NAMED - 1])} and {len(shown) - _NAMED + 1} others"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _shown(value: SettingValue) -> str | float:
    return (
        value.value if isinstance(value.value, int | float) and not isinstance(value.value, bool) else str(value.value)
    )


def _held_back(
    group: Group, members: Sequence[Member], most_worse: float, band: float, least_runs: int
) -> Iterator[Finding]:
    for name in group.common:
        held = [(m, r) for m in members if name in m.results and (r := _nearest(m, name)) is not None]
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
    highest = member.results[name].highest
    own = [r.beside(highest) for r in member.references if r.metric == name and r.value > 0]
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
                for m, b in _ends(list(zip(members, best, strict=True)))
            ),
            *(
                Evidence(f"reference of {m.name}", r.value, at=r.source)
                for m, r in list(zip(members, references, strict=True))[: _TOLD if len(set(values)) > 1 else 0]
            ),
            *((Evidence("reference", values[0], at=references[0].source),) if len(set(values)) == 1 else ()),
            *((Evidence("runs", len(members), unit="run"),) if len(members) > _TOLD else ()),
            Evidence("width of the band", max(best) - min(best)),
        ),
        fix=Fix.show("look for what the runs share (loss, data, evaluation) before trying further settings"),
    )


def _ends(best: list[tuple[Member, float]]) -> list[tuple[Member, float]]:
    """All of a few; of many the lowest and the highest, which the message names."""
    if len(best) <= _TOLD:
        return best
    return [min(best, key=lambda b: b[1]), max(best, key=lambda b: b[1])]
