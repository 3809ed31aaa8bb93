"""Values that a program wrote with `str`: what trackers and command lines hold."""

from __future__ import annotations

import re

from mldiag.artifacts import Scalar
from mldiag.patterns import lazily

_WORDS: dict[str, bool | None] = {
    "true": True, "false": False, "none": None, "null": None,
}  # fmt: skip
_SEQUENCE = lazily(r"\(.*\)|\[.*\]", re.DOTALL)
_DIGITS = 4300
"""Longest number, as Python's own limit for turning text into integers."""


def literal(text: str) -> Scalar | tuple[Scalar, ...]:
    """Text as the number, truth value, None or flat list of these that it spells; else itself.

    Underscores in digits are not read as Python's, since names of runs and data have them.
    """
    word = text.strip()
    if _SEQUENCE.fullmatch(word):
        parts = [p.strip() for p in word[1:-1].rstrip().removesuffix(",").split(",")]
        if any(c in word[1:-1] for c in "()[]{}"):
            return text
        return tuple(_scalar(_unquoted(p)) for p in parts) if parts != [""] else ()
    return _scalar(text)


def _scalar(text: str) -> Scalar:
    word = text.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if "_" in word or len(word) > _DIGITS:
        return text
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return text


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
