"""EVA004: a threshold that was chosen on the final test."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping

from mldiag.api import (
    Decision,
    Decisions,
    DecisionThresholds,
    Evidence,
    Finding,
    NotApplicable,
    Program,
    Scored,
    ScoredExamples,
    Source,
    lazily,
    rule,
)

_ADVICE = "choose the threshold on validation examples, keep it, and only then score the test"
_ID = lazily(r"(.*_)?(id|ids|idx|uid|guid|uuid|index|key|filename|file|path|image|text|sentence|prompt)", 2)

_COMMON = 0.05
"""Share of the examples from which on a score tells none of them apart."""

_Trace = tuple[str, Source, tuple[Evidence, ...]]


@rule("EVA004", severity="error")
def threshold_leak(
    examples: ScoredExamples | None,
    thresholds: DecisionThresholds | None,
    decisions: Decisions | None,
    program: Program | None,
    *,
    max_chance: float = 0.005,
    min_examples: int = 10,
    min_shared: int = 10,
    agreement: float = 0.9,
) -> Iterator[Finding]:
    """The decision threshold was chosen on the examples of the final test.

    ## What it checks
    Four traces, of which one is enough. A file says it (`selected_on: test`). The numbers show it: the threshold is the
    best of the test scores to its last digit, by F1 or Youden's J, and not of the validation scores. The source does
    it: among candidates it takes the one that scores best on what is named test. The validation scores, on which it
    should have been chosen, hold examples of the test: the same id with the same score. An id alone does not tell,
    since every split may be numbered from 0.

    ## Why it matters
    A threshold fits the noise of the examples that it was chosen on, so that their F1 is higher than any new example
    will see. With few positives it is several points.

    ## Inputs
    Tables of scores of the splits, with true classes or ids; a stated threshold; the sources.

    ## Options
    - `max_chance` (0.005): probability that a threshold from elsewhere is the best of the test scores: how many of as
      many digits are, among those within a fifth of its F1. One of one or two digits never is so rare. Planted leaks
      have 0.001; thresholds of healthy runs are not the best of the test at all, and of 1,000 simulated ones that were
      tuned on other examples four are by chance.
    - `min_examples` (10 examples): of each class of the test.
    - `min_shared` (10 examples), `agreement` (0.9): how many ids both splits must have, and on what share of them the
      scores must agree, to be the same examples.

    ## Fix
    Shown: the threshold must be chosen again, on other examples; what it is then worth on the test only the next run
    says.

    ## When to ignore
    A test of which only the area under a curve is reported, or whose best F1 is reported as an upper limit.

    ## Source
    Measured on two runs whose thresholds were the best of 880 test scores to the fourth digit: F1 0.339 and 0.313 on
    the test, where thresholds of the validation scores give 0.298 and 0.283.
    """
    chosen = [s for s in (examples.items if examples is not None else ()) if s.split == "test"]
    known = bool(thresholds or decisions)
    selected = [(s, i) for s in (program.sources if program else ()) for i in s.idioms if i.name == "threshold_on_test"]
    said = any(t.chosen_on for t in (thresholds.items if thresholds is not None else ()))
    if not selected and not said and not (known and chosen):
        raise NotApplicable("no threshold is stated together with scores of the test or with what it was chosen on")
    lines = tuple(Evidence("line that chooses it", i.source.line, at=i.source) for _, i in selected[:1])
    found = _stated(thresholds) or _numbers(examples, decisions, max_chance, min_examples)
    if found is not None:
        message, at, evidence = found
        yield Finding(message, at=at, evidence=(*evidence, *lines), advice=_ADVICE)
        return
    for _, idiom in selected[:1]:
        yield Finding(
            f"the source chooses the threshold {idiom.detail('threshold')} by what it scores on "
            f"{idiom.detail('examples')} ({idiom.source})",
            at=idiom.source,
            evidence=lines,
            advice=_ADVICE,
        )
        return
    for test in chosen:
        for other in examples.items if examples is not None else ():
            if other.split == "val" and other.column.name == test.column.name and known:
                shared, same = _shared(other, test)
                if shared >= min_shared and same >= agreement * shared:
                    yield _overlap(other, test, shared, same)
                    return


def _stated(thresholds: DecisionThresholds | None) -> _Trace | None:
    for threshold in thresholds.items if thresholds is not None else ():
        if threshold.chosen_on == "test" and threshold.chosen_at is not None:
            at = threshold.chosen_at
            return (
                f"{threshold.name} {threshold.value:g} ({threshold.source}) was chosen on the test, as "
                f"{at.key or 'the file'} says ({at})",
                at,
                (Evidence("threshold", threshold.value, at=threshold.source), Evidence("chosen on", "test", at=at)),
            )
    return None


def _numbers(
    examples: ScoredExamples | None, decisions: Decisions | None, max_chance: float, least: int
) -> _Trace | None:
    """Whether a stated threshold is the best of the test scores, and of no others."""
    for decision in decisions.items if decisions is not None else ():
        test = decision.scored
        if test.split != "test" or decision.stated is None or not test.has_both:
            continue
        if min(test.sweep.positives, test.sweep.negatives) < least:
            continue
        match = test.best_match(decision.value)
        others = [s for s in examples.items if _is_like(s, test)] if examples is not None else []
        if match is None or match.chance > max_chance or (not others and decision.stated.chosen_on is not None):
            continue
        if any(s.best_match(decision.value) is not None for s in others):
            continue
        return _best_of_test(decision, match.measure, match.value, match.chance, max_chance, others)
    return None


def _is_like(scored: Scored, test: Scored) -> bool:
    """Other examples of the same scores, on which the threshold may have been chosen."""
    return scored.split != "test" and scored.column.name == test.column.name and scored.has_both


def _best_of_test(
    decision: Decision, measure: str, best: float, chance: float, limit: float, others: list[Scored]
) -> _Trace:
    test, stated = decision.scored, decision.stated
    assert stated is not None
    message = (
        f"{stated.name} {stated.value:g} ({stated.source}) is the best by {measure} ({best:.3f}) of the test scores in "
        f"{test.table.source.path} to its last digit, which one chosen elsewhere is with a probability of {chance:.1g}"
    )
    evidence = [
        Evidence("threshold", stated.value, at=stated.source),
        Evidence(f"{measure} on the test", best, at=test.source),
        Evidence("probability by chance", chance, limit),
    ]
    if others:
        used, own = others[0].sweep.at(stated.value).f1, others[0].sweep.best_f1()
        name = "validation scores" if others[0].split == "val" else f"scores in {others[0].table.source.path}"
        message += f"; on the {name} it gives an F1 of {used:.3f}, where {own.threshold:.4g} gives {own.counts.f1:.3f}"
        evidence += [
            Evidence("F1 on the other scores", used, at=others[0].source),
            Evidence("best F1 on the other scores", own.counts.f1, at=others[0].source),
            Evidence("best threshold of the other scores", own.threshold, at=others[0].source),
        ]
    return message, stated.source, tuple(evidence)


def _overlap(other: Scored, test: Scored, shared: int, same: int) -> Finding:
    rows = len(test.column.values)
    return Finding(
        f"{same:,} of the {rows:,} examples of the test ({test.table.source.path}) are among those of validation "
        f"({other.table.source.path}), on which the threshold is chosen: the same ids with the same scores",
        at=test.table.source,
        evidence=(
            Evidence("examples of the test", rows, at=test.table.source, unit="example"),
            Evidence("ids in both", shared, at=other.table.source, unit="example"),
            Evidence("of them with the same score", same, at=other.table.source, unit="example"),
        ),
        advice="take the shared examples out of one of the two, and choose the threshold again",
    )


def _shared(first: Scored, second: Scored) -> tuple[int, int]:
    """Ids that both tables have, and how many of them have the same score; the most of any column of ids."""
    best = (0, 0)
    for name, keys in _ids(first).items():
        others = _ids(second).get(name)
        if others is None or len(first.finite) != len(first.column.values):
            continue
        rows = {key: row for row, key in enumerate(keys) if key == key and key}
        if len(rows) < len(keys) - 1 or max(first.finite, default=0) == min(first.finite, default=0):
            continue  # not one row for each; or scores that say nothing
        pairs = [(rows[key], row) for row, key in enumerate(others) if key in rows]
        # Scores of few values, most of them 0, agree between different examples too.
        common = {v for v, n in Counter(second.column.values).items() if n > _COMMON * len(second.column.values)}
        telling = [(a, b) for a, b in pairs if second.column.values[b] not in common]
        same = sum(_equal(first.column.values[a], second.column.values[b]) for a, b in telling)
        best = max(best, (len(telling), same))
    return best


def _ids(scored: Scored) -> Mapping[str, array[int] | array[float]]:
    numbers = {n: v for n, v in scored.table.columns.items() if n != scored.column.name and _ID.fullmatch(n)}
    return {**numbers, **scored.table.keys}


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-9)
