"""Which logged quantities are turned by the program, and when they moved."""

from __future__ import annotations

import pytest
from given import run, series

from mldiag.errors import NotApplicable
from mldiag.facts.steering import Steering
from mldiag.vocabulary import series_name

RISING = [0.0] * 4 + [0.25, 0.5, 0.75] + [1.0] * 5


def found(raw: str, values: list[float]) -> Steering:
    return run(series(series_name(raw), values)).get(Steering)


@pytest.mark.parametrize(
    "raw",
    ["beta", "train/kl_weight", "kl_beta", "noise_level", "seq_len", "train/resolution", "mask_ratio", "img_size"],
)
def test_names_of_what_a_program_turns(raw: str) -> None:
    assert len(found(raw, RISING).curves) == 1


@pytest.mark.parametrize("raw", ["loss", "lr", "loss_scale", "weight_decay", "tokens_per_s", "val/noise", "accuracy"])
def test_names_of_other_things(raw: str) -> None:
    with pytest.raises(NotApplicable):
        found(raw, RISING)


@pytest.mark.parametrize("values", [[1.0] * 12, [0.0, 1.0, 0.0, 1.0, 0.5], [0.0, 1.0, 2.0]])
def test_what_stands_still_or_wavers_or_is_too_short(values: list[float]) -> None:
    with pytest.raises(NotApplicable):
        found("beta", values)


def test_moved_says_since_when() -> None:
    steering = found("beta", RISING)
    assert steering.moved(0.0) is not None
    assert steering.moved(0.5) is not None
    assert steering.moved(0.7) is None
    assert found("temperature", RISING[::-1]).moved(0.2) is not None
