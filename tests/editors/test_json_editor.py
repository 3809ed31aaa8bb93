"""Edits of JSON change one value, exactly, and leave a document that says the new one."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from edited_documents import check
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Scalar, SettingValue
from mldiag.editors import add_setting, edit_setting
from mldiag.errors import ReadError
from mldiag.files import File, Folder
from mldiag.findings import Edit
from mldiag.fixes import apply_edits
from mldiag.readers.json_config import json_config


def setting(content: bytes, name: str) -> SettingValue:
    """The last setting of a name; files are read as they are on disk."""
    found = json_config(File(Path("nowhere"), "config.json", content))
    return [s for s in found if isinstance(s, SettingValue) and s.name == name][-1]


def applied(content: bytes, edit: Edit | None) -> bytes:
    assert edit is not None
    return apply_edits([edit], Folder(Path("nowhere"), (), {"config.json": content}))["config.json"]


@pytest.mark.parametrize(
    ("old", "value", "expected"),
    [
        ("320", 64, "64"),
        ("1e-05", 3e-4, "3e-04"),
        ("0.1", 1e-13, "1e-13"),
        ("true", False, "false"),
        ("null", 3, "3"),
        ("3", None, "null"),
        ('"1e-3"', 5e-4, '"5e-4"'),
        ('"auto"', 5, "5"),
        ('"True"', False, '"False"'),
        ('"a"', 'b"\\\n', '"b\\"\\\\\\n"'),
        ('"a"', "é", '"\\u00e9"'),
        ('"é"', "ü", '"ü"'),
        ("NaN", math.inf, "Infinity"),
        ("[1, 2]", 3, "3"),
    ],
)
def test_a_value_is_replaced_in_the_style_of_the_file(old: str, value: Scalar, expected: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        content = f'{{"é": 1,\r\n "x" : {old} ,"lr": 1}}'.encode(encoding)
        changed = applied(content, edit_setting(setting(content, "x"), value))
        assert changed.decode(encoding) == f'{{"é": 1,\r\n "x" : {expected} ,"lr": 1}}'


def test_a_number_that_json_has_not_is_not_written() -> None:
    assert edit_setting(setting(b'{"x": 1, "lr": 1}', "x"), math.nan) is None


@pytest.mark.parametrize(
    ("text", "beside", "expected"),
    [
        ('{"a": 1}', "a", '{"a": 1, "new": 0.5}'),
        ('{"a":1,"b":2}', "a", '{"a":1,"new":0.5,"b":2}'),
        (
            '{\r\n  "a": 1,\r\n  "m": {\r\n    "b": 2\r\n  }\r\n}',
            "m.b",
            '{\r\n  "a": 1,\r\n  "m": {\r\n    "b": 2,\r\n    "new": 0.5\r\n  }\r\n}',
        ),
        ('{\n\t"a": [\n\t\t1\n\t],\n\t"b": 2\n}', "a", '{\n\t"a": [\n\t\t1\n\t],\n\t"new": 0.5,\n\t"b": 2\n}'),
    ],
)
def test_a_setting_is_added_beside_another(text: str, beside: str, expected: str) -> None:
    content = text.encode()
    assert applied(content, add_setting(setting(content, beside), "new", 0.5)).decode() == expected


def test_what_is_wrapped_or_cut_is_not_edited() -> None:
    assert edit_setting(setting(b'{"x": {"value": 1, "desc": null}, "lr": 1}', "x"), 2) is None
    found: list[Any] = []
    with pytest.raises(ReadError):
        found += json_config(File(Path("nowhere"), "config.json", b'{"x": 1, "lr": 1, "epo'))
    assert edit_setting(found[0], 2) is None


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_any_edit_of_any_file_changes_the_value_and_nothing_else(seed: int) -> None:
    check("json", Random(seed))
