"""Runs made of settings and series that a test states, with the core's own facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mldiag.artifacts import Metrics, Program, Role, Scalar, Series, Settings, SettingValue, Source, floats
from mldiag.facts import Fact
from mldiag.parts import facts_in
from mldiag.run import Run

FACTS: dict[type, Fact] = {f.type: f for f in facts_in("mldiag.facts")}


def run(*series: Series, program: Program | None = None, role: Role = Role.FILE, **settings: Scalar) -> Run:
    """A run with these settings, all of one role, and these series."""
    found = tuple(value(name, stated, role) for name, stated in settings.items())
    return with_settings(*found, series=series, program=program)


def with_settings(*found: SettingValue, series: Sequence[Series] = (), program: Program | None = None) -> Run:
    return Run(
        Path(),
        ".",
        metrics=Metrics(tuple(series)),
        settings=Settings(found),
        program=program or Program(),
        facts=FACTS,
    )


def value(name: str, stated: Scalar, role: Role = Role.FILE, *, key: str = "", record: bool = False) -> SettingValue:
    return SettingValue(name, stated, role, Source("config.json", key=key or name), record=record)


def series(name: str, values: Sequence[float], **columns: Sequence[float]) -> Series:
    """A series with `steps`, `epochs` and `times` where given."""
    data: Mapping[str, Sequence[float]] = columns
    return Series(
        name,
        name,
        floats(values),
        Source("log.jsonl"),
        *(floats(data[c]) if c in data else None for c in ("steps", "epochs", "times")),
    )
