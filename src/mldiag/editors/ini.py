"""Edits of values in INI files."""

from __future__ import annotations

from mldiag.artifacts import Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit
from mldiag.patterns import lazily

_TAIL = lazily(r"()( {2,})(?=[#;])")
_KEY = lazily(r"[A-Za-z0-9_][A-Za-z0-9_. -]*(?<! )")
# What every dialect reads as it stands: no comment, no quote, no interpolation, no list.
_PLAIN = lazily(r"[A-Za-z0-9_./+@-][A-Za-z0-9_./+@=:\\-]*(?: [A-Za-z0-9_./+@=:\\-]+)*")


def replaced(source: Source, value: Scalar) -> Edit | None:
    """The edit that puts another value in the place of one; None where the file could not say it in one way only."""
    new = written(value, source.text or "")
    return None if new is None else layout.replacement(source, new, _TAIL)


def written(value: Scalar, old: str) -> str | None:
    """A value as text in an INI file, in the quotes of the old one."""
    quote, inner = layout.in_quotes(old)
    if value is None:
        return None
    if isinstance(value, bool):
        new = layout.truth(value, inner)
    elif isinstance(value, str):
        new = value
    else:
        new = layout.number(value, inner)
    return f"{quote}{new}{quote}" if _PLAIN.fullmatch(new) else None


def key(name: str) -> str | None:
    """A key of an INI file."""
    return name if _KEY.fullmatch(name) else None
