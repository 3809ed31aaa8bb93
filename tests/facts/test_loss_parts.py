"""Which series add up to a total loss."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence

import given
import pytest

from mldiag.errors import NotApplicable
from mldiag.facts.loss_parts import LossParts
from mldiag.stats import median

ROUNDINGS: dict[str, Callable[[float], float]] = {
    "%.3f": lambda v: round(v, 3),
    "%.5f": lambda v: round(v, 5),
    "%.4g": lambda v: float(f"{v:.4g}"),
    "%.6g": lambda v: float(f"{v:.6g}"),
    "float32": lambda v: float(struct.unpack("f", struct.pack("f", v))[0]),
}


def curve(rng: random.Random, count: int, noise: float) -> list[float]:
    """A falling loss of any size and pace."""
    size, pace, floor = 10 ** rng.uniform(-2, 2), rng.uniform(0.05, 2) * count, rng.uniform(0, 0.9)
    return [
        size * (floor + (1 - floor) * math.exp(-i / pace)) * math.exp(rng.gauss(0, noise)) for i in range(count)
    ]  # fmt: skip


def parts_of(total: Sequence[float], parts: dict[str, Sequence[float]], **settings: float) -> LossParts | None:
    steps = list(range(1, len(total) + 1))
    series = [given.series("train/loss", total, steps=steps)]
    series += [given.series(f"train/{n}", values, steps=steps) for n, values in parts.items()]
    try:
        found: LossParts = given.run(*series, **settings).get(LossParts)
    except NotApplicable:
        return None
    return found


def weighted(weights: Sequence[float], columns: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(w * c[i] for w, c in zip(weights, columns, strict=True)) for i in range(len(columns[0]))]


@pytest.mark.parametrize("written", ROUNDINGS)
@pytest.mark.parametrize("seed", range(12))
def test_shares_are_right_or_nothing_is_said(seed: int, written: str) -> None:
    rng = random.Random(seed)
    count, rows, log = rng.randint(2, 8), rng.choice([20, 60, 300]), ROUNDINGS[written]
    columns = [curve(rng, rows, rng.choice([0.0, 0.01, 0.05])) for _ in range(count)]
    weights = [rng.choice([1, 1, 0.5, 0.1, 2, 5, 0.25, 2.5]) for _ in range(count)]
    total = weighted(weights, columns)
    found = parts_of([log(t) for t in total], {f"loss/p{j}": [log(v) for v in c] for j, c in enumerate(columns)})
    if found is not None:
        shares = {p.name: p.share for p in found.parts}
        for j, (weight, column) in enumerate(zip(weights, columns, strict=True)):
            share = median([weight * v / t for v, t in zip(column, total, strict=True)])
            assert shares.get(f"p{j}", 0.0) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("seed", range(30))
def test_noisy_terms_are_mostly_found(seed: int) -> None:
    rng = random.Random(seed)
    columns = [curve(rng, 60, 0.03) for _ in range(4)]
    weights = [1, 0.5, 2.5, 1]
    found = parts_of(
        [round(t, 5) for t in weighted(weights, columns)],
        {f"loss/p{j}": [round(v, 5) for v in c] for j, c in enumerate(columns)},
    )  # fmt: skip
    assert found is not None
    assert {p.name: p.weight for p in found.parts} == {f"p{j}": w for j, w in enumerate(weights)}


@pytest.mark.parametrize("seed", range(60))
def test_series_that_do_not_add_up_are_no_terms(seed: int) -> None:
    rng = random.Random(seed)
    rows, noise = rng.choice([10, 60, 300]), rng.choice([0.01, 0.05])
    columns = [curve(rng, rows, noise) for _ in range(rng.randint(2, 8))]
    assert parts_of(
        [round(v, 4) for v in curve(rng, rows, noise)],
        {f"loss/p{j}": [round(v, 4) for v in c] for j, c in enumerate(columns)},
    ) is None  # fmt: skip


def test_forty_terms_of_one_sum() -> None:
    rng = random.Random(5)
    columns = [[round(v, 5) for v in curve(rng, 200, 0.05)] for _ in range(40)]
    found = parts_of(weighted([1] * 40, columns), {f"loss/p{j}": c for j, c in enumerate(columns)})
    assert found is not None
    assert len(found.parts) >= 38  # a term below the digits of the total is left out
    assert math.fsum(p.share for p in found.parts) == pytest.approx(1, abs=0.1)


def test_a_term_in_two_units_counts_once() -> None:
    rng = random.Random(2)
    cls, box = (curve(rng, 80, 0.05) for _ in range(2))
    unscaled = [v / 5 for v in box]
    found = parts_of(
        weighted([1, 1], [cls, box]), {"loss/ce": cls, "loss/bbox": box, "loss/bbox_unscaled": unscaled}
    )  # fmt: skip
    assert found is not None
    assert [p.weight for p in found.parts] == [1, 1]
    assert math.fsum(p.share for p in found.parts) == pytest.approx(1, abs=0.01)


def test_the_mean_of_terms_counts_those_that_are_too_small_to_see() -> None:
    big, small = [1.5e26 * (1 - 0.01 * i) for i in range(20)], [5.2e13 * (1 - 0.01 * i) for i in range(20)]
    found = parts_of(weighted([0.5, 0.5], [big, small]), {"loss/copper": big, "loss/port": small})
    assert found is not None
    assert found.mean
    assert [p.name for p in found.parts] == ["copper", "port"]


def test_a_term_that_the_sum_does_not_show_is_none() -> None:
    rng = random.Random(3)
    main = [round(v, 3) for v in curve(rng, 40, 0.02)]
    assert parts_of(main, {"loss/main": main, "loss/monitored": [1e-7] * 40}) is None


def test_terms_need_no_loss_in_their_name_and_accuracy_is_none() -> None:
    rng = random.Random(4)
    ink, digit = ([round(v, 4) for v in curve(rng, 50, 0.05)] for _ in range(2))
    found = parts_of(
        weighted([1, 1], [ink, digit]),
        {"ink": ink, "digit": digit, "accuracy": [0.5 + 0.001 * i for i in range(50)], "lr": [1e-3] * 50},
    )
    assert found is not None
    assert {p.name for p in found.parts} == {"ink", "digit"}


def test_the_setting_of_a_weight_is_found_by_its_name() -> None:
    rng = random.Random(6)
    ink, digit = ([round(v, 4) for v in curve(rng, 50, 0.05)] for _ in range(2))
    total = weighted([1, 5], [ink, digit])
    found = parts_of(total, {"loss/ink": ink, "loss/digit": digit}, digit_loss_weight=5.0, w_ink=1.0, weight_decay=0.1)
    assert found is not None
    stated = {p.name: p.setting.name for p in found.parts if p.setting is not None}
    assert stated == {"ink": "w_ink", "digit": "digit_loss_weight"}


@pytest.mark.parametrize("other", ["disc_loss", "rewards/mean"])
def test_losses_of_opponents_and_returns_are_no_parts(other: str) -> None:
    steps = list(range(1, 21))
    one, two = [1 + 0.1 * i for i in steps], [3 - 0.1 * i for i in steps]
    name = "train/loss/disc" if other == "disc_loss" else "train/reward"
    series = [given.series("train/loss", [4.0] * 20, steps=steps), given.series("train/loss/gen", one, steps=steps)]
    with pytest.raises(NotApplicable, match=r"adversarial|reinforcement"):
        given.run(*series, given.series(name, two, steps=steps)).get(LossParts)


def test_the_validation_loss_that_is_one_term_is_named() -> None:
    epochs = list(range(1, 21))
    bce, ce = [0.003 + 0.02 / e**2 for e in epochs], [6.2 + 2 / e for e in epochs]
    series = [
        given.series("train/loss", [round(a + b, 4) for a, b in zip(bce, ce, strict=True)], epochs=epochs),
        given.series("train/loss/bce", [round(v, 4) for v in bce], epochs=epochs),
        given.series("train/loss/ce", [round(v, 4) for v in ce], epochs=epochs),
        given.series("val/loss", [round(1.1 * v, 4) for v in bce], epochs=epochs),
    ]
    found: LossParts = given.run(*series).get(LossParts)
    assert found.equals is not None
    assert found.equals.name == "bce"
    assert found.largest.share == pytest.approx(0.9995, abs=2e-4)
