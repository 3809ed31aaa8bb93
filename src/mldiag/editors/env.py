"""Edits of values in files of environment variables."""

from __future__ import annotations

from mldiag.artifacts import Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit
from mldiag.patterns import lazily

_TAIL = lazily(r"([\"']?)( {2,})(?=#)")
_KEY = lazily(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = lazily(r"[A-Za-z0-9_./+@%:,=-]*")


def replaced(source: Source, value: Scalar) -> Edit | None:
    """The edit that puts another value in the place of one, which stands inside its quotes.

    None where dotenv, Docker and the shell would not read the same: `$`, quotes and backslashes, line ends, and what
    needs quotes where there are none.
    """
    before = (source.excerpt or "")[: (source.column or 1) - 1]
    new = written(value, source.text or "", quoted=before[-1:] in ("'", '"'))
    return None if new is None else layout.replacement(source, new, _TAIL)


def written(value: Scalar, old: str, *, quoted: bool = False) -> str | None:
    """A value as the text of a variable, within quotes or without."""
    if value is None:
        return None
    if isinstance(value, bool):
        new = layout.truth(value, old)
    else:
        new = value if isinstance(value, str) else layout.number(value, old)
    return new if _PLAIN.fullmatch(new) or (quoted and _is_simple(new)) else None


def key(name: str) -> str | None:
    """A name of a variable."""
    return name if _KEY.fullmatch(name) else None


def _is_simple(text: str) -> bool:
    return text.isascii() and text.isprintable() and not any(c in "$\"'\\`" for c in text) and text == text.strip()
