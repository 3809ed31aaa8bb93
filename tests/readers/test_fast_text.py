"""The scanner takes the lines of its template with the values that `re` and `float` give, and no others."""

from __future__ import annotations

import re
from random import Random

import numpy as np
import pytest
from hypothesis import given, strategies as st

from mldiag.readers._tables.columns import number
from mldiag.readers._text.layouts import Layout
from mldiag.readers._text.lines import is_date, splitter
from mldiag.readers._text.scanner import Lines, Scanner

TEMPLATES = [
    (b"iter ", b": loss ", b", time ", b"ms, mfu ", b"%"),
    (b"step ", b" | loss: ", b" | lr ", b""),
    (b"", b"/", b" done"),
    (b"  [", b"] a rather long literal of many words, acc=", b"  end "),
]


def by_regex(literals: tuple[bytes, ...], line: bytes) -> list[float] | None:
    """What a line of a template holds, told the slow way."""
    parts = []
    for at, text in enumerate(literals):
        core = re.escape(text.strip(b" ")) if text.strip(b" ") else b""
        lead, tail = text[: len(text) - len(text.lstrip(b" "))], text[len(text.rstrip(b" ")) :] if core else b""
        outer_lead, outer_tail = at == 0, at == len(literals) - 1
        parts.append(
            (lead if outer_lead else b" +" if lead else b"") + core + (tail if outer_tail else b" +" if tail else b"")
        )
    found = re.fullmatch(rb"([-+.\deE]+)".join(parts), line)
    try:
        return None if found is None else [float(g) for g in found.groups()]
    except ValueError:
        return None


numbers = st.one_of(
    st.integers(-10, 10**9).map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-100, 100).map(lambda v: f"{v:.4f}"), st.sampled_from(["nan", "", "1-2", "1.2.3", "e5", "7."]),
)  # fmt: skip


@st.composite
def texts(draw: st.DrawFn) -> tuple[tuple[bytes, ...], bytes]:
    """Lines of a template, nearly of it, and of others."""
    literals = draw(st.sampled_from(TEMPLATES))
    lines = []
    for _ in range(draw(st.integers(1, 12))):
        used = literals if draw(st.integers(0, 4)) else draw(st.sampled_from(TEMPLATES))
        line = used[0]
        for text in used[1:]:
            line += b" " * draw(st.sampled_from([0, 0, 1, 12])) + draw(numbers).encode() + text
        if not draw(st.integers(0, 5)) and line:
            at = draw(st.integers(0, len(line) - 1))
            line = line[:at] + draw(st.binary(max_size=2)).replace(b"\n", b"") + line[at + 1 :]
        lines.append(line)
    return literals, b"\n".join(lines) + draw(st.sampled_from([b"", b"\n"]))


@given(texts())
def test_lines_of_the_template_are_read_and_others_are_not(case: tuple[tuple[bytes, ...], bytes]) -> None:
    literals, data = case
    lines = Lines(data)
    found = Scanner(literals).scan(lines)
    rows = dict(zip(found.lines.tolist(), zip(*(c.tolist() for c in found.columns), strict=True), strict=True))
    for at in range(len(lines)):
        expected = by_regex(literals, lines.texts(np.array([at]))[0])
        if at in rows:
            assert expected is not None
            assert list(map(repr, rows[at])) == list(map(repr, expected))


def test_every_usual_line_is_taken() -> None:
    rows = [(i, 3 / (i + 1), i * 1.5, i % 50 / 100) for i in range(500)]
    data = "".join(f"iter {i:>6}: loss {a:.4f}, time {b:.2f}ms, mfu {c:.2f}%\n" for i, a, b, c in rows).encode()
    found = Scanner(TEMPLATES[0]).scan(Lines(data))
    assert found.lines.tolist() == list(range(500))
    assert found.columns[1].tolist() == [float(f"{a:.4f}") for _, a, _, _ in rows]


@given(
    st.one_of(
        st.integers(0, 10**12).map(lambda v: f"{v:,}"),
        st.text(alphabet="0159,,,.e-", max_size=12),
        st.integers(0, 10**8).map(lambda v: f"1.{v:,}"),
    )
)
def test_digits_in_groups_are_read_as_they_are_cut(text: str) -> None:
    parts = splitter()(f"x {text} end")
    found = Scanner((b"x ", b" end")).scan(Lines(f"x {text} end".encode()))
    if len(found.lines):
        assert parts[::2] == ["x ", " end"]
        assert found.columns[0].tolist() == [number(parts[1])]
    elif parts[::2] == ["x ", " end"] and len(text) <= 11 and "." not in text and not is_date(parts[1]):
        assert "e" in text or not text[-1].isdigit()


def test_foreign_lines_are_left_out() -> None:
    data = b"step 1 | loss: 2.5 | lr 1e-4\nSaving...\nstep 2 | loss: 2.25 | lr 1e-4\nstep 3 | loss: nan | lr 0\n"
    found = Scanner(TEMPLATES[1]).scan(Lines(data))
    assert found.lines.tolist() == [0, 2]
    assert [c.tolist() for c in found.columns] == [[1, 2], [2.5, 2.25], [1e-4, 1e-4]]


@pytest.mark.parametrize("literals", [(b"a",), (b"a ", b"e-b", b""), (b"a ", b"", b"b")])
def test_a_template_whose_numbers_have_no_end_is_refused(literals: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="number"):
        Scanner(literals)


def test_a_literal_may_be_longer_than_what_follows_the_line() -> None:
    long = b"x" * 2000
    found = Scanner((b"a ", long)).scan(Lines(b"a 1" + long + b"\na 2\n"))
    assert found.lines.tolist() == [0]
    with pytest.raises(ValueError, match="number"):
        Scanner((b"a ", long * 2))


def test_a_block_of_nothing_has_no_lines_of_the_template() -> None:
    for data in (b"", b"\n", b"\n\n", b"x"):
        assert len(Scanner(TEMPLATES[1]).scan(Lines(data)).lines) == 0


tokens = st.one_of(
    numbers.filter(lambda t: any(c.isdigit() for c in t)),
    st.from_regex(r"-?\d{0,9}\.\d{0,9}", fullmatch=True).filter(lambda t: any(c.isdigit() for c in t)),
    st.from_regex(r"\d{1,3},\d{3}|\d{1,20}|\d\.\d{2}e-\d\d", fullmatch=True),
)


@given(st.lists(tokens, min_size=1, max_size=4), st.integers(0, 9), st.randoms(use_true_random=False))
def test_a_layout_reads_the_numbers_whose_digits_change(texts: list[str], gap: int, random: Random) -> None:
    def line() -> tuple[str, list[str]]:
        own = ["".join(random.choice("0123456789") if c.isdigit() else c for c in text) for text in texts]
        return "x" * gap + "".join(f" {t} y" for t in own), own

    rows = [line() for _ in range(20)]
    foreign = [text.replace("y", "z") for text, _ in rows] + [text.replace("x", "\xff") for text, _ in rows if gap]
    begin, spans = gap, []
    for text in texts:
        spans.append((begin + 1, begin + 1 + len(text)))
        begin += len(text) + 3
    layout = Layout(rows[0][0].encode(), spans, {}, range(len(texts)))
    lines = Lines("\n".join([*(text for text, _ in rows), *foreign]).encode("latin-1"))
    good, columns = layout.read(lines, np.flatnonzero(lines.lengths == layout.length))
    assert not good[20:].any()
    taken = np.flatnonzero(good)
    plain = all(re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", t) and sum(map(str.isdigit, t)) <= 15 for t in texts)
    assert len(taken) == 20 or not plain
    for index, values in enumerate(columns):
        assert list(map(repr, values.tolist())) == [repr(number(rows[row][1][index])) for row in taken]
