"""EVA007: a gain over the baseline that is smaller than the noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mldiag.api import Evidence, Finding, Group, Member, NotApplicable, Source, as_count, is_lower_better, lazily, rule

_BASELINE = lazily(r"(?:^|[^a-z])(?:baseline|control|vanilla)(?:$|[^a-z])|^base(?:[-_ ](?:run|model|config|v?\d+))?$")
_EXAMPLES = (
    "eval_examples", "num_eval_examples", "eval_samples", "num_eval_samples", "val_samples", "num_val_samples",
    "n_val", "val_size", "valid_size", "validation_size", "num_val", "test_samples", "num_test_samples", "n_test",
    "test_size", "num_test", "max_eval_samples", "val_examples", "test_examples",
)  # fmt: skip
_SEED = frozenset({"seed", "data_seed", "run_name", "name", "output_dir", "logging_dir", "save_dir", "out_dir"})
_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom; beyond them 2 is near enough."""


@rule("EVA007", severity="warning", gives_way_to=())
def insignificant_difference(group: Group, *, sigmas: float = 2.0, most_runs: int = 20) -> Iterator[Finding]:
    """A gain over the baseline is smaller than the noise.

    ## What it checks
    Runs that are better than their baseline by less than what seeds or the sample of examples alone would move. The
    noise is, in this order: the spread of runs that differ in nothing but the seed; the sampling error of a mean over
    the stated number of evaluated examples; how much one evaluation strays from the level of its neighbours at the end.
    ## Why it matters
    A feature that "gains" 0.002 where two seeds lie 0.005 apart is paid for by every later run and may do nothing.
    ## Inputs
    At least two runs and a baseline: the run of `--against`, or the only one whose name says `baseline`, `control` or
    `vanilla`, or is `base` (`resnet_base` is a size); or several such that differ in the seed alone, whose mean is then
    compared with the means of the other settings' seeds. The score with a reference, else the first score of validation
    or test data, else the validation loss; its best value in each run. The number of examples from settings such as
    `eval_examples`.
    ## Options
    `sigmas` (default 2): standard errors of a difference that a gain has to exceed, two-sided 95 %; with few seeds
    Student's quantile takes its place. `most_runs` (default 20): runs beyond which an audit is a sweep, where small
    differences claim nothing.
    ## Fix
    Shown: repeat both with at least three seeds, and report mean and spread.
    ## When to ignore
    The same examples were scored by both and the difference was tested pairwise.
    ## Source
    Sampling error: the variance of a quantity in [0, 1] with mean p is at most p (1 - p) (Bhatia and Davis 2000), and
    equal to it for accuracies. Dodge et al. 2019, Show Your Work; Bouthillier et al. 2021.
    """
    if group.against is None and (baselines := _repeated_baseline(group.members)):
        yield from _of_seeds(group, baselines, sigmas, most_runs)
        return
    base = group.against or _baseline(group.members)
    others = [
        m for m in group.members if m is not base and (base is None or m.root != base.root or m.name != base.name)
    ]
    if base is None or not others:
        raise NotApplicable("no run is the baseline: none was named with --against, and no single name says baseline")
    if len(others) > most_runs:
        raise NotApplicable(f"{len(others):,} runs are a sweep, in which small differences claim nothing")
    name = _metric(base, others)
    if name is None:
        raise NotApplicable("no score or loss of held-out data is common to the baseline and another run")
    lower = is_lower_better(name)
    judged = False
    small: list[tuple[Member, float, float, str, Source | None]] = []
    for member in others:
        result = member.results.get(name)
        noise = _noise(group, base, member, name, sigmas) if result else None
        if result is None or noise is None:
            continue
        judged = True
        gain = base.results[name].lowest - result.lowest if lower else result.highest - base.results[name].highest
        if 0 < gain <= noise[0]:
            small.append((member, gain, *noise))
    if not judged:
        raise NotApplicable("nothing tells the noise: no repeated seeds, no number of examples, too few evaluations")
    if small:
        yield _finding(name, base, small, lower)


def _finding(
    name: str, base: Member, small: Sequence[tuple[Member, float, float, str, Source | None]], lower: bool
) -> Finding:
    member, gain, noise, how, _ = max(small, key=lambda s: s[1])
    best = "lowest" if lower else "highest"
    start = base.results[name].lowest if lower else base.results[name].highest
    own = member.results[name].lowest if lower else member.results[name].highest
    more = f" ({len(small)} runs in all)" if len(small) > 1 else ""
    return Finding(
        f"{member.name} is {gain:.2g} better than {base.name} in {name} ({own:.4g} and {start:.4g}), within the "
        f"noise of {noise:.2g}: {how}{more}",
        at=member.results[name].source,
        evidence=(
            Evidence(f"{best} {name} of {base.name}", start, at=base.results[name].source),
            *(Evidence(f"gain of {m.name}", g, n, at=source or m.results[name].source) for m, g, n, _, source in small),
        ),
        advice="repeat both with at least three seeds, and compare mean and spread",
    )


def _repeated_baseline(members: Sequence[Member]) -> list[Member]:
    """The runs that are named baseline, where they are several that differ in the seed alone."""
    named = [m for m in members if _BASELINE.search(m.name.lower()) or _BASELINE.search(_folder(m))]
    same = len({_stated(m) for m in named}) == 1 and all("seed" in m.settings for m in named)
    return named if len(named) > 1 and same else []


def _folder(member: Member) -> str:
    return member.root.parent.name.lower()


def _stated(member: Member) -> frozenset[tuple[str, str]]:
    """All settings but those that tell repetitions apart."""
    return frozenset((n, str(v.value)) for n, v in member.settings.items() if n not in _SEED)


def _of_seeds(group: Group, baselines: Sequence[Member], sigmas: float, most_runs: int) -> Iterator[Finding]:
    """Means over seeds, held against that of the baseline's seeds."""
    others: dict[frozenset[tuple[str, str]], list[Member]] = {}
    for member in group.members:
        if member not in baselines:
            others.setdefault(_stated(member), []).append(member)
    if not others:
        raise NotApplicable("all runs are repetitions of the baseline")
    if sum(map(len, others.values())) > most_runs:
        count = sum(map(len, others.values()))
        raise NotApplicable(f"{count:,} runs are a sweep, in which small differences claim nothing")
    name = _metric(baselines[0], [m for members in others.values() for m in members])
    if name is None:
        raise NotApplicable("no score or loss of held-out data is common to the baseline and another run")
    lower = is_lower_better(name)
    spread = _seed_spread(group, name, lower)
    if spread is None:
        raise NotApplicable("nothing tells the noise: no repeated seeds")
    sigma, freedom = spread
    factor = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else sigmas
    start = _best_values(baselines, name, lower)
    for members in others.values():
        values = _best_values(members, name, lower)
        if not values:
            continue
        means = sum(start) / len(start), sum(values) / len(values)
        gain = means[0] - means[1] if lower else means[1] - means[0]
        noise = factor * sigma * math.sqrt(1 / len(start) + 1 / len(values))
        if 0 < gain <= noise:
            what = members[0].name + (f" and the {len(values) - 1} that differ in the seed" if len(values) > 1 else "")
            yield Finding(
                f"{what} reached {means[1]:.4g} in {name}, {gain:.2g} better than {len(start)} runs of the baseline "
                f"in the mean ({means[0]:.4g}), within the noise of {noise:.2g}: runs that differ in the seed alone "
                f"spread by {sigma:.2g}",
                at=members[0].results[name].source,
                evidence=(
                    Evidence(f"mean {name} of the baseline", means[0], at=baselines[0].results[name].source),
                    Evidence(f"mean {name} of {members[0].name}", means[1], at=members[0].results[name].source),
                    Evidence("gain", gain, noise),
                    Evidence("standard deviation between seeds", sigma),
                    Evidence("runs of the baseline", len(start), unit="run"),
                    Evidence("runs held against it", len(values), unit="run"),
                ),
                advice="repeat both with more seeds, and report mean and spread",
            )


def _best_values(members: Sequence[Member], name: str, lower: bool) -> list[float]:
    found = [m.results[name] for m in members if name in m.results]
    return [r.lowest if lower else r.highest for r in found]


def _baseline(members: Sequence[Member]) -> Member | None:
    named = [m for m in members if _BASELINE.search(m.name.lower())]
    return named[0] if len(named) == 1 else None


def _metric(base: Member, others: Sequence[Member]) -> str | None:
    """The score that is compared: one with a reference first, then scores, then losses, of held-out data."""
    referenced = {r.metric for m in (base, *others) for r in m.references}
    shared = [n for n in base.results if not n.startswith("train/") and any(n in m.results for m in others)]
    return min(
        shared, key=lambda n: (n not in referenced, is_lower_better(n), not n.startswith("val/"), n), default=None
    )


def _noise(
    group: Group, base: Member, member: Member, name: str, sigmas: float
) -> tuple[float, str, Source | None] | None:
    """Half the width of the band in which a difference means nothing, what tells it, and where that stands."""
    lower = is_lower_better(name)
    spread = _seed_spread(group, name, lower)
    if spread is not None:
        sigma, freedom = spread
        factor = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else sigmas
        return factor * math.sqrt(2) * sigma, f"runs that differ in the seed alone spread by {sigma:.2g}", None
    found: list[tuple[float, str, Source | None]] = []
    level = base.results[name].highest
    counted = next(
        (v for n in _EXAMPLES for m in (member, base) if (v := m.settings.get(n)) and as_count(v.value)), None
    )
    if counted is not None and not lower and 0 < level < 1:
        count = as_count(counted.value) or 1
        error = math.sqrt(2 * level * (1 - level) / count)
        found.append(
            (sigmas * error, f"the error of a difference over {count:,} examples is {error:.2g}", counted.source)
        )
    wiggles = [w for m in (base, member) if (w := m.results[name].noise)]
    if len(wiggles) == 2:
        error = math.hypot(*wiggles)
        found.append((sigmas * error, f"single evaluations stray by {max(wiggles):.2g} at the end", None))
    return max(found, key=lambda f: f[0], default=None)


def _seed_spread(group: Group, name: str, lower: bool) -> tuple[float, int] | None:
    """Pooled standard deviation of the best values of runs that differ in the seed alone, with its freedom."""
    families: dict[object, list[float]] = {}
    for member in group.members:
        if name in member.results and "seed" in member.settings:
            result = member.results[name]
            families.setdefault(_stated(member), []).append(result.lowest if lower else result.highest)
    repeated = [values for values in families.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if not freedom:
        return None
    squares = sum((v - sum(values) / len(values)) ** 2 for values in repeated for v in values)
    return math.sqrt(squares / freedom), freedom
