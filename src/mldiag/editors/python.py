"""Edits of literals in Python source."""

from __future__ import annotations

import math
from keyword import iskeyword

from mldiag.artifacts import Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit
from mldiag.patterns import lazily

_TAIL = lazily(r"([)\]},;]*)( {2,})(?=#|\\\s*$)")
_STRING = lazily(r"[A-Za-z]{0,2}(['\"])")


def replaced(source: Source, value: Scalar) -> Edit:
    """The edit that puts another literal in the place of one; a text keeps the quotes of the old one."""
    return layout.replacement(source, written(value, source.text or ""), _TAIL)


def written(value: Scalar, old: str) -> str:
    """A value as a literal."""
    quoted = _STRING.match(old)
    if isinstance(value, str):
        return _text(value, quoted[1] if quoted else '"')
    if isinstance(value, bool) or value is None:
        return repr(value)
    if not math.isfinite(value):
        return f'float("{value}")'
    # A number in quotes (`default="3"`) is one that the program converts itself.
    new = layout.number(value, old.strip("\"'"))
    return f"{quoted[1]}{new}{quoted[1]}" if quoted else new


def key(name: str) -> str | None:
    """A name, or a key of a dictionary without its quotes."""
    return name if name.isidentifier() and not iskeyword(name) else None


def _text(value: str, quote: str) -> str:
    escaped = "".join(
        f"\\{c}" if c in (quote, "\\") else c if c.isprintable() else repr(c)[1:-1] for c in value
    )  # fmt: skip
    return f"{quote}{escaped}{quote}"
