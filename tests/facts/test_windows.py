"""Windows over a text: length, stride, repetition."""

from __future__ import annotations

import pytest
from given import run, series

from mldiag.artifacts import Build, Program, PythonSource, Source
from mldiag.errors import NotApplicable
from mldiag.facts.windows import Windows


def test_a_stride_of_two_shows_each_token_160_times():
    windows = run(seq_len=320, stride=2, vocab_size=4000).get(Windows)
    assert windows.repetition == 160
    assert windows.overlapping
    assert windows.advance == 2


def test_without_a_stride_windows_follow_each_other():
    windows = run(seq_len=256).get(Windows)
    assert windows.repetition == 1
    assert not windows.overlapping
    assert not windows.stated


def test_the_stride_of_a_patch_embedding_is_not_that_of_the_windows():
    assert not run(seq_len=336, stride=8, patch_len=16).get(Windows).stated


@pytest.mark.parametrize(
    "evidence",
    [
        {"vocab_size": 4000},
        {"max_docs": 20_000},
        {"tokenizer_path": "bpe.json"},
    ],
)
def test_a_vocabulary_documents_or_a_tokenizer_show_a_text(evidence):
    assert run(seq_len=96, stride=1, **evidence).get(Windows).text


def test_perplexity_and_a_built_vocabulary_show_a_text():
    assert run(series("val/perplexity", [80.0]), seq_len=96).get(Windows).text == "series val/perplexity"
    build = Build("vocab_size", 4000, Source("model.py", 3), Source("model.py", 9))
    source = PythonSource("model.py", builds=(build,))
    assert "model.py:9" in run(program=Program(sources=(source,)), seq_len=96).get(Windows).text


def test_a_forecast_has_no_text():
    assert run(series("val/loss", [0.3]), seq_len=96, stride=1).get(Windows).text == ""


def test_without_a_length_there_are_no_windows():
    with pytest.raises(NotApplicable, match="no setting seq_len"):
        run(stride=2).get(Windows)
