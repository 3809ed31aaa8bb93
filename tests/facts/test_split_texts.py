"""Texts of the splits beside a run, compared line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.errors import NotApplicable
from mldiag.facts.split_texts import SplitTexts, split_texts
from mldiag.run import Run


def compared(root: Path, **texts: str) -> SplitTexts:
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text)
    found: SplitTexts = split_texts(Run(root, str(root), files={"log.jsonl": "jsonl"}))
    return found


def lines(first: int, last: int) -> str:
    return "".join(f"this is the line number {n} of a long text about nothing\n" for n in range(first, last))


def test_lines_that_stand_in_both_are_counted_once_in_any_order(tmp_path: Path) -> None:
    found = compared(tmp_path, train__txt=lines(0, 100), val__txt=lines(90, 120) + lines(95, 110))
    (pair,) = found.pairs
    assert (pair.lines, pair.found, pair.first) == (30, 10, 1)
    assert pair.share == pytest.approx(1 / 3)


def test_short_lines_are_not_compared(tmp_path: Path) -> None:
    (pair,) = compared(tmp_path, train__txt="Yes.\nNo.\n" + lines(0, 5), valid__txt="Yes.\nNo.\n" + lines(5, 9)).pairs
    assert (pair.lines, pair.found) == (4, 0)


def test_each_held_out_text_is_compared_with_the_training_text_of_its_ending(tmp_path: Path) -> None:
    found = compared(
        tmp_path, train__txt=lines(0, 9), val__txt=lines(3, 9), test__txt=lines(9, 20), dev__csv=lines(0, 9)
    )
    assert {(p.held_out.path, p.found) for p in found.pairs} == {("val.txt", 6), ("test.txt", 0)}


def test_a_folder_without_both_texts_and_a_run_without_a_folder_are_not_judged(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no text of the training data"):
        compared(tmp_path, train__txt=lines(0, 9))
    with pytest.raises(NotApplicable, match="made in memory"):
        split_texts(Run(tmp_path, "."))


def test_a_file_that_a_reader_took_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(lines(0, 9))
    (tmp_path / "val.txt").write_text(lines(0, 9))
    with pytest.raises(NotApplicable):
        split_texts(Run(tmp_path, ".", files={"train.txt": "text_log"}))


def test_texts_that_the_reader_of_training_texts_took_are_compared_as_well(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(lines(0, 100))
    (tmp_path / "val.txt").write_text(lines(50, 100))
    (pair,) = split_texts(Run(tmp_path, "x", files={"train.txt": "training_text"})).pairs
    assert (pair.lines, pair.found) == (50, 50)
    with pytest.raises(NotApplicable):
        split_texts(Run(tmp_path, "x", files={"train.txt": "text_log"}))
