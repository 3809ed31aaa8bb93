"""Logs read with known templates in numpy hold what they hold when they are read line by line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.errors import ReadError
from mldiag.files import Block, File
from mldiag.readers import text_log as module
from mldiag.readers._text import bulk as _text_bulk, layouts, silent
from mldiag.readers._text.bulk import scanner_of
from mldiag.readers._text.dates import fields
from mldiag.readers._text.lines import seconds, splitter
from mldiag.readers._text.scanner import Lines as FastLines, Scanner
from mldiag.readers._text.templates import Learner


class SmallBlocks(File):
    """A file whose blocks hold a few lines."""

    def blocks(self, size: int = 0) -> Iterator[Block]:
        return super().blocks(400)


def read(content: bytes, *, bulk: bool, few: int = 2) -> list[str]:
    """All that the reader says; `few`: lines from which on a layout is looked for."""
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IN_BULK", 0 if bulk else math.inf)
        patch.setattr(layouts, "FEWEST", few)
        patch.setattr(silent, "FEWEST", few)
        patch.setattr(_text_bulk, "PORTION", 2 * few)
        try:
            found += map(repr, module.text_log(SmallBlocks(Path(), "train.log", content)))
        except ReadError as error:
            found.append(repr(error))
    return found


numbers = st.one_of(
    st.floats(0, 10).map(lambda v: f"{v:.4f}"), st.floats(1e-9, 1e-3).map(lambda v: f"{v:.3e}"),
    st.sampled_from(["nan", "inf", "-0.5", "1,234.5", "12:30", "1:30", "7.", "2024-01-02", "12/100", "5e", "-", ""]),
)  # fmt: skip


etas = st.sampled_from(
    [
        "1 day, 3:04:05",
        "99:59:59",
        "1:60:00",
        "3:04",
        "100:00:00",
        "12:30:01.5",
        "5",
        "1:2:3",
        "13-32",
        "9999-99-99 99:99:99,999",
    ]
)
SHAPES = [
    "iter {i}: loss {a}, time {b}ms",
    "step {i:>6} | loss: {a} | lr {b}",
    "[{i}/900] train loss={a} lr={b}",
    "Epoch {e} iter {i} - loss {a} acc {b} %",
    "step {i} loss {a} ({b})",
    "{t:%Y-%m-%d %H:%M:%S},{i:03} INFO step {i} loss {a}",
    "{t:%Y-%m-%d %H:%M:%S}.{i:06} - mmdet - INFO - Epoch [{e}][{i}/900]\tlr: {b}, eta: {eta}, loss: {a}",
    "[{t:%m/%d %H:%M:%S} d2.utils.events]:  eta: {eta}  iter: {i}  loss: {a}",
    "[rank0]:[titan] {t:%Y-%m-%d %H:%M:%S},{i:03} - root - INFO - \x1b[31mstep: {i:2}  \x1b[32mloss: {a:>7}\x1b[39m",
    "\x1b[32m[{t:%m/%d %H:%M:%S}]\x1b[0m iter {i} loss {a}",
    "{t:%H:%M:%S} step {i} loss {a}",
    "eta {eta} step {i} loss {a}",
    "{t:%d.%m.%Y} | {t:%H:%M:%S} | step {i} | loss {a}",
    "{t:%Y-%m-%dT%H:%M:%S}Z step {i} loss {a} [{eta}<{eta}]",
]
BAR = "9/9 [00:01<00:02, 5it/s, loss=0.5]step 5 loss 0.4"
"""A bar with values and a message behind it."""


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Lines of a few templates with all that may stand between them."""
    shape = draw(st.sampled_from(SHAPES))
    begun, pace = draw(st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1))), draw(st.sampled_from([0.3, 61, 9e4]))
    lines = []
    for i in range(draw(st.integers(10, 60))):
        usual = draw(st.integers(0, 9))
        a, b = (f"{3 / (i + 1):.4f}", f"{i / 7:.3e}") if usual else (draw(numbers), draw(numbers))
        when = begun + timedelta(seconds=i * pace)
        if not draw(st.integers(0, 12)):
            when = draw(st.sampled_from([when.replace(hour=0), when - timedelta(days=31), when.replace(microsecond=5)]))
        eta = draw(etas) if not usual else timedelta(seconds=i * 700)
        lines.append(shape.format(i=i, e=i // 10, a=a, b=b, t=when, eta=eta))
        other = draw(st.integers(0, 25))
        if other < 5:
            lines.append(
                (
                    f"step {i}: train loss {a}, val loss {b}",
                    "Validation:",
                    "saving to out/5",
                    draw(st.sampled_from(["\x1b[1mx", "\x1b[2Jx", "[-----] 5%", "loss é 3"])),
                    draw(st.sampled_from(["50%|##| 3/6\r", "50%|##| 3/6 loss=3\r100%|###| 6/6 loss=2", BAR])),
                )[other]
            )
    ends = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    return ends.join(lines).encode() + draw(st.sampled_from([b"\n", b"", b"\r\n", b"\r"]))


@given(logs())
@settings(max_examples=60)
def test_both_ways_of_reading_see_the_same(content: bytes) -> None:
    expected = read(content, bulk=False)
    assert read(content, bulk=True) == expected
    assert read(content, bulk=True, few=10**6) == expected


def scanned(content: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many lines are read in numpy."""
    taken: list[int] = []
    append = _text_bulk._append
    monkeypatch.setattr(_text_bulk, "_append", lambda s: (taken.append(s.found.count), append(s)))
    read(content.encode(), bulk=True)
    return sum(taken)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_lines_of_a_log_are_taken_by_its_scanner(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = datetime(2024, 12, 31, 23, 50)
    rows = (
        shape.format(
            i=i,
            e=i // 100,
            a=f"{3 / (i + 1):.4f}",
            b=f"{i / 7:.3e}",
            t=begun + timedelta(seconds=i),
            eta=timedelta(seconds=300 - i),
        )
        for i in range(300)
    )
    assert scanned("\n".join(rows) + "\n", monkeypatch) > 250


def test_a_log_with_the_line_ends_of_old_systems_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"iter {i}: loss {3 / (i + 1):.4f}\rsaving to out" for i in range(300)]
    assert scanned("\r".join(rows) + "\r", monkeypatch) > 250


@pytest.mark.parametrize(
    ("line", "taken"),
    [("iter 1: loss 2.5", True), ("step 1 at 5:99 loss 2.5", False), ("12:30:01 step 1 loss 2.5", True),
     ("epoch 1 [5/100] loss 2.5", True), ("1 | 2.5 | 3.5", False), ("2024-01-02 step 1 loss 2.5", False)],
)  # fmt: skip
def test_only_templates_that_are_known_by_their_texts_are_scanned(line: str, taken: bool) -> None:
    learner = Learner()
    learner.read(Block(f"{line}\n".encode() * 3, 1, 3))
    assert [scanner_of(t, line) is not None for t in learner.templates] in ([taken], [])
    assert learner.templates or not taken


@given(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
    st.sampled_from(
        [
            "%m/%d %H:%M:%S",
            "%H:%M:%S",
            "%d.%m.%y %H:%M:%S",
            "%Y-%m-%d %H:%M:%S",
            "%Y-%m-%d_%H:%M:%S.%f",
            "%Y-%m-%d %H:%M:%S,%f",
        ]
    ),
)
def test_times_are_the_same_to_the_last_bit(when: datetime, shape: str) -> None:
    text = f"{when.year:04}".join(when.strftime(part) for part in shape.split("%Y"))
    parts = splitter()(f"{text} step 1 loss 2")
    dates = fields(parts[1::2], parts[2::2], 0)
    assert dates is not None
    found = Scanner([p.encode() for p in parts[::2]], dates)
    rows = found.scan(FastLines(f"{text} step 1 loss 2\n".encode()))
    assert [c.tolist() for c in rows.columns][found.clock or 0] == [seconds(parts, 0)]
