"""The numpy kernel gives what Python's `float` gives, to the bit, or says that it does not know."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, strategies as st

from mldiag.readers._tables.fast_numbers import MARGIN, padded, parsed


def read(fields: list[str]) -> tuple[list[float], list[bool]]:
    """What the kernel says about fields that stand side by side in one buffer, without anything between them."""
    data = [f.encode() for f in fields]
    ends = MARGIN + np.cumsum([len(d) for d in data], dtype=np.int64)
    starts = ends - np.array([len(d) for d in data], dtype=np.int64)
    values, good = parsed(padded(b"".join(data)), starts, ends)
    return values.tolist(), good.tolist()


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def wrong(fields: list[str]) -> list[str]:
    """Fields of which the kernel says a number that `float` does not give."""
    found = []
    for field, value, good in zip(fields, *read(fields), strict=True):
        if good:
            try:
                expected = float(field)
            except ValueError:
                expected = math.nan
            if bits(expected) != bits(value):
                found.append(f"{field!r}: {value!r}")
    return found


digits = st.text("0123456789", max_size=20)
signs = st.sampled_from(["", "-", "+"])
decimals = st.builds(
    lambda sign, left, point, right, exponent: sign + left + (point + right if point else "") + exponent,
    signs,
    digits,
    st.sampled_from(["", ".", "."]),
    digits,
    st.one_of(
        st.just(""), st.builds(lambda e, s, n: f"{e}{s}{n}", st.sampled_from("eE"), signs, st.integers(0, 400)),
        st.builds(lambda s, n: f"e{s}{n:02}", st.sampled_from("+-"), st.integers(0, 30)),
    ),
)  # fmt: skip
floats = st.floats(allow_nan=False, allow_infinity=False)
written = st.one_of(
    floats.map(repr),
    st.floats(0, 100).map(repr),
    st.builds(lambda v, f: format(v, f), st.floats(-1e6, 1e6), st.sampled_from([".4f", ".6f", "g", ".3e", ".17g"])),
    st.integers().map(str),
    decimals,
)


@given(st.lists(written, min_size=1, max_size=40))
def test_numbers_are_those_of_python_to_the_bit(fields: list[str]) -> None:
    assert wrong(fields) == []


@given(st.lists(st.text("0123456789.-+eE nafi_,x/:\x00\x7fé", max_size=26), min_size=1, max_size=40))
def test_what_is_no_number_is_never_said_to_be_one(fields: list[str]) -> None:
    assert wrong(fields) == []


def test_nothing_that_logs_usually_hold_is_left_to_the_caller() -> None:
    fields = ["0", "-0.0", "12", "3.", ".5", "0.693147", "2.5e-05", "-1.25E+3", "1e5", "10.955003", "123456789.125"]
    fields += ["0.6931471805599453", "-0.30000000000000004", "1.0000000000000002e-05", "18446744073709.551"]
    fields += ["1700000000.1234567", "9007199254740993", "0" * 20 + "1.5"]
    values, good = read(fields)
    assert all(good)
    assert [bits(v) for v in values] == [bits(float(f)) for f in fields]


@pytest.mark.parametrize(
    "field", ["", ".", "-", "+", "-.", "e5", "1e", "1e-", "1.2.3", "1-2", "--1", "nan", "inf", "1 ", " 1", "1_0", "0x1",
              "1e5e5", "1,5", "5e-324", "1e400", "1/2", "1:2", "é", "1.5" + "0" * 30]
)  # fmt: skip
def test_what_needs_another_reader_is_told(field: str) -> None:
    assert read([field, "1.5"])[1] == [False, True]


def test_full_precision_is_read_nearly_always() -> None:
    rng = np.random.default_rng(1)
    fields = [repr(v) for v in (rng.random(20_000) * 10.0 ** rng.integers(-4, 6, 20_000)).tolist()]
    assert wrong(fields) == []
    assert sum(read(fields)[1]) > 0.99 * len(fields)


def test_no_field_is_no_number() -> None:
    none = np.empty(0, np.int64)
    assert [len(a) for a in parsed(padded(b"1.5"), none, none)] == [0, 0]
