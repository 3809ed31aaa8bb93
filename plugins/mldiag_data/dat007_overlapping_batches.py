"""DAT007: the loader's batches overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, Idiom, NotApplicable, Program, Settings, Source, Vocabulary, rule

_IDIOM = "overlapping batches"


@rule("DAT007", severity="error", pre=True, explains=("CUR001", "CUR002", "CUR012", "BUD005", "SCH009"))
def overlapping_batches(program: Program, settings: Settings | None) -> Iterator[Finding]:
    """The loader goes to the next batch by less than a batch holds.

    ## What it checks
    In the source: where a batch begins, as a multiple of its number (`start = batch_idx * batch_size * 2`) or by what a
    place that the loader keeps moves on (`self.pos += seq_len`), against how much is read from there
    (`data[start:start + batch_size * seq_len * 2]`). Every factor of the way is a factor of
    what is read, which has the sequence length besides: so each batch repeats nearly all of the one before.

    ## Why it matters
    With 32 sequences of 256 tokens and a way of 64 tokens, 99 % of a batch was in the batch before. An "epoch" of that
    loader never comes past the first part of the corpus, and what it sees it sees hundreds of times.

    ## Inputs
    Python sources; where known the settings of the sizes, such as `seq_len`, which give the overlap in numbers.

    ## Fix
    Shown: multiply the number of the batch by all that a batch holds.

    ## When to ignore
    A loader of overlapping windows by design, whose stride is then a setting of its own.

    ## Source
    Arithmetic: batches do not overlap when the way from one to the next is what one holds.
    """
    if not program.sources:
        raise NotApplicable("no source of the data loader was found")
    for source in program.sources:
        for idiom in source.idioms:
            if idiom.name == _IDIOM:
                yield from _judged(idiom, settings)


def _judged(idiom: Idiom, settings: Settings | None) -> Iterator[Finding]:
    missing, ratio = str(idiom.detail("missing")).split(), float(idiom.detail("ratio"))
    known = {name: value for name in missing if (value := _value(name, settings)) is not None}
    factor = ratio * math.prod(known.values())
    whole = len(known) == len(missing)
    if whole and factor <= 1:
        return
    stride, extent = idiom.detail("stride"), idiom.detail("extent")
    overlap = f": {100 * (1 - 1 / factor):.3g} % of each batch was in the batch before" if whole else ""
    yield Finding(
        f"batches begin {stride} apart but hold {extent}, {' × '.join(missing)} "
        f"{'' if ratio == 1 else f'× {ratio:g} '}times as much{overlap}",
        at=idiom.source,
        evidence=(
            Evidence("from one batch to the next", stride, extent, idiom.source),
            Evidence("read for one batch", extent, at=idiom.also[0] if idiom.also else idiom.source),
            *(Evidence(name, value, at=_where(name, settings)) for name, value in known.items()),
            *([Evidence("read / way to the next", factor, 1.0)] if whole else []),
            *([Evidence("share of a batch that was in the one before", 1 - 1 / factor, 0)] if whole else []),
        ),
        fix=Fix.show(
            f"move {idiom.detail('index')} on by {idiom.detail('whole')}"
            if idiom.detail("moved")
            else f"let batch {idiom.detail('index')} begin at {idiom.detail('index')} * {idiom.detail('whole')}"
        ),
    )


def _value(name: str, settings: Settings | None) -> float | None:
    found = settings.get(Vocabulary().setting(name) or name, float) if settings is not None else None
    return found if found is not None and found > 0 else None


def _where(name: str, settings: Settings | None) -> Source | None:
    return settings.where(Vocabulary().setting(name) or name) if settings is not None else None
