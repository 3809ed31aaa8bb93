"""Tables read in blocks with numpy hold what they hold when they are read row by row, whatever the bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Series
from mldiag.errors import ReadError
from mldiag.files import Block, File
from mldiag.readers import csv_table as module
from mldiag.readers.csv_table import csv_table


class SmallBlocks(File):
    """A file whose blocks hold a few lines."""

    def blocks(self, size: int = 64) -> Iterator[Block]:
        return super().blocks(size)


def read(content: bytes, *, bulk: bool, name: str = "log.csv", small: bool = True) -> tuple[list[Series], str]:
    """The series of a table, and what the reader said of the rest."""
    found: list[Series] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IN_BULK", 0 if bulk else math.inf)
        try:
            found.extend(
                a for a in csv_table((SmallBlocks if small else File)(Path(), name, content)) if isinstance(a, Series)
            )
        except ReadError as error:
            return found, f"{error.line}: {error}"
    return found, ""


def told(found: tuple[list[Series], str]) -> object:
    """All that must be equal, NaN as a text."""
    columns = [
        (s.raw_name, s.source, s.nulls, s.lines, *map(repr, (s.data, s.step_data, s.epoch_data, s.time_data)))
        for s in found[0]
    ]
    return sorted(columns, key=repr), found[1]


cells = st.one_of(
    st.sampled_from(["", "", "nan", "NA", "0.5", "1e-05", "-3", "word", "None", " 2.5 ", "1,5", '"7"', "inf",
                     "0.1234567890123456789", "2.", "93 %", "#", "é", "a longer text", "tensor(0.5)", "1_0", "12:30",
                     "5,"]),
    st.floats().map(repr),
    st.integers(0, 10**6).map(str),
)  # fmt: skip
headers = st.lists(
    st.sampled_from(["step", "epoch", "loss", "val_loss", "lr", "time", "acc", "note", "id2", "eta"]),
    min_size=2, max_size=5, unique=True,
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Mostly regular tables, with what goes wrong in them."""
    header = draw(headers)
    delimiter = draw(st.sampled_from([",", ",", "\t", ";"]))
    kinds = [draw(st.sampled_from(["count", "float", "hole", "any"])) for _ in header]
    lines = [delimiter.join(header)]
    for row in range(draw(st.integers(4, 40))):
        values = {
            "count": lambda row=row: str(row),
            "float": lambda row=row: f"{3 / (row + 1):.4f}",
            "hole": lambda row=row: "" if draw(st.integers(0, 3)) == 0 else "1.25",
            "any": lambda: draw(cells),
        }
        lines.append(delimiter.join(values[kind]() for kind in kinds))
        odd = draw(st.integers(0, 30))
        if odd == 0:
            lines.append(
                draw(st.sampled_from(["", "# a comment", "1", "1,2,3,4,5,6,7,8", lines[0], '"1', "\x00", "\r"]))
            )
        if odd == 1:
            header.append(f"more{row}")
            kinds.append("float")
            lines.append(delimiter.join(header))
    return draw(st.sampled_from(["\n", "\n", "\r\n"])).join(lines).encode() + draw(st.sampled_from([b"\n", b""]))


@given(tables())
@settings(max_examples=150)
def test_both_ways_of_reading_see_the_same(content: bytes) -> None:
    assert told(read(content, bulk=True)) == told(read(content, bulk=False))


@given(tables(), st.data())
@settings(max_examples=40)
def test_whatever_bytes_are_changed_nothing_breaks(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    assert told(read(bytes(changed), bulk=True)) == told(read(bytes(changed), bulk=False))


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=50)
def test_any_bytes_are_read_or_refused(content: bytes, bulk: bool) -> None:
    read(content, bulk=bulk)


@pytest.mark.parametrize("bulk", [False, True])
def test_any_prefix_keeps_its_whole_rows(bulk: bool) -> None:
    content = b"step,loss,lr\n" + b"".join(b"%d,%.3f,1e-05\n" % (i, 3 / i) for i in range(1, 12))
    for cut in range(30, len(content)):
        (loss, *_), reason = read(content[:cut], bulk=bulk)
        whole = content[:cut].count(b"\n") - 1
        assert list(loss.data[:whole]) == [float(f"{3 / i:.3f}") for i in range(1, whole + 1)]
        assert reason == ""


def test_the_block_size_changes_nothing() -> None:
    content = b"step,loss,note\n" + b'1,2.5,"a\nb"\n2,2.25,x\n,,\n3,2.0,"y""\n4,1.75,"\n' * 20
    for bulk in (False, True):
        assert told(read(content, bulk=bulk)) == told(read(content, bulk=bulk, small=False))


def test_a_quote_without_an_end_costs_its_line_alone() -> None:
    content = b'step,loss,note\n1,2.5,a\n2,2.0,"b\n3,1.5,c\n4,1.25,d\n'
    (loss, *_), reason = read(content, bulk=False)
    assert list(loss.data) == [2.5, 1.5, 1.25]
    assert "1 of 4 rows were left out" in reason
    assert reason.startswith("3: ")


def test_values_missing_from_dense_columns_are_told_from_ragged_ones_across_blocks() -> None:
    rows = [f"{i},{'' if i % 8 == 5 else 0.5},{'' if i % 2 else 0.25}" for i in range(40)]
    content = "\n".join(["step,loss,val_loss", *rows, ""]).encode()
    found, _ = read(content, bulk=True)
    assert told((found, "")) == told(read(content, bulk=False))
    assert [len(s.nulls) for s in found if s.raw_name == "loss"] == [sum(i % 8 == 5 for i in range(40))]


@pytest.mark.parametrize("bulk", [False, True])
def test_a_log_larger_than_a_document_is_read(bulk: bool) -> None:
    content = b"step,loss\n" + b"".join(b"%d,%.3f\n" % (i, 3 / i) for i in range(1, 20_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mldiag.files.DOCUMENT_LIMIT", 200_000)
        patch.setattr("mldiag.files.LONG", 100_000)
        patch.setattr("mldiag.files.BLOCK", 100_000)
        (loss,), reason = read(content, bulk=bulk, small=False)
    assert (len(loss), loss.source.excerpt, reason) == (19_999, "1,3.000", "")


def test_a_column_of_words_costs_nothing_but_itself() -> None:
    rows = "".join(f"{i},train_{i % 3},{3 / (i + 1):.4f},ok\n" for i in range(200))
    found, reason = read(f"step,phase_name,loss,state\n{rows}".encode(), bulk=True)
    assert [(s.raw_name, len(s)) for s in found] == [("loss", 200)]
    assert reason == ""


def test_series_of_the_same_rows_share_their_axes() -> None:
    rows = "".join(f"{i},{i}.5,{'' if i % 4 else 1.25},{'' if i % 4 else 2.5}\n" for i in range(40))
    found, _ = read(f"step,loss,val_loss,val_acc\n{rows}".encode(), bulk=True)
    by_name = {s.raw_name: s for s in found}
    assert by_name["val_loss"].step_data is by_name["val_acc"].step_data
    assert by_name["val_loss"].lines is by_name["val_acc"].lines
