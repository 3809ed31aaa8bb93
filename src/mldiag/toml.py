"""TOML without its traps: whatever is wrong with a document is a `ValueError`, at a bounded cost."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

PARTS_LIMIT = 64
"""Parts of a dotted key. Python's parser takes time and memory with their square: 100 KB of dots took 8 GB."""


@cache
def _endless_key() -> re.Pattern[str]:
    part = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
    return re.compile(rf"(?<![\w-]){part}(?:[ \t]*+\.[ \t]*+{part}){{{PARTS_LIMIT}}}")


def loads(text: str) -> dict[str, Any]:
    """A document as a mapping.

    Raises:
        ValueError: no TOML, or more of it nested or dotted than is read.
    """
    import tomllib

    found = _endless_key().search(text) if text.count(".") >= PARTS_LIMIT else None
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"a dotted key of more than {PARTS_LIMIT} parts (at line {line})")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply to be read") from error
