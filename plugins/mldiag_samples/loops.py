"""Periodic stretches of a text, in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from msgspec import Struct

_STEPS = 4
"""Items that are compared one by one to follow stretches, for each item there is: a bound on time."""


class Loop(Struct, frozen=True):
    """The stretch `[start, end)` of a sequence repeats itself every `period` items."""

    start: int
    end: int
    period: int

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def repeats(self) -> float:
        return self.length / self.period


def loops(items: Sequence[Hashable], window: int, *, repeats: int, least: int) -> list[Loop]:
    """The stretches of a sequence that repeat with a constant period.

    Each window of items looks for its own last occurrence; in a loop that distance is the period, for every window but
    those that the period holds twice. A stretch of windows with one distance is followed to both sides as far as the
    items repeat at it, so that such a loop is seen whole too. One pass, so a megabyte takes a second.

    Args:
        items: characters of a string, or a tuple of words.
        window: items compared at once.
        repeats: fewer repeats of the period are no loop.
        least: fewer items are no loop.
    """
    last: dict[Hashable, int] = {}
    found: list[Loop] = []
    reached: dict[int, int] = {}
    steps = _STEPS * len(items)
    for begin, end, period in _stretches(items, window, last):
        if end <= reached.get(period, 0):
            continue  # within one that was followed
        lowest = max(period, reached.get(period, 0))
        start, stop = begin, end
        while start > lowest and items[start - 1] == items[start - 1 - period] and steps:
            start -= 1
            steps -= 1
        while stop < len(items) and items[stop] == items[stop - period] and steps:
            stop += 1
            steps -= 1
        reached[period] = stop
        loop = Loop(start - period, stop, period)
        if loop.length >= max(repeats * period, least):
            found.append(loop)
    return found


def _stretches(items: Sequence[Hashable], window: int, last: dict[Hashable, int]) -> Iterator[tuple[int, int, int]]:
    """Maximal `(begin, end, distance)`, in which every window occurred before at that distance."""
    begin = distance = 0
    count = len(items) - window + 1
    for i in range(count):
        key = items[i : i + window]
        here = i - last.get(key, i)
        last[key] = i
        if here != distance:
            if distance:
                yield begin, i - 1 + window, distance
            begin, distance = i, here
    if distance:
        yield begin, count - 1 + window, distance


def covered(found: Sequence[Loop]) -> int:
    """How many items lie in any of the loops."""
    total = reached = 0
    for loop in sorted(found, key=lambda lo: lo.start):
        begin = max(loop.start, reached)
        if loop.end > begin:
            total += loop.end - begin
            reached = loop.end
    return total
