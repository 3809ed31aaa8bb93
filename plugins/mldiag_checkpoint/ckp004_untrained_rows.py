"""CKP004: rows of a table that training never reached."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    RowTable,
    RowTables,
    Settings,
    Severity,
    Source,
    TokenStatistics,
    rule,
)


@rule("CKP004", severity="error", explains=("CUR001", "CUR003", "SMP001", "SMP002", "SMP003"))
def untrained_rows(
    tables: RowTables,
    settings: Settings | None,
    tokens: TokenStatistics | None,
    *,
    min_margin: int = 8,
    min_margin_share: float = 0.1,
    min_seen: float = 50.0,
) -> Iterator[Finding]:
    """The last rows of a table of positions or tokens are still as they were initialised, though they were fed.

    ## What it checks
    The rows of each table by name, from the end: rows that no gradient reached are independent noise of one size, with
    squared norms that spread as those of random rows do, nothing in common, and no likeness to their neighbours. Where
    that holds for the last rows, and those just before are larger, smaller or more alike by six standard errors, the
    row at which it changes is where training ended.

    For positions it is an error where the sequences that are fed reach beyond that row by more than the uncertainty of
    the place, and an information where nothing says how long they are, unless the model is a classifier, which is fed
    texts of any length. Tables with more rows than are fed are ordinary.
    For tokens it is an error where the token files hold those ids often; tokens that do not occur, and rows that pad
    the vocabulary, are ordinary.

    ## Why it matters
    Beyond that row the model sees noise. A loader that cuts sequences, positions that wrap around, or ids that are
    clamped leave such rows, and the loss on the rest looks healthy.

    ## Inputs
    The last checkpoint; the setting `seq_len`; token files. Tables from 32 rows of 8 values on are judged; one that is
    initialised as large as it is trained (standard normal, few steps) does not show where training ended.

    ## Options
    - `min_margin` (8 positions), `min_margin_share` (0.1 of the rows): how far the fed length has to reach beyond the
      place, which is found to a few rows only.
    - `min_seen` (50): occurrences per row from which on a token should have been trained.

    ## Fix
    Shown: find where the loader cuts the sequences or the model the positions.

    ## When to ignore
    Texts that are padded to a length that few of them have.

    ## Source
    The squared norm of n independent values has the relative variance (kurtosis - 1) / n; two levels are compared by
    Welch 1947. Measured: 254 and 256 were found where 256 of 320 rows were trained for 60 and
    300 steps, and nothing in 6,000 random tables.
    """
    length = settings.get("seq_len", int) if settings is not None else None
    fed_at = settings.where("seq_len") if settings is not None else None
    for table in tables.of("position"):
        tail = table.untrained
        margin = max(min_margin, round(min_margin_share * tail.rows))
        if length is None and not _is_classifier(tables):
            yield _finding(table, "and nothing says whether they were fed", Severity.INFO, ())
        elif length is not None and min(length, tail.rows) > tail.start + margin:
            evidence = (Evidence("sequence length", length, tail.start + margin, fed_at, "token"),)
            yield _finding(table, f"though sequences of {length:,} tokens were fed", Severity.ERROR, evidence)
    if tokens is None:
        return
    for table in tables.of("token"):
        seen = [(file, *tokens.beyond(file, table.untrained.start)) for file in tokens.files]
        file, count, *_ = max(seen, key=lambda s: s[1], default=(None, 0))
        untrained = table.untrained.rows - table.untrained.start
        if file is not None and count >= min_seen * untrained:
            at = file.source
            evidence = (Evidence(f"such ids in {at.path}", count, min_seen * untrained, at, "token"),)
            yield _finding(table, f"though {at.path} holds {count:,} of those tokens", Severity.ERROR, evidence)


def _is_classifier(tables: RowTables) -> bool:
    """Whether a model is fed texts as they are, of any length, and not windows that are filled up."""
    names = (t.name.lower() for t in tables.checkpoint.tensors)
    return any(
        word in name for name in names for word in ("token_type", "classifier", "pooler", "score.", "qa_outputs")
    )


def _finding(table: RowTable, though: str, severity: Severity, more: tuple[Evidence, ...]) -> Finding:
    tail = table.untrained
    at = Source(table.checkpoint.path, key=table.tensor.name)
    return Finding(
        f"rows {tail.start:,} to {tail.rows - 1:,} of the {tail.rows:,} in {table.tensor.name} of "
        f"{table.checkpoint.path} are still as they were initialised, {though}",
        at=at,
        severity=severity,
        evidence=(
            Evidence("first untrained row", tail.start, tail.rows, at, table.kind),
            Evidence("last untrained row", tail.rows - 1, None, at, table.kind),
            Evidence("rows", tail.rows, None, at, table.kind),
            Evidence("root mean square of these rows", tail.rms, None, at),
            Evidence("root mean square of the rows before", tail.head_rms, None, at),
            Evidence("likeness of neighbours among these rows", tail.likeness, None, at),
            Evidence("likeness of neighbours among the rows before", tail.head_likeness, None, at),
            Evidence("standard errors between both", tail.z, 6.0),
            *more,
        ),
        fix=Fix.show(
            "find where the loader cuts sequences, or the model positions, before it reaches these rows"
            if table.kind == "position"
            else "find where ids are clamped or mapped before they reach these rows"
        ),
    )
