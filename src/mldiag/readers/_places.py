"""Where the values of a JSON document stand in its text."""

from __future__ import annotations

import re

from mldiag.patterns import lazily

Path = tuple[str | int, ...]

_TOKEN = lazily(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)


def places(text: str) -> dict[Path, tuple[int, int]]:
    """The character span `[start, end)` of every value of a valid JSON document, by its path of keys and indices.

    Of a key that occurs twice the last place is kept, as parsers keep the last value.
    """
    spans: dict[Path, tuple[int, int]] = {}
    path: list[str | int] = []
    starts: list[int] = []
    is_key = False
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in ("{", "["):
            starts.append(token.start())
            is_key = word == "{"
            path.append("" if is_key else 0)
        elif word in ("}", "]"):
            path.pop()
            spans[tuple(path)] = (starts.pop(), token.end())
        elif word == ",":
            last = path[-1]
            is_key = not isinstance(last, int)
            if isinstance(last, int):
                path[-1] = last + 1
        elif word == ":":
            is_key = False
        elif is_key:
            path[-1] = _text(word)
        else:
            spans[tuple(path)] = token.span()
    return spans


def _text(word: str) -> str:
    """A key as it is meant; most have nothing to be resolved."""
    if "\\" not in word:
        return word[1:-1]
    import json

    return str(json.loads(word, strict=False))
