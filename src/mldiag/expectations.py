"""What a project expects of a run, and what others published: figures that its results are held against."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Collection, Source
from mldiag.errors import SettingsError, nearest

_KEYS = {
    "expect": ("metric", "at", "below", "above", "gap", "runs"),
    "reference": ("metric", "value", "by", "runs"),
}


class Moment(StrEnum):
    """Which value of a series a figure is about."""

    LAST = "last"
    BEST = "best"
    FIRST = "first"


class Expectation(Struct, frozen=True):
    """An acceptance target of the project's configuration.

    Attributes:
        metric: canonical name of the series, or of the validation series for a gap (`val/loss`).
        source: the configuration and the metric in it.
        at: which value counts; of a gap it is always the last level.
        below, above: the value must be lower, or higher, than this; in the unit of the series.
        gap_below: validation minus train level at the end (train minus validation for a score) must be lower.
    """

    metric: str
    source: Source
    at: Moment = Moment.LAST
    below: float | None = None
    above: float | None = None
    gap_below: float | None = None

    def beside(self, highest: float) -> Expectation:
        """With limits as a series counts whose highest value this is: 93 beside 0.95 is percent."""
        return replace(
            self,
            below=_beside(self.below, self.metric, highest),
            above=_beside(self.above, self.metric, highest),
        )


class Expectations(Collection, frozen=True):
    """The acceptance targets that hold for a run."""

    of = Expectation
    called = "expectations ([[tool.mldiag.expect]])"

    items: tuple[Expectation, ...] = ()


class Reference(Struct, frozen=True):
    """A figure that was published or reached before.

    Attributes:
        metric: canonical name of the series. `value`: in its unit.
        source: where it is stated.
        by: who reached it (a paper and its table, a run), for messages; may be empty.
    """

    metric: str
    value: float
    source: Source
    by: str = ""

    def beside(self, highest: float) -> Reference:
        """With its value as a series counts whose highest value this is: 93 beside 0.95 is percent."""
        value = _beside(self.value, self.metric, highest)
        if value is None or value == self.value:
            return self
        stated = f"stated as {self.value:.4g}"
        return replace(self, value=value, by=f"{self.by}, {stated}" if self.by else stated)


class References(Collection, frozen=True):
    """The figures that a run's results may be held against."""

    of = Reference
    called = "reference values ([[tool.mldiag.reference]], or a setting such as published_accuracy)"

    items: tuple[Reference, ...] = ()


class Stated(Struct, frozen=True):
    """An expectation or reference with the globs of the runs that it holds for; none means all."""

    figure: Expectation | Reference
    runs: tuple[str, ...] = ()


def _beside(figure: float | None, metric: str, highest: float) -> float | None:
    """A figure of a score that 1 or 100 % is the best of, in the unit of a series of it."""
    from mldiag.quantities import is_capped

    if figure is None or not is_capped(metric):
        return figure
    if 1.5 < figure <= 100 and highest <= 1:
        return figure / 100
    return figure * 100 if 0 < figure <= 1 and 1.5 < highest <= 100 else figure


def stated(path: Path, table: Mapping[str, Any], text: str) -> Iterator[Stated]:
    """The figures of a configuration: `[[expect]]` and `[[reference]]`.

    Args:
        path: the configuration, for messages. `text`: its content, for the lines of its tables.

    Raises:
        SettingsError: an unknown key, or a missing or unusable value.
    """
    for name, keys in _KEYS.items():
        entries = table.get(name, [])
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise SettingsError(f"{path}: {name} is {entries!r}; expected tables, [[{name}]]")
        lines = _lines_of(name, text)
        for number, entry in enumerate(entries):
            unknown = next((k for k in entry if k not in keys), None)
            if unknown is not None:
                hint = nearest(unknown, keys) or f"; known: {', '.join(keys)}"
                raise SettingsError(f"{path}: unknown key {unknown!r} in [[{name}]]{hint}")
            metric = entry.get("metric")
            if not isinstance(metric, str) or not metric:
                raise SettingsError(f"{path}: [[{name}]] {number + 1} names no metric; expected one such as val/loss")
            runs = entry.get("runs", [])
            runs = [runs] if isinstance(runs, str) else runs
            if not isinstance(runs, list) or not all(isinstance(r, str) for r in runs):
                raise SettingsError(f"{path}: runs of {metric} is {runs!r}; expected globs")
            source = Source(path.name, lines[number] if number < len(lines) else None, key=metric)
            build = _expectation if name == "expect" else _reference
            yield Stated(build(path, metric, entry, source), tuple(runs))


def _lines_of(name: str, text: str) -> list[int]:
    """The 1-based lines of the tables' headers, in the order of the file."""
    headers = {f"[[{name}]]", f"[[tool.mldiag.{name}]]"}
    return [n for n, line in enumerate(text.splitlines(), 1) if line.partition("#")[0].strip() in headers]


def _expectation(path: Path, metric: str, entry: Mapping[str, Any], source: Source) -> Expectation:
    at, gap = entry.get("at", "last"), entry.get("gap", {})
    if at not in (*Moment,):
        raise SettingsError(f"{path}: at of {metric} is {at!r}; expected {', '.join(Moment)}")
    if not isinstance(gap, dict) or (gap and set(gap) != {"below"}):
        raise SettingsError(f"{path}: gap of {metric} is {gap!r}; expected a limit, gap = {{below = 0.5}}")
    below, above = _number(path, metric, entry, "below"), _number(path, metric, entry, "above")
    gap_below = _number(path, metric, gap, "below")
    if below is None and above is None and gap_below is None:
        raise SettingsError(f"{path}: nothing is expected of {metric}; expected below, above or gap")
    if below is not None and above is not None and below <= above:
        raise SettingsError(f"{path}: {metric} cannot be below {below:g} and above {above:g}")
    return Expectation(metric, source, Moment(at), below, above, gap_below)


def _reference(path: Path, metric: str, entry: Mapping[str, Any], source: Source) -> Reference:
    value, by = _number(path, metric, entry, "value"), entry.get("by", "")
    if value is None:
        raise SettingsError(f"{path}: the reference of {metric} has no value; expected a number")
    if not isinstance(by, str):
        raise SettingsError(f"{path}: by of {metric} is {by!r}; expected a text")
    return Reference(metric, value, source, by)


def _number(path: Path, metric: str, entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingsError(f"{path}: {key} of {metric} is {value!r}; expected a number")
    return float(value)
