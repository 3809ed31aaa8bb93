"""Edits of shell scripts: values of flags and variables, and new flags."""

from __future__ import annotations

import re

from mldiag.artifacts import Launch, Scalar, Source
from mldiag.editors import layout
from mldiag.findings import Edit
from mldiag.patterns import lazily

_TAIL = lazily(r"([\"']?)( {2,})(?=\\\s*$|#)")
_SAFE = lazily(r"[\w@%+=:,./-]+", re.ASCII)
_CONTINUED = lazily(r"\\(\r?\n)([ \t]*)")
_FLAG = lazily(r"(?<=\s)-{1,2}[A-Za-z][\w-]*(=?)")


def replaced(source: Source, value: Scalar) -> Edit:
    """The edit that puts another value in the place of one, quoted as the place asks for."""
    old = source.text or ""
    text = _written(value, old)
    quote = _open_quote((source.excerpt or "")[: (source.column or 1) - 1])
    several = not quote and any(c.isspace() for c in old)
    if not (several and all(_SAFE.fullmatch(w) for w in text.split())):
        text = _quoted(text, quote)
    return layout.replacement(source, text, _TAIL)


def inserted(launch: Launch, flag: str, value: Scalar) -> Edit:
    """The edit that appends a flag to a launch command, in the style of its script.

    Args:
        launch: its `end` must be known.
        flag: with its dashes.
        value: None for a bare switch.
    """
    assert launch.end is not None
    command = launch.source.text or ""
    joins = _FLAG.findall(command)
    join = "=" if joins and all(joins) else " "
    added = flag if value is None else f"{flag}{join}{_quoted(_written(value, ''), '')}"
    lines = _CONTINUED.findall(command)
    new = f" \\{lines[-1][0]}{lines[-1][1]}{added}" if lines else f" {added}"
    return Edit(launch.source.path, launch.end, launch.end, "", new)


def assigned(launch: Launch, name: str, value: Scalar) -> Edit:
    """The edit that sets an environment variable in front of a launch command, whose beginning must be known."""
    assert launch.source.start is not None
    new = f"{name}={_quoted(_written(value, ''), '')} "
    return Edit(launch.source.path, launch.source.start, launch.source.start, "", new)


def _written(value: Scalar, old: str) -> str:
    if isinstance(value, bool):
        return str(value) if old[:1].isupper() or not old else str(value).lower()
    if isinstance(value, int | float):
        return layout.number(value, old)
    return value or ""


def _open_quote(before: str) -> str:
    """The quote that is open at the end of a part of a line; empty where none is."""
    quote, at = "", 0
    while at < len(before):
        char = before[at]
        if char == "\\" and quote != "'":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        at += 1
    return quote


def _quoted(text: str, quote: str) -> str:
    if quote == '"':
        return re.sub(r'(["\\$`])', r"\\\1", text)
    if quote == "'":
        return text.replace("'", "'\\''")
    return text if _SAFE.fullmatch(text) else "'" + text.replace("'", "'\\''") + "'"
