"""Edits of YAML change one scalar, exactly, and leave a document that says the new value."""

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
from mldiag.readers.yaml_config import yaml_config


def setting(content: bytes, name: str) -> SettingValue:
    """The last setting of a name; files are read as they are on disk."""
    found = yaml_config(File(Path("nowhere"), "config.yaml", content))
    return [s for s in found if isinstance(s, SettingValue) and s.name == name][-1]


def applied(content: bytes, edit: Edit | None) -> bytes:
    assert edit is not None
    return apply_edits([edit], Folder(Path("nowhere"), (), {"config.yaml": content}))["config.yaml"]


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("x: 320   # tokens", 64, "x: 64    # tokens"),
        ("x: 320  # tokens", 10000, "x: 10000  # tokens"),
        ("x: 3e-4", 1e-4, "x: 1e-4"),
        ("x: 0.1", 1e-13, "x: 1.0e-13"),
        ("x: adam", 1e-13, "x: 1.0e-13"),
        ("x: 1.0e-4", 3e-4, "x: 3.0e-4"),
        ("x: 0.1", math.inf, "x: .inf"),
        ("x: 10_000", 83306, "x: 83_306"),
        ("x: yes", False, "x: no"),
        ("x: True", False, "x: False"),
        ("x: '3'", 5, "x: '5'"),
        ("x: 'auto'", 5, "x: 5"),
        ("x: a", None, "x: null"),
        ("x: ~", 3, "x: 3"),
        ("x: a", "b c", "x: b c"),
        ("x: a", "no", 'x: "no"'),
        ("x: a", "b: c", 'x: "b: c"'),
        ("x: a", "\n", 'x: "\\n"'),
        ("x: 'a'", "it's", "x: 'it''s'"),
        ("x: [0.9, 0.95]", 0.9, "x: 0.9"),
        ("y: {a: 1, x: 2, b: 3}", 4, "y: {a: 1, x: 4, b: 3}"),
        ("y:\n  x: 2", 4, "y:\n  x: 4"),
    ],
)
def test_a_value_is_replaced_in_the_style_of_the_file(line: str, value: Scalar, expected: str) -> None:
    for end in ("\n", "\r\n"):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            line, expected = (t.replace("\n", end) for t in (line, expected))
            content = f"# é{end}{line}{end}".encode(encoding)
            changed = applied(content, edit_setting(setting(content, "y.x" if line.startswith("y") else "x"), value))
            assert changed.decode(encoding) == f"# é{end}{expected}{end}"


@pytest.mark.parametrize(
    ("text", "beside", "expected"),
    [
        ("a: 1  # one\nb: 2\n", "a", "a: 1  # one\nnew: 0.5\nb: 2\n"),
        ("m:\r\n  a: 1\r\nb: 2", "m.a", "m:\r\n  a: 1\r\n  new: 0.5\r\nb: 2"),
        ("a: 1\nb: 2", "b", "a: 1\nb: 2\nnew: 0.5"),
        ("m: {a: 1, b: 2} # c\n", "m.a", "m: {a: 1, new: 0.5, b: 2} # c\n"),
    ],
)
def test_a_setting_is_added_beside_another(text: str, beside: str, expected: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        content = text.encode(encoding)
        assert applied(content, add_setting(setting(content, beside), "new", 0.5)).decode(encoding) == expected


@pytest.mark.parametrize(
    "text",
    [
        "b: &b {x: 1}\nc: *b\n",
        "b: &b\n  x: 1\nc:\n  <<: *b\n",
        "b: {x: &a 1}\nc: *a\n",
        "b: {x: !!float 3}\n",
        "b:\n  x: |\n    1\n",
        "b:\n  x: one\n    two\n",
    ],
)
def test_what_an_alias_shares_or_a_tag_changes_or_goes_over_lines_is_left_to_a_person(text: str) -> None:
    found = setting(text.encode(), "b.x")
    assert edit_setting(found, 2) is None
    assert add_setting(found, "new", 2) is None


def test_what_the_run_recorded_is_not_edited() -> None:
    for name in ("hparams.yaml", ".hydra/config.yaml"):
        (found,) = yaml_config(File(Path("nowhere"), name, b"x: 1\n"))
        assert isinstance(found, SettingValue)
        assert edit_setting(found, 2) is None
        assert add_setting(found, "new", 2) is None


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_any_edit_of_any_file_changes_the_value_and_nothing_else(seed: int) -> None:
    check("yaml", Random(seed))
