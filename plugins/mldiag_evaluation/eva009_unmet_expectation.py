"""EVA009: a target of the project's configuration is missed."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Curve,
    Curves,
    Evidence,
    Expectation,
    Expectations,
    Finding,
    Moment,
    NotApplicable,
    Severity,
    is_lower_better,
    rule,
    stats,
)


@rule("EVA009", severity="error")
def unmet_expectation(expectations: Expectations, curves: Curves, *, tail: int = 1) -> Iterator[Finding]:
    """A target of the project's configuration is missed.

    ## What it checks
    Every `[[tool.mldiag.expect]]` of the configuration (in `mldiag.toml`: `[[expect]]`) that holds for the run: the
    last, best or first value of a series against `below` and `above`; and the distance between validation and train
    level at the end against `gap = {below = ...}`. A target of a series that the run does not have is told as
    information beside others that could be held.
    ## Why it matters
    A number that the team agreed on is the one limit that needs no calibration; a gate in CI holds the run to it.
    ## Inputs
    The expectations, and the series they name, by canonical or raw name (`val/loss`, `eval_loss`); a name without a
    split is of the training series if there is one, else of the validation or test series. A limit of a score in
    percent holds for fractions, and the other way round. `best` is the
    lowest value of losses, errors and perplexities, the highest of all else. Of several launches the last counts.
    ## Options
    `tail` (default 1, values): how many last values the last level is the median of; more are steadier where the
    series is noisy.
    ## Fix
    Shown: what has to change is what the other findings say.
    ## When to ignore
    Never: correct the expectation instead.
    ## Source
    The project's own configuration.
    """
    judged = 0
    missing: list[Expectation] = []
    for wanted in expectations:
        curve = curves.get(wanted.metric)
        if curve is None:
            missing.append(wanted)
            continue
        judged += 1
        if wanted.gap_below is not None:
            yield from _gap(wanted, curve, curves, tail)
        stated, wanted = wanted, wanted.beside(max(curve.values))
        if wanted.below is None and wanted.above is None:
            continue
        index, value = _value(wanted, curve, tail)
        for limit, said, missed, side in (
            (wanted.below, stated.below, wanted.below is not None and not value < wanted.below, "below"),
            (wanted.above, stated.above, wanted.above is not None and not value > wanted.above, "above"),
        ):
            if missed:
                as_stated = "" if limit == said else f" (stated as {said:.4g})"
                yield Finding(
                    f"the {wanted.at} {wanted.metric} was {value:.4g} at {curve.place(index)}; "
                    f"expected {side} {limit:.4g}{as_stated}",
                    at=curve.at(index),
                    evidence=(
                        Evidence(f"{wanted.at} {wanted.metric}", value, limit, curve.at(index)),
                        Evidence(f"expected {side}", limit, at=wanted.source),
                    ),
                )
    if not judged:
        raise NotApplicable(
            f"no series {' or '.join(dict.fromkeys(w.metric for w in missing))}, of which something is expected"
        )
    # What could not be held to its target must not pass for clean beside others.
    for wanted in missing:
        yield Finding(
            f"something is expected of {wanted.metric}, and the run has no such series",
            at=wanted.source,
            severity=Severity.INFO,
            evidence=(Evidence("expected of", wanted.source.key or wanted.metric, at=wanted.source),),
            advice="correct the name, or say with `runs` which runs the target holds for",
        )


def _value(wanted: Expectation, curve: Curve, tail: int) -> tuple[int, float]:
    values = curve.values
    if wanted.at is Moment.FIRST:
        return 0, values[0]
    if wanted.at is Moment.BEST:
        best = min if is_lower_better(curve.name) else max
        value = best(values)
        return list(values).index(value), value
    return len(values) - 1, stats.median(values[-max(tail, 1) :])


def _gap(wanted: Expectation, val: Curve, curves: Curves, tail: int) -> Iterator[Finding]:
    quantity = wanted.metric.partition("/")[2]
    train = curves.get(f"train/{quantity}")
    if train is None:
        return
    last = slice(-max(tail, 1), None)
    levels = stats.median(train.values[last]), stats.median(val.values[last])
    gap = levels[1] - levels[0] if is_lower_better(val.name) else levels[0] - levels[1]
    if not gap < (wanted.gap_below or 0.0):
        yield Finding(
            f"{val.name} ended at {levels[1]:.4g} and {train.name} at {levels[0]:.4g}, a gap of {gap:.4g}; "
            f"expected below {wanted.gap_below:.4g}",
            at=val.at(-1),
            evidence=(
                Evidence("gap at the end", gap, wanted.gap_below, val.at(-1)),
                Evidence(f"last {val.name}", levels[1], at=val.at(-1)),
                Evidence(f"last {train.name}", levels[0], at=train.at(-1)),
                Evidence("expected gap below", wanted.gap_below, at=wanted.source),
            ),
        )
