"""What one pass over a tensor says, against numpy looking at the whole of it in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from mldiag.stats.tensors import STEP, Summary, step_for, summary

KINDS = {"float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "u2", "int8": "i1", "uint8": "u1",
         "int16": "i2", "uint16": "u2", "int32": "i4", "int64": "i8", "uint64": "u8", "bool": "u1",
         "float8_e4m3fn": "u1", "float8_e5m2": "u1", "float8_e4m3fnuz": "u1", "float8_e5m2fnuz": "u1",
         "float8_e8m0fnu": "u1", "complex64": "c8", "complex128": "c16", "complex32": "u4"}  # fmt: skip
# One rounding of the sums in the type's own precision is allowed for, against the root mean square.
SINGLE, DOUBLE = 1e-6, 1e-12


def widened(cells: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The numbers behind bits, by definitions written independently of those that are tested."""
    if dtype == "bfloat16":
        return (cells.astype("u4") << 16).view("f4").astype("f8")
    if dtype == "bool":
        return (cells != 0).astype("f8")
    if dtype == "float8_e5m2":
        return (cells.astype("u2") << 8).view("f2").astype("f8")
    if dtype.startswith("float8"):
        return np.array([eight_bits(int(c), dtype) for c in cells.reshape(-1)], "f8").reshape(cells.shape)
    if dtype == "complex32":
        parts = cells.reshape(-1).view("f2").astype("f8").reshape(*cells.shape, 2)
        return np.hypot(parts[..., 0], parts[..., 1])
    if dtype.startswith("complex"):
        return np.hypot(cells.real.astype("f8"), cells.imag.astype("f8"))
    return cells.astype("f8")


def eight_bits(bits: int, dtype: str) -> float:
    if dtype == "float8_e8m0fnu":
        return math.nan if bits == 255 else 2.0 ** (bits - 127)
    width, bias = {"float8_e4m3fn": (3, 7), "float8_e4m3fnuz": (3, 8), "float8_e5m2fnuz": (2, 16)}[dtype]
    if bits == 0x80 if "fnuz" in dtype else bits & 0x7F == 0x7F:
        return math.nan
    exponent, rest = divmod(bits & 0x7F, 1 << width)
    part = rest / (1 << width)
    number = 2.0 ** (exponent - bias) * (1 + part) if exponent else 2.0 ** (1 - bias) * part
    return -number if bits >> 7 else number


def expected(cells: NDArray[Any], dtype: str) -> Summary:
    numbers = widened(cells, dtype)
    flat = numbers.reshape(-1)
    finite = flat[np.isfinite(flat)]
    rows = numbers.reshape(len(numbers), -1) if numbers.ndim > 1 and numbers.size > len(numbers) else np.empty((0, 1))
    constant = int((rows == rows[:, :1]).all(1).sum())
    counts = flat.size, int(np.isnan(flat).sum()), int(np.isinf(flat).sum()), int((finite == 0).sum())
    if not finite.size:
        return Summary(*counts, None, None, None, None, None, len(rows), constant)
    top = float(np.abs(finite).max())
    scaled = finite if top == 0 else finite / top
    mean = min(max(math.fsum(scaled) / len(scaled), scaled.min()), scaled.max())
    low, high = (cells.min().item(), cells.max().item()) if cells.dtype.kind in "iu" and "float" not in dtype \
        and dtype not in ("bool", "complex32", "bfloat16") else (finite.min(), finite.max())  # fmt: skip
    std = math.sqrt(math.fsum((scaled - mean) ** 2) / len(scaled))
    moments = (float(m) * (top or 1.0) for m in (mean, std, math.sqrt(math.fsum(scaled**2))))
    return Summary(*counts, low, high, *moments, len(rows), constant)


def blocks(cells: NDArray[Any], sizes: list[int]) -> Iterator[NDArray[Any]]:
    """Pieces of one buffer that is used again, as when a file is read."""
    flat, at = cells.reshape(-1), 0
    buffer = np.empty(max(sizes), cells.dtype)
    while at < len(flat):
        for size in sizes:
            piece = flat[at : at + size]
            buffer[: len(piece)] = piece
            yield buffer[: len(piece)]
            at += size


def test_zeros_beside_the_least_numbers_do_not_take_their_size() -> None:
    for numbers in ([5e-324, 5e-324, 5e-324, 0.0], [0.0, 5e-324, 5e-324, 5e-324]):
        blocks = (np.array([x]) for x in numbers)
        assert summary(blocks, "float64", (4,)).l2 == 1e-323


def agrees(found: Summary, wanted: Summary, dtype: str) -> None:
    for name in ("count", "nan", "inf", "zeros", "rows", "constant_rows"):
        assert getattr(found, name) == getattr(wanted, name), name
    if dtype.startswith("complex") and wanted.min is not None:  # two ways to a magnitude round differently
        assert found.min == pytest.approx(wanted.min, rel=1e-14)
        assert found.max == pytest.approx(wanted.max, rel=1e-14)
    else:
        assert (found.min, found.max) == (wanted.min, wanted.max)
    if wanted.l2 is None or wanted.mean is None or wanted.std is None:
        assert found.mean is found.std is found.l2 is None
        return
    assert isinstance(found.mean, float)
    assert isinstance(found.std, float)
    assert isinstance(found.l2, float)
    error = DOUBLE if dtype in ("float64", "int32", "int64", "uint64", "complex64", "complex128") else SINGLE
    scale = wanted.l2 / math.sqrt(wanted.finite)
    assert math.isclose(found.l2, wanted.l2, rel_tol=error, abs_tol=5e-324)
    assert abs(found.mean - wanted.mean) <= error * scale + 5e-324
    assert abs(found.std - wanted.std) <= error * max(wanted.std, scale * 1e-2) + 5e-324


def cells_of(dtype: str, data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    code = np.dtype(KINDS[dtype])
    count = math.prod(shape)
    data = (
        (data * (count * code.itemsize // max(1, len(data)) + 1))[: count * code.itemsize]
        if data
        else bytes(count * code.itemsize)
    )
    cells = np.frombuffer(data, code).reshape(shape)
    # The magnitude of a complex number of two halves that are near the end of the range has none.
    return np.nan_to_num(cells, posinf=0, neginf=0) / 4 if code.kind == "c" else cells


@given(
    st.sampled_from(sorted(KINDS)), st.binary(max_size=200),
    st.sampled_from([(), (0,), (1,), (7,), (3, 1), (0, 4), (5, 6), (6, 5), (4, 3, 2), (2, 1, 1, 9), (1, 400)]),
    st.lists(st.integers(1, 13), min_size=1, max_size=3),
)  # fmt: skip
def test_any_bits_in_any_pieces_are_as_numpy_sees_them(
    dtype: str, data: bytes, shape: tuple[int, ...], sizes: list[int]
) -> None:
    with np.errstate(all="ignore"):
        cells = cells_of(dtype, data, shape)
        agrees(summary(blocks(cells, sizes), dtype, shape), expected(cells, dtype), dtype)


@given(
    st.sampled_from(["float32", "float64", "float16", "bfloat16", "int8"]), st.integers(0, 2**32),
    st.sampled_from([0.0, 1.0, -3.0, 1000.0]), st.sampled_from([1e-3, 0.02, 1.0]), st.integers(1, 30_000),
    st.sampled_from([1, 37, 4096, 10_001]),
)  # fmt: skip
def test_moments_hold_where_the_mean_is_far_from_zero(
    dtype: str, seed: int, mean: float, spread: float, count: int, size: int
) -> None:
    numbers = mean + spread * np.random.default_rng(seed).standard_normal(count)
    if dtype == "bfloat16":
        cells = (numbers.astype("f4").view("u4") >> 16).astype("u2")
    else:
        cells = (numbers.clip(-100, 100) if dtype == "int8" else numbers).astype(KINDS[dtype])
    agrees(summary(blocks(cells, [size]), dtype, cells.shape), expected(cells, dtype), dtype)


@given(
    st.lists(
        st.sampled_from([5e-324, 1e-310, -1e-200, 1e-45, 3e-39, 1e-20, 0.0, -0.0, 1.0, -1e20, 3e38, 1e200, -1.7e308]),
        min_size=1, max_size=40), st.sampled_from(["float32", "float64"]), st.integers(1, 7),
)  # fmt: skip
def test_neither_the_largest_nor_the_least_numbers_are_lost(numbers: list[float], dtype: str, size: int) -> None:
    with np.errstate(all="ignore"):
        cells = np.array(numbers).astype(KINDS[dtype])
        agrees(summary(blocks(cells, [size]), dtype, cells.shape), expected(cells, dtype), dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "int8"])
def test_every_pattern_of_a_narrow_type_is_counted_for_what_it_is(dtype: str) -> None:
    code = np.dtype(KINDS[dtype])
    cells = np.arange(256**code.itemsize).astype(f"u{code.itemsize}").view(code)
    with np.errstate(all="ignore"):
        agrees(summary([cells.copy()], dtype, cells.shape), expected(cells, dtype), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64", "uint8", "float8_e4m3fn"])
@pytest.mark.parametrize("width", [2, 9, 768, STEP + 5])
def test_constant_rows_are_found_however_long_they_are(dtype: str, width: int) -> None:
    dice, rows = np.random.default_rng(width), 5
    cells = dice.integers(1, 100, (rows, width)).astype(KINDS[dtype])
    cells[1], cells[3] = 7, 0
    cells[4, :] = 9
    cells[4, width // 2] = 8
    cells[:, 0] = cells[:, -1]
    step = step_for(dtype, cells.shape)
    found = summary(blocks(cells, [step]), dtype, cells.shape)
    assert found.constant_rows == expected(cells, dtype).constant_rows
    assert (found.rows, found.constant_rows) >= (5, 2)


def test_zeros_of_either_sign_are_one_number_and_nan_is_none() -> None:
    zeros = np.array([[0.0, -0.0, 0.0], [math.nan] * 3], "f4")
    assert summary([zeros.reshape(-1)], "float32", (2, 3)).constant_rows == 1
    bits = np.array([[0, 0x8000, 0], [0x7FC0] * 3], "u2")
    found = summary([bits.reshape(-1)], "bfloat16", (2, 3))
    assert (found.constant_rows, found.zeros, found.nan) == (1, 3, 3)


def test_nothing_is_said_of_no_values() -> None:
    assert summary([], "float32", (0, 5)) == Summary(0, 0, 0, 0, None, None, None, None, None, 0, 0)


def test_a_block_holds_whole_rows_unless_these_are_long() -> None:
    assert step_for("float32", (1000, 768)) % 768 == 0
    assert step_for("float32", (10, STEP + 1)) == STEP
    assert step_for("bfloat16", (5,)) % 2 == 0
