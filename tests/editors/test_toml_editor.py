"""Edits of TOML change one value, exactly, and leave a document that says the new one."""

from __future__ import annotations

import math
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
from mldiag.readers.toml_config import toml_config


def setting(content: bytes, name: str) -> SettingValue:
    """The last setting of a name; files are read as they are on disk."""
    found = toml_config(File(Path("nowhere"), "config.toml", content))
    return [s for s in found if isinstance(s, SettingValue) and s.name == name][-1]


def applied(content: bytes, edit: Edit | None) -> bytes:
    assert edit is not None
    return apply_edits([edit], Folder(Path("nowhere"), (), {"config.toml": content}))["config.toml"]


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("x = 320   # tokens", 64, "x = 64    # tokens"),
        ("x=1e-4", 3e-4, "x=3e-4"),
        ("x = 10_000", 83306, "x = 83_306"),
        ("x = true", False, "x = false"),
        ("x = 'a'", "b", "x = 'b'"),
        ("x = 'a'", "it's", 'x = "it\'s"'),
        ('x = "a"', "\n", 'x = "\\n"'),
        ('x = "3"', 4, 'x = "4"'),
        ("x = 1", math.inf, "x = inf"),
        ("x = [1, 2]  # c", 3, "x = 3       # c"),
        ("y = { a = 1, x = 2 }", 4, "y = { a = 1, x = 4 }"),
    ],
)
def test_a_value_is_replaced_in_the_style_of_the_file(line: str, value: Scalar, expected: str) -> None:
    for end in ("\n", "\r\n"):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            content = f"# é{end}{line}{end}".encode(encoding)
            changed = applied(content, edit_setting(setting(content, "y.x" if line.startswith("y") else "x"), value))
            assert changed.decode(encoding) == f"# é{end}{expected}{end}"


@pytest.mark.parametrize(
    ("text", "beside", "expected"),
    [
        ("a = 1  # one\n[m]\nb=2\n", "a", "a = 1  # one\nnew = 0.5\n[m]\nb=2\n"),
        ("a = 1\r\n[m]\r\n  b=2", "m.b", "a = 1\r\n[m]\r\n  b=2\r\n  new=0.5"),
        ("m.a = 1\n", "m.a", "m.a = 1\nm.new = 0.5\n"),
        ("m = {a = 1, b = 2} # c\n", "m.a", "m = {a = 1, new = 0.5, b = 2} # c\n"),
        ("a = [1,\n  2] # c\nb = 1\n", "b", "a = [1,\n  2] # c\nb = 1\nnew = 0.5\n"),
    ],
)
def test_a_setting_is_added_beside_another(text: str, beside: str, expected: str) -> None:
    content = text.encode()
    assert applied(content, add_setting(setting(content, beside), "new", 0.5)).decode() == expected


def test_what_looks_like_a_setting_in_a_text_is_none() -> None:
    content = b'doc = """\nx = 1\n[m]\n"""\nx = 2\n[[l]]\nx = 3\n[m]\nx = 4\n'
    assert applied(content, edit_setting(setting(content, "x"), 9)) == content.replace(b"x = 2", b"x = 9")
    assert applied(content, edit_setting(setting(content, "m.x"), 9)) == content.replace(b"x = 4", b"x = 9")


def test_what_toml_cannot_say_is_not_written() -> None:
    for value in (None, 2**63):
        assert edit_setting(setting(b"x = 1\n", "x"), value) is None


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_any_edit_of_any_file_changes_the_value_and_nothing_else(seed: int) -> None:
    check("toml", Random(seed))
