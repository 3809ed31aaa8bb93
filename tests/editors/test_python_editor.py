"""Edits of Python source change one literal, exactly, and leave a program that says the new value."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from random import Random

import pytest
from edited_documents import check
from hypothesis import assume, given, settings, strategies as st

from mldiag.artifacts import Option, PythonSource, Scalar
from mldiag.editors import python
from mldiag.files import File, Folder
from mldiag.findings import Edit
from mldiag.fixes import apply_edits
from mldiag.readers.python_source import python_source


def options(content: bytes) -> dict[str, Option]:
    (found,) = python_source(File(Path("nowhere"), "t.py", content))
    assert isinstance(found, PythonSource)
    return {o.name: o for o in found.options}


def applied(content: bytes, edit: Edit) -> bytes:
    return apply_edits([edit], Folder(Path("nowhere"), (), {"t.py": content}))["t.py"]


def replaced(content: bytes, name: str, value: Scalar) -> bytes:
    return applied(content, python.replaced(options(content)[name].source, value))


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("p.add_argument('--x', default=256, type=int)", 320, "p.add_argument('--x', default=320, type=int)"),
        ("p.add_argument('--x', default=2**8)", 320, "p.add_argument('--x', default=320)"),
        ("p.add_argument('--x', default=-1)", 7, "p.add_argument('--x', default=7)"),
        ("p.add_argument('--x', default=1e-3)", 3e-4, "p.add_argument('--x', default=3e-4)"),
        ("p.add_argument('--x', default=0.001)", 3e-4, "p.add_argument('--x', default=0.0003)"),
        ("p.add_argument('--x', default=10_000)", 83306, "p.add_argument('--x', default=83_306)"),
        ("p.add_argument('--x', default=True)", False, "p.add_argument('--x', default=False)"),
        ("p.add_argument('--x', default=1)", None, "p.add_argument('--x', default=None)"),
        ("p.add_argument('--x', default=1.5)", math.inf, "p.add_argument('--x', default=float(\"inf\"))"),
        ("p.add_argument('--x', type=int, default='3')", 5, "p.add_argument('--x', type=int, default='5')"),
        ("p.add_argument('--x', default='a')", "it's\n", "p.add_argument('--x', default='it\\'s\\n')"),
        ("p.add_argument('--x', default=\"a\")", 'ü"\\', 'p.add_argument(\'--x\', default="ü\\"\\\\")'),
        ("p.add_argument('--x', default=3)", "adam", "p.add_argument('--x', default=\"adam\")"),
        (
            "p.add_argument('--x', default=256)    # rows",
            1024,
            "p.add_argument('--x', default=1024)   # rows",
        ),
        ("X = 256   # rows", 8, "X = 8     # rows"),
        ("X = 256  # rows", 1024, "X = 1024  # rows"),
    ],
)
def test_a_literal_is_replaced_in_the_style_of_the_source(line: str, value: Scalar, expected: str) -> None:
    name = "X" if line.startswith("X") else "x"
    for end in ("\n", "\r\n"):
        content = f"def f(): ...{end}# é{end}{line}{end}".encode()
        assert replaced(content, name, value) == content.replace(line.encode(), expected.encode())


VALUES = st.one_of(
    st.integers(-(10**15), 10**15),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=12),
)


@given(VALUES, VALUES, st.sampled_from(["", "  # ü", "      # ü"]))
def test_a_replaced_default_is_read_again_and_the_rest_stays(old: Scalar, new: Scalar, comment: str) -> None:
    assume(not any(0xD800 <= ord(c) < 0xE000 for v in (old, new) if isinstance(v, str) for c in v))
    content = f"def f(a='é', x={old!r}, b=-1): ...{comment}\ny = 'ß'\n".encode()
    changed = replaced(content, "x", new)
    found = options(changed)
    same = {n: (o.default, type(o.default)) for n, o in found.items()}
    assert same["a"] == ("é", str)
    assert same["b"] == (-1, int)
    got = found["x"].default
    in_quotes = isinstance(old, str) and not isinstance(new, str | bool)
    assert (ast.literal_eval(str(got)) if in_quotes else got) == new
    assert changed.endswith(content[content.index(b"\ny") :])


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12), st.integers(0, 12))
def test_a_default_that_is_replaced_back_gives_the_identical_bytes(old: int, new: int, spaces: int) -> None:
    content = f"def f(): ...\nX = {old}{' ' * spaces}# ü\n".encode()
    # With two or more spaces the comment is aligned, and stays so while two are left.
    assume(spaces < 2 or spaces - (len(str(new)) - len(str(old))) >= 2)
    changed = replaced(content, "X", new)
    if spaces >= 2:
        assert changed.split(b"\n")[1].index(b"#") == content.split(b"\n")[1].index(b"#")
    assert replaced(changed, "X", old) == content


@pytest.mark.parametrize("kind", ["python", "python-config"])
@given(seed=st.integers(0, 10**9))
@settings(max_examples=60)
def test_any_edit_of_any_source_changes_one_thing_and_nothing_else(kind: str, seed: int) -> None:
    check(kind, Random(seed))
