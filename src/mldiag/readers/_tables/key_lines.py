"""The lines of values in a JSON document, found when they are asked for, which is seldom."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property


class KeyLines(Sequence[int]):
    """The lines of the `count` values of a key in a trainer's state; the first stands in `line`.

    They are known where the key stands in the history as often as the series has values; else that line
    stands for each.
    """

    def __init__(self, text: str, key: str, count: int, line: int | None) -> None:
        self._text = text
        self._key = key
        self._count = count
        self._line = line

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        return self._lines[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._lines)

    def found(self) -> array[int] | None:
        """The lines; None where they are not known."""
        text = self._text
        needle = f'"{self._key}":'
        start = text.find('"log_history"')
        if start < 0 or text.count(needle, start) != self._count:
            return None
        lines = array("q")
        known, line, at = 0, 1, text.find(needle, start)
        while at >= 0:
            line += text.count("\n", known, at)
            lines.append(line)
            known, at = at, text.find(needle, at + 1)
        return lines

    @cached_property
    def _lines(self) -> Sequence[int]:
        found = self.found()
        if found is None:
            found = array("q", [self._line or 0]) * self._count
        return found
