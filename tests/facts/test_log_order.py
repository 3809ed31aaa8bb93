"""Steps that go back or repeat."""

from __future__ import annotations

from itertools import pairwise

import pytest
from given import run, series

from mldiag.facts.log_order import LogOrder


def order(steps, values=None, **columns) -> LogOrder:
    return run(series("train/loss", values or [float(i) for i in range(len(steps))], steps=steps, **columns)).get(
        LogOrder
    )


FIRST = list(range(10, 310, 10))


def test_two_launches() -> None:
    (found,) = order([*FIRST, *FIRST]).items
    assert (found.launches, found.back) == (2, (30,))


def test_two_writers() -> None:
    steps = [s for pair in zip(FIRST, FIRST, strict=True) for s in pair]
    for k in range(1, 58, 3):
        steps[k], steps[k + 1] = steps[k + 1], steps[k]
    (found,) = order(steps).items
    assert (found.launches, found.repeated, found.differing) == (1, 30, 30)
    assert len(found.back) == sum(b < a for a, b in pairwise(steps))


def test_some_steps_twice() -> None:
    (found,) = order([*FIRST[:10], *(s for s in FIRST[10:20] for _ in range(2))]).items
    assert (found.back, found.repeated) == ((), 10)


@pytest.mark.parametrize(
    "steps",
    [FIRST, [s for s in FIRST for _ in range(3)], [*FIRST, FIRST[-1]]],
    ids=["rising", "thrice each", "last twice"],
)
def test_in_order(steps) -> None:
    assert order(steps).items == ()


def test_a_last_row_that_repeats_the_best_iteration() -> None:
    assert order([*FIRST, 150]).items == ()


def test_steps_within_epochs() -> None:
    epochs = [e for e in range(3) for _ in FIRST]
    assert order(FIRST * 3, epochs=epochs).items == ()


@pytest.mark.parametrize("n", [300, 20_000])
def test_long_series_are_read_alike(n: int) -> None:
    steps = [*range(n // 2), *(s for s in range(n // 2, n // 2 + n // 4) for _ in range(2))]
    (found,) = order(steps, [float(i % 7) for i in range(len(steps))]).items
    assert (found.repeated, found.differing) == (n // 4, n // 4)
