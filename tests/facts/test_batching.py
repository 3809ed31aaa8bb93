"""What a batch counts, decided by a token counter or by the size of the corpus."""

from __future__ import annotations

import pytest
from given import run, series
from hypothesis import given as given_that, strategies as st

from mldiag.errors import NotApplicable
from mldiag.facts.batching import Batching, Unit


def counter(per_step: float, *, every: int = 5, points: int = 6):
    steps = [every * i for i in range(1, points + 1)]
    return series("train/tokens", [per_step * s for s in steps], steps=steps)


def test_the_founding_batch_of_192_counts_sequences_by_its_documents():
    batching = run(batch_size=192, seq_len=320, stride=2, steps_per_epoch=41_653, max_docs=20_000).get(Batching)
    assert batching.unit is Unit.SEQUENCES
    assert batching.proof == "documents"
    assert batching.sequences.corpus_tokens == pytest.approx(15.99e6, rel=1e-3)
    assert batching.sequences.tokens_per_document == pytest.approx(800, rel=1e-3)
    assert batching.tokens.tokens_per_document == pytest.approx(2.5, rel=1e-3)


def test_the_baseline_batch_of_192_counts_sequences_by_its_stated_tokens():
    batching = run(batch_size=192, seq_len=192, stride=2, steps_per_epoch=31_523, train_tokens=12_000_000).get(Batching)
    assert (batching.unit, batching.proof) == (Unit.SEQUENCES, "corpus")
    assert batching.sequences.corpus_tokens == pytest.approx(12.1e6, rel=1e-2)


def test_a_token_counter_that_grows_by_batch_times_length_counts_sequences():
    batching = run(counter(1536), batch_size=16, seq_len=96).get(Batching)
    assert (batching.unit, batching.proof) == (Unit.SEQUENCES, "log")
    assert batching.tokens_per_step == 1536


@pytest.mark.parametrize(("batch", "length", "seen"), [(96, 48, 96), (64, 64, 64), (100, 48, 96), (32, 48, 48)])
def test_a_token_counter_that_grows_by_the_batch_itself_counts_tokens(batch, length, seen):
    batching = run(counter(seen), batch_size=batch, seq_len=length).get(Batching)
    assert (batching.unit, batching.proof) == (Unit.TOKENS, "log")


def test_padded_batches_decide_nothing():
    assert run(counter(700), batch_size=16, seq_len=96).get(Batching).unit is Unit.UNKNOWN


def test_accumulation_and_devices_multiply_the_batch():
    batching = run(counter(8 * 4 * 2 * 64), batch_size=8, grad_accum=4, devices=2, seq_len=64).get(Batching)
    assert batching.sequences.sequences_per_step == 64
    assert batching.unit is Unit.SEQUENCES


def test_a_counter_of_each_step_alone_is_not_taken_for_a_running_one():
    flat = series("tokens", [1536.0] * 5, steps=range(1, 6))
    assert run(flat, batch_size=16, seq_len=96).get(Batching).measured is None


def test_without_a_batch_size_there_is_no_batch():
    with pytest.raises(NotApplicable, match="no setting batch_size"):
        run(seq_len=96).get(Batching)


@given_that(st.integers(2, 512), st.integers(16, 2048))
def test_the_logged_unit_is_told_for_every_batch_of_several_long_sequences(batch, length):
    as_sequences = run(counter(batch * length), batch_size=batch, seq_len=length).get(Batching)
    assert as_sequences.unit is not Unit.UNKNOWN
    as_tokens = run(counter(batch * length), batch_size=batch * length, seq_len=length).get(Batching)
    assert as_tokens.unit is Unit.TOKENS
