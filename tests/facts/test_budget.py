"""Distinct tokens against parameters."""

from __future__ import annotations

import pytest
from given import run

from mldiag.errors import NotApplicable
from mldiag.facts.budget import Budget

V5 = {
    "d_model": 384, "num_layers": 6, "num_heads": 6, "d_ff": 1536, "vocab_size": 4000, "max_positions": 256,
    "batch_size": 192, "stride": 2, "seq_len": 320, "steps_per_epoch": 41_653, "epochs": 2, "max_docs": 20_000,
}  # fmt: skip


def test_overlapping_windows_are_counted_by_their_stride():
    budget = run(**V5).get(Budget)
    assert budget.unique_tokens.value == 41_653 * 192 * 2
    assert budget.unique_tokens.how == "41,653 steps × 192 sequences × 2 tokens of stride"
    assert budget.per_parameter_tied == pytest.approx(1.306, abs=1e-3)
    assert budget.per_parameter_untied == pytest.approx(1.160, abs=1e-3)
    assert budget.passes == 320


def test_windows_that_do_not_overlap_are_counted_by_their_length():
    budget = run(batch_size=10, seq_len=64, steps_per_epoch=100, vocab_size=50).get(Budget)
    assert budget.unique_tokens.value == 10 * 64 * 100


def test_stated_tokens_go_before_computed_ones():
    assert run(train_tokens=5_000_000, **V5).get(Budget).unique_tokens.value == 5_000_000


def test_batches_of_images_are_no_tokens():
    with pytest.raises(NotApplicable, match="training tokens"):
        run(batch_size=10, seq_len=64, steps_per_epoch=100).get(Budget)


@pytest.mark.parametrize("start", [{"model_name_or_path": "gpt2"}, {"init_from": "gpt2-xl"}, {"lora_r": 8}])
def test_a_model_that_was_trained_before_is_said_to_be(start):
    assert run(**V5, **start).get(Budget).pretrained in start


@pytest.mark.parametrize("start", [{"init_from": "scratch"}, {"pretrained": False}, {"lora_r": 0}, {}])
def test_a_model_from_scratch_is_not(start):
    assert run(**V5, **start).get(Budget).pretrained == ""
