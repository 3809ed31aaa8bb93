"""What counts as the same setting said twice, and what is only an override."""

from __future__ import annotations

import pytest
from given import value, with_settings
from hypothesis import given as given_that, strategies as st

from mldiag.artifacts import Launch, Program, Role, SettingValue, Source
from mldiag.facts.conflicts import ConflictKind, Conflicts, same_value

LAUNCH = Launch("train.py", "python", (), Source("run.sh", line=1))


def at(path: str, name: str, stated: float | str, *, record: bool = False) -> SettingValue:
    return SettingValue(name, stated, Role.FILE, Source(path, line=1, key=name), record=record)


def found(*settings: SettingValue, program: Program | None = None) -> list[tuple[str, ConflictKind]]:
    conflicts: Conflicts = with_settings(*settings, program=program).get(Conflicts)
    return [(c.name, c.kind) for c in conflicts.items]


@given_that(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_in_every_writing(number: float) -> None:
    assert same_value(number, repr(number))
    assert same_value(str(number), f" {number!r}\n".strip())


@given_that(st.floats(1e-30, 1e30), st.floats(1.001, 1e6))
def test_numbers_a_tenth_of_a_percent_apart_differ(number: float, factor: float) -> None:
    assert not same_value(number, number * factor)


@pytest.mark.parametrize(("one", "other"), [("3e-4", 0.0003), ("320", 320), (0.0003, 0.0003000000142492354)])
def test_writings_of_one_number(one: object, other: object) -> None:
    assert same_value(one, other)


def test_a_default_that_a_flag_overrides_is_no_conflict() -> None:
    assert not found(value("lr", 0.1, Role.FLAG), SettingValue("lr", 0.01, Role.DEFAULT, Source("train.py", line=3)))


def test_a_record_that_differs_counts_only_where_one_launch_can_have_written_it() -> None:
    settings = (value("lr", 0.1, Role.FLAG), at("hparams.yaml", "lr", 0.01, record=True))
    again = Launch("train.py", "python", (), Source("run.sh", line=5))
    assert not found(*settings, program=Program(LAUNCH, other_launches=(again,)))


def test_a_rate_that_was_recorded_under_another_key_may_be_another_rate() -> None:
    scaled = SettingValue("lr", 0.01, Role.FILE, Source("hparams.yaml", line=1, key="scaled.peak_lr"), record=True)
    assert not found(value("lr", 0.1, Role.FLAG), scaled, program=Program(LAUNCH))


def test_a_checkpoint_proves_what_was_built() -> None:
    settings = (at("config.yaml", "d_model", 384), SettingValue("d_model", 256, Role.CHECKPOINT, Source("last.pt")))
    assert found(*settings) == [("d_model", ConflictKind.DESCRIPTION)]


def test_two_files_that_agree_in_too_little_may_describe_two_models() -> None:
    one = [at("a/config.yaml", n, v) for n, v in (("d_model", 384), ("num_layers", 6))]
    other = [at("b/config.json", n, v) for n, v in (("d_model", 384), ("num_layers", 4))]
    assert not found(*one, *other)


def test_a_teacher_is_another_model() -> None:
    shape = (("d_model", 384), ("num_heads", 6), ("vocab_size", 4000))
    one = [at("model.yaml", n, v) for n, v in (*shape, ("num_layers", 6))]
    other = [at("teacher.json", n, v) for n, v in (*shape, ("num_layers", 24))]
    assert not found(*one, *other)
