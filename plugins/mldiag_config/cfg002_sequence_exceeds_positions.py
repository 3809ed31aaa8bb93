"""CFG002: sequences longer than the table of positions."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, Positions, Settings, edit_everywhere, rule


@rule("CFG002", severity="error", pre=True, explains=("CUR001", "CKP004", "SMP001", "SMP002", "SMP003"))
def sequence_exceeds_positions(positions: Positions, settings: Settings | None, *, slack: int = 1) -> Iterator[Finding]:
    """Sequences were fed that are longer than the model's position table.

    ## What it checks
    The length of the sequences that are fed (`seq_len`, `block_size`, ...) against the rows of the table of absolute
    positions: as a checkpoint proves them, else as the source builds them, else as a configuration states them.
    Rotary, sinusoidal, relative and biased positions have no table, and the rule is skipped. RoBERTa and its kin keep
    two rows for padding: their 514 rows hold 512 tokens.

    ## Why it matters
    Positions without a row fail, are clipped or wrap around, by framework: TensorFlow on a GPU returns zeros for an
    index that is out of range, without a word, and code that takes positions modulo the table gives two tokens one
    position. The model then never learns the end of its windows.

    ## Inputs
    Setting `seq_len` (tokens); the rows of the position table (positions) from checkpoint, source or configuration.

    ## Options
    - `slack` (tokens, default 1): a window often holds one token more than is fed, the target of the last position.

    ## Fix
    Safe: `seq_len` is set to the rows of the table, which is what the model was built for, and with it the stride of
    windows that lie side by side. To train on the longer
    sequences, build the model with more rows instead.

    ## When to ignore
    A program that cuts the longer windows to the table itself before it feeds them.

    ## Source
    TensorFlow `tf.gather`: "on GPU, if an out of bound index is found, a 0 is stored in the corresponding output
    value". Measured on a run that fed 320 tokens to 256 rows, and on two that fed 128 to 64.
    """
    rows, length = positions.rows, positions.seq_len
    if length <= rows + slack:
        return
    evidence = [
        Evidence("sequence length", length, rows, positions.fed.source, "token"),
        Evidence("position rows", rows, None, positions.rows_at, "position"),
        Evidence("positions without a row", length - rows, 0, None, "position"),
    ]
    if positions.reserved:
        evidence.append(Evidence("rows kept for padding", positions.reserved, at=positions.rows_at, unit="position"))
    if positions.built_at is not None:
        evidence.append(Evidence("line that builds the table", positions.built_at.line, at=positions.built_at))
    yield Finding(
        f"sequences of {length:,} tokens were fed to a table of {rows:,} positions: the last {length - rows:,} "
        f"({100 * (length - rows) / length:.0f} % of each window) have no row of their own",
        at=positions.fed.source,
        evidence=tuple(evidence),
        fix=Fix.safe(
            f"set seq_len to the {rows:,} positions of the table", *edit_everywhere(settings, positions.fed, rows)
        ),
    )
