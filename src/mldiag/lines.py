"""The lines of a text: where each begins, and in which a character stands.

Most texts are asked for a few places only, mostly in their order. So lines are counted from the last place on, and the
starts of all are kept once that has cost as much.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

_PASSES = 8
"""Texts' lengths that may be passed over before the starts of all lines are kept, which costs about five passes."""


class Lines:
    """Lines by 1-based number; a line feed ends one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted = (0, 1)
        self._passed = 0
        self._excerpt = (-1, "")

    def beginning(self, start: int) -> str:
        """The line that begins at an index, without its end; all places in one line share its text."""
        if self._excerpt[0] != start:
            end = self._text.find("\n", start)
            self._excerpt = start, self._text[start : len(self._text) if end < 0 else end].rstrip("\r\n")
        return self._excerpt[1]

    def start(self, number: int) -> int | None:
        """The index at which a line begins; None behind the last."""
        if self._is_indexed:
            return self._starts[number - 1] if number <= len(self._starts) else None
        start, at = self._counted if self._counted[1] <= number else (0, 1)
        begun = start
        while at < number and (end := self._text.find("\n", start)) >= 0:
            start, at = end + 1, at + 1
        self._counted = start, at
        self._passed += start - begun
        return start if at == number else None

    def at(self, index: int) -> tuple[int, int]:
        """Number and beginning of the line in which a character stands."""
        if self._is_indexed:
            number = bisect_right(self._starts, index)
            return number, self._starts[number - 1]
        begun, number = self._counted if self._counted[0] <= index else (0, 1)
        start = self._text.rfind("\n", begun, index) + 1 or begun
        number += self._text.count("\n", begun, start)
        self._counted = start, number
        self._passed += index - begun
        return number, start

    @cached_property
    def _starts(self) -> list[int]:
        starts, at = [0], self._text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self._text.find("\n", at + 1)
        return starts

    @property
    def _is_indexed(self) -> bool:
        """Whether the starts of all lines are kept, or so many places were asked for that they should be."""
        return "_starts" in self.__dict__ or self._passed > _PASSES * len(self._text)
