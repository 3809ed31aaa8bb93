"""Whether the number at the end of a file that is still written is whole."""

from __future__ import annotations

from collections.abc import Iterable

COMPARED = 20
"""Numbers above the last one that are looked at."""
TAIL = 4096
"""Bytes before the end of a file that hold as many in most formats."""


def seems_cut(number: str, above: Iterable[str]) -> bool:
    """Whether a number has fewer digits behind its point, or in its exponent, than any of those above it.

    So `0.` of `0.0312`, which would be a loss of 0, and `1e-0` of `1e-05`. Numbers that are written in another way are
    not compared. What is no number is not asked about, and where nothing stands above, a number seems cut that ends
    with its point.
    """
    last = _digits(number)
    if last is None:
        return False
    # The cut may have taken the mark away.
    known = [found[1] for found in map(_digits, above) if found is not None and last[0] in ("", found[0])]
    return last[1] < min(known, default=int(number.endswith(".")))


def _digits(number: str) -> tuple[str, int] | None:
    """The mark that digits stand behind (a point, else the first comma, else an exponent's) and how many they are."""
    try:
        float(number.replace(",", ""))
    except ValueError:
        return None
    mark = next((mark for mark in ".,e" if mark in number), "")
    return mark, len(number.partition(mark)[2]) if mark else 0
