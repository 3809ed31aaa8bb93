"""LOS007: the train and the validation loss are not the same quantity."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import (
    Curves,
    Evidence,
    Finding,
    Fix,
    LossPair,
    LossParts,
    NotApplicable,
    Run,
    Settings,
    Severity,
    Source,
    as_count,
    lazily,
    rule,
    stats,
)

_SIZES = ("batch_size", "grad_accum", "seq_len")
_BATCH = lazily(r"\w*batch_?size\w*")


@rule("LOS007", severity="error", gives_way_to=("LOS005", "LOS006"), explains=("CUR001", "CUR009", "CUR012"))
def objective_mismatch(
    run: Run,
    curves: Curves,
    pair: LossPair,
    *,
    min_ratio: float = 4.0,
    size_band: float = 0.25,
    max_rise: float = 1.5,
) -> Iterator[Finding]:
    """The train and the validation loss were different quantities, so that their distance says nothing.

    ## What it checks
    Whether one of the two was above the other by a factor that no learning explains: at every evaluation, and beyond
    where the other one ever was. A validation loss has to be above the *first* train loss all the time, a train loss
    above the first validation loss to its end. Where the terms of the train loss are logged, the term that the
    validation loss follows is named; otherwise a factor that is near a batch size, the accumulation factor or the
    sequence length: that is a matter of units, and a warning.

    ## Why it matters
    Overfitting, early stopping and the choice of the checkpoint are read from this distance. A validation loss of one
    term only does not see what most of the training is for; one that is a sum over the batch is of other units.

    ## Inputs
    Train and validation loss, both above 0, at least two evaluations; optionally the terms of the train loss.

    ## Options
    - `min_ratio`: factor at every evaluation, and beyond the other's start (4). In 380 labelled runs it is at most 1.2
      for one objective and at least 6.8 for different ones. Label smoothing, mixup, dropout, weight penalties and
      auxiliary terms differ by as much only at the end, where the first validation loss is still above.
    - `size_band`: relative distance of that factor from a batch size or the like that is named as its cause (0.25).
    - `max_rise`: last / first train loss above which the run diverged, and nothing is said (1.5).

    ## Fix
    Shown: evaluate the loss that is trained, with the same terms, weights and reduction, or give the other one its own
    name.

    ## When to ignore
    A validation loss that is another quantity by intent and under the same name.

    ## Source
    The founding case: a train loss of 6.2 (bce + ce) beside a validation loss of 0.0035 (bce alone).
    """
    if curves.adversarial or curves.reinforcement:
        raise NotApplicable(f"{curves.adversarial or curves.reinforcement} is of no objective that falls")
    if min(min(pair.train_levels), min(pair.val_levels)) <= 0:
        raise NotApplicable("a loss that is not above 0 has no ratio")
    parts = _parts(run)
    ratios = [b / a for a, b in zip(pair.train_levels, pair.val_levels, strict=True)]
    middle = stats.median(ratios)
    above = middle > 1
    least = min(ratios) if above else 1 / max(ratios)
    # The untrained model bounds what one objective can have on either side.
    start = max(pair.train.values[0], pair.train_levels[0]) if above else pair.val_levels[0]
    beyond = min(pair.val_levels if above else pair.train_levels) / start
    if min(least, beyond) < min_ratio or pair.end[0] > max_rise * pair.train.values[0]:
        return  # a run that diverges leaves every bound
    high, low = ("validation", "train") if above else ("train", "validation")
    factor = middle if above else 1 / middle
    train, val = pair.end
    equals = parts.equals if parts is not None and parts.total.name == pair.train.name else None
    cause, evidence = "", []
    if equals is not None and parts is not None:
        cause = (
            f"; {pair.val.name} followed {equals.name} alone, one of the {len(parts.parts)} terms of {pair.train.name}"
        )
        evidence = [
            Evidence(f"{equals.name} at the end", stats.tail_level(equals.curve.values), None, equals.curve.at(-1)),
            Evidence(f"terms of {pair.train.name}", len(parts.parts), None, parts.total.source),
        ]
    else:
        for name, value, at in _sizes(run):
            if abs(math.log(factor / value)) <= math.log(1 + size_band):
                cause = f"; {name} is {value:,}: the {high} loss may be a sum over it"
                evidence = [Evidence(name, value, None, at)]
                break
    yield Finding(
        f"{pair.train.name} ended at {train:.4g} and {pair.val.name} at {val:.4g}: the {high} loss was {least:,.3g} "
        f"times the {low} loss or more at each of {len(pair):,} evaluations, which are different quantities{cause}",
        at=pair.val.at(-1),
        evidence=(
            Evidence(f"least {high} / {low} loss", least, min_ratio, pair.val.source),
            Evidence(f"lowest {high} loss / first {low} loss", beyond, min_ratio),
            Evidence(f"median {high} / {low} loss", factor),
            Evidence(f"{pair.train.name} at the end", train, None, pair.train.at(-1)),
            Evidence(f"{pair.val.name} at the end", val, None, pair.val.at(-1)),
            Evidence("evaluations", len(pair)),
            *evidence,
        ),
        severity=Severity.WARNING if cause and equals is None else Severity.ERROR,
        fix=Fix.show(
            "evaluate the loss that is trained: the same terms, weights and mean; log other quantities under names of "
            "their own"
        ),
    )


def _parts(run: Run) -> LossParts | None:
    try:
        found: LossParts = run.get(LossParts)
    except NotApplicable:
        return None
    return found


def _sizes(run: Run) -> Iterator[tuple[str, int, Source]]:
    try:
        settings: Settings = run.get(Settings)
    except NotApplicable:
        return
    for name in settings.by_name:
        found = settings.effective(name)
        size = as_count(found.value) if found is not None else None
        if found is not None and size is not None and size > 1 and (name in _SIZES or _BATCH.fullmatch(found.key)):
            yield found.key, size, found.source
