"""Edits of values in TOML."""

from __future__ import annotations

import math

from mldiag.artifacts import Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit
from mldiag.patterns import lazily

_TAIL = lazily(r"([,\]}]*)( {2,})(?=#)")
_KEY = lazily(r"[A-Za-z0-9_-]+")
_WORDS = {"true", "false"}
_INTEGERS = range(-(2**63), 2**63)


def replaced(source: Source, value: Scalar) -> Edit | None:
    """The edit that puts another value in the place of one; None for what TOML cannot say: null, and huge integers."""
    new = written(value, source.text or "")
    return None if new is None else layout.replacement(source, new, _TAIL)


def written(value: Scalar, old: str) -> str | None:
    """A value as TOML; a number or truth value in quotes stays in them, since the program converts it itself."""
    quote, inner = layout.in_quotes(old)
    if value is None:
        return None
    if isinstance(value, str):
        literal = quote == "'" and value.isprintable() and "'" not in value and (value.isascii() or not old.isascii())
        return f"'{value}'" if literal else f'"{layout.escaped(value, old, chr(92) + "U{:08x}")}"'
    if isinstance(value, bool):
        quote = quote if inner.lower() in _WORDS else ""
        return f"{quote}{layout.truth(value, inner if quote else '')}{quote}"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, int) and value not in _INTEGERS:
        return None
    quote = quote if layout.is_number(inner) else ""
    return f"{quote}{layout.number(value, inner)}{quote}"


def key(name: str) -> str | None:
    """A key as TOML; None where it would have to be quoted."""
    return name if _KEY.fullmatch(name) else None
