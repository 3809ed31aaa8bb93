"""Edits of literals in Python source."""

from __future__ import annotations

import math

from mldiag.artifacts import Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit
from mldiag.patterns import lazily

_TAIL = lazily(r"([)\]},;]*)( {2,})(?=#|\\\s*$)")
_STRING = lazily(r"[A-Za-z]{0,2}(['\"])")


def replaced(source: Source, value: Scalar) -> Edit:
    """The edit that puts another literal in the place of one; a text keeps the quotes of the old one."""
    old = source.text or ""
    quoted = _STRING.match(old)
    if isinstance(value, str):
        new = _text(value, quoted[1] if quoted else '"')
    elif isinstance(value, bool) or value is None:
        new = repr(value)
    elif not math.isfinite(value):
        new = f'float("{value}")'
    else:
        # A number in quotes (`default="3"`) is one that the program converts itself.
        new = layout.number(value, old.strip("\"'"))
        new = f"{quoted[1]}{new}{quoted[1]}" if quoted else new
    return layout.replacement(source, new, _TAIL)


def _text(value: str, quote: str) -> str:
    escaped = "".join(
        f"\\{c}" if c in (quote, "\\") else c if c.isprintable() else repr(c)[1:-1] for c in value
    )  # fmt: skip
    return f"{quote}{escaped}{quote}"
