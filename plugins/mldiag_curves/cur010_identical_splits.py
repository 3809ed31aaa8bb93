"""CUR010: validation was measured on the training data, or is a copy of its column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mldiag.api import (
    Curve,
    Curves,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Severity,
    is_bounded_score,
    rule,
    split_of,
    stats,
)


@rule("CUR010", severity="error", explains=("CUR009",))
def identical_splits(
    curves: Curves,
    *,
    min_evaluations: int = 3,
    min_digits: float = 8.0,
) -> Iterator[Finding]:
    """Train and validation series hold the same numbers.

    ## What it checks
    Every loss and bounded score that is logged for training and for validation (or test), at the steps both have (or
    epochs, or as values in a row where they are as many). The same means: at each of them, to one unit of the last
    digit that the coarser series writes. How little that can be chance is counted in digits: each value that differs
    from the one before adds log10(range of the series / unit). A series that hardly moves, or has two digits, proves
    nothing. An error where all quantities that both have are the same; a warning where some are and others are not:
    then the splits differ, and one column was written twice. A score that one file calls `acc` and another `val_acc` is
    taken for one series in two files, and is not compared.

    ## Why it matters
    Two samples of the same distribution differ by their sampling noise. Where they do not, the validation set is the
    training set, or one variable was logged under both names: either way nothing is known about other data.

    ## Inputs
    `train/<q>` and `val/<q>` or `test/<q>`, any unit.

    ## Options
    - `min_evaluations`: common evaluations (3).
    - `min_digits`: digits of agreement beyond chance (8). Of 315 labelled pairs none agrees throughout,
      apart from series of a single value.

    ## Fix
    Shown: look at what the loader for validation opens, and at the call that logs.

    ## When to ignore
    A test of whether the model can fit some data at all, evaluated on the same data on purpose.

    ## Source
    Two independent readings agree in their last digit with a probability of about unit / range; eight digits are a
    chance of 1 in 100 million. A validation set that equals the training set but is measured in
    another mode or at another moment than the train loss is not seen by this rule.
    """
    same: list[tuple[Curve, Curve, int, float]] = []
    other: list[str] = []
    compared = 0
    for train, held_out in _pairs(curves):
        mine, others = train.common(held_out)
        if len(mine) < min_evaluations:
            continue
        compared += 1
        first, second = _values(train, mine), _values(held_out, others)
        digits = stats.same_digits(first, second)
        if digits >= min_digits:
            same.append((train, held_out, len(mine), digits))
        elif digits == 0 and stats.relative_range(second):
            other.append(held_out.name)
    if not compared:
        raise NotApplicable(
            f"no quantity that is logged for training and validation at {min_evaluations} common places"
        )
    if not same:
        return
    names = " and ".join(f"{train.name} and {held_out.name}" for train, held_out, _, _ in same[:2])
    train, held_out, count, digits = same[0]
    differ = [n for n in other if n.partition("/")[0] == held_out.name.partition("/")[0]]
    yield Finding(
        f"{names} were the same at all {count} common evaluations, from {held_out.values[0]:.6g} to "
        f"{held_out.values[-1]:.6g}: "
        + (
            f"one series was written under both names, since {differ[0]} differs from training"
            if differ
            else "validation was measured on the training data, or one series was written under both names"
        ),
        at=held_out.source,
        severity=Severity.WARNING if differ else Severity.ERROR,
        evidence=(
            *(
                Evidence(f"digits of agreement of {t.name} and {h.name}", d, min_digits, h.source)
                for t, h, _, d in same
            ),
            Evidence("common evaluations", count, min_evaluations, train.source),
            Evidence(f"{held_out.name} first", held_out.values[0], None, held_out.at(0)),
            Evidence(f"{held_out.name} last", held_out.values[-1], None, held_out.at(-1)),
            Evidence("quantities that are the same", len(same)),
            Evidence("quantities that differ", len(differ)),
        ),
        fix=Fix.show("check which files the validation loader opens, and which variable is logged as validation"),
    )


def _pairs(curves: Curves) -> Iterator[tuple[Curve, Curve]]:
    for name in curves:
        if not name.startswith("train/") or not (name == "train/loss" or is_bounded_score(name) or "/loss/" in name):
            continue
        train = curves.get(name)
        for split in ("val", "test"):
            held_out = curves.get(f"{split}/{name.removeprefix('train/')}")
            if train is not None and held_out is not None and not _is_copy(train, held_out):
                yield train, held_out
                break


def _is_copy(train: Curve, held_out: Curve) -> bool:
    """A score without a word on its split may be the held-out one, which another file names in full."""
    apart = train.source.path != held_out.source.path
    return apart and is_bounded_score(train.name) and split_of(train.series.raw_name) is None


def _values(curve: Curve, places: Sequence[int]) -> Sequence[float]:
    values = curve.values
    return values if len(places) == len(values) else [values[i] for i in places]
