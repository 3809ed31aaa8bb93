"""How many positions a model has rows for, and how long the sequences are that it is fed."""

from __future__ import annotations

import pytest
from given import run, value, with_settings

from mldiag.artifacts import Build, Option, Origin, Program, PythonSource, Role, Source
from mldiag.errors import NotApplicable
from mldiag.facts.positions import Positions

LINE = Source("train.py", line=20)
OPTION = Option("seq_len", ("--seq_len",), 256, Origin.ARGPARSE, Source("train.py", line=8))


def program(*builds: Build) -> Program:
    source = PythonSource("train.py", options=(OPTION,), builds=builds)
    return Program(main=source, sources=(source,))


def test_a_table_built_from_the_declared_default_has_the_rows_of_the_default_whatever_the_flag_says() -> None:
    built = Build("max_positions", 256, OPTION.source, LINE, "seq_len", uses_default=True)
    found = with_settings(value("seq_len", 320, Role.FLAG), program=program(built)).get(Positions)
    assert (found.rows, found.seq_len) == (256, 320)
    assert (found.rows_at, found.built_at) == (OPTION.source, LINE)


def test_a_table_built_from_the_parsed_value_grows_with_the_flag() -> None:
    built = Build("max_positions", None, OPTION.source, LINE, "seq_len")
    found = with_settings(value("seq_len", 320, Role.FLAG), program=program(built)).get(Positions)
    assert (found.rows, found.seq_len) == (320, 320)


def test_a_checkpoint_goes_before_source_and_configuration() -> None:
    built = Build("max_positions", 256, LINE, LINE)
    settings = (
        value("seq_len", 320, Role.FLAG),
        value("max_positions", 64, Role.CHECKPOINT),
        value("max_positions", 512),
    )
    assert with_settings(*settings, program=program(built)).get(Positions).rows == 64


def test_the_source_goes_before_a_configuration() -> None:
    built = Build("max_positions", 256, LINE, LINE)
    settings = (value("seq_len", 320, Role.FLAG), value("max_positions", 512))
    assert with_settings(*settings, program=program(built)).get(Positions).rows == 256


@pytest.mark.parametrize("model", ["bert", "gpt2", "opt"])
def test_models_with_absolute_positions_have_a_table(model: str) -> None:
    assert run(seq_len=128, max_positions=512, model_type=model).get(Positions).rows == 512


@pytest.mark.parametrize("model", ["roberta", "camembert", "longformer"])
def test_a_table_that_begins_behind_the_padding_holds_two_tokens_less(model: str) -> None:
    found = run(seq_len=128, max_positions=514, model_type=model).get(Positions)
    assert (found.rows, found.reserved) == (512, 2)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"model_type": "llama"}, "llama"),
        ({"model_type": "t5"}, "t5"),
        ({"position_encoding": "rotary"}, "no table"),
        ({"position_encoding": "sinusoidal"}, "no table"),
        ({"position_encoding": "relative_key_query"}, "no table"),
        ({"rope_theta": 10000.0}, "no table"),
    ],
)
def test_positions_that_are_computed_have_no_table(settings: dict[str, str | float], reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        run(seq_len=8192, max_positions=4096, **settings).get(Positions)


def test_two_tables_of_different_size_are_not_guessed_between() -> None:
    both = program(Build("max_positions", 64, LINE, LINE), Build("max_positions", 512, LINE, LINE))
    with pytest.raises(NotApplicable, match="64, 512 rows"):
        with_settings(value("seq_len", 128), program=both).get(Positions)


def test_two_files_that_disagree_about_the_table_settle_nothing() -> None:
    settings = (value("seq_len", 128), value("max_positions", 64), value("max_positions", 512))
    with pytest.raises(NotApplicable, match="how many rows"):
        with_settings(*settings).get(Positions)


@pytest.mark.parametrize("length", [0, -1])
def test_a_length_that_is_derived_elsewhere_is_no_length(length: int) -> None:
    with pytest.raises(NotApplicable, match="no length"):
        run(seq_len=length, max_positions=512).get(Positions)


def test_without_a_sequence_length_there_is_nothing_to_compare() -> None:
    with pytest.raises(NotApplicable, match="seq_len"):
        run(max_positions=512).get(Positions)
