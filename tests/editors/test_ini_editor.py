"""Edits of INI files change one value, exactly, and keep sections, comments and signs."""

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
from mldiag.readers.ini_config import ini_config


def setting(content: bytes, name: str) -> SettingValue:
    """The last setting of a name; files are read as they are on disk."""
    found = ini_config(File(Path("nowhere"), "config.ini", content))
    return [s for s in found if isinstance(s, SettingValue) and s.name == name][-1]


def applied(content: bytes, edit: Edit | None) -> bytes:
    assert edit is not None
    return apply_edits([edit], Folder(Path("nowhere"), (), {"config.ini": content}))["config.ini"]


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("x = 320   ; tokens", 64, "x = 64    ; tokens"),
        ("x: 1e-4", 3e-4, "x: 3e-4"),
        ("x=yes # c", False, "x=no # c"),
        ("x = On", False, "x = Off"),
        ('x = "adam"', "sgd", 'x = "sgd"'),
        ("x = a", "b c", "x = b c"),
    ],
)
def test_a_value_is_replaced_in_the_style_of_the_file(line: str, value: Scalar, expected: str) -> None:
    for end in ("\n", "\r\n"):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            content = f"[m]{end}; é{end}{line}{end}".encode(encoding)
            changed = applied(content, edit_setting(setting(content, "m.x"), value))
            assert changed.decode(encoding) == f"[m]{end}; é{end}{expected}{end}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[m]\nx = 1  # one\n[n]\n", "[m]\nx = 1  # one\nnew = 0.5\n[n]\n"),
        ("[m]\r\nx=1", "[m]\r\nx=1\r\nnew=0.5"),
        ("[m]\nx    : 1\n", "[m]\nx    : 1\nnew: 0.5\n"),
    ],
)
def test_a_setting_is_added_beside_another(text: str, expected: str) -> None:
    content = text.encode()
    assert applied(content, add_setting(setting(content, "m.x"), "new", 0.5)).decode() == expected


@pytest.mark.parametrize("value", [None, "a # b", "100%", "a\nb", "", " a", '"', "é"])
def test_what_programs_would_read_differently_is_not_written(value: Scalar) -> None:
    assert edit_setting(setting(b"[m]\nx = 1\n", "m.x"), value) is None


@pytest.mark.parametrize("text", ["[m]\nx = 1\nx = 2\n", "[m]\nx = 1\n  2\n"])
def test_what_is_said_twice_or_goes_over_lines_is_left_to_a_person(text: str) -> None:
    assert edit_setting(setting(text.encode(), "m.x"), 3) is None


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_any_edit_of_any_file_changes_the_value_and_nothing_else(seed: int) -> None:
    check("ini", Random(seed))
