"""DAT001: the data has token ids that the vocabulary has not."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from msgspec import Struct

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Settings,
    Severity,
    Source,
    TokenFile,
    Tokenizers,
    TokenStatistics,
    as_count,
    rule,
)


class _Limit(Struct, frozen=True):
    """The first id that is too large, and who says so."""

    ids: int
    name: str
    source: Source


@rule("DAT001", severity="error", pre=True, explains=("CFG005", "CUR005"))
def token_out_of_vocabulary(
    statistics: TokenStatistics, tokenizers: Tokenizers | None, settings: Settings | None, *, max_listed: int = 4
) -> Iterator[Finding]:
    """The token file holds ids that are not in the vocabulary.

    ## What it checks
    The largest id of every token file, all of which is read, against the vocabulary in the same folder (`meta.pkl`,
    `vocab.json`, `tokenizer.json`), else against the run's only one, and against the `vocab_size` of the model. An
    error where an id has no row in the model's table, or where no size of the model is known; a warning where the
    model has more rows than the vocabulary has tokens, so that the ids get rows that no text is ever made of.

    ## Why it matters
    An id without a row is a crash on a CPU, and on an accelerator a row of whatever lies behind the table; programs
    that clamp ids train the last token on text that is another's. Either the data were made with another tokenizer, or
    they are damaged.

    ## Inputs
    Token files of any width; tokenizers; the setting `vocab_size`.

    ## Options
    - `max_listed` (4 files): files that are listed in the evidence; all are looked at. A file of 1 GB takes about as
      long as reading it, and a few megabytes of memory.

    ## Fix
    Shown: tokenise the text again with the tokenizer of the model.

    ## When to ignore
    Ids beyond the vocabulary that the loader replaces on purpose (a marker between documents).

    ## Source
    The format: ids number the rows of the embedding from 0, so that the largest allowed is the size - 1.
    """
    found = [(file, limit) for file in statistics.files if (limit := _limit(file, tokenizers, settings)) is not None]
    if not found:
        raise NotApplicable("no vocabulary and no vocab_size to hold the ids against")
    rows = _rows(settings)
    offending = []
    for file, limit in found:
        largest = statistics.largest(file)
        if largest is not None and largest >= limit.ids:
            offending.append((file, limit, largest))
    if not offending:
        return
    counted = [(file, limit, largest, *statistics.beyond(file, limit.ids)) for file, limit, largest in offending]
    file, limit, largest, count, _ = max(counted, key=lambda c: c[3])
    others = f"; {_others(len(counted) - 1)} too" if len(counted) > 1 else ""
    yield Finding(
        f"{count:,} of {file.count:,} ids in {file.source.path} are {limit.ids:,} or larger, up to {largest:,}, but "
        f"{limit.name} has {limit.ids:,} tokens{others}",
        at=file.source,
        severity=Severity.WARNING if rows is not None and all(c[2] < rows.ids for c in counted) else Severity.ERROR,
        evidence=(
            Evidence("tokens of the vocabulary", limit.ids, at=limit.source, unit="token"),
            *(
                piece
                for f, lim, top, n, at in counted[:max_listed]
                for piece in (
                    Evidence(f"largest id of {f.source.path}", top, lim.ids - 1, f.source),
                    Evidence(f"ids beyond the vocabulary in {f.source.path}", n, 0, f.source, "token"),
                    Evidence(f"first of them in {f.source.path}", at, at=f.source),
                )
            ),
            Evidence(f"ids in {file.source.path}", file.count, at=file.source, unit="token"),
            *([Evidence("rows of the model", rows.ids, at=rows.source)] if rows is not None else []),
        ),
        fix=Fix.show("tokenise the text again with the tokenizer that the model was built for"),
    )


def _limit(file: TokenFile, tokenizers: Tokenizers | None, settings: Settings | None) -> _Limit | None:
    """What the ids of a file may not reach: of a vocabulary beside it, of the only one, or the model's."""
    known = list(tokenizers or ())
    folder = posixpath.dirname(file.source.path)
    own = [t for t in known if posixpath.dirname(t.source.path) == folder]
    chosen = own or (known if len(known) == 1 else [])
    rows = _rows(settings)
    limits = [_Limit(max(t.size, (t.largest_id or 0) + 1), t.source.path, t.source) for t in chosen]
    if limits:
        # Of several vocabularies in one folder the ids may be any one's.
        return max(limits, key=lambda limit: limit.ids)
    return rows


def _rows(settings: Settings | None) -> _Limit | None:
    """The largest size that anything gives the model's vocabulary: padding and other models' sizes included."""
    sizes = [(n, v) for v in (settings.all("vocab_size") if settings else ()) if (n := as_count(v.value))]
    if not sizes:
        return None
    size, value = max(sizes, key=lambda s: s[0])
    return _Limit(size, "the model", value.source)


def _others(count: int) -> str:
    return "another file" if count == 1 else f"{count:,} other files"
