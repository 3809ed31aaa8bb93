"""Runs side by side: what is kept of each for rules that compare several.

An audit reads one run at a time and lets it go. What a comparison needs is little: which settings took effect, and
where each series began, ended and lay at its best.
"""

from __future__ import annotations

import math
import os.path
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Collection, Series, SettingValue, Source, as_number
from mldiag.expectations import Reference

if TYPE_CHECKING:
    from mldiag.run import Run

TAIL = 16
"""Last values of a series from which its noise is estimated, at most; of short ones the second half."""
HEAD = 32
"""First values of a series that are kept, by which the chance of equal ones is judged."""
_OF_THE_RUN = ("lr", "grad_norm", "tokens", "system", "epoch", "step", "time")


class Result(Struct, frozen=True):
    """What a series came to; values that are no number are left out.

    Attributes:
        name: canonical name.
        count: values. `first`, `last`, `lowest`, `highest`: of them.
        distinct: how many different values there are, counted up to 100.
        noise: standard deviation of a single value around the local level at the end; None for fewer than 5.
        digest: the same for two series of exactly the same values, in one process.
        source: the place of the last value.
        head: the first values.
        times: the same for two series that were written at exactly the same times; None where they have none.
    """

    name: str
    count: int
    first: float
    last: float
    lowest: float
    highest: float
    distinct: int
    noise: float | None
    digest: int
    source: Source
    head: tuple[float, ...] = ()
    times: int | None = None


class Member(Struct, frozen=True, dict=True):
    """One run of a group.

    Attributes:
        path: as the user named it, or as it was found below that. `name`: of the run.
        root: its folder.
        results: by canonical name, losses and scores only: what was measured, not how fast.
        settings: by canonical name, the values that took effect.
        references: figures that its results may be held against, without those of `--against`.
        program: path of the launched source in the run; empty where none was found.
    """

    path: str
    name: str
    root: Path
    results: Mapping[str, Result]
    settings: Mapping[str, SettingValue]
    references: tuple[Reference, ...] = ()
    program: str = ""

    def seen_from(self, folder: Path) -> Member:
        """The same with places relative to another folder, such as that of the group."""
        prefix = Path(os.path.relpath(self.root, folder)).as_posix()

        def moved(source: Source) -> Source:
            return replace(source, path=posixpath.normpath(posixpath.join(prefix, source.path)))

        return replace(
            self,
            results={n: replace(r, source=moved(r.source)) for n, r in self.results.items()},
            settings={n: replace(s, source=moved(s.source)) for n, s in self.settings.items()},
            references=tuple(replace(r, source=moved(r.source)) for r in self.references),
        )


class Group(Struct, frozen=True, dict=True):
    """The runs of one audit, at least two with the one they are held against.

    All places are relative to the folder around them.

    Attributes:
        against: the run that the others are held against (`--against`), if one was named.
    """

    members: tuple[Member, ...]
    against: Member | None = None

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def common(self) -> tuple[str, ...]:
        """Series that at least two members have."""
        counts: dict[str, int] = {}
        for member in self.members:
            for name in member.results:
                counts[name] = counts.get(name, 0) + 1
        return tuple(sorted(name for name, count in counts.items() if count > 1))

    def differing(self, members: Iterable[Member]) -> dict[str, tuple[SettingValue | None, ...]]:
        """The settings in which members differ, with the value of each; None where a member does not state it."""
        chosen = tuple(members)
        names = dict.fromkeys(name for member in chosen for name in member.settings)
        found = {name: tuple(member.settings.get(name) for member in chosen) for name in names}
        return {
            name: values
            for name, values in found.items()
            if len({_comparable(v.value) if v else None for v in values}) > 1
        }


class Against(Collection, frozen=True):
    """The run that results are held against: one `Member`."""

    of = Member
    called = "baseline run (--against)"

    items: tuple[Member, ...] = ()


def member_of(run: Run) -> Member:
    """What is kept of a run."""
    results = {}
    for series in run.metrics:
        if _measures(series):
            found = _result(series)
            if found is not None:
                results[series.name] = found
    effective = {name: run.settings.effective(name) for name in run.settings.by_name}
    return Member(
        run.path,
        run.name,
        run.root.resolve(),
        results,
        {name: value for name, value in effective.items() if value is not None},
        _references(run),
        run.program.main.path if run.program.main else "",
    )


def _references(run: Run) -> tuple[Reference, ...]:
    from mldiag.facts.reference_values import stated_references

    return stated_references(run.artifacts.get(Reference, ()), run.settings)


def _measures(series: Series) -> bool:
    """Whether a series says how good the model is, so that equal values of two runs mean something."""
    from mldiag.quantities import is_whole_score

    name = series.name
    if name.partition("/")[0] in _OF_THE_RUN or series.unit in ("s", "ms", "MB", "MiB", "GB"):
        return False
    return "loss" in name.rpartition("/")[2] or "/loss/" in name or is_whole_score(name) or name.endswith("/error")


def _result(series: Series) -> Result | None:
    from mldiag.stats import noise

    values: Sequence[float] = series.data
    at = len(values) - 1
    if not values or not math.isfinite(sum(values)):
        kept = [i for i, v in enumerate(series.data) if math.isfinite(v)]
        if not kept:
            return None
        values, at = [series.data[i] for i in kept], kept[-1]
    tail = values[-min(max(len(values) // 2, 5), TAIL) :]
    return Result(
        series.name,
        len(values),
        values[0],
        values[-1],
        min(values),
        max(values),
        len(set(values[:100])),
        noise(tail) if len(tail) >= 5 else None,
        hash(series.data.tobytes()),
        series.at(at),
        tuple(values[:HEAD]),
        hash(series.time_data.tobytes()) if series.time_data is not None else None,
    )


def _comparable(value: object) -> object:
    """Equal for `1`, `1.0` and, where YAML called a number a text, `"1"`."""
    number = as_number(value)
    return value if number is None else number


def common_folder(members: Sequence[Member]) -> tuple[Path, str]:
    """The folder around all members, and how the user would name it."""
    folder = Path(os.path.commonpath([m.root for m in members]))
    try:
        label = os.path.commonpath([m.path for m in members])
    except ValueError:  # absolute and relative paths were given
        label = str(folder)
    return folder, label or "."
