"""The x axes of logged rows: which of them a series has, by the rows it stands in. For long ones with numpy."""

from __future__ import annotations

import itertools
import math
from array import array
from collections import Counter, defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Rows = array[int] | range | memoryview
    Values = array[float] | memoryview
    _Picked = tuple[array[float] | None, array[float] | None, array[float] | None, array[int] | None]

# Positions that are taken in one call, which is twice as fast and has an argument for each.
_AT_ONCE = 1_000
_NUMBERS = frozenset({int, float})

WIDE = 100_000
"""Values from which on numpy is faster although it must be imported: a tenth of a second against 1 µs a value."""


def plain_columns(rows: Sequence[Mapping[str, object]]) -> dict[str, tuple[Rows, Values]] | None:
    """Key → rows and values of its cells, where all are numbers; None where some are anything else.

    Rows of the same keys in the same order, as one line of code logs them, are turned into columns together.
    """
    alike = defaultdict[tuple[str, ...], list[int]](list)
    for at, keys in enumerate(map(tuple, rows)):
        alike[keys].append(at)
    held = Counter(itertools.chain.from_iterable(alike))
    columns: dict[str, tuple[Rows, Values]] = {}
    try:
        for keys, places in alike.items():
            members: Sequence[Any] = rows if len(alike) == 1 else [rows[at] for at in places]
            cells = list(itertools.chain.from_iterable(map(dict.values, members)))
            if not set(map(type, cells)) <= _NUMBERS:
                return None
            row_by_row = array("d", cells)
            where: Rows = range(len(rows)) if len(alike) == 1 else array("q", places)
            for nth, key in enumerate(keys):
                if held[key] == 1:
                    columns[key] = where, row_by_row[nth :: len(keys)]
                elif key in columns:
                    continue
                elif held[key] == len(alike):
                    columns[key] = range(len(rows)), array("d", [row[key] for row in rows])  # type: ignore[misc]
                else:
                    some = array("q", (at for at, row in enumerate(rows) if key in row))
                    columns[key] = some, array("d", [rows[at][key] for at in some])  # type: ignore[misc]
    except (TypeError, OverflowError):  # a text in a row of other keys; an integer that no float holds
        return None
    return columns


class Axes:
    """The x axes and lines of series by the rows they stand in; those of the same rows are the same arrays."""

    def __init__(
        self,
        candidates: tuple[list[array[float]], list[array[float]], list[array[float]]],
        lines: array[int] | None,
        count: int,
    ) -> None:
        self._candidates = candidates
        self._lines = lines
        self._count = count
        self._known: list[tuple[Rows, _Picked]] = []

    def at(self, rows: Rows) -> _Picked:
        """Steps, epochs, times and lines, each None where not every row has one."""
        known = next((p for r, p in self._known if len(r) == len(rows) and _same(r, rows)), None)
        if known is None:
            counters, *others = self._candidates
            steps = _steps(counters, rows, self._count)
            epochs, times = (_picked(c, rows, self._count) for c in others)
            lines = self._lines
            if lines is not None and len(rows) != self._count:
                lines = _taken(lines, rows)
            known = steps, epochs, times, lines
            self._known.append((rows, known))
        return known


def _same(a: Rows, b: Rows) -> bool:
    if isinstance(a, range) or isinstance(b, range):
        return isinstance(a, range) and isinstance(b, range) and a == b
    return memoryview(a).cast("B") == memoryview(b).cast("B")


def _picked(candidates: list[array[float]], rows: Rows, count: int) -> array[float] | None:
    for candidate in candidates:
        own = candidate if len(rows) == count else _taken(candidate, rows)
        if not _has_nan(own):
            return own
    return None


def _steps(candidates: list[array[float]], rows: Rows, count: int) -> array[float] | None:
    """The first candidate that every row has and that moves; one that stands still, where there is no other.

    One that stands still below the steps of the rows between counts something else there: OpenMMLab writes as `iter` of
    a validation how many batches it has. Then the step of the row before holds.
    """
    still: array[float] | None = None
    for candidate in candidates:
        own = candidate if len(rows) == count else _taken(candidate, rows)
        if not len(own) or _has_nan(own):
            continue
        if len(own) == 1 or own[0] != own[-1] or own.count(own[0]) < len(own):
            return own
        still = still or _reached(candidate, rows, own) or own
    return still


def _reached(steps: array[float], rows: Rows, own: array[float]) -> array[float] | None:
    """The steps of the rows before those given, where they went beyond the step that these name; None elsewhere."""
    if len(rows) == len(steps):
        return None
    reached, last, before = array("d"), own[0], 0
    for row in rows:
        last = next((s for s in reversed(steps[before:row]) if not math.isnan(s)), last)
        before = row + 1
        reached.append(last)
    return reached if reached[-1] > own[-1] and reached[0] != reached[-1] else None


def _taken(values: array[Any], rows: Rows) -> array[Any]:
    if isinstance(rows, range):
        return values[rows.start : rows.stop]
    if 1 < len(rows) <= _AT_ONCE:
        return array(values.typecode, itemgetter(*rows)(values))
    if len(rows) < WIDE:
        return array(values.typecode, map(values.__getitem__, rows))
    import numpy as np

    taken = array(values.typecode)
    taken.frombytes(np.frombuffer(values, values.typecode).take(np.frombuffer(rows, np.int64)).data.cast("B"))
    return taken


def _has_nan(values: array[float]) -> bool:
    if len(values) < WIDE:
        # The sum of infinities can be NaN, too.
        return math.isnan(sum(values)) and any(map(math.isnan, values))
    import numpy as np

    return bool(np.isnan(np.frombuffer(values)).any())


def never_falls(values: array[float]) -> bool:
    """Whether no value is below the one before it; NaN is passed over."""
    if len(values) >= WIDE:
        import numpy as np

        wide = np.frombuffer(values)
        wide = wide[~np.isnan(wide)]
        return bool((wide[:-1] <= wide[1:]).all())
    known = [v for v in values if not math.isnan(v)]
    return all(a <= b for a, b in itertools.pairwise(known))


def restarts(steps: array[float], epochs: array[float]) -> bool:
    """Whether the step falls back at every rise of the epoch and nowhere else."""
    if len(steps) >= WIDE:
        import numpy as np

        wide_steps, wide_epochs = np.frombuffer(steps), np.frombuffer(epochs)
        known = ~(np.isnan(wide_steps) | np.isnan(wide_epochs))
        if not known.all():
            wide_steps, wide_epochs = wide_steps[known], wide_epochs[known]
        fallen = wide_steps[1:] < wide_steps[:-1]
        return bool(fallen.any()) and bool((fallen == (wide_epochs[1:] > wide_epochs[:-1])).all())
    if not _has_nan(steps) and steps.tolist() == sorted(steps):
        return False
    both = [(s, e) for s, e in zip(steps, epochs, strict=True) if not (math.isnan(s) or math.isnan(e))]
    falls = [b[0] < a[0] for a, b in itertools.pairwise(both)]
    rises = [b[1] > a[1] for a, b in itertools.pairwise(both)]
    return any(falls) and falls == rises
