"""`mldiag inspect`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldiag.cli import complain, paths_argument, stage_option
from mldiag.errors import BROKEN

if TYPE_CHECKING:
    from mldiag.artifacts import Launch, PythonSource, Series
    from mldiag.run import Run
    from mldiag.terminal import Page, Part

_FEW = 12
"""Members of a fact's sequence that are listed; of a longer one only the length is told."""
_DEEPEST = 3
"""Levels of nested values in a fact that are followed."""


@click.command()
@paths_argument
@stage_option
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Output format.")
def command(paths: tuple[Path, ...], stage: str, format_: str) -> int:
    """Shows what was read at PATH, from where, and what could not be.

    Files and their readers, series, every value of every setting and which of them takes effect, launches, sources,
    samples, and the facts that rules work with, or why they are missing.
    """
    from mldiag.audit import Request, read_runs
    from mldiag.plugins import load
    from mldiag.terminal import Page, Screen, write

    plugins = load()
    problems = list(plugins.broken)
    runs = [described(run) for run in read_runs(Request(paths, pre=stage == "pre"), plugins, problems)]
    if format_ == "json":
        from mldiag.reporters.json import SCHEMA, document

        write(document({"schema": SCHEMA, "runs": runs, "problems": problems}))
    else:
        page = Page(Screen.of(sys.stdout))
        for run in runs:
            _show(page, run)
        write(page.text())
    for line in problems:
        complain(line)
    unread = any(u["known"] for run in runs for u in run["unread"])
    return BROKEN if problems or unread or not runs else 0


def described(run: Run) -> dict[str, Any]:
    """Everything that was read of a run, as plain data."""
    from mldiag.reporters.json import unread

    launches = [launch for launch in (run.program.launch, *run.program.other_launches) if launch]
    return {
        "path": run.path,
        "name": run.name,
        "files": [{"path": path, "reader": reader} for path, reader in run.files.items()],
        "unread": [unread(u) for u in run.unread],
        "series": [_series(series) for series in run.metrics],
        "settings": list(_settings(run)),
        "launches": [_launch(launch, launch is run.program.launch) for launch in launches],
        "sources": [_source(source, source is run.program.main) for source in run.program.sources],
        "samples": {"count": len(run.samples), "prompted": sum(s.prompt is not None for s in run.samples)},
        "facts": list(_facts(run)),
    }


def _series(series: Series) -> dict[str, Any]:
    from mldiag.reporters.json import at

    some = len(series) > 0
    return {
        "name": series.name,
        "raw_name": series.raw_name,
        "points": len(series),
        "first": series.data[0] if some else None,
        "last": series.data[-1] if some else None,
        "from": series.place(0) if some else None,
        "to": series.place(-1) if some else None,
        "at": at(series.source),
    }


def _settings(run: Run) -> Iterator[dict[str, Any]]:
    from mldiag.reporters.json import at

    for name in sorted(run.settings.by_name):
        effective = run.settings.effective(name)
        for value in run.settings.all(name):
            yield {
                "name": name,
                "value": value.value,
                "role": value.role.value,
                "effective": value is effective,
                "record": value.record,
                "shared_by": value.shared_by,
                "ambiguous": run.settings.ambiguous.get(name),
                "at": at(value.source),
            }


def _launch(launch: Launch, stands: bool) -> dict[str, Any]:
    from mldiag.reporters.json import at

    flags = [{"name": f.name, "value": f.value, "at": at(f.source)} for f in launch.flags]
    return {
        "program": launch.program,
        "launcher": launch.launcher,
        "main": stands,
        "flags": flags,
        "positionals": launch.positionals,
        "at": at(launch.source),
    }


def _source(source: PythonSource, main: bool) -> dict[str, Any]:
    from mldiag.reporters.json import at

    builds = [
        {"name": b.name, "value": b.value, "option": b.option, "uses_default": b.uses_default, "at": at(b.source)}
        for b in source.builds
    ]
    return {
        "path": source.path,
        "main": main,
        "options": len(source.options),
        "closed": source.closed,
        "builds": builds,
    }


def _facts(run: Run) -> Iterator[dict[str, Any]]:
    from mldiag.errors import NotApplicable

    for kind in sorted(run.facts, key=lambda k: k.__name__):
        try:
            yield {"name": kind.__name__, "missing": None, "value": _plain(run.get(kind))}
        except NotApplicable as reason:
            yield {"name": kind.__name__, "missing": str(reason), "value": None}


def _plain(value: Any, depth: int = 0) -> Any:
    """A fact's value as plain data: places and series by name, long sequences by their length."""
    from collections.abc import Mapping, Set
    from enum import Enum

    from msgspec import Struct

    from mldiag.artifacts import Metrics, PythonSource, Series, SettingValue, Source

    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Source):
        return str(value)
    if isinstance(value, Series | PythonSource):
        return getattr(value, "name", None) or getattr(value, "path", None)
    if isinstance(value, SettingValue):
        return f"{value.name} = {value.value} at {value.source}"
    if isinstance(value, Metrics):
        return [series.name for series in value]
    if isinstance(value, Struct):
        if depth == _DEEPEST:
            return type(value).__name__
        public = [name for name in value.__struct_fields__ if not name.startswith("_")]
        return {name: _plain(getattr(value, name), depth + 1) for name in public}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, Sequence | Set):
        return [_plain(inner, depth + 1) for inner in value] if len(value) <= _FEW else f"{len(value):,} values"
    return type(value).__name__


def _show(page: Page, run: dict[str, Any]) -> None:
    page.rule(run["path"])
    _section(page, "files", [[(f["path"], "place"), (f["reader"], "dim")] for f in run["files"]])
    _section(page, "not read", [[(_where(u), "place"), (u["reason"], "warning")] for u in run["unread"] if u["known"]])
    unknown = [u["path"] for u in run["unread"] if not u["known"]]
    if unknown:
        page.blank()
        page.flow(("of unknown format: ", "strong"), (", ".join(unknown), "dim"), rest="  ")
    for path in dict.fromkeys(s["at"]["path"] for s in run["series"]):
        _section(page, f"series in {path}", [_series_row(s) for s in run["series"] if s["at"]["path"] == path])
    _section(page, "settings", list(_setting_rows(run["settings"])))
    if any(s["effective"] for s in run["settings"]):
        page.flow(("* takes effect", "dim"), first="  ")
    for reason in dict.fromkeys(s["ambiguous"] for s in run["settings"] if s["ambiguous"]):
        page.flow((reason, "warning"), first="  ", rest="    ")
    _section(page, "launches", [_launch_row(launch) for launch in run["launches"]])
    _section(page, "sources", [_source_row(source) for source in run["sources"]])
    builds = [build for source in run["sources"] for build in source["builds"]]
    _section(page, "dimensions the source builds", [_build_row(build) for build in builds])
    samples = run["samples"]
    if samples["count"]:
        _section(page, "samples", [[(f"{samples['count']:,} texts, {samples['prompted']:,} with a prompt", "")]])
    _show_facts(page, run["facts"])


def _section(page: Page, title: str, rows: list[list[Part]]) -> None:
    if rows:
        page.blank()
        page.line((title, "strong"))
        page.table(rows, indent=2)


def _where(at: dict[str, Any]) -> str:
    return f"{at['path']}:{at['line']}" if at.get("line") else str(at["path"])


def _series_row(series: dict[str, Any]) -> list[Part]:
    from mldiag.terminal import counted

    span = reach = ""
    if series["points"]:
        span = f"{series['first']:.5g} → {series['last']:.5g}"
        kind, _, first = series["from"].partition(" ")
        reach = f"{kind} {first}–{series['to'].partition(' ')[2]}"
    line = "" if series["at"]["line"] is None else f"line {series['at']['line']} "
    raw = "" if series["raw_name"] == series["name"] else series["raw_name"]
    points = counted(series["points"], "point")
    return [(series["name"], ""), (points, ""), (span, ""), (reach, "dim"), (line + raw, "dim")]


def _setting_rows(settings: Sequence[dict[str, Any]]) -> Iterator[list[Part]]:
    from mldiag.terminal import number

    last = None
    for setting in settings:
        name = setting["name"] if setting["name"] != last else ""
        last = setting["name"]
        value = setting["value"]
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value if value == "" else number(value)
        role = setting["role"] + (" (record)" if setting["record"] else "")
        mark = "*" if setting["effective"] else ""
        style = "strong" if setting["effective"] else ""
        yield [(name, ""), (mark, "good"), (str(shown), style), (role, "dim"), (_where(setting["at"]), "place")]


def _launch_row(launch: dict[str, Any]) -> list[Part]:
    from mldiag.terminal import counted

    stands = "stands for the run" if launch["main"] else ""
    call = f"{launch['launcher']} {launch['program']}"
    return [(call, ""), (counted(len(launch["flags"]), "flag"), ""), (stands, "dim"), (_where(launch["at"]), "place")]


def _source_row(source: dict[str, Any]) -> list[Part]:
    from mldiag.terminal import counted

    closed = "takes no others" if source["closed"] else ""
    main = "main program" if source["main"] else ""
    return [(source["path"], "place"), (counted(source["options"], "option"), ""), (closed, "dim"), (main, "dim")]


def _build_row(build: dict[str, Any]) -> list[Part]:
    from mldiag.terminal import number

    origin = f"from {build['option']}" if build["option"] else ""
    if build["uses_default"]:
        origin += ", whose default is used"
    return [(build["name"], ""), (number(build["value"]), ""), (origin, "dim"), (_where(build["at"]), "place")]


def _show_facts(page: Page, facts: Sequence[dict[str, Any]]) -> None:
    derived = [fact for fact in facts if fact["missing"] is None]
    if facts:
        page.blank()
        page.line(("facts", "strong"))
    for fact in derived:
        value = fact["value"] if isinstance(fact["value"], dict) else {"value": fact["value"]}
        told = [[(n, "dim"), (_short(v), "")] for n, v in value.items() if v not in (None, "", [], {})]
        page.flow((fact["name"], ""), ("" if told else ": nothing", "dim"), first="  ")
        page.table(told, indent=4)
    for fact in facts:
        if fact["missing"] is not None:
            page.flow((fact["name"], ""), (": missing: ", "dim"), (fact["missing"], ""), first="  ", rest="    ")


def _short(value: Any) -> str:
    from mldiag.terminal import number

    if isinstance(value, dict):
        told = {n: _short(v) for n, v in value.items() if v not in (None, "", [], {}) and not isinstance(v, bool)}
        # A place that another member names already is not said twice.
        others = " ".join(text for name, text in told.items() if name != "source")
        return ", ".join(
            text if name == "value" else f"{name} {text}"
            for name, text in told.items()
            if name != "source" or text not in others
        )
    if isinstance(value, list):
        return "; ".join(map(_short, value))
    return number(value)
