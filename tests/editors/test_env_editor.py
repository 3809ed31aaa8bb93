"""Edits of environment files change one value, exactly, and write only what every reader reads alike."""

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
from mldiag.readers.env_config import env_config


def setting(content: bytes, name: str) -> SettingValue:
    """The last setting of a name; files are read as they are on disk."""
    found = env_config(File(Path("nowhere"), ".env", content))
    return [s for s in found if isinstance(s, SettingValue) and s.name == name][-1]


def applied(content: bytes, edit: Edit | None) -> bytes:
    assert edit is not None
    return apply_edits([edit], Folder(Path("nowhere"), (), {".env": content}))[".env"]


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("x=320   # tokens", 64, "x=64    # tokens"),
        ("export x=1e-4", 3e-4, "export x=3e-4"),
        ('x="320"  # c', 64, 'x="64"   # c'),
        ("x='a b'", "c d", "x='c d'"),
        ("x=true", False, "x=false"),
        ("x=1", False, "x=0"),
    ],
)
def test_a_value_is_replaced_in_the_style_of_the_file(line: str, value: Scalar, expected: str) -> None:
    for end in ("\n", "\r\n"):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            content = f"# é{end}{line}{end}".encode(encoding)
            changed = applied(content, edit_setting(setting(content, "x"), value))
            assert changed.decode(encoding) == f"# é{end}{expected}{end}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=1 # one\ny=2\n", "x=1 # one\nnew=0.5\ny=2\n"),
        ("export x=1", "export x=1\nexport new=0.5"),
        ('x="a\r\nb"\r\ny=1\r\n', 'x="a\r\nb"\r\ny=1\r\nnew=0.5\r\n'),
    ],
)
def test_a_variable_is_added_beside_another(text: str, expected: str) -> None:
    content = text.encode()
    beside = "y" if "a\r" in text else "x"
    assert applied(content, add_setting(setting(content, beside), "new", 0.5)).decode() == expected


@pytest.mark.parametrize("value", [None, "a b", "$HOME", "it's", "a\nb", "\\", "é"])
def test_what_dotenv_docker_and_a_shell_read_differently_is_not_written(value: Scalar) -> None:
    assert edit_setting(setting(b"x=1\n", "x"), value) is None


@pytest.mark.parametrize("text", ["x=1\nx=2\n", 'x="1\n2"\n', "x= # 1\n"])
def test_what_is_said_twice_or_in_two_ways_is_left_to_a_person(text: str) -> None:
    assert edit_setting(setting(text.encode(), "x"), 3) is None


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_any_edit_of_any_file_changes_the_value_and_nothing_else(seed: int) -> None:
    check("env", Random(seed))
