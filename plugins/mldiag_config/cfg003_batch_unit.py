"""CFG003: the batch size makes sense in one unit only."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Batching,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Reading,
    Settings,
    Severity,
    Unit,
    Windows,
    edit_setting,
    rule,
)


@rule("CFG003", severity="warning", pre=True, explains=("CUR007", "CUR008", "SMP001"))
def batch_unit(
    batching: Batching,
    windows: Windows,
    settings: Settings,
    *,
    min_sequences: float = 8.0,
    min_windows: float = 0.5,
) -> Iterator[Finding]:
    """The batch size counts tokens where sequences were meant, or reads as tokens and counts sequences.

    ## What it checks
    Whether `batch_size` counts sequences or tokens: by the logged token counter, else by what steps × batch × stride
    comes to against the stated tokens or documents. Tokens are a warning when a step then has only a few sequences.
    Sequences are said, as information, only where the size could be taken for tokens.

    ## Why it matters
    A batch of 96 tokens is two sequences of 48: the gradient is noise, and the model sees a fraction of the text that
    the steps were planned for. Mistaking sequences for tokens leads to the opposite, wrong "correction".

    ## Inputs
    Settings `batch_size`, `seq_len`, `stride`, `grad_accum`, `devices`, `steps_per_epoch`, `max_docs` (documents) or
    `train_tokens`; series `tokens` (running count).

    ## Options
    - `min_sequences` (8): sequences a step below which a batch in tokens is a mistake; the planted faults have 1 or 2,
      healthy runs of the same trainers 12 or more.
    - `min_windows` (0.5): batch size / window length from which a batch of sequences could be read as tokens.

    ## Fix
    Unsafe: multiplies `batch_size` by the window length, which restores the number of sequences; a step then costs
    that many times more memory.

    ## When to ignore
    A loader that fills batches by tokens on purpose, with sequences so long that a few fill a step.

    ## Source
    Arithmetic; a document has at least 20 tokens (one sentence).
    """
    sequences, tokens = batching.sequences, batching.tokens
    if batching.unit is Unit.UNKNOWN or sequences is None or tokens is None:
        raise NotApplicable(
            "neither a token counter nor the corpus decides whether batch_size counts sequences or tokens"
        )
    size, length = batching.batch_size.value, windows.seq_len.value
    evidence = [
        Evidence("batch size", size, at=batching.batch_size.source),
        Evidence("sequence length", length, at=windows.seq_len.source, unit="token"),
        *_arithmetic(batching, sequences, tokens),
    ]
    if batching.unit is Unit.TOKENS:
        seen = batching.measured.value / length if batching.measured else tokens.sequences_per_step
        if seen < min_sequences:
            wanted = int(size * length)
            yield Finding(
                f"batch_size {size:,.0f} counts tokens: {_proof(batching, tokens)}, {_sequences(seen)} of "
                f"{length:,.0f} a step; as sequences it would be {sequences.tokens_per_step:,.0f} tokens",
                at=batching.batch_size.source,
                evidence=(*evidence, Evidence("sequences per step", seen, min_sequences)),
                fix=Fix.unsafe(
                    f"set batch_size to {wanted:,} tokens, {size:,.0f} sequences of {length:,.0f}",
                    edit_setting(settings.effective("batch_size"), wanted),
                ),
            )
        return
    if size >= min_windows * length and batching.proof != "log":
        yield Finding(
            f"batch_size {size:,.0f} counts sequences: {_proof(batching, sequences)}; read as tokens it would be "
            f"{_outcome(batching, tokens)}",
            at=batching.batch_size.source,
            evidence=tuple(evidence),
            severity=Severity.INFO,
            explains=(),
            advice="no change is needed; do not divide the batch by the sequence length",
        )


def _arithmetic(batching: Batching, sequences: Reading, tokens: Reading) -> Iterator[Evidence]:
    if batching.measured:
        yield Evidence("tokens per step", batching.measured.value, at=batching.measured.source, unit="token")
    if batching.steps_per_epoch:
        yield Evidence(
            "steps per epoch", batching.steps_per_epoch.value, at=batching.steps_per_epoch.source, unit="step"
        )
    for stated, label in ((batching.corpus, "stated tokens"), (batching.documents, "documents")):
        if stated:
            yield Evidence(label, stated.value, at=stated.source)
    for reading in (sequences, tokens):
        yield Evidence(f"tokens per step as {reading.unit}", reading.tokens_per_step, unit="token")
        if reading.corpus_tokens is not None:
            yield Evidence(f"corpus as {reading.unit}", reading.corpus_tokens, unit="token")
        if reading.tokens_per_document is not None:
            yield Evidence(f"tokens per document as {reading.unit}", reading.tokens_per_document, unit="token")


def _sequences(count: float) -> str:
    return f"{count:,.3g} {'sequence' if count == 1 else 'sequences'}"


def _millions(count: float) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e6 else f"{count:,.0f}"


def _proof(batching: Batching, reading: Reading) -> str:
    if batching.measured and batching.proof == "log":
        return f"the log counts {batching.measured.value:,.0f} tokens a step"
    per_epoch = batching.steps_per_epoch
    assert per_epoch is not None
    assert reading.corpus_tokens is not None
    advance = reading.corpus_tokens / (per_epoch.value * reading.sequences_per_step)
    return (
        f"{per_epoch.value:,.0f} steps × {reading.sequences_per_step:,.3g} sequences × {advance:,.0f} tokens make "
        f"{_outcome(batching, reading)}"
    )


def _outcome(batching: Batching, reading: Reading) -> str:
    assert reading.corpus_tokens is not None
    said = f"{_millions(reading.corpus_tokens)} tokens"
    if batching.proof == "corpus" and batching.corpus is not None:
        said += f" against {_millions(batching.corpus.value)} stated"
    elif batching.documents is not None and reading.tokens_per_document is not None:
        said += f", {reading.tokens_per_document:,.3g} for each of {batching.documents.value:,.0f} documents"
    return said
