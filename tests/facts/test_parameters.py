"""Parameter counts of Transformers and recurrent models."""

from __future__ import annotations

import pytest
from given import run, value, with_settings
from hypothesis import given as given_that, strategies as st

from mldiag.artifacts import Build, Program, PythonSource, Role, Source
from mldiag.errors import NotApplicable
from mldiag.facts.parameters import Parameters

V5 = {"d_model": 384, "num_layers": 6, "num_heads": 6, "d_ff": 1536, "vocab_size": 4000}


@pytest.mark.parametrize(
    ("width", "layers", "ff", "tied", "untied"),
    [(384, 6, 1536, 12.25, 13.79), (256, 4, 1024, 4.24, 5.26)],
)
def test_the_documented_transformers_have_the_right_number_of_parameters(width, layers, ff, tied, untied):
    found = run(d_model=width, num_layers=layers, num_heads=4, d_ff=ff, vocab_size=4000, max_positions=256).get(
        Parameters
    )
    assert round(found.count_tied / 1e6, 2) == tied
    assert round(found.count_untied / 1e6, 2) == untied
    assert not found.assumed


def test_the_count_is_exact_for_gpt2():
    found = run(d_model=768, num_layers=12, num_heads=12, d_ff=3072, vocab_size=50_257, max_positions=1024).get(
        Parameters
    )
    # 124,439,808 parameters as transformers counts them; the output has no bias of its own there.
    assert found.count_tied + found.small - 50_257 == 124_439_808


def test_the_baseline_lstm_has_8_3_million_parameters():
    found = run(cell="lstm", d_model=512, rnn_units=512, num_layers=2, vocab_size=4000).get(Parameters)
    assert found.kind == "LSTM"
    assert found.count == found.count_untied
    assert round(found.count / 1e6, 1) == 8.3


def test_a_gru_has_three_gates():
    lstm = run(cell="lstm", d_model=64, rnn_units=128, num_layers=1, vocab_size=100).get(Parameters)
    gru = run(cell="gru", d_model=64, rnn_units=128, num_layers=1, vocab_size=100).get(Parameters)
    assert (gru.core - 100) * 4 == (lstm.core - 100) * 3


def test_the_rows_that_the_source_builds_go_before_the_sequence_length():
    build = Build("max_positions", 256, Source("model.py", 3), Source("model.py", 9), "seq_len", uses_default=True)
    program = Program(sources=(PythonSource("model.py", builds=(build,)),))
    found = run(program=program, role=Role.FLAG, seq_len=320, **V5).get(Parameters)
    assert found.sizes["positions"] == 256
    assert round(found.count_tied / 1e6, 2) == 12.25


def test_what_has_to_be_assumed_is_said():
    sizes = {k: v for k, v in V5.items() if k != "d_ff"}
    found = run(seq_len=256, **sizes).get(Parameters)
    assert found.assumed == ("d_ff = 4 × d_model", "256 learned positions")
    assert found.sizes["d_ff"] == 1536


@pytest.mark.parametrize("encoding", [{"position_encoding": "rotary"}, {"rope_theta": 1e4}, {"model_type": "llama"}])
def test_rotary_positions_have_no_table(encoding):
    assert run(seq_len=256, **V5, **encoding).get(Parameters).positions == 0


def test_a_gated_model_with_grouped_queries_is_counted_as_llama_is():
    found = run(
        model_type="llama",
        d_model=2048,
        num_layers=22,
        num_heads=32,
        num_key_value_heads=4,
        d_ff=5632,
        vocab_size=32_000,
    ).get(Parameters)
    # TinyLlama-1.1B: 1,100,048,384 parameters, of which 45 × 2048 are norms.
    assert found.count_untied == 1_100_048_384 - 45 * 2048


def test_a_tied_matrix_decides_which_count_holds():
    sizes = {**V5, "max_positions": 256}
    tied = run(tie_embeddings=True, **sizes).get(Parameters)
    untied = run(tie_embeddings=False, **sizes).get(Parameters)
    assert tied.count == tied.count_tied
    assert untied.count == untied.count_untied
    assert run(**sizes).get(Parameters).count == tied.count


def test_embedding_and_hidden_size_of_a_recurrent_model_are_told_by_their_keys():
    found = with_settings(
        value("cell", "gru"),
        value("d_model", 64, key="embedding_dim"),
        value("d_model", 128, key="hidden_size"),
        value("num_layers", 2),
        value("vocab_size", 100),
    ).get(Parameters)
    assert (found.sizes["embedding"], found.sizes["rnn_units"]) == (64, 128)


@pytest.mark.parametrize("extra", [{"num_experts": 8}, {"encoder_layers": 6}, {"bidirectional": True}])
def test_models_without_a_formula_are_left_alone(extra):
    with pytest.raises(NotApplicable, match="no parameter formula"):
        run(**V5, **extra).get(Parameters)


def test_without_a_vocabulary_nothing_is_counted():
    with pytest.raises(NotApplicable, match="vocab_size"):
        run(**{k: v for k, v in V5.items() if k != "vocab_size"}).get(Parameters)


@given_that(st.floats(1e5, 2e7))
def test_a_proposed_model_is_never_over_its_limit(most):
    found = run(max_positions=256, **V5).get(Parameters)
    proposed = found.within(most)
    if proposed is not None:
        width, layers, count = proposed
        assert count <= most
        assert width <= 384
        assert layers <= 6
        again = run(
            d_model=width, num_layers=layers, num_heads=1, d_ff=4 * width, vocab_size=4000, max_positions=256
        ).get(Parameters)
        assert again.count_tied == pytest.approx(count)
