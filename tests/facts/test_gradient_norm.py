"""Which series is the norm of the gradient, and on which side of the clipping it was taken."""

from __future__ import annotations

import pytest
from given import run, series

from mldiag.errors import NotApplicable
from mldiag.facts.gradient_norm import GradientNorm
from mldiag.vocabulary import series_name


def found(*raw: str) -> GradientNorm:
    return run(*(series(series_name(r), [float(k + 1)] * 5) for k, r in enumerate(raw))).get(GradientNorm)


@pytest.mark.parametrize(
    ("raw", "taken"),
    [
        ("grad_norm", ""),
        ("gnorm", ""),
        ("train/gradient_norm", ""),
        ("optim/total_grad_norm", ""),
        ("unclipped_grad_norm", "before"),
        ("train/grad_norm_before_clip", "before"),
        ("grad_norm_clipped", "after"),
        ("grad_norm_after_clipping", "after"),
    ],
)
def test_names_say_what_they_say(raw: str, taken: str) -> None:
    assert found(raw).taken == taken


@pytest.mark.parametrize("raw", ["critic_grad_norm", "grad_norm/layer1.weight", "val_loss", "weight_norm"])
def test_a_part_is_not_the_whole(raw: str) -> None:
    with pytest.raises(NotApplicable):
        found(raw)


def test_of_both_the_one_before_the_clipping_is_the_norm() -> None:
    norm = found("grad_norm_clipped", "unclipped_grad_norm")
    assert norm.taken == "before"
    assert norm.curve.values[0] == 2
    assert norm.after is not None
    assert norm.after.values[0] == 1
