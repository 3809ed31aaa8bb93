"""Ranking statistics against brute force and against scikit-learn where it is installed."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, strategies as st

from mldiag.stats.ranking import Counts, cross_fitted_gain, sweep

Pairs = list[tuple[float, int]]
SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 1.0, -3.0, 7.5]) | st.floats(-5, 5), st.integers(0, 1)),
    min_size=1,
    max_size=40,
)


def brute_counts(pairs: Pairs, threshold: float, *, strict: bool = False) -> Counts:
    said = [(s > threshold) if strict else (s >= threshold) for s, _ in pairs]
    tp = sum(a and y for a, (_, y) in zip(said, pairs, strict=True))
    p = sum(y for _, y in pairs)
    return Counts(tp, sum(said) - tp, p, len(pairs) - p)


@given(SCORED, st.floats(-6, 8))
def test_any_threshold_counts_as_comparing_each_example(pairs: Pairs, threshold: float) -> None:
    found = sweep(*zip(*pairs, strict=True))
    for at in (threshold, pairs[0][0]):
        for strict in (False, True):
            assert found.at(at, strict=strict) == brute_counts(pairs, at, strict=strict)


@given(SCORED)
def test_the_area_is_the_share_of_pairs_in_order(pairs: Pairs) -> None:
    positive = [s for s, y in pairs if y]
    negative = [s for s, y in pairs if not y]
    found = sweep(*zip(*pairs, strict=True)).auc
    if not positive or not negative:
        assert math.isnan(found)
        return
    won = sum((a > b) + 0.5 * (a == b) for a in positive for b in negative)
    assert found == pytest.approx(won / (len(positive) * len(negative)), abs=1e-12)


@given(SCORED)
def test_no_threshold_beats_the_best(pairs: Pairs) -> None:
    found = sweep(*zip(*pairs, strict=True))
    every = [brute_counts(pairs, s) for s, _ in pairs]
    best = found.best_f1()
    assert best.counts.f1 == max(c.f1 for c in every)
    assert best.counts == brute_counts(pairs, best.value)
    assert found.best_youden().counts.youden == pytest.approx(max(c.youden for c in every))
    if math.isfinite(best.below) and best.below < (middle := (best.below + best.value) / 2):
        assert brute_counts(pairs, middle) == best.counts


@pytest.mark.parametrize(("n", "digits"), [(50, 1), (400, 2), (400, 12), (12_000, 3), (12_000, 12)])
def test_curves_and_areas_are_those_of_scikit_learn(n: int, digits: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(n + digits)
    labels = [int(draw.random() < 0.2) for _ in range(n)]
    scores = [round(draw.gauss(y, 1.3), digits) for y in labels]
    found = sweep(scores, labels)
    assert found.auc == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert found.average_precision == pytest.approx(metrics.average_precision_score(labels, scores), abs=1e-12)
    fpr, tpr, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    assert [x for x, _ in found.roc()] == pytest.approx(list(fpr))
    assert [y for _, y in found.roc()] == pytest.approx(list(tpr))
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    assert [x for x, _ in found.precision_recall()] == pytest.approx(list(recall)[-2::-1])
    assert [y for _, y in found.precision_recall()] == pytest.approx(list(precision)[-2::-1])
    best = found.best_f1()
    assert best.counts.f1 == pytest.approx(metrics.f1_score(labels, [s >= best.value for s in scores]))


def test_the_error_of_an_area_is_that_of_the_paper() -> None:
    # Hanley and McNeil 1982: an area of 0.893 from 51 abnormal and 58 normal images has an error of 0.032.
    draw = random.Random(3)
    spreads = []
    for _ in range(400):
        labels = [1] * 51 + [0] * 58
        found = sweep([draw.gauss(1.757 * y, 1) for y in labels], labels)
        spreads.append((found.auc, found.auc_error()))
    mean = sum(a for a, _ in spreads) / len(spreads)
    seen = math.sqrt(sum((a - mean) ** 2 for a, _ in spreads) / (len(spreads) - 1))
    assert mean == pytest.approx(0.893, abs=0.01)
    assert sum(e for _, e in spreads) / len(spreads) == pytest.approx(0.032, abs=0.003)
    assert seen == pytest.approx(0.032, abs=0.005)


def test_plain_python_and_numpy_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    labels = [int(draw.random() < 0.3) for _ in range(3000)]
    scores = [round(draw.gauss(y, 1), 2) for y in labels]
    plain = sweep(scores, labels)
    monkeypatch.setattr("mldiag.stats.ranking.LONG", 1)
    assert sweep(scores, labels) == plain


def test_the_gain_of_a_threshold_that_cannot_be_bettered_is_noise() -> None:
    # Equal spreads and equal classes, one apart: no threshold is much better than the middle.
    draw = random.Random(11)
    beyond = 0
    for run in range(200):
        labels = [run % 2 for run in range(80)]
        scores = [draw.gauss(y, 0.5) for y in labels]
        gain = cross_fitted_gain(scores, labels, 0.45, seed=run)
        beyond += gain.mean > 3 * gain.error
    assert beyond <= 2


def test_the_gain_over_a_threshold_above_all_scores_is_the_whole_f1() -> None:
    draw = random.Random(2)
    labels = [int(i % 5 == 0) for i in range(500)]
    scores = [draw.gauss(y, 0.5) for y in labels]
    gain = cross_fitted_gain(scores, labels, 99.0)
    assert gain.mean == pytest.approx(sweep(scores, labels).best_f1().counts.f1, abs=0.06)
    assert gain.mean > 10 * gain.error


def test_nothing_scored_has_no_area() -> None:
    empty = sweep([], [])
    assert math.isnan(empty.auc)
    assert math.isnan(empty.average_precision)
    assert empty.best_f1().counts == Counts(0, 0, 0, 0)
