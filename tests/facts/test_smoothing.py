"""The classes of a model and the labels that are smoothed over them."""

from __future__ import annotations

import math

import pytest
from given import run, series, value, with_settings

from mldiag.artifacts import Call, Program, PythonSource, Role, Scalar, SettingValue, Source
from mldiag.checkpoints import Checkpoint, Checkpoints, Tensor
from mldiag.errors import NotApplicable
from mldiag.facts.chance import Chance
from mldiag.facts.curves import Curves
from mldiag.facts.outputs import outputs
from mldiag.facts.smoothing import Smoothing

ACCURACY = run(series("val/accuracy", [0.2, 0.5, 0.7])).get(Curves)


def stored(**shapes: tuple[int, ...]) -> Checkpoints:
    tensors = tuple(Tensor(name.replace("__", "."), shape, "float32") for name, shape in shapes.items())
    return Checkpoints((Checkpoint("pytorch", tensors, Source("best.pt")),))


MLP = {
    "body__0__weight": (96, 64),
    "body__0__bias": (96,),
    "body__3__weight": (96, 96),
    "body__3__bias": (96,),
    "head__weight": (10, 96),
    "head__bias": (10,),
}


def test_the_last_layer_says_how_many_classes() -> None:
    found = outputs(None, stored(**MLP), ACCURACY).chance
    assert (found.classes, found.loss, found.name) == (10, math.log(10), "outputs of head.weight")


def test_what_is_stated_goes_before_it() -> None:
    stated = Chance(6, math.log(6), 1 / 6, None, "num_classes")
    assert outputs(stated, stored(**MLP), ACCURACY).chance is stated


def test_keras_keeps_its_matrices_the_other_way_round() -> None:
    layers = {"layers/dense/vars/0": (64, 48), "layers/dense/vars/1": (48,)}
    layers |= {"layers/dense_1/vars/0": (48, 7), "layers/dense_1/vars/1": (7,), "optimizer/vars/0": (48, 7)}
    assert outputs(None, stored(**layers), ACCURACY).chance.classes == 7


@pytest.mark.parametrize(
    "changed",
    [
        {"head__weight": (1, 96), "head__bias": (1,)},  # a regression
        {"other__weight": (3, 96), "other__bias": (3,)},  # two heads
        {"head__bias": (7,)},  # a bias that is not its own
    ],
)
def test_what_shows_no_number_of_classes(changed: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(NotApplicable, match="nothing states the number of classes"):
        outputs(None, stored(**{**MLP, **changed}), ACCURACY)


def test_checkpoints_that_differ_prove_nothing() -> None:
    both = (*stored(**MLP), *stored(**{**MLP, "head__weight": (5, 96), "head__bias": (5,)}))
    with pytest.raises(NotApplicable):
        outputs(None, Checkpoints(both), ACCURACY)


def test_outputs_without_an_accuracy_may_be_anything() -> None:
    with pytest.raises(NotApplicable, match="no checkpoint of a classifier"):
        outputs(None, stored(**MLP), run(series("val/mae", [0.2, 0.1, 0.1])).get(Curves))


def test_a_setting_and_its_floors() -> None:
    found: Smoothing = run(num_classes=10, label_smoothing=0.1).get(Smoothing)
    assert found.floor == pytest.approx(0.5003, abs=1e-4)
    assert found.added_start == pytest.approx(1.9 * math.log(10))
    assert found.by_name


@pytest.mark.parametrize("stated", [0, 0.0, -0.1, 1.5, "auto"])
def test_what_smooths_nothing(stated: Scalar) -> None:
    with pytest.raises(NotApplicable, match="the label smoothing is"):
        run(num_classes=10, label_smoothing=stated).get(Smoothing)


def test_smoothing_alone_may_be_of_something_else() -> None:
    settings = (value("num_classes", 10), value("label_smoothing", 0.9, key="smoothing"))
    assert not with_settings(*settings).get(Smoothing).by_name


def test_the_place_that_people_can_read_is_named() -> None:
    dumped = SettingValue("label_smoothing", 0.9, Role.FILE, Source("training_args.bin", key="label_smoothing_factor"))
    read = SettingValue(
        "label_smoothing", 0.9, Role.FILE, Source("training_args.json", 22, key="label_smoothing_factor")
    )
    found: Smoothing = with_settings(value("num_classes", 6), dumped, read).get(Smoothing)
    assert str(found.source) == "training_args.json:22"


def source(*stated: Scalar) -> Program:
    calls = tuple(
        Call(
            "nn.CrossEntropyLoss",
            "torch.nn.CrossEntropyLoss",
            Source("train.py", 3 + i),
            keywords={"label_smoothing": v},
        )
        for i, v in enumerate(stated)
    )
    return Program(sources=(PythonSource("train.py", calls=calls),))


def test_the_source_smooths_its_labels() -> None:
    found: Smoothing = run(program=source(0.2, 0.2), num_classes=10).get(Smoothing)
    assert (found.value, str(found.source)) == (0.2, "train.py:3")


@pytest.mark.parametrize("stated", [(0.1, 0.2), (None,), ()])
def test_a_source_that_does_not_say_how_much(stated: tuple[Scalar, ...]) -> None:
    with pytest.raises(NotApplicable, match="no label smoothing"):
        run(program=source(*stated), num_classes=10).get(Smoothing)
