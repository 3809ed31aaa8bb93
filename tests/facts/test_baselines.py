"""Predictors that never look at their input."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping

import given
import pytest

from mldiag.artifacts import Scalar, Source
from mldiag.errors import NotApplicable
from mldiag.facts.baselines import Baselines, baselines, binary_entropy, rate_of_entropy
from mldiag.scores import Scores, ScoreTable


def test_the_recommenders_base_rate_scores_0_0067() -> None:
    found: Baselines = given.run(num_classes=6924, avg_positives=5.77).get(Baselines)
    assert found.loss == pytest.approx(0.0067, abs=5e-5)
    assert found.pos_weight == pytest.approx(6924 / 5.77 - 1)
    assert found.said == "5.77 of 6,924 labels"


@pytest.mark.parametrize("rate", [1e-6, 0.00083, 0.01, 0.3, 0.5])
def test_no_constant_scores_less_than_the_rate(rate: float) -> None:
    def loss(answer: float) -> float:
        return -rate * math.log(answer) - (1 - rate) * math.log(1 - answer)

    assert binary_entropy(rate) == pytest.approx(loss(rate))
    assert all(loss(rate) <= loss(rate * (1 + d)) for d in (-0.5, -0.01, 0.01, 0.5))
    assert rate_of_entropy(binary_entropy(rate)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"positive_rate": 0.004}, 0.004),
        ({"n_positives": 492, "n_negatives": 284315}, 492 / 284807),
        ({"num_labels": 500, "labels_per_example": 3.2}, 0.0064),
        ({"n_items": 1000, "avg_num_labels": 2}, 0.002),
    ],
)
def test_a_rate_is_read_in_the_words_people_use(settings: Mapping[str, Scalar], rate: float) -> None:
    assert given.run(**settings).get(Baselines).rate == pytest.approx(rate)


@pytest.mark.parametrize("settings", [{"max_positions": 512}, {"positive_fraction": 0.0}, {"avg_positives": 5.0}])
def test_what_is_no_rate_proves_nothing(settings: Mapping[str, Scalar]) -> None:
    with pytest.raises(NotApplicable, match="nothing states"):
        given.run(**settings).get(Baselines)


def test_tables_of_labels_give_popularity_too() -> None:
    first, second = array("d", [1.0] + [0.0] * 199), array("d", [1.0] * 20 + [0.0] * 180)
    table = ScoreTable(Source("val.csv"), 200, {"label_a": first, "label_b": second, "score": array("d", [0.5] * 200)})
    found = baselines(None, None, Scores((table,)))
    assert found.rate == pytest.approx(0.0525)
    assert found.popularity == pytest.approx((binary_entropy(0.005) + binary_entropy(0.1)) / 2)
    assert found.popularity < found.loss
