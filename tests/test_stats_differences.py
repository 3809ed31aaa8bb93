"""How far two tensors are apart, against numpy on the whole arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

from mldiag.stats.differences import STEP, Difference, difference

ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)


def blocks(array: np.ndarray[Any, Any], size: int) -> Callable[[], Iterator[np.ndarray[Any, Any]]]:
    """Blocks in one buffer, each overwritten by the next, as values of a file come."""

    def each() -> Iterator[np.ndarray[Any, Any]]:
        buffer = np.empty(size, array.dtype)
        for at in range(0, len(array), size):
            part = array[at : at + size]
            buffer[: len(part)] = part
            yield buffer[: len(part)]

    return each


def plain(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> Difference:
    """The definition."""
    same_type = a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if same_type:
        return Difference(len(a), True)
    x, y = a.astype(np.longdouble), b.astype(np.longdouble)
    both = np.isfinite(x) & np.isfinite(y)
    unmatched = int(np.sum(~both & ~((x == y) | (np.isnan(x) & np.isnan(y)))))
    x, y = x[both], y[both]
    changed = unmatched + int(np.sum(x != y))
    if not len(x):
        return Difference(len(a), False, changed, unmatched, None, None, None, None)
    apart, norms = abs(x - y), (np.sqrt(x @ x), np.sqrt(y @ y))
    distance = np.sqrt(apart @ apart)
    relative = distance / norms[0] if norms[0] else math.inf if distance else 0.0
    cosine = x @ y / (norms[0] * norms[1]) if norms[0] and norms[1] else 1.0 if norms[0] == norms[1] else None
    return Difference(
        len(a), False, changed, unmatched, float(apart.max()), float(apart.mean()), float(relative),
        None if cosine is None else float(cosine),
    )  # fmt: skip


def assert_alike(found: Difference, wanted: Difference) -> None:
    for name in ("count", "identical", "changed", "unmatched"):
        assert getattr(found, name) == getattr(wanted, name)
    for name in ("max", "mean", "relative", "cosine"):
        here, there = getattr(found, name), getattr(wanted, name)
        assert (here is None) == (there is None)
        if there is not None:
            assert here == pytest.approx(there, rel=1e-9, abs=1e-12 if name == "cosine" else 0), name


@given(st.data(), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_in_whatever_pieces_the_values_come(data: st.DataObject, count: int, first: int, second: int) -> None:
    a = data.draw(arrays.arrays(np.float32, count, elements=ANY))
    b = a.copy()
    for at in data.draw(st.lists(st.integers(0, count - 1), max_size=4)):
        b[at] = data.draw(ANY)
    assert_alike(difference(blocks(a, first), blocks(b, second), ("float32", "float32")), plain(a, b))


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-30, 1.0, 1e30, 1e160, 1e300])
def test_values_whose_squares_leave_the_range_of_float64(scale: float) -> None:
    random = np.random.default_rng(1)
    a = random.standard_normal(3 * STEP + 7) * scale
    b = a + random.standard_normal(len(a)) * scale * 1e-3
    found = difference(blocks(a, STEP), blocks(b, 1000), ("float64", "float64"))
    assert found.relative == pytest.approx(1e-3, rel=0.02)
    assert found.max == float(abs(a - b).max())
    assert found.cosine == pytest.approx(1 - 0.5e-6, abs=1e-7)


def test_differences_that_float64_cannot_hold_are_infinite() -> None:
    a = np.array([1.7e308, 1.0])
    found = difference(blocks(a, 2), blocks(-a, 2), ("float64", "float64"))
    assert (found.max, found.relative, found.cosine) == (math.inf, pytest.approx(2), pytest.approx(-1))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_whole_numbers_above_53_bits_keep_their_differences(dtype: str) -> None:
    a = np.array([2**62, 5, 2**62 + 1], dtype)
    b = np.array([2**62 + 1, 5, 2**62 + 1], dtype)
    found = difference(blocks(a, 2), blocks(b, 3), (dtype, dtype))
    assert (found.changed, found.max, found.identical) == (1, 1.0, False)


def test_types_that_numpy_does_not_have_are_numbers_all_the_same() -> None:
    a = np.array([1.0, -2.5, 0.0, 3.0], np.float32)
    bits = (a.view(np.uint32) >> 16).astype(np.uint16)
    assert difference(blocks(a, 4), blocks(bits, 3), ("float32", "bfloat16")).changed == 0
    half = a.astype(np.float16)
    assert difference(blocks(half, 4), blocks(bits, 3), ("float16", "bfloat16")).relative == 0
    eight = np.array([0x38, 0x00], np.uint8)  # 1 and 0 as e4m3
    found = difference(blocks(eight, 2), blocks(np.array([1.5, 0.0]), 2), ("float8_e4m3fn", "float64"))
    assert (found.max, found.relative) == (0.5, 0.5)
    truths = np.array([0, 1, 7], np.uint8)
    assert difference(blocks(truths, 3), blocks(np.array([0, 1, 1]), 3), ("bool", "int64")).changed == 0


def test_complex_numbers_are_apart_by_their_magnitude() -> None:
    a = np.array([1 + 1j, 2, complex(np.nan, 0)], np.complex64)
    b = np.array([1 - 2j, 2, complex(np.nan, 0)], np.complex64)
    b[2] = complex(np.nan, 1)
    found = difference(blocks(a, 2), blocks(b, 2), ("complex64", "complex64"))
    assert (found.changed, found.unmatched, found.max) == (1, 0, 3.0)
    assert found.relative == pytest.approx(3 / math.sqrt(6))


def test_nothing_is_the_same_as_nothing() -> None:
    empty = np.empty(0, np.float32)
    assert difference(blocks(empty, 1), blocks(empty, 1), ("float32", "float32")).identical
    found = difference(blocks(empty, 1), blocks(empty.astype(np.float16), 1), ("float32", "float16"))
    assert (found.identical, found.changed, found.max) == (False, 0, 0.0)
