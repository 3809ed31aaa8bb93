"""`mldiag inspect`."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldiag.cli import complain, paths_argument, stage_option
from mldiag.errors import BROKEN

if TYPE_CHECKING:
    from mldiag.run import Run
    from mldiag.terminal import Page, Part
    from mldiag.weights import Opened

_FEW = 12
"""Files of one folder and reader, or names of one kind, that are listed one by one."""

_COUNTED = {
    "disagreements": ("disagreement",),
    "checkpoints": ("checkpoint",),
    "token_files": ("token file",),
    "tokenizers": ("tokenizer",),
    "score_tables": ("table of examples", "tables of examples"),
}
"""Kinds that the summary counts, with their nouns."""


@click.command()
@paths_argument
@stage_option
@click.option("--settings", is_flag=True, help="Only the settings: what each source says, and who wins.")
@click.option("--values", is_flag=True, help="Of checkpoints: look at every value, and tell what is found.")
@click.option(
    "--sort",
    type=click.Choice(["file", "name", "size", "bytes", "norm", "nan"]),
    help="Of checkpoints: order of the tensors, the largest first (default: as in the file).",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Of checkpoints: the first N tensors in that order."
)
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Output format.")
def command(
    paths: tuple[Path, ...],
    stage: str,
    settings: bool,
    values: bool,
    sort: str | None,
    limit: int | None,
    format_: str,
) -> int:
    """Shows what was read at PATH, from where, and what could not be.

    Files and their readers; series with the places they stand at, and where files contradict each other; every value of
    every setting and which of them takes effect; launches, sources, samples, checkpoints, tokens; and the facts that
    rules work with, or why they are missing. With --settings a table of the settings alone: a column for each kind of
    source, the value that takes effect marked by *, contradictions by !.

    Of a checkpoint (a file of any format, or a folder with its pieces): every tensor with shape, type and size, what
    the file says of step, rate and framework, what loading it would call, tensors that share memory. With --values
    also NaN, extremes, mean, deviation and norm of each, read in pieces. --values, --sort and --limit tell that of the
    checkpoints of a run, too. No code of a checkpoint is executed, and no framework is imported.
    """
    from mldiag import weights
    from mldiag.audit import Request, read_runs
    from mldiag.plugins import load
    from mldiag.terminal import Page, Screen, write

    asked = values or sort is not None or limit is not None
    plugins = load()
    problems = list(plugins.broken)
    shards = _shards(paths, problems)
    others = tuple(p for p in paths if p not in shards)
    page = Page(Screen.of(sys.stdout))
    runs: list[dict[str, Any]] = []
    checkpoints = [_described(found, values, sort, limit) for found in shards.values() if found]
    shown: list[dict[str, Any]] = []
    for run in read_runs(Request(others, pre=stage == "pre"), plugins, problems) if others else ():
        of_weights = [] if settings else [*weights.opened(run)] if asked or weights.is_weights(run) else []
        if asked and not of_weights and not settings:
            problems.append(f"{_path_of(run)}: {_why_no_checkpoint(run)}")
        elif not of_weights and format_ == "text" and weights.is_file(run) and run.empty and run.unread:
            problems += [f"{run.path}/{u}".removeprefix("./") for u in run.unread]
        elif not of_weights or format_ == "json":
            from mldiag.overview import described

            runs.append(described(run, plugins.vocabulary))
            shown += [] if of_weights else runs[-1:]
        checkpoints += [_described(found, values, sort, limit) for found in of_weights]
    if format_ == "json":
        from mldiag.reporters.json import SCHEMA, document

        write(document({"schema": SCHEMA, "runs": runs, "checkpoints": checkpoints, "problems": problems}))
    else:
        if len(shown) > 1:
            page.line((f"{len(shown):,} runs", "strong"))
        for run_ in shown:
            (_show_matrix if settings else _show)(page, run_)
        if checkpoints:
            from mldiag.weights.pages import show_checkpoint

            for found in checkpoints:
                show_checkpoint(page, found)
        write(page.text())
    for line in problems:
        complain(line)
    unread = any(u["known"] for told in (*runs, *checkpoints) for u in told["unread"])
    broken = any(t["broken"] for c in checkpoints for t in c["refused"])
    return BROKEN if problems or unread or broken or not (runs or checkpoints) else 0


def _described(found: Opened, values: bool, sort: str | None, limit: int | None) -> dict[str, Any]:
    from mldiag.weights.tables import described

    return described(found, values=values, sort=sort or "file", limit=limit or 0)


def _shards(paths: Sequence[Path], problems: list[str]) -> dict[Path, Opened | None]:
    """The files that an index beside them lists, and that were named by themselves; None for one that is damaged."""
    from mldiag import weights
    from mldiag.errors import ReadError

    found: dict[Path, Opened | None] = {}
    for path in paths:
        try:
            shard = weights.shard(path)
        except ReadError as error:
            problems.append(f"{path}: {error.reason}")
            found[path] = None
            continue
        if shard:
            found[path] = shard
    return found


def _path_of(run: Run) -> str:
    from mldiag import weights

    return f"{run.path}/{run.name}".removeprefix("./") if weights.is_file(run) else run.path


def _why_no_checkpoint(run: Run) -> str:
    known = [u.reason for u in run.unread if u.known]
    return known[0] if known else "no checkpoint was found, which --values, --sort and --limit are about"


def _show(page: Page, run: dict[str, Any]) -> None:
    page.rule(_title(run))
    _show_summary(page, run)
    _section(page, "files", list(_file_rows(run["files"])))
    _section(page, "not read", [[(_where(u), "place"), (u["reason"], "warning")] for u in run["unread"] if u["known"]])
    by_reason: dict[str, list[str]] = {}
    for part in run["unread"]:
        if not part["known"]:
            by_reason.setdefault(part["reason"], []).append(part["path"])
    for reason, paths in by_reason.items():
        page.blank()
        page.flow((f"{reason}: ", "strong"), (_listed(paths), "dim"), rest="  ")
    _show_series(page, run)
    for title, known in (("settings", True), ("settings under names of their own", False)):
        settings = [s for s in run["settings"] if s["known"] is known]
        _section(page, title, list(_setting_rows(settings)))
        if any(s["effective"] for s in settings):
            page.flow(("* takes effect", "dim"), first="  ")
    for reason in dict.fromkeys(s["ambiguous"] for s in run["settings"] if s["ambiguous"]):
        page.flow((reason, "warning"), first="  ", rest="    ")
    _section(page, "launches", [_launch_row(launch) for launch in run["launches"]])
    _section(page, "sources", [_source_row(source) for source in run["sources"]])
    builds = [build for source in run["sources"] for build in source["builds"]]
    _section(page, "dimensions the source builds", [_build_row(build) for build in builds])
    _show_data(page, run)
    _show_facts(page, run["facts"])


def _title(run: dict[str, Any]) -> str:
    return str(run["path"]) if run["path"].rstrip("/").endswith(run["name"]) else f"{run['name']} ({run['path']})"


def _show_summary(page: Page, run: dict[str, Any]) -> None:
    """What was read at a glance: files, curves, launches and the plan."""
    from mldiag.terminal import counted, number

    told = run["summary"]
    files = [(f"{counted(told['files'], 'file')} read", "good" if told["files"] else "warning")]
    in_part = sum(u["known"] and u["partial"] for u in run["unread"])
    if in_part:
        files.append(("in part" if in_part == told["files"] else f"{in_part} of them in part", "warning"))
    if told["unread"] > in_part:
        files.append((f"{told['unread'] - in_part} not read", "warning"))
    if told["unknown"]:
        files.append((f"{told['unknown']} of unknown format", "dim"))
    if told["series"]:
        files.append((counted(told["series"], "series", "series"), ""))
    if told["launches"] > 1:
        files.append((f"{told['launches']} launches in the log", ""))
    files += [(counted(len(run[key]), *nouns), "") for key, nouns in _COUNTED.items() if run[key]]
    if run["samples"]["count"]:
        files.append((counted(run["samples"]["count"], "sample"), ""))
    page.flow(*_separated(files))
    by_name = {s["name"]: s for s in run["series"]}
    main = [by_name[name] for name in told["main"]]
    page.flow(
        *_separated(
            [(f"{s['name']} {_span(s)} over {counted(s['points'], 'point')}{_reach(s, ', ')}", "") for s in main]
        )
    )
    plan = told["plan"] or {}
    parts = [
        f"{number(plan[done])} of {number(plan[meant])} {unit}"
        if plan[done] is not None
        else f"{number(plan[meant])} {unit}"
        for meant, done, unit in (("total_steps", "done_steps", "steps"), ("epochs", "done_epochs", "epochs"))
        if plan.get(meant) is not None
    ]
    if parts:
        page.flow((f"plan: {', '.join(parts)}", ""))


def _separated(parts: Sequence[Part]) -> Iterator[Part]:
    for number, part in enumerate(parts):
        if number:
            yield (" · ", "dim")
        yield part


def _file_rows(files: Sequence[dict[str, Any]]) -> Iterator[list[Part]]:
    """A row per file; many of one folder and reader (MLflow's parameters) share one."""
    from mldiag.terminal import counted

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in files:
        groups.setdefault((file["path"].rpartition("/")[0], file["reader"]), []).append(file)
    for (folder, reader), members in groups.items():
        if len(members) > _FEW:
            yield [(f"{folder or '.'}/ ({len(members):,} files)", "place"), (reader, "dim"), ("", "")]
        else:
            for file in members:
                rows = counted(file["rows"], "row") if file["rows"] else ""
                rows += " and the beginning of one" if rows and file["cut"] else ""
                yield [(file["path"], "place"), (reader, "dim"), (rows, "dim")]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {more:,} more" if more > 0 else "")


def _show_series(page: Page, run: dict[str, Any]) -> None:
    from mldiag.terminal import counted

    for place, here in _by_place(run["series"]).items():
        # What all of them share is said once.
        shared = here[0]["launches"] if len({s["launches"] for s in here}) == 1 else 0
        said = {part: _said_once(here, part) for part in ("points", "reach", "line")}
        title = ": ".join(filter(None, (f"series in {place}", ", ".join(filter(None, said.values())))))
        own = {part for part, text in said.items() if not text} | ({"launches"} if not shared else set())
        if not any(map(_reach, here)):
            own.discard("reach")
        _section(page, title, [_series_row(s, own) for s in here])
        if shared > 1:
            page.flow((f"{'each' if len(here) > 1 else ''} of {shared} launches".strip(), "dim"), first="  ")
        elsewhere: dict[str, list[str]] = {}
        for series in here:
            for other in dict.fromkeys(p["path"] for p in series["also"] if p["path"] != series["at"]["path"]):
                elsewhere.setdefault(other, []).append(series["name"])
        by_names: dict[tuple[str, ...], list[str]] = {}
        for other, found in elsewhere.items():
            by_names.setdefault(tuple(found), []).append(other)
        for names, places in by_names.items():
            which = "all" if len(names) == len(here) else _listed(names)
            page.flow((f"{which} also in ", "dim"), (_listed(places), "dim"), first="  ", rest="    ")
    if not all(s["known"] for s in run["series"]):
        page.flow(("? a name that mldiag has no meaning for", "dim"), first="  ")
    rows = [_disagreement_row(d) for d in run["disagreements"]]
    _section(page, "files that contradict each other", rows)
    rows = [
        [
            (s["raw_name"], ""),
            (counted(s["points"], "point"), ""),
            (_span(s), ""),
            (f"beside {s['name']}", "dim"),
            (s["at"]["path"], "place"),
        ]
        for s in run["passed_over"]
    ]
    _section(page, "passed over, as another series of that name is kept", rows)


def _by_place(series: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Series by file; by folder where each of several has a file of its own, as MLflow keeps them."""
    from collections import Counter

    files: dict[str, list[dict[str, Any]]] = {}
    for found in series:
        files.setdefault(found["at"]["path"], []).append(found)
    alone = Counter(path.rpartition("/")[0] for path, here in files.items() if len(here) == 1)
    places: dict[str, list[dict[str, Any]]] = {}
    for path, here in files.items():
        folder = path.rpartition("/")[0]
        shared = folder and len(here) == 1 and alone[folder] > 1
        places.setdefault(f"{folder}/ (a file each)" if shared else path, []).extend(here)
    return places


def _disagreement_row(found: dict[str, Any]) -> list[Part]:
    kept, other = (f"{found[key]:.6g} in {_where(found[f'{key}_at'])}" for key in ("kept", "other"))
    differing = f"{found['points']:,} of {found['common']:,} points differ"
    return [(found["name"], ""), (found["place"], ""), (kept, ""), (other, "warning"), (differing, "dim")]


def _show_data(page: Page, run: dict[str, Any]) -> None:
    """Samples, checkpoints, tokens, tokenizers and tables of examples."""
    from mldiag.terminal import counted

    samples = run["samples"]
    if samples["count"]:
        _section(page, "samples", [[(f"{samples['count']:,} texts, {samples['prompted']:,} with a prompt", "")]])
    checkpoints = [
        [
            (c["path"], "place"),
            (c["format"], ""),
            (counted(c["tensors"], "tensor"), ""),
            (counted(c["elements"], "element"), ""),
            (_listed(list(c["dtypes"])), "dim"),
        ]
        for c in run["checkpoints"]
    ]
    _section(page, "checkpoints", checkpoints)
    tokens = [
        [
            (t["at"]["path"], "place"),
            (counted(t["count"], "token"), ""),
            (t["dtype"], ""),
            ("" if t["largest_seen"] is None else f"largest seen {t['largest_seen']:,}", "dim"),
            (t["header"], "dim"),
        ]
        for t in run["token_files"]
    ]
    _section(page, "token files", tokens)
    tokenizers = [
        [
            (t["at"]["path"], "place"),
            (t["kind"], ""),
            (counted(t["size"], "token"), ""),
            (_listed(list(t["special"])), "dim"),
        ]
        for t in run["tokenizers"]
    ]
    _section(page, "tokenizers", tokenizers)
    tables = [
        [
            (t["at"]["path"], "place"),
            (counted(t["rows"], "example"), ""),
            (_listed([*t["columns"], *t["texts"]]), "dim"),
        ]
        for t in run["score_tables"]
    ]
    _section(page, "tables of examples", tables)
    _section(page, "others", [[(kind, ""), (f"{count:,}", "")] for kind, count in run["others"].items()])


def _section(page: Page, title: str, rows: list[list[Part]]) -> None:
    if rows:
        page.blank()
        page.line((title, "strong"))
        page.table(rows, indent=2)


def _where(at: dict[str, Any]) -> str:
    return f"{at['path']}:{at['line']}" if at.get("line") else str(at["path"])


def _said_once(series: Sequence[dict[str, Any]], part: str) -> str:
    """What a table's title says for all its rows; empty where they differ, or there is one only."""
    from mldiag.terminal import counted

    if len(series) == 1:
        return ""
    texts = {
        "points": lambda s: f"{counted(s['points'], 'point')} each",
        "reach": _reach,
        "line": lambda s: f"from line {s['at']['line']}" if s["at"]["line"] is not None else "",
    }
    found = set(map(texts[part], series))
    return found.pop() if len(found) == 1 else ""


def _series_row(series: dict[str, Any], own: Container[str]) -> list[Part]:
    """One series, with those of its parts that the table's title does not say."""
    from mldiag.terminal import counted

    notes = [
        "" if series["raw_name"] == series["name"] else f"as {series['raw_name']}",
        f"line {series['at']['line']}" if "line" in own and series["at"]["line"] is not None else "",
        f"{series['launches']} launches" if "launches" in own and series["launches"] > 1 else "",
        counted(series["nulls"], "null") if series["nulls"] else "",
        f"{series['not_finite']:,} not finite" if series["not_finite"] else "",
    ]
    row: list[Part] = [(series["name"] if series["known"] else f"{series['name']} ?", "")]
    if "points" in own:
        row.append((counted(series["points"], "point"), ""))
    row.append((_span(series), ""))
    if "reach" in own:
        row.append((_reach(series), "dim"))
    return [*row, (", ".join(filter(None, notes)), "dim")]


def _span(series: dict[str, Any]) -> str:
    if not series["points"]:
        return ""
    unit = {"percent": " %", "fraction": "", None: ""}.get(series["unit"], f" {series['unit']}")
    first, last = f"{series['first']:.5g}", f"{series['last']:.5g}"
    return f"{last}{unit}" if series["points"] == 1 else f"{first} → {last}{unit}"


def _reach(series: dict[str, Any], before: str = "") -> str:
    """From where to where on the x axis; nothing of a single point without one."""
    if series["points"] == 0 or (series["points"] == 1 and series["from"] == "point 1"):
        return ""
    kind, _, first = series["from"].partition(" ")
    last = series["to"].partition(" ")[2]
    return f"{before}{kind} {first}" + (f"–{last}" if series["points"] > 1 else "")


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


def _show_matrix(page: Page, run: dict[str, Any]) -> None:
    """Settings by the kind of source; files are named by letters, which a legend explains."""
    from mldiag.matrix import letters, shown
    from mldiag.terminal import counted

    page.rule(_title(run))
    found = run["settings_matrix"]
    rows = shown(found["rows"])
    used = dict.fromkeys(v["at"]["path"] for c in found["columns"] for r in rows for v in r["cells"].get(c, ()))
    places = _folded(used)
    letter_of = dict(zip(dict.fromkeys(places.values()), letters(), strict=False))
    files = {path: letter_of[place] for path, place in places.items()}
    if not rows:
        page.flow(("no settings were found", "warning"))
        return
    page.flow(*_separated([(f"{letter}\xa0{path}", "place") for path, letter in letter_of.items()]))
    page.blank()
    columns = [c for c in found["columns"] if any(c in r["cells"] for r in rows)]
    table: list[list[Part]] = [[("", ""), ("setting", "strong"), *((c, "strong") for c in columns)]]
    for row in rows:
        style = "warning" if row["conflict"] else ""
        mark = ("!" if row["conflict"] else "", "error")
        cells = [_cell(row["cells"].get(c, ()), files) for c in columns]
        table.append([mark, (row["name"], style), *((text, "strong" if "*" in text else "") for text in cells)])
    page.table(table)
    page.flow(("* takes effect", "dim"), *([("; ! contradicts", "dim")] if any(r["conflict"] for r in rows) else []))
    for row in rows:
        if row["conflict"]:
            page.flow(("! ", "error"), (f"{row['name']}: ", "strong"), (row["conflict"], ""), rest="  ")
    if left := len(found["rows"]) - len(rows):
        of_own = f"{counted(left, 'setting')} under names of their own, on which no two places differ, left out"
        page.flow((of_own, "dim"))


def _folded(paths: Iterable[str]) -> dict[str, str]:
    """Each file with what names it in a legend: its folder where many lie in one, as MLflow's parameters do."""
    from collections import Counter

    found = list(paths)
    here = Counter(path.rpartition("/")[0] for path in found)
    folders = {folder for folder, count in here.items() if folder and count > _MANY}
    return {
        path: f"{folder}/ ({here[folder]:,}\xa0files)" if (folder := path.rpartition("/")[0]) in folders else path
        for path in found
    }


_MANY = 4
"""Files of one folder, beyond which they share a letter in the table of settings."""

_LONGEST = 24
"""Characters of a value in the table of settings; longer ones are texts and paths."""


def _cell(values: Sequence[dict[str, Any]], files: Mapping[str, str]) -> str:
    """Values of one setting in one kind of source, each with its places: `320* a:4`."""
    from mldiag.terminal import number

    found: dict[str, list[str]] = {}
    for value in values:
        told = value["value"]
        text = ", ".join(map(str, told)) if isinstance(told, tuple) else number(told)
        text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
        line = value["at"].get("line")
        place = files[value["at"]["path"]] + (f":{line}" if line else "")
        places = found.setdefault(text.replace(" ", "\xa0") or '""', [])
        places.insert(0, f"* {place}") if value["effective"] else places.append(place)
    told = []
    for text, places in found.items():
        first, more = places[0], f"\xa0+{len(places) - 1}" if len(places) > 1 else ""
        told.append(f"{text}{first.replace(' ', chr(160))}{more}" if first[0] == "*" else f"{text}\xa0{first}{more}")
    return ", ".join(told[:_FEW_VALUES]) + (f" and {len(told) - _FEW_VALUES} more" if len(told) > _FEW_VALUES else "")


_FEW_VALUES = 3


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
    missing: dict[str, list[str]] = {}
    for fact in facts:
        if fact["missing"] is not None:
            missing.setdefault(fact["missing"], []).append(fact["name"])
    for reason, names in missing.items():
        page.flow((", ".join(names), ""), (": missing: ", "dim"), (reason, ""), first="  ", rest="    ")


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
