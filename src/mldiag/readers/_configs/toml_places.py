"""Where the values of a TOML document stand in its text."""

from __future__ import annotations

import re
from typing import NamedTuple

from mldiag.patterns import lazily
from mldiag.toml import loads

Keys = tuple[str, ...]

_GAP = lazily(r"[ \t]*")
_SPACE = lazily(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_PART = lazily(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_REST = lazily(r"[ \t]*(?:#[^\r\n]*)?(?=\r?\n|$)")
# Texts over several lines come before those on one, of which they begin like an empty one.
_SCALAR = lazily(
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\d{4}-\d\d-\d\d \d\d:[^,\]}\s#]+"
    r"|[^,\[\]{}\s#=\"']+"
)


class Place(NamedTuple):
    """The characters `[start, end)` of a value, and where a further key of its table goes.

    `behind` is None where none can be inserted; `form` is the text, with `{key}` and `{value}` in it.
    """

    start: int
    end: int
    behind: int | None
    form: str


def places(text: str) -> dict[Keys, Place]:
    """The place of every value of a valid document, by its path of keys; not of what stands in lists of tables."""
    scan = _Scan(text)
    scan.document()
    return scan.found


class _Scan:
    """One pass over a valid document; what it does not understand ends it, with the places up to there."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        self._lists: set[Keys] = set()
        self.found: dict[Keys, Place] = {}

    def document(self) -> None:
        table: Keys | None = ()
        text, length = self._text, len(self._text)
        while self._skip(_SPACE) < length:
            if text[self._at] == "[":
                several = text.startswith("[[", self._at)
                self._at += 1 + several
                table = self._keys()
                if table is None or not text.startswith("]", self._at):
                    return
                self._at += 1 + several
                if several:
                    self._lists.add(table)
                # A table below a list of tables belongs to one of several.
                inside = any(table[:n] in self._lists for n in range(1, len(table) + 1))
                table = None if inside else table
            elif not self._pair(table, inline=False):
                return

    def _pair(self, table: Keys | None, *, inline: bool) -> bool:
        """Notes a key and its value; False where it is none."""
        text, begun = self._text, self._at
        keys = self._keys()
        if keys is None or not text.startswith("=", self._at):
            return False
        written = text[begun : self._at].rstrip()
        self._at += 1
        start = self._skip(_GAP)
        path = None if table is None else (*table, *keys)
        if not self._value(path):
            return False
        if path is not None:
            self.found[path] = self._place(written, begun, start, inline=inline)
        return True

    def _place(self, written: str, begun: int, start: int, *, inline: bool) -> Place:
        text, end = self._text, self._at
        head, dot, last = written.rpartition(".")
        equals = " = " if text[start - 1] == " " else "="
        form = f"{head}{dot}{{key}}{equals}{{value}}"
        if '"' in written or "'" in written:
            return Place(start, end, None, "")
        if inline:
            return Place(start, end, end, f", {form}")
        indent = text[text.rfind("\n", 0, begun) + 1 : begun]
        rest = _REST.match(text, end)
        if rest is None or not last or indent.strip(" \t"):
            return Place(start, end, None, "")
        return Place(start, end, rest.end(), f"{self._line_end}{indent}{form}")

    def _keys(self) -> Keys | None:
        keys = []
        while True:
            self._skip(_GAP)
            part = _PART.match(self._text, self._at)
            if part is None:
                return None
            keys.append(_meant(part[0]))
            self._at = part.end()
            self._skip(_GAP)
            if not self._text.startswith(".", self._at):
                return tuple(keys)
            self._at += 1

    def _value(self, path: Keys | None) -> bool:
        text = self._text
        if text.startswith("[", self._at):
            return self._several("]", None)
        if text.startswith("{", self._at):
            return self._several("}", path)
        scalar = _SCALAR.match(text, self._at)
        if scalar is None:
            return False
        self._at = scalar.end()
        return True

    def _several(self, close: str, path: Keys | None) -> bool:
        """A list, or a table on one line."""
        self._at += 1
        text = self._text
        while self._skip(_SPACE) < len(text):
            if text[self._at] == close:
                self._at += 1
                return True
            if text[self._at] == ",":
                self._at += 1
            elif not (self._value(None) if close == "]" else self._pair(path, inline=True)):
                return False
        return False

    def _skip(self, pattern: re.Pattern[str]) -> int:
        gap = pattern.match(self._text, self._at)
        self._at = gap.end() if gap else self._at
        return self._at


def _meant(key: str) -> str:
    """A key without its quotes."""
    if key[0] == "'" or (key[0] == '"' and "\\" not in key):
        return key[1:-1]
    return next(iter(loads(f"{key} = 0"))) if key[0] == '"' else key
