"""Edits of scalars in YAML."""

from __future__ import annotations

import math

from mldiag.artifacts import Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit
from mldiag.patterns import lazily

_TAIL = lazily(r"([,\]}]*)( {2,})(?=#)")
# Words that mean themselves unquoted, in block and flow style, in YAML 1.1 and 1.2.
_PLAIN = lazily(r"[A-Za-z_/][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+][A-Za-z0-9_./+-]*)*")
_RESERVED = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "inf", "nan"})
_KEY = lazily(r"[A-Za-z_][A-Za-z0-9_-]*")
# What YAML 1.1 (PyYAML) takes for a float; `1e-4` is a text there.
_FLOAT = lazily(r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?")
_LOOSE = lazily(r"([-+]?[0-9]+)(\.[0-9]*)?([eE])([-+]?)([0-9]+)")


def replaced(source: Source, value: Scalar) -> Edit | None:
    """The edit that puts another scalar in the place of one, in its quotes and its style of numbers.

    A number is one to YAML 1.1 and 1.2 alike (`1.0e-13`), unless the old one was written as text there (`3e-4`), which
    a program must convert itself.
    """
    return layout.replacement(source, written(value, source.text or ""), _TAIL)


def written(value: Scalar, old: str) -> str:
    """A value as YAML."""
    quote, inner = layout.in_quotes(old)
    if isinstance(value, str):
        return _text(value, quote, old)
    if value is None:
        return "~" if old == "~" else "null"
    if isinstance(value, bool):
        quote = quote if inner.lower() in _RESERVED else ""
        return f"{quote}{layout.truth(value, inner)}{quote}"
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if quote and layout.is_number(inner):
        return f"{quote}{layout.number(value, inner)}{quote}"
    new = layout.number(value, inner)
    loose = _LOOSE.fullmatch(new)
    if loose and not _FLOAT.fullmatch(new) and (_FLOAT.fullmatch(old) or not _LOOSE.fullmatch(old)):
        new = f"{loose[1]}{loose[2] or '.0'}{loose[3]}{loose[4] or '+'}{loose[5]}"
    return new


def key(name: str) -> str | None:
    """A key as YAML; None where it would have to be quoted."""
    return name if _KEY.fullmatch(name) and name.lower() not in _RESERVED else None


def _text(value: str, quote: str, old: str) -> str:
    if not quote and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    if quote == "'" and value.isprintable() and (value.isascii() or not old.isascii()):
        return "'" + value.replace("'", "''") + "'"
    return f'"{layout.escaped(value, old, chr(92) + "U{:08x}")}"'
