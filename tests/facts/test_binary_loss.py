"""The binary cross-entropy of a program, and what weighs it."""

from __future__ import annotations

import pytest
from given import run

from mldiag.artifacts import Call, Program, PythonSource, Scalar, Source
from mldiag.errors import NotApplicable
from mldiag.facts.binary_loss import BinaryLoss


def of(call: Call, *names: str, **settings: Scalar) -> BinaryLoss:
    program = Program(sources=(PythonSource("train.py", calls=(call,), names=frozenset(names)),))
    found: BinaryLoss = run(program=program, **settings).get(BinaryLoss)
    return found


def call(name: str, *positional: Scalar, **keywords: Scalar) -> Call:
    return Call(name, name, Source("train.py", 3), positional, keywords)


@pytest.mark.parametrize(
    "made",
    [
        call("torch.nn.BCEWithLogitsLoss"),
        call("torch.nn.functional.binary_cross_entropy_with_logits", None, None, reduction="mean"),
        call("keras.losses.BinaryCrossentropy", from_logits=True),
        call("model.compile", optimizer="adam", loss="binary_crossentropy"),
    ],
)
def test_a_plain_loss_is_unweighted(made: Call) -> None:
    assert not of(made).weighted


@pytest.mark.parametrize(
    "made",
    [
        call("torch.nn.BCEWithLogitsLoss", pos_weight=None),
        call("torch.nn.BCELoss", None),
        call("torch.nn.functional.binary_cross_entropy", None, None, None),
        call("torch.nn.BCEWithLogitsLoss", reduction="none"),
    ],
)
def test_an_argument_that_weighs_counts_whatever_its_value(made: Call) -> None:
    assert of(made).weighted


@pytest.mark.parametrize("name", ["WeightedRandomSampler", "focal_loss", "class_weight", "RandomOverSampler", "SMOTE"])
def test_a_name_that_speaks_of_the_rare_side_counts(name: str) -> None:
    assert of(call("torch.nn.BCEWithLogitsLoss"), name).weighted == name


@pytest.mark.parametrize("off", [None, 0, 1.0])
def test_a_positive_weight_that_is_off_is_a_setting_to_change(off: Scalar) -> None:
    found = of(call("torch.nn.BCEWithLogitsLoss", pos_weight=None), "pos_weight", pos_weight=off)
    assert not found.weighted
    assert found.setting is not None


def test_a_positive_weight_that_is_on_weighs() -> None:
    assert of(call("torch.nn.BCEWithLogitsLoss", pos_weight=None), pos_weight=1199.0).weighted == "pos_weight 1199"


def test_a_setting_alone_names_the_loss() -> None:
    assert run(loss="bce_with_logits").get(BinaryLoss).name == "bce_with_logits"


def test_another_loss_is_none() -> None:
    with pytest.raises(NotApplicable, match="binary cross-entropy"):
        of(call("torch.nn.CrossEntropyLoss"), loss="cross_entropy")
