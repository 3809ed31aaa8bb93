"""Logs read with known templates in numpy hold what they hold when they are read line by line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.errors import ReadError
from mldiag.files import Block, File
from mldiag.readers import _text_bulk, text_log as module
from mldiag.readers._text_bulk import can_be_scanned, is_plain
from mldiag.readers._text_lines import Lines
from mldiag.readers._text_templates import Learner


class SmallBlocks(File):
    """A file whose blocks hold a few lines."""

    def blocks(self, size: int = 0) -> Iterator[Block]:
        return super().blocks(400)


def read(content: bytes, *, bulk: bool) -> list[str]:
    """All that the reader says."""
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IN_BULK", 0 if bulk else math.inf)
        try:
            found += map(repr, module.text_log(SmallBlocks(Path(), "train.log", content)))
        except ReadError as error:
            found.append(repr(error))
    return found


numbers = st.one_of(
    st.floats(0, 10).map(lambda v: f"{v:.4f}"), st.floats(1e-9, 1e-3).map(lambda v: f"{v:.3e}"),
    st.sampled_from(["nan", "inf", "-0.5", "1,234.5", "12:30", "1:30", "7.", "2024-01-02", "12/100", "5e", "-", ""]),
)  # fmt: skip


SHAPES = [
    "iter {i}: loss {a}, time {b}ms",
    "step {i:>6} | loss: {a} | lr {b}",
    "[{i}/900] train loss={a} lr={b}",
    "Epoch {e} iter {i} - loss {a} acc {b} %",
    "step {i} loss {a} ({b})",
]


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Lines of a few templates with all that may stand between them."""
    shape = draw(st.sampled_from(SHAPES))
    lines = []
    for i in range(draw(st.integers(10, 60))):
        usual = draw(st.integers(0, 9))
        a, b = (f"{3 / (i + 1):.4f}", f"{i / 7:.3e}") if usual else (draw(numbers), draw(numbers))
        lines.append(shape.format(i=i, e=i // 10, a=a, b=b))
        other = draw(st.integers(0, 25))
        if other < 5:
            lines.append(
                (
                    f"step {i}: train loss {a}, val loss {b}",
                    "Validation:",
                    "saving to out/5",
                    "\x1b[1mx",
                    "50%|##| 3/6\r",
                )[other]
            )
    return "\n".join(lines).encode() + draw(st.sampled_from([b"\n", b"", b"\r\n"]))


@given(logs())
@settings(max_examples=60)
def test_both_ways_of_reading_see_the_same(content: bytes) -> None:
    assert read(content, bulk=True) == read(content, bulk=False)


def test_the_lines_of_a_log_are_taken_by_its_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(_text_bulk, "_append", lambda template, before, found, first: taken.append(len(found.lines)))
    content = "".join(f"iter {i}: loss {3 / (i + 1):.4f}, time {i}ms\n" for i in range(300)).encode()
    read(content, bulk=True)
    assert sum(taken) > 250


@pytest.mark.parametrize(
    ("line", "scanned"),
    [("iter 1: loss 2.5", True), ("step 1 at 5:99 loss 2.5", False), ("12:30:01 step 1 loss 2.5", False),
     ("epoch 1 [5/100] loss 2.5", True), ("1 | 2.5 | 3.5", False)],
)  # fmt: skip
def test_only_templates_that_are_known_by_their_texts_are_scanned(line: str, scanned: bool) -> None:
    learner = Learner()
    learner.read(Block(f"{line}\n".encode() * 3, 1, 3))
    assert [can_be_scanned(t) for t in learner.templates] in ([scanned], [])
    assert learner.templates or not scanned


@pytest.mark.parametrize(
    ("data", "plain"),
    [(b"mfu 5%\n[a] b\n", True), (b"5%|#\n", False), (b"[====\n", False), (b"a\x1b[0m\n", False), (b"a\rb\n", False),
     (b"a\r\nb\r\n", True), (b"%", True)],
)  # fmt: skip
def test_what_is_redrawn_or_coloured_is_read_line_by_line(data: bytes, plain: bool) -> None:
    assert is_plain(data) == plain
    if plain:
        block = Block(data.replace(b"\r\n", b"\n"), 1, data.count(b"\n"))
        assert [line for _, line in Lines().of(block)] == block.data.decode().split("\n")
