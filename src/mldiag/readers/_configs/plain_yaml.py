"""Configurations as most people write them, read without YAML's whole grammar, which takes ten times as long.

Taken are nested mappings of words, numbers, quoted texts and short lists on one line, in printable ASCII. Anything that
may mean something else in YAML (anchors, tags, block lists, texts of several lines, `1_000`, `1:30`, repeated keys)
leaves the whole document to the real parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from mldiag.artifacts import Scalar
from mldiag.patterns import lazily

SIZE_LIMIT = 2**16
"""Characters of a longer document, which holds more than a person's settings."""

_NUMBER = r"[-+]?(?:0|[1-9]\d{0,17})(?:\.\d{1,30})?(?:[eE][-+]?\d{1,4})?(?![\w.:+-])"
_TEXT = r"(?:\.{0,2}/)?[A-Za-z_][\w./@+-]*"
_QUOTED = r'"[^"\\\n]*"' + r"|'[^'\n]*'"
_ITEM = rf"(?:{_NUMBER}|{_TEXT}|{_QUOTED})"
# A line: blank or a comment; else its indent and key, and nothing, a list, or a value of one or more words.
_LINE = lazily(
    r"[ ]*(?:\#.*)?"
    r"|([ ]*)([A-Za-z_][\w-]{0,127}):"
    rf"(?:[ ]+(?:(\[(?:[ ]*{_ITEM}[ ]*(?:,[ ]*{_ITEM}[ ]*)*)?\])|({_QUOTED})|({_NUMBER})|({_TEXT}(?:[ ]{_TEXT})*)))?"
    r"[ ]*(?:[ ]\#.*)?",
    re.ASCII,
)
_ITEMS = lazily(rf"({_QUOTED})|({_NUMBER})|({_TEXT})", re.ASCII)
_OUTERMOST = lazily(r"\n(?=[^ #\n])")

# YAML 1.1, as PyYAML resolves it: these spellings and no others. `y` and `n` are texts.
_WORDS: dict[str, bool | None] = {
    spelled: value
    for word, value in (("true", True), ("yes", True), ("on", True), ("false", False), ("no", False), ("off", False),
                        ("null", None))
    for spelled in (word, word.capitalize(), word.upper())
}  # fmt: skip


class Entry(Struct, frozen=True):
    """A key with its value.

    Attributes:
        start, end: where the value stands in the text; equal for a null that is not written.
        number: 1-based, of the `line`, which begins at `begin`.
    """

    path: tuple[str, ...]
    value: Scalar | tuple[Scalar, ...]
    start: int
    end: int
    number: int
    begin: int
    line: str


class Part(NamedTuple):
    """A key of the outermost mapping with all that is below it; the text begins at `begin`, in line `number`."""

    key: str
    text: str
    number: int
    begin: int


def parts(text: str) -> list[Part] | None:
    """A document by its outermost keys, each a document by itself; None where another parser must look at it."""
    if not _is_plain(text):
        return None
    found: list[Part] = []
    number = begin = 0
    lead = ""
    for part in _OUTERMOST.split(text):
        if not found and not lead and part[:1] in ("", "#", " ", "\n"):
            lead = f"{part}\n"  # comments above the first key
            continue
        own = lead + part
        found.append(Part(part.partition(":")[0], own, number + 1, begin))
        number += own.count("\n") + 1
        begin += len(own) + 1
        lead = ""
    return found or None


def _is_plain(text: str) -> bool:
    return len(text) <= SIZE_LIMIT and text.isascii() and text.replace("\n", "").isprintable()


def entries(text: str, *, special: frozenset[str], deepest: int, longest: int, largest: int) -> list[Entry] | None:
    """The values of a document in their order; None where another parser must look at it.

    Args:
        special: keys that mean more than their value. `deepest`: levels of keys; `longest`: items of a list; `largest`:
            keys of a mapping within another. A document with these, or with more, is not plain.
    """
    if not _is_plain(text):
        return None
    found: list[Entry] = []
    # The mappings that are open: the indent and keys of each, and the path of the innermost.
    indents, seen = [0], [set[str]()]
    path: tuple[str, ...] = ()
    opened: Entry | None = None
    begin = 0
    for number, line in enumerate(text.split("\n"), 1):
        here, begin = begin, begin + len(line) + 1
        parsed = _parsed(line)
        if parsed is None:
            return None
        if parsed is _BLANK:
            continue
        indent, key, value, start, end = parsed
        if opened is not None and indent > indents[-1]:
            indents.append(indent)
            seen.append(set())
            path = opened.path
            if len(indents) > deepest:
                return None
        elif opened is not None:
            found.append(opened)
        opened = None
        if indent != indents[-1]:
            if indent not in indents:
                return None
            while indent < indents[-1]:
                indents.pop()
                seen.pop()
                path = path[:-1]
        own = seen[-1]
        if key in own or key in special or (path and len(own) == largest):
            return None
        own.add(key)
        entry = Entry((*path, key), value, here + start, here + end, number, here, line)
        if start == end:
            opened = entry
        elif isinstance(value, tuple) and len(value) > longest:
            return None
        else:
            found.append(entry)
    if opened is not None:
        found.append(opened)
    return found or None


class _Line(NamedTuple):
    """A key and its value, which stands from `start` to `end`; these are equal where there is none on the line."""

    indent: int
    key: str
    value: Scalar | tuple[Scalar, ...]
    start: int
    end: int


_BLANK = _Line(0, "", None, 0, 0)


@lru_cache(4096)
def _parsed(line: str) -> _Line | None:
    """None where the line is not plain. Kept, since runs of one program have the same lines."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    key = found[2]
    if key is None:
        return _BLANK
    for group, read in _READ:
        if found[group] is not None:
            return _Line(len(found[1]), key, read(found[group]), *found.span(group))
    return _Line(len(found[1]), key, None, 0, 0)


def _number(text: str) -> int | float:
    return float(text) if set(text) & {".", "e", "E"} else int(text)


def _word(text: str) -> Scalar:
    return _WORDS.get(text, text)


def _unquoted(text: str) -> str:
    return text[1:-1]


def _list(text: str) -> tuple[Scalar, ...]:
    return tuple(
        _unquoted(quoted) if quoted else _number(number) if number else _word(word)
        for quoted, number, word in _ITEMS.findall(text)
    )


_READ: tuple[tuple[int, Callable[[str], Scalar | tuple[Scalar, ...]]], ...] = (
    (3, _list), (4, _unquoted), (5, _number), (6, _word),
)  # fmt: skip
