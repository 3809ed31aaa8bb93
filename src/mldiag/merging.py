"""One series per quantity, wherever and however often a run wrote it down.

What several files of one folder hold of one run, session by session (event files, logs with a time in their name), is
joined in the order of time. What two files both hold is kept once: the better of the two, with the other as a further
place and as a source of axes that the kept one lacks. Where two files give different values of one quantity at the same
steps, beyond what the rounding of the less precise one explains, that is kept as a `Disagreement`. Series that merely
share a name (a batch's loss and an epoch's mean, other steps, other folders) contradict nothing: one is kept, the
others are passed over, and `mldiag inspect` lists them.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Disagreement, Series, Source
from mldiag.facts.curves import is_bounded_score
from mldiag.patterns import lazily
from mldiag.stats import LONG
from mldiag.vocabulary import normalized, series_name, unit_of

MIN_COMMON = 3
"""Points at the same places on the x axis that two series need before anything is said of them together: two epochs of
two different runs can agree, or differ, by chance."""

SAME_LENGTH = 0.95
"""Of series at least this share as long as the longest the most precise is kept, since a log that was cut by a kill, or
lacks the last evaluation, is not the worse source."""

FLOAT32 = 2.0**-22
"""Relative difference of a number that went through float32 and was computed with twice: event files store float32."""

MAX_COMPARED = 20_000
"""Points of a series that are compared with another; of a longer one, as many spread evenly over it."""

_SAMPLE = 200
_WRITTEN = lazily(r"(\d*)\.?(\d*)(?:e([+-]\d+))?")
# A session is told by a time in the name: a date, a Unix time, `Dec30_14-32-19`. `fold1`, `rank0`, `0.monitor.csv` are
# no sessions.
_TIME = lazily(r"\d{6,}(?:\.\d+)?|\d{4}([-_.T:])\d{1,2}(?:[-_.T:]\d{1,2})+|[A-Z][a-z]{2}\d{2}_\d{2}-\d{2}-\d{2}")
_NUMBER = lazily(r"\d+")
# What a log says of the machine is measured anew, or averaged otherwise, by each that writes it.
_MEASURED_APART = frozenset({"time", "times", "seconds", "sec", "eta", "memory", "mem", "speed", "fps", "throughput",
                             "s", "ms"})  # fmt: skip
_AVERAGES = frozenset({"avg", "average", "mean", "running", "smoothed", "smooth", "step", "batch", "epoch", "ema",
                       "best", "last", "final"})  # fmt: skip


class Merged(Struct, frozen=True):
    """The series of a run, where its files contradict each other, and what only shares its name with a series."""

    series: tuple[Series, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    passed_over: tuple[Series, ...] = ()


def merge(found: Iterable[Series]) -> Merged:
    """One series per canonical name."""
    groups: dict[str, list[Series]] = {}
    for series in found:
        name, said, bounded = _understood(series.name, series.raw_name)
        unit = series.unit or said or (_unit_of_score(series.data) if bounded else None)
        if series.name != name or series.unit != unit:
            series = replace(series, name=name, unit=unit)
        groups.setdefault(name, []).append(series)
    kept: list[Series] = []
    disagreements: list[Disagreement] = []
    passed_over: list[Series] = []
    for group in groups.values():
        left = _sessions_joined(group) if len(group) > 1 else group
        best, left, contradictions = _settled(left)
        kept.append(best)
        disagreements += contradictions
        while left:
            best, left, _ = _settled(left)
            passed_over.append(best)
    return Merged(tuple(kept), tuple(disagreements), tuple(passed_over))


@lru_cache(4096)
def _understood(name: str, raw_name: str) -> tuple[str, str | None, bool]:
    """Canonical name, the unit that the raw name says, and whether it is a score of at most 1 or 100 %."""
    name = name or series_name(raw_name)
    return name, unit_of(raw_name), is_bounded_score(name) and "loss" not in name.split("/")


def _unit_of_score(values: array[float]) -> str | None:
    lowest, highest = _range(values)
    if lowest < 0 or highest > 100:
        return None
    return "percent" if highest > 1.5 else "fraction" if highest <= 1 else None


def _range(values: array[float]) -> tuple[float, float]:
    """The least and the greatest number; an impossible range where there is none."""
    if len(values) < LONG:
        known = [v for v in values if not math.isnan(v)]
        return (min(known), max(known)) if known else (math.inf, math.inf)
    import numpy as np

    found = np.frombuffer(values)
    return float(np.fmin.reduce(found)), float(np.fmax.reduce(found))


def _sessions_joined(group: Sequence[Series]) -> list[Series]:
    """Of files that differ in the time in their path only, one series; the others as they are."""
    parts: dict[tuple[str, str, str] | int, list[Series]] = {}
    for number, series in enumerate(group):
        folder, _, file = series.source.path.rpartition("/")
        stem = "tfevents" if "tfevents" in file else _TIME.sub("#", file)
        place = _TIME.sub("#", folder)
        timed = (stem, place) != (file, folder)
        parts.setdefault((place, stem, series.raw_name) if timed else number, []).append(series)
    return [joined for sessions in parts.values() for joined in _joined(sessions)]


def _joined(sessions: list[Series]) -> list[Series]:
    kept = _without_copies(sessions)
    own, also = [s for s, _ in kept], [place for _, copies in kept for place in copies]
    axes = [axis for axis in ("step_data", "epoch_data", "time_data") if all(getattr(s, axis) is not None for s in own)]
    if len({s.source.path for s in own}) < len(own) or not axes:
        return [replace(s, also=(*s.also, *copies)) if copies else s for s, copies in kept]
    if len(own) > 1:
        own.sort(key=lambda s: _begins(s, timed="time_data" in axes))
    last = own[-1]
    if len(own) == 1:
        return [replace(last, also=(*last.also, *also)) if also else last]
    starts = [0, *accumulate(len(s) for s in own)]
    return [
        replace(
            last,
            data=_concatenated(s.data for s in own),
            nulls=tuple(start + i for start, s in zip(starts, own, strict=False) for i in s.nulls),
            lines=None,
            also=(*(s.source for s in own[:-1]), *also),
            **{
                axis: _concatenated(getattr(s, axis) for s in own) if axis in axes else None
                for axis in ("step_data", "epoch_data", "time_data")
            },
        )
    ]


def _without_copies(sessions: list[Series]) -> list[tuple[Series, tuple[Source, ...]]]:
    """Without those that another repeats from its first value on, which becomes one more place of the other."""
    kept: list[tuple[Series, tuple[Source, ...]]] = []
    for series in sorted(sessions, key=len, reverse=True):
        for number, (longer, copies) in enumerate(kept):
            if _begins_with(longer, series):
                kept[number] = (longer, (*copies, series.source))
                break
        else:
            kept.append((series, ()))
    return kept


def _begins_with(longer: Series, series: Series) -> bool:
    n = len(series)
    return (
        n > 0
        and longer.source.path != series.source.path
        and longer.data[0] == series.data[0]
        and longer.data[:n].tobytes() == series.data.tobytes()
        and (longer.step_data and longer.step_data[:n]) == series.step_data
        # A launch that was cut early repeats the learning rates of the next, but at other times.
        and (longer.time_data is None or series.time_data is None or longer.time_data[:n] == series.time_data)
    )


def _begins(series: Series, *, timed: bool) -> tuple[float, list[tuple[int, str]]]:
    """When a session began: by its first wall time, else by the numbers in the file's name."""
    times = series.time_data
    began = next((t for t in times if math.isfinite(t)), math.inf) if timed and times is not None else 0.0
    return began, [(int(n or 0), word) for word, n in re.findall(r"(\D*)(\d*)", series.source.path)]


def _concatenated(parts: Iterable[array[float]]) -> array[float]:
    whole = array("d")
    for part in parts:
        whole.extend(part)
    return whole


def _best(group: Sequence[Series]) -> Series:
    """The longest; of those that are nearly as long the most precise, then the one with most axes."""
    if len(group) == 1:
        return group[0]
    enough = SAME_LENGTH * max(map(len, group))
    near = [s for s in group if len(s) >= enough]
    return max(near, key=lambda s: (_digits(s), _axes(s), len(s)))


def _axes(series: Series) -> int:
    return sum(axis is not None for axis in (series.step_data, series.epoch_data, series.time_data))


def _settled(group: Sequence[Series]) -> tuple[Series, list[Series], list[Disagreement]]:
    """The best of a group with what the others add to it, those that are another quantity, and the contradictions."""
    best = chosen = _best(group)
    others: list[Series] = []
    disagreements: list[Disagreement] = []
    for other in group:
        if other is chosen:
            continue
        found = _compared(best, other)
        if isinstance(found, Disagreement):
            disagreements.append(found)
        elif found is None:
            others.append(other)
        else:
            best = found
    return best, others, disagreements


def _compared(kept: Series, other: Series) -> Series | Disagreement | None:
    """The kept series with what the other adds to it, how the two contradict each other, or None: another quantity."""
    if kept.data.tobytes() == other.data.tobytes():
        return _with_place(kept, other, one_to_one=True)
    near = _Near(kept, other)
    if _closes(kept, other, near):
        return _with_place(kept, other, one_to_one=False)
    pairs = _aligned(kept, other, near)
    differing = [(i, j) for i, j in pairs if not near(kept.data[i], other.data[j])]
    # What little there is of a short series all agrees, and it has the same name.
    repeats = 0 < len(pairs) == len(other) and normalized(kept.raw_name) == normalized(other.raw_name)
    if len(pairs) < MIN_COMMON and (differing or not repeats):
        return None
    if not differing:
        return _with_place(kept, other, one_to_one=len(pairs) == len(kept) == len(other) and _in_order(pairs))
    if not _contradicts(kept, other, len(differing), len(pairs)):
        return None
    i, j = differing[0]
    return Disagreement(
        name=kept.name,
        place=kept.place(i),
        kept=kept.data[i],
        other=other.data[j],
        kept_at=kept.at(i),
        other_at=other.at(j),
        points=len(differing),
        common=len(pairs),
    )


def _in_order(pairs: Iterable[tuple[int, int]]) -> bool:
    return all(i == j for i, j in pairs)


def _closes(kept: Series, other: Series, near: _Near) -> bool:
    """Whether the other is one value alone, as summaries hold it: the last, or exactly one of them, as the best is."""
    if len(other) != 1 or normalized(kept.raw_name) != normalized(other.raw_name):
        return False
    return near(kept.data[-1], other.data[0]) or other.data[0] in kept.data


def _with_place(kept: Series, other: Series, *, one_to_one: bool) -> Series:
    also = (*kept.also, other.source, *other.also)
    if not one_to_one:
        return replace(kept, also=also)
    return replace(
        kept,
        also=also,
        step_data=other.step_data if kept.step_data is None else kept.step_data,
        epoch_data=other.epoch_data if kept.epoch_data is None else kept.epoch_data,
        time_data=other.time_data if kept.time_data is None else kept.time_data,
    )


def _digits(series: Series) -> int:
    """The most significant digits that a source writes; beyond those of float32 they say nothing more."""
    return min(7, max((len(_written(v)[0]) for v in _sample(series)), default=0))


def _sample(series: Series) -> array[float]:
    return series.data[:: max(1, len(series) // _SAMPLE)]


def _written(value: float) -> tuple[str, int]:
    """The significant digits of a value at its shortest, and how many decimals that has."""
    found = _WRITTEN.fullmatch(repr(abs(value)))
    if found is None:  # NaN, infinite
        return "", 0
    whole, part, power = found.groups()
    part = part.rstrip("0")
    return (whole + part).strip("0"), len(part) - int(power or 0)


class _Rounding:
    """One unit of the last digit that a source writes, for values of each size.

    `%.4f` writes four decimals, `%.4g` four digits, and Keras' progress bar the one or the other as a value is large or
    small: so the decimals are counted for each power of ten.
    """

    def __init__(self, series: Series) -> None:
        self._units: dict[int, float] = {}
        for value in _sample(series):
            if value and math.isfinite(value):
                size, unit = _size(value), 10.0 ** -_written(value)[1]
                self._units[size] = min(unit, self._units.get(size, unit))
        self._coarsest = max(self._units.values(), default=0.0)

    def __call__(self, value: float) -> float:
        return self._units.get(_size(value), self._coarsest) if value else self._coarsest


def _size(value: float) -> int:
    return math.floor(math.log10(abs(value)))


class _Near:
    """Whether two values differ by no more than one unit of the last digit that either source writes.

    One, not half: some programs cut digits off instead of rounding. An accuracy in percent is compared with a fraction.
    """

    def __init__(self, kept: Series, other: Series) -> None:
        units = (kept.unit, other.unit)
        self._scale = 100.0 if units == ("percent", "fraction") else 0.01 if units == ("fraction", "percent") else 1.0
        self._own, self._others = _Rounding(kept), _Rounding(other)

    def __call__(self, kept: float, other: float) -> bool:
        scaled = other * self._scale
        if kept == scaled or (math.isnan(kept) and math.isnan(other)):
            return True
        apart = abs(kept - scaled)
        if not math.isfinite(apart):
            return False
        unit = max(self._own(kept), self._others(other) * self._scale, FLOAT32 * max(abs(kept), abs(scaled)))
        return apart <= 1.001 * unit


def _aligned(kept: Series, other: Series, near: _Near) -> list[tuple[int, int]]:
    """Positions in both series of the points that lie at the same place: by step, else by epoch, else by order.

    One source may count from 0 and the other from 1, or write the epoch with fewer digits.
    """
    n = min(len(kept), len(other))
    in_order = [(i, i) for i in range(0, n, -(-n // MAX_COMPARED) or 1)]
    agreed = _share(kept, other, in_order, near) == 1
    if agreed and len(kept) == len(other):
        return in_order
    axes = [(kept.step_data, other.step_data), (kept.epoch_data, other.epoch_data)]
    common = [(own, others) for own, others in axes if own is not None and others is not None]
    for own, others in common:
        for shift in (0, -1, 1):
            pairs = _at_same_place(kept, other, own, others, shift, near)
            share = _share(kept, other, pairs, near)
            if share == 1 or (shift == 0 and share >= 0.5):
                return pairs
    # Without a common axis only their agreement says that two points are of the same place.
    return in_order if agreed or (len(kept) == len(other) and not common) else []


def _at_same_place(
    kept: Series, other: Series, own: array[float], others: array[float], shift: int, near: _Near
) -> list[tuple[int, int]]:
    looked_at = range(0, len(others), -(-len(others) // MAX_COMPARED) or 1)
    there: dict[float, list[int]] = {round(others[j] + shift, 6): [] for j in looked_at}
    for i, place in enumerate(own):
        if (place := round(place, 6)) in there:
            there[place].append(i)
    often = Counter(x for x in others if round(x + shift, 6) in there)
    pairs = []
    for j in looked_at:
        candidates = there.get(round(others[j] + shift, 6), [])
        found = next((i for i in candidates if near(kept.data[i], other.data[j])), None)
        # A log of several launches has a step more than once. Which of its values is meant only their agreement says.
        if found is None and len(candidates) == 1 and often[others[j]] == 1:
            found = candidates[0]
        if found is not None:
            pairs.append((found, j))
    return pairs


def _share(kept: Series, other: Series, pairs: Sequence[tuple[int, int]], near: _Near) -> float:
    return sum(near(kept.data[i], other.data[j]) for i, j in pairs) / len(pairs) if pairs else 0.0


def _contradicts(kept: Series, other: Series, differing: int, common: int) -> bool:
    """Whether two series are one quantity of one run, of which at least one source is wrong.

    They are where at least half of their common points agree, so that the rest is no other way of averaging; not where
    the names say that they were averaged differently, or that the files are of two folds, processes or runs.
    """
    a, b = kept.source.path, other.source.path
    if differing > 0.5 * common or a == b or _NUMBER.sub("#", a) == _NUMBER.sub("#", b):
        return False
    (folder_a, _, file_a), (folder_b, _, file_b) = a.rpartition("/"), b.rpartition("/")
    if folder_a != folder_b and file_a == file_b:
        return False
    words, others = (set(normalized(s.raw_name).split("_")) for s in (kept, other))
    return words & _AVERAGES == others & _AVERAGES and not (words | others) & _MEASURED_APART
