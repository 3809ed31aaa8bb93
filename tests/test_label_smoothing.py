"""What smoothed labels leave of a loss: the formulas against the loss itself, minimised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from mldiag.stats import added_smoothing_floor, added_smoothing_mass, smoothing_floor

CASES = [(e, c) for e in (0.01, 0.1, 0.3, 0.5, 0.9, 1.0) for c in (2, 3, 6, 10, 100, 1000)]


def targets(smoothing: float, classes: int) -> NDArray[np.float64]:
    """As PyTorch and Keras smooth: (1 - ε) on the true class and ε/C on every one."""
    found = np.full(classes, smoothing / classes)
    found[0] += 1 - smoothing
    return found


def wrong_targets(smoothing: float, classes: int) -> NDArray[np.float64]:
    """ε for every class where ε/C belongs."""
    found = np.full(classes, smoothing)
    found[0] += 1 - smoothing
    return found


def minimised(target: NDArray[np.float64]) -> float:
    """Least of -Σ t ln softmax(z) by gradient descent on the logits, of which those of the wrong classes are equal."""
    classes, mass = len(target), float(target.sum())
    logit = 0.0  # of the true class; the others have 0
    for _ in range(20_000):
        right = math.exp(logit) / (math.exp(logit) + classes - 1)
        slope = mass * right - float(target[0])
        curvature = max(mass * right * (1 - right), 1e-9)
        step = slope / curvature  # Newton's, kept short
        logit -= max(-0.5, min(0.5, step))
        if abs(slope) < 1e-13 * mass:
            break
    log_sum = math.log(math.exp(logit) + classes - 1)
    return float(target[0]) * (log_sum - logit) + float(target[1:].sum()) * log_sum


@pytest.mark.parametrize(("smoothing", "classes"), CASES)
def test_nothing_goes_below_the_floor_and_training_reaches_it(smoothing: float, classes: int) -> None:
    assert minimised(targets(smoothing, classes)) == pytest.approx(smoothing_floor(smoothing, classes), rel=1e-6)


@pytest.mark.parametrize(("smoothing", "classes"), CASES)
def test_nor_below_that_of_a_smoothing_without_its_divisor(smoothing: float, classes: int) -> None:
    target = wrong_targets(smoothing, classes)
    assert target.sum() == pytest.approx(added_smoothing_mass(smoothing, classes))
    assert minimised(target) == pytest.approx(added_smoothing_floor(smoothing, classes), rel=1e-6)


@pytest.mark.parametrize(("smoothing", "classes"), [(0.1, 10), (0.9, 6), (0.3, 50)])
def test_random_predictions_lie_above_both(smoothing: float, classes: int) -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(0, rng.uniform(0.1, 8, (4000, 1)), (4000, classes))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert (-(log_p @ targets(smoothing, classes))).min() >= smoothing_floor(smoothing, classes)
    assert (-(log_p @ wrong_targets(smoothing, classes))).min() >= added_smoothing_floor(smoothing, classes)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_no_smoothing_leaves_nothing_and_a_whole_one_leaves_a_guess(classes: int) -> None:
    assert smoothing_floor(0, classes) == 0
    assert smoothing_floor(1, classes) == pytest.approx(math.log(classes))
    assert added_smoothing_floor(0, classes) == 0


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_the_floor_rises_with_the_smoothing(classes: int) -> None:
    floors = [smoothing_floor(e / 100, classes) for e in range(101)]
    assert floors == sorted(floors)


def test_a_sum_over_the_classes_instead_of_their_mean_is_the_same_mistake() -> None:
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 2, 12)
    log_p = logits - math.log(np.exp(logits).sum())
    summed = (1 - 0.1) * -log_p[0] + 0.1 * -log_p.sum()
    assert summed == pytest.approx(float(-(log_p @ wrong_targets(0.1, 12))))


@pytest.mark.parametrize(("smoothing", "classes"), [(-0.1, 10), (1.1, 10), (0.1, 1)])
def test_what_is_no_smoothing_is_refused(smoothing: float, classes: int) -> None:
    with pytest.raises(ValueError, match="is none"):
        smoothing_floor(smoothing, classes)


@pytest.mark.parametrize(("spread", "classes"), [(0.3, 10), (0.5, 1000), (0.8, 100)])
def test_logits_of_some_spread_cost_half_its_square(spread: float, classes: int) -> None:
    """What LOS008's page says of an untrained model: ln C + s²/2 (1 - 1/C)."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, spread, (20_000, classes))
    loss = float((np.log(np.exp(logits).sum(1)) - logits[:, 0]).mean())
    assert loss == pytest.approx(math.log(classes) + spread**2 / 2 * (1 - 1 / classes), abs=0.03)
