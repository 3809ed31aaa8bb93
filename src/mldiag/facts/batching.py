"""What a batch is: its size, in which unit, and how many tokens one optimizer step sees."""

from __future__ import annotations

import math
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct

from mldiag.artifacts import Metrics, Program, Settings
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.plan import Amount, stated
from mldiag.facts.windows import Windows

TOLERANCE = 0.1
"""Relative distance up to which a logged token count confirms a reading: a short last batch moves it less than that."""

DOCUMENT_TOKENS = (20.0, 100_000.0)
"""What a document can hold, in tokens: from one sentence (Wikipedia's sentences have about 20 words) to a book (a long
novel). Readings outside are refused; the two readings lie a window length apart, so the exact limits hardly matter."""


class Unit(StrEnum):
    """What `batch_size` counts."""

    SEQUENCES = "sequences"
    TOKENS = "tokens"
    UNKNOWN = "unknown"


class Reading(Struct, frozen=True):
    """What follows when the batch size counts sequences, or tokens.

    Attributes:
        sequences_per_step: sequences in one optimizer step.
        tokens_per_step: tokens in one optimizer step.
        corpus_tokens: distinct tokens that one epoch then passes over; None without `steps_per_epoch`.
        tokens_per_document: the same per document; None without `max_docs`.
    """

    unit: Unit
    sequences_per_step: float
    tokens_per_step: float
    corpus_tokens: float | None = None
    tokens_per_document: float | None = None


class Batching(Struct, frozen=True):
    """The batch of a run.

    Attributes:
        batch_size: as stated, per device and micro-batch.
        accumulation, devices: 1 where nothing says.
        unit: what the numbers prove; UNKNOWN where they do not decide.
        proof: what decided, for people: `log` (a token counter), `corpus` (stated tokens), `documents`.
        sequences, tokens: both readings; None without a sequence length.
        measured: tokens per step from a logged counter, with its place; None where there is none.
        steps_per_epoch: as stated.
        documents, corpus: the stated numbers the readings were held against.
    """

    batch_size: Amount
    accumulation: float = 1
    devices: float = 1
    unit: Unit = Unit.UNKNOWN
    proof: str = ""
    sequences: Reading | None = None
    tokens: Reading | None = None
    measured: Amount | None = None
    steps_per_epoch: Amount | None = None
    documents: Amount | None = None
    corpus: Amount | None = None

    @property
    def tokens_per_step(self) -> float | None:
        """Tokens in one optimizer step: as logged, else by the proven unit; sequences where nothing decides."""
        if self.measured is not None:
            return self.measured.value
        reading = self.tokens if self.unit is Unit.TOKENS else self.sequences
        return None if reading is None else reading.tokens_per_step


@fact
def batching(settings: Settings, metrics: Metrics | None, program: Program | None, windows: Windows | None) -> Batching:
    """Reads the batch settings and decides the unit from a logged token counter, else from the size of the corpus."""

    def amount(name: str) -> Amount | None:
        return stated(settings, name, program)

    batch = amount("batch_size")
    if batch is None:
        raise NotApplicable("no setting batch_size")
    accumulation, devices = amount("grad_accum"), amount("devices")
    per_epoch, documents, corpus = amount("steps_per_epoch"), amount("max_docs"), amount("train_tokens")
    accumulated = accumulation.value if accumulation else 1
    parallel = devices.value if devices else 1
    measured = tokens_per_step(metrics) if metrics else None
    if windows is None or windows.seq_len.value <= 1:
        return Batching(batch, accumulated, parallel, measured=measured, steps_per_epoch=per_epoch)
    rows = batch.value * accumulated * parallel
    length = windows.seq_len.value
    sequences = _reading(Unit.SEQUENCES, rows, windows, per_epoch, documents)
    tokens = _reading(Unit.TOKENS, rows / length, windows, per_epoch, documents)
    unit, proof = _decided(sequences, tokens, measured, corpus, _floored(batch.value, length) * accumulated * parallel)
    return Batching(
        batch, accumulated, parallel, unit, proof, sequences, tokens, measured, per_epoch, documents, corpus
    )


def tokens_per_step(metrics: Metrics) -> Amount | None:
    """Growth of a running token counter per step, from its first point to its last; None where nothing counts."""
    for name in ("tokens", "train/tokens"):
        series = metrics.get(name)
        if series is None or series.step_data is None or len(series) < 2:
            continue
        rising = all(b > a for a, b in pairwise(series.data))
        moved = series.step_data[-1] - series.step_data[0]
        if rising and moved > 0:
            growth = (series.data[-1] - series.data[0]) / moved
            if math.isfinite(growth):
                return Amount(growth, "the logged token counter", None, series.source)
    return None


def _floored(batch: float, length: float) -> float:
    """Tokens of a batch that is filled with whole sequences, at least one: what "up to `batch` tokens" comes to."""
    return max(1.0, batch // length) * length


def _reading(
    unit: Unit, sequences: float, windows: Windows, per_epoch: Amount | None, documents: Amount | None
) -> Reading:
    corpus = per_epoch.value * sequences * windows.advance if per_epoch else None
    each = corpus / documents.value if corpus is not None and documents else None
    return Reading(unit, sequences, sequences * windows.seq_len.value, corpus, each)


def _decided(
    sequences: Reading, tokens: Reading, measured: Amount | None, corpus: Amount | None, floored: float
) -> tuple[Unit, str]:
    if measured is not None:
        seen = measured.value
        if any(_near(seen, expected, TOLERANCE) for expected in (tokens.tokens_per_step, floored)):
            return Unit.TOKENS, "log"
        if _near(seen, sequences.tokens_per_step, TOLERANCE):
            return Unit.SEQUENCES, "log"
        return Unit.UNKNOWN, ""
    both = (sequences, tokens)
    if corpus is not None and sequences.corpus_tokens is not None:
        # A factor of two covers a held-out part and tokens counted before or after special ones were added.
        fits = [r for r in both if r.corpus_tokens is not None and 0.5 <= r.corpus_tokens / corpus.value <= 2]
        return (fits[0].unit, "corpus") if len(fits) == 1 else (Unit.UNKNOWN, "")
    if sequences.tokens_per_document is not None:
        low, high = DOCUMENT_TOKENS
        fits = [r for r in both if r.tokens_per_document is not None and low <= r.tokens_per_document <= high]
        return (fits[0].unit, "documents") if len(fits) == 1 else (Unit.UNKNOWN, "")
    return Unit.UNKNOWN, ""


def _near(value: float, expected: float, tolerance: float) -> bool:
    return abs(value - expected) <= tolerance * expected
