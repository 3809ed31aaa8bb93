"""Edits of values in files of command-line arguments."""

from __future__ import annotations

from mldiag.artifacts import Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit
from mldiag.patterns import lazily

_KEY = lazily(r"[A-Za-z][A-Za-z0-9_.-]*")
# One word that no reader of such files takes for two, for a flag or for a comment.
_PLAIN = lazily(r"(?:-?\d|[A-Za-z0-9_./+@])[A-Za-z0-9_./+@%:,-]*")


def replaced(source: Source, value: Scalar) -> Edit | None:
    """The edit that puts another value in the place of one; None where it would not be one plain word."""
    new = written(value, source.text or "")
    return None if new is None else layout.exact(source, new)


def written(value: Scalar, old: str) -> str | None:
    """A value as an argument, in the quotes of the old one."""
    quote, inner = layout.in_quotes(old)
    if value is None:
        return None
    if isinstance(value, bool):
        new = layout.truth(value, inner) if inner else str(value)
    else:
        new = value if isinstance(value, str) else layout.number(value, inner)
    return f"{quote}{new}{quote}" if _PLAIN.fullmatch(new) else None


def key(name: str) -> str | None:
    """The name of a flag, without its dashes."""
    return name if _KEY.fullmatch(name) else None
