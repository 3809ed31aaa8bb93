"""Edits of scalars in JSON."""

from __future__ import annotations

import math

from mldiag.artifacts import Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit

_WORDS = {"true", "false"}
_SPELLED = {"NaN", "Infinity", "-Infinity"}


def replaced(source: Source, value: Scalar) -> Edit | None:
    """The edit that puts another scalar in the place of one; None for a number that JSON has not."""
    new = written(value, source.text or "")
    return None if new is None else layout.exact(source, new)


def written(value: Scalar, old: str) -> str | None:
    """A value as JSON; a number or truth value in quotes stays in them, since the program converts it itself."""
    quote, inner = layout.in_quotes(old)
    if isinstance(value, str):
        return f'"{layout.escaped(value, old)}"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        quote = quote if inner.lower() in _WORDS else ""
        return f"{quote}{layout.truth(value, inner if quote else '')}{quote}"
    if not math.isfinite(value):
        # Python's own JSON has these three; where the file has one already, its reader takes them.
        return None if old not in _SPELLED else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    quote = quote if layout.is_number(inner) else ""
    return f"{quote}{layout.number(value, inner)}{quote}"


def key(name: str) -> str | None:
    """A key as JSON, without its quotes."""
    return layout.escaped(name, "")
