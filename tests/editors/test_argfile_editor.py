"""Edits of files of arguments change one value, exactly, and add flags as the others are joined."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from edited_documents import check
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Scalar, SettingValue
from mldiag.editors import add_setting, edit_setting
from mldiag.files import File, Folder
from mldiag.findings import Edit
from mldiag.fixes import apply_edits
from mldiag.readers.argfile import argfile


def setting(content: bytes, name: str) -> SettingValue:
    """The last setting of a name; files are read as they are on disk."""
    found = argfile(File(Path("nowhere"), "args.txt", content))
    return [s for s in found if isinstance(s, SettingValue) and s.name == name][-1]


def applied(content: bytes, edit: Edit | None) -> bytes:
    assert edit is not None
    return apply_edits([edit], Folder(Path("nowhere"), (), {"args.txt": content}))["args.txt"]


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("--x=320", 64, "--x=64"),
        ("--x 1e-4", 3e-4, "--x 3e-4"),
        ("--x\n1", -2, "--x\n-2"),
        ('--x "adam"', "sgd", '--x "sgd"'),
        ("--x=True", False, "--x=False"),
    ],
)
def test_a_value_is_replaced_in_the_style_of_the_file(line: str, value: Scalar, expected: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        content = f"--a=é\r\n{line}\r\n--b\r\n".encode(encoding)
        changed = applied(content, edit_setting(setting(content, "x"), value))
        assert changed.decode(encoding) == f"--a=é\r\n{expected}\r\n--b\r\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--x=1\n--y=2\n", "--x=1\n--new=0.5\n--y=2\n"),
        ("--x 1", "--x 1\n--new 0.5"),
        ("-x\r\n1\r\n", "-x\r\n1\r\n-new\r\n0.5\r\n"),
    ],
)
def test_a_flag_is_added_beside_another(text: str, expected: str) -> None:
    content = text.encode()
    assert applied(content, add_setting(setting(content, "x"), "new", 0.5)).decode() == expected


@pytest.mark.parametrize("value", [None, "a b", "--b", "", "#a", "a\nb"])
def test_what_would_be_no_plain_word_is_not_written(value: Scalar) -> None:
    assert edit_setting(setting(b"--x=1\n", "x"), value) is None


def test_a_record_of_the_run_and_a_flag_that_comes_again_are_not_edited() -> None:
    assert edit_setting(setting(b"lr: 1\nx: 2\n", "x"), 3) is None
    assert edit_setting(setting(b"--x=1\n--x=2\n", "x"), 3) is None


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_any_edit_of_any_file_changes_the_value_and_nothing_else(seed: int) -> None:
    check("argfile", Random(seed))
