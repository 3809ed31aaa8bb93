"""What the first train loss says, and where it says nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import given
import pytest

from mldiag.artifacts import Call, Program, PythonSource, Scalar, Series, Source
from mldiag.errors import NotApplicable
from mldiag.facts.initial_loss import InitialLoss
from mldiag.facts.loss_scale import LossScale
from mldiag.run import Run

LOSS = [2.31, 1.9, 1.6, 1.4, 1.3, 1.2]


def loss(values: Sequence[float] = LOSS, **columns: Sequence[float]) -> Series:
    return given.series("train/loss", values, **columns)


def steps(first: float, gap: float, n: int = len(LOSS)) -> list[float]:
    return [first + gap * i for i in range(n)]


def found(*series: Series, program: Program | None = None, **settings: Scalar) -> InitialLoss:
    run: Run = given.run(*series, program=program, **{"num_classes": 10, **settings})
    value: InitialLoss = run.get(InitialLoss)
    return value


def source(*calls: str, **keywords: Scalar) -> Program:
    named = tuple(Call(c, c, Source("train.py", i + 1), keywords=keywords) for i, c in enumerate(calls))
    return Program(sources=(PythonSource("train.py", calls=named),))


def test_it_is_held_against_a_guess() -> None:
    it = found(loss(steps=steps(0, 10)))
    assert (it.value, it.ratio) == (2.31, pytest.approx(2.31 / math.log(10)))
    assert it.untrained


def test_step_ten_is_near_and_not_untrained() -> None:
    it = found(loss(steps=steps(10, 100)))
    assert it.step == 10
    assert not it.untrained


def test_a_rate_that_has_hardly_risen_by_then_has_taught_nothing() -> None:
    at = steps(10, 100)
    rate = given.series("lr", [1e-5, 1e-4, 1e-3, 1e-3, 1e-3, 1e-3], steps=at)
    assert found(loss(steps=at), rate).untrained


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"steps": steps(500, 500)}, "when the model had learned"),
        ({"steps": steps(10, 10)}, "when the model had learned"),
        ({"epochs": steps(1, 1)}, "mean over an epoch"),
        ({"steps": steps(0, 1)}, "may be epochs"),
        ({"steps": steps(0, 50), "epochs": steps(0, 1)}, "mean over one"),
        ({"steps": steps(5000, 10)}, "what came before is not known"),
    ],
)
def test_what_is_no_first_loss(columns: dict[str, list[float]], reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        found(loss(**columns))


def test_every_step_logged_is_known_by_the_planned_steps() -> None:
    assert found(loss(steps=steps(1, 1)), total_steps=2000).step == 1


def test_as_many_steps_as_epochs_are_epochs() -> None:
    with pytest.raises(NotApplicable, match="may be epochs"):
        found(loss(steps=steps(0, 10)), epochs=60)


def test_an_agents_loss_is_no_cross_entropy() -> None:
    at = steps(0, 10)
    with pytest.raises(NotApplicable, match="no cross-entropy"):
        found(loss(steps=at), given.series("train/reward", LOSS, steps=at))


@pytest.mark.parametrize(
    ("program", "trained", "fresh"),
    [
        (source("loss.backward"), "", "train.py loads no weights"),
        (source("AutoModel.from_pretrained", "loss.backward"), "from_pretrained at train.py:1", ""),
        (source("AutoTokenizer.from_pretrained", "loss.backward"), "", "train.py loads no weights"),
        (source("model.load_state_dict", "loss.backward"), "", ""),
        (source("ResNet50", "model.fit", weights="imagenet"), "ResNet50(weights) at train.py:1", ""),
        (source("timm.create_model", "loss.backward", pretrained=True), "create_model(pretrained) at train.py:1", ""),
        (None, "", ""),
    ],
)
def test_what_says_whether_the_model_is_new(program: Program | None, trained: str, fresh: str) -> None:
    it = found(loss(steps=steps(0, 10)), program=program)
    assert (it.trained.startswith(trained) and bool(it.trained) == bool(trained), it.fresh) == (True, fresh)


@pytest.mark.parametrize(("stated", "is_trained"), [("gpt2", True), ("resume", True), ("scratch", False)])
def test_nanogpt_says_where_its_weights_are_from(stated: str, is_trained: bool) -> None:
    it = found(loss(steps=steps(0, 10)), init_from=stated)
    assert (bool(it.trained), bool(it.fresh)) == (is_trained, not is_trained)


def test_the_scale_of_the_loss_at_each_evaluation() -> None:
    at = steps(10, 10)
    run = given.run(
        loss([8 * v for v in LOSS], steps=at), given.series("val/loss", [2.0, 1.5, 1.25], steps=[20, 40, 60])
    )
    scale: LossScale = run.get(LossScale)
    assert scale.initial is None
    assert list(scale.ratios) == [
        pytest.approx(8 * 2.105 / 2),
        pytest.approx(8 * 1.5 / 1.5),
        pytest.approx(8 * 1.25 / 1.25),
    ]
    assert scale.keeps_to(8, 1.3, 1.5)
    assert not scale.keeps_to(16, 1.3, 1.5)


def test_nothing_to_hold_a_loss_against() -> None:
    with pytest.raises(NotApplicable, match="neither a first train loss"):
        given.run(loss(steps=steps(0, 10))).get(LossScale)
