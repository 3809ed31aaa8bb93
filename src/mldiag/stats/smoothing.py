"""The least that a cross-entropy with smoothed labels can be."""

from __future__ import annotations

import math


def smoothing_floor(smoothing: float, classes: int) -> float:
    """Least cross-entropy against labels smoothed with the uniform distribution, in nats.

    The target has 1 - ε + ε/C on the true class and ε/C on each other one (Szegedy et al. 2016, Rethinking the
    Inception Architecture for Computer Vision, section 7; PyTorch's and Keras' `label_smoothing`, Hugging Face's
    `label_smoothing_factor`). Cross-entropy is least where the prediction is the target (Gibbs), which leaves the
    target's entropy: -(1 - ε + ε/C) ln(1 - ε + ε/C) - (C - 1) (ε/C) ln(ε/C).

    Args:
        smoothing: ε, 0 to 1. `classes`: C, at least 2.
    """
    _check(smoothing, classes)
    share = smoothing / classes
    return _surprise(1 - smoothing + share) + (classes - 1) * _surprise(share)


def added_smoothing_mass(smoothing: float, classes: int) -> float:
    """Sum of a target to which ε was added for every class instead of ε/C: 1 - ε + C ε.

    Times ln C it is the loss of a guess among all classes, and so the first one.
    """
    _check(smoothing, classes)
    return 1 + (classes - 1) * smoothing


def added_smoothing_floor(smoothing: float, classes: int) -> float:
    """Least cross-entropy, in nats, against targets to which ε was added for every class instead of ε/C.

    So it is with `(1 - eps) * one_hot + eps`, and with `(1 - eps) * nll + eps * (-log_p).sum()`, where a mean over the
    classes was meant. The target t has 1 on the true class and ε on each other one, with the sum S = 1 + (C - 1) ε. Of
    all distributions p, -Σ t ln p is least for p = t / S: S ln S - (C - 1) ε ln ε.
    """
    mass = added_smoothing_mass(smoothing, classes)
    return mass * math.log(mass) + (classes - 1) * _surprise(smoothing)


def _surprise(share: float) -> float:
    return -share * math.log(share) if share > 0 else 0.0


def _check(smoothing: float, classes: int) -> None:
    if not 0 <= smoothing <= 1 or classes < 2:
        raise ValueError(f"a smoothing of {smoothing} over {classes} classes is none")
