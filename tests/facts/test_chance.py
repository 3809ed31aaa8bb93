"""The guess that a model has to beat."""

from __future__ import annotations

import math

import pytest

from mldiag.artifacts import Role, Settings, SettingValue, Source
from mldiag.errors import NotApplicable
from mldiag.facts.chance import chance
from mldiag.facts.early_stopping import early_stopping


def stated(name: str, value: object, path: str = "config.json") -> SettingValue:
    assert isinstance(value, int | float | str)
    return SettingValue(name, value, Role.FILE, Source(path))


def test_a_guess_among_ten_classes() -> None:
    found = chance(Settings((stated("num_classes", 10),)), None)
    assert (found.loss, found.accuracy) == (pytest.approx(math.log(10)), 0.1)


def test_classes_go_before_the_vocabulary() -> None:
    found = chance(Settings((stated("vocab_size", 30522), stated("num_classes", 6))), None)
    assert found.classes == 6


@pytest.mark.parametrize("value", [1, 0, -1, "auto", 10.5])
def test_what_is_no_number_of_classes_proves_nothing(value: object) -> None:
    with pytest.raises(NotApplicable, match="nothing states"):
        chance(Settings((stated("num_classes", value),)), None)


def test_two_places_that_disagree_prove_nothing() -> None:
    with pytest.raises(NotApplicable, match=r"not one number: 10 at a\.json and 12 at b\.json"):
        chance(Settings((stated("num_classes", 10, "a.json"), stated("num_classes", 12, "b.json"))), None)


def test_a_patience_is_early_stopping() -> None:
    assert early_stopping(Settings((stated("patience", 5),)), None, None).patience == 5


def test_a_patience_of_zero_is_none() -> None:
    with pytest.raises(NotApplicable):
        early_stopping(Settings((stated("patience", 0),)), None, None)


def test_what_a_classifier_reads_is_no_class() -> None:
    built = SettingValue("architectures", ("BertForSequenceClassification",), Role.FILE, Source("config.json"))
    with pytest.raises(NotApplicable, match="a classifier of texts"):
        chance(Settings((stated("vocab_size", 30522), built)), None)
    assert chance(Settings((stated("vocab_size", 30522), stated("num_classes", 6), built)), None).classes == 6
