"""EVA008: a result lies far below a stated reference."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Curves, Evidence, Finding, NotApplicable, ReferenceValues, is_lower_better, rule


@rule("EVA008", severity="warning")
def below_reference(references: ReferenceValues, curves: Curves, *, most_worse: float = 0.2) -> Iterator[Finding]:
    """A result lies far below the value that was published or reached before.

    ## What it checks
    The best value of each series that a reference is stated for: worse than the reference by more than `most_worse`
    of it. Only the reference that is missed by most is told for each series.
    ## Why it matters
    A reproduction that stays at a third of the published score has a fault, not bad luck; tuning around it hides it.
    ## Inputs
    References: `[[tool.mldiag.reference]]` of the configuration (`metric`, `value`, `by`, `runs`; a score in percent
    is one for fractions as well), settings such as
    `published_ndcg@10` or `baseline_accuracy`, and the run named with `--against`. The series, by canonical name; a
    lower value is better for losses, errors and perplexities, a higher one for all else.
    ## Options
    `most_worse` (default 0.2, a share of the reference): the catalogue's 20 %. Published scores of one method differ by
    5 to 10 % between seeds, splits and libraries (Bouthillier et al. 2021); twice that is no such difference.
    ## Fix
    Shown: the findings above it name the cause where one shows.
    ## When to ignore
    The reference is of another data set, split or size of model.
    ## Source
    Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks; Musgrave et al. 2020, A Metric
    Learning Reality Check.
    """
    judged = 0
    worst: dict[str, tuple[float, Finding]] = {}
    for reference in references.items:
        curve = curves.get(reference.metric)
        if curve is None or reference.value <= 0:
            continue
        judged += 1
        reference = reference.beside(max(curve.values))
        lower = is_lower_better(curve.name)
        best = min(curve.values) if lower else max(curve.values)
        index = list(curve.values).index(best)
        worse = best / reference.value - 1 if lower else 1 - best / reference.value
        if worse <= most_worse or worse <= worst.get(curve.name, (0.0,))[0]:
            continue
        by = f" ({reference.by})" if reference.by else ""
        side = "above" if lower else "below"
        finding = Finding(
            f"the best {curve.name} was {best:.4g}, {100 * worse:.0f} % {side} the reference of {reference.value:.4g}"
            f"{by}",
            at=curve.at(index),
            evidence=(
                Evidence(f"best {curve.name}", best, at=curve.at(index)),
                Evidence("reference", reference.value, at=reference.source),
                Evidence(f"share {side} the reference", worse, most_worse),
            ),
        )
        worst[curve.name] = worse, finding
    if not judged:
        names = dict.fromkeys(r.metric for r in references.items)
        raise NotApplicable(f"no series {' or '.join(names)}, of which a reference is stated")
    yield from (finding for _, finding in worst.values())
