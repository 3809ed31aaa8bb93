"""Writes what follows from the code: pages of rules, readers, labels and documented faults, and both indexes.

A rule's page ends with its measured figures, from `docs/results/rule_rates.json` (`benchmarks/rule_rates.py`).

python docs/build.py            writes
python docs/build.py --check    exit 1 when a page is not what the code says
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import documented_faults

import mldiag.index
import mldiag.readers
from mldiag.facts import entry_of as fact_entry
from mldiag.hooks import PROJECT
from mldiag.index import names_in, state_of, state_of_file
from mldiag.installed import entry_points
from mldiag.parts import facts_in, readers_in, rules_in
from mldiag.plugins import GROUP, Plugins, load
from mldiag.readers import Reader
from mldiag.rules import Rule, entry_of as rule_entry

FOLDER = Path(__file__).parent
INDEX = Path(mldiag.readers.__file__).with_name("_index.py")
PARTS = Path(mldiag.index.__file__).with_name("_index.py")
RATES = FOLDER / "results" / "rule_rates.json"
LABELS = FOLDER / "results" / "labels.toml"
NOTES = FOLDER / "results" / "documented_faults.toml"


def rule_page(rule: Rule, rates: Mapping[str, Any]) -> str:
    """One rule's page as Markdown. `rates`: the results file; empty where nothing was measured yet."""
    stage = "before training (`--stage pre`) and after" if rule.pre else "after training"
    explains = f"\nMay explain: {', '.join(rule.explains)}.\n" if rule.explains else ""
    yields = f"\nGives way to: {', '.join(rule.gives_way_to)}.\n" if rule.gives_way_to else ""
    return (
        f"# {rule.code} {rule.name}\n\n"
        f"Severity: {rule.severity}. Family: {rule.family}. Checked: {stage}.\n{explains}{yields}\n{rule.doc}\n"
        f"\n## Measured\n{''.join(measured(rule, rates))}"
    )


def measured(rule: Rule, rates: Mapping[str, Any]) -> Iterator[str]:
    """What was counted of a rule, in Markdown."""
    found = rates.get("rules", {}).get(rule.code)
    if found is None:
        yield "Not measured yet (`benchmarks/rule_rates.py`).\n"
        return
    sets, planted = rates["sets"], found["selftest"]
    yield (
        f"{rates['date']}, mldiag {rates['version']}, Python {rates['python']}, `{rates['command']}`. In brackets: "
        f"interval of 95 % (Wilson).\n\n"
        "| set | runs | looked at | of these healthy | with an error or a warning |\n|---|---|---|---|---|\n"
    )
    for name, each in found["sets"].items():
        healthy, title = each["healthy"], f"{name}: {sets[name]['title']}"
        excused = "" if healthy["false_alarms"] else "; the label says nothing about what this rule looks at"
        yield (
            f"| {title} | {each['runs']} | {each['judged']} | {healthy['tried']} | "
            f"{_counted(healthy)}{excused if healthy['found'] else ''} |\n"
        )
    if planted is not None:
        healthy = planted["healthy"]
        told = rates["selftest"]
        yield (
            f"| simulated: {told['families']} families of healthy runs, {told['seeds']} seeds | {planted['runs']} | "
            f"{planted['judged']} | {healthy['tried']} | {_counted(healthy)} |\n"
        )
    yield from _by_label(found["sets"])
    yield from _by_fault(planted)


def _by_label(sets: Mapping[str, Any]) -> Iterator[str]:
    """Recall on labelled runs. A label is one person's reading, and none of them is exhaustive."""
    rows, unlabelled = [], []
    for name, each in sets.items():
        carried = [label for label in each["labels"] if label["by_any"]["tried"]]
        if not carried:
            unlabelled.append(name)
        for label in carried:
            others = len(label["rules"]) - 1
            also = _counted(label["by_any"]) if others else "-"
            shown = _counted(label["shown"]) if label["shown"]["tried"] < label["by_any"]["tried"] else "the same"
            rows.append(f"| {label['label']} | {name} | {_counted(label['by_this_rule'])} | {also} | {shown} |\n")
    if rows:
        yield (
            "\n| label | in | found by this rule | by any rule for the label | the same, without [labels that the "
            "files do not show](../labels.md) |\n|---|---|---|---|---|\n"
        )
        yield from rows
    if unlabelled:
        yield f"\nWhat this rule finds is not labelled in {' and '.join(unlabelled)}.\n"


def _by_fault(planted: Mapping[str, Any] | None) -> Iterator[str]:
    """Recall on planted faults, size by size."""
    if planted is None or not planted["faults"]:
        yield "\nNo fault that this rule should find is planted by `mldiag selftest`.\n"
        return
    yield (
        "\n| planted fault | size | found by this rule | by any rule for it | in real runs, by any |\n"
        "|---|---|---|---|---|\n"
    )
    for fault in planted["faults"]:
        for size in fault["sizes"]:
            stated = size["size"] == fault["stated_size"]
            bold = "**" if stated else ""
            also = _counted(size["by_any"]) if len(fault["rules"]) > 1 else "-"
            real = _counted(fault["in_labelled_runs"]) if stated and fault["in_labelled_runs"] else ""
            yield (
                f"| {fault['fault']} | {bold}{size['size']:g}{bold} {fault['unit']} | "
                f"{_counted(size['by_this_rule'])} | {also} | {real} |\n"
            )
    yield (
        "\nIn bold: the stated size, at which 95 % are to be found in the simulated runs. Real runs are those of the "
        "sets above that are labelled healthy and can show the fault; small and noisy ones are among them.\n"
    )


def _counted(rate: Mapping[str, Any]) -> str:
    """`11 of 13 (85 %, 58 to 96 %)`."""
    found, tried = rate["found"], rate["tried"]
    if not tried:
        return "0 of 0"
    low, high = (100 * limit for limit in rate["interval"])
    return f"{found} of {tried} ({100 * found / tried:.0f} %, {low:.0f} to {high:.0f} %)"


def rule_index(rules: list[Rule]) -> str:
    """The catalogue, one line a rule."""
    rows = [f"| [{r.code}]({r.stem}.md) | {r.name} | {r.severity} | {r.summary} |" for r in rules]
    return "# Rules\n\n| code | name | severity | what |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


_VERDICTS = {
    "wrong": "The files show something else",
    "not shown": "The files do not say it",
    "missed": "It can be seen, and no rule says it without also saying it of healthy runs",
}


def labels_page(rows: Sequence[Mapping[str, str]]) -> str:
    """Labels that no rule finds, with what the files show."""
    parts = [
        "# Labels that no rule finds\n\n"
        "The curve, schedule and run rules are measured on runs that a person labelled (one reader, one pass, text "
        "logs judged as a whole). These labels no rule finds; no rule was bent to them. Recall on the rules' pages "
        'counts every one of them as missed; where it says "without labels that the files do not show", those of the '
        "first two sections are left out. Runs are named as in the labelled set.\n"
    ]
    for verdict, title in _VERDICTS.items():
        listed = [f"| {r['run']} | {r['label']} | {r['shows']} |\n" for r in rows if r["verdict"] == verdict]
        parts.append(f"## {title}\n\n| run | label | what the files show |\n|---|---|---|\n{''.join(listed)}")
    return "\n".join(parts)


def reading_page(readers: list[Reader]) -> str:
    """Every format that is read, as its reader describes it."""
    parts = [
        "# What is read, and how\n\n"
        "Several readers may take files of one name; of those that recognise the content, the one of highest priority "
        "reads. "
        "`mldiag inspect PATH` says which reader took which file, what it found, and what could not be read and why. "
        "Text is UTF-8, UTF-16, UTF-32, GB18030 or Latin-1, told by its mark or its bytes. Logs of lines are read "
        "block by block, whatever their length; a document that has to be read as a whole is refused above 128 MiB, a "
        "line above 16 MiB.\n"
    ]
    for reader in readers:
        names = ", ".join(f"`{p}`" for p in reader.patterns)
        after = " Left alone with `--stage pre`." if reader.post else ""
        parts.append(f"## {reader.name}\n\nFiles: {names}.{after}\n\n{inspect.getdoc(reader.read)}\n")
    return "\n".join(parts)


def reader_index(readers: list[Reader]) -> str:
    """The module that says which reader takes what, so that only those are imported that a run needs."""
    rows = "".join(
        f"    {r.name!r}: ({r.patterns!r}, {r.priority}, {r.post}, {r.members is not None}),\n".replace("'", '"')
        for r in readers
    )
    return (
        '"""Generated by `make docs`: module → patterns, priority, post, whether a file may hold several runs."""\n\n'
        f"# fmt: off\nINDEX: dict[str, tuple[tuple[str, ...], int, bool, bool]] = {{\n{rows}}}\n"
    )


def parts_index() -> str:
    """The module that says what rules and facts look at, so that only those are imported that a run needs.

    Of each package and promise it has the state of the files that it was made from (`mldiag.index`).
    """
    names = {m: (state_of_file(_file(m)), names_in(_file(m))) for m in ("mldiag.api", "mldiag.stats")}
    facts = [fact_entry(fact) for fact in facts_in("mldiag.facts")]
    listed = {
        package: [rule_entry(package, rule) for rule in rules_in(package)]
        for _, package in sorted(entry_points(GROUP))
        if _offers_only_rules(package)
    }
    parts = (
        '"""Generated by `make docs`: what `mldiag.index` knows of parts before they are imported.\n',
        "NAMES: module → its file; promised name → where it comes from.",
        "FACTS: package → its files; of each fact its type, its function, its inputs.",
        "RULES: package → its files; per rule module, function, code, severity, pre, explains, gives way to, inputs.",
        "Files: name, size, CRC-32. Inputs: parameter, type, whether it can be absent.",
        '"""\n\n# fmt: off\n# ruff: noqa: E501\nfrom typing import Any\n',
        "File = tuple[str, int, int]",
        f"NAMES: dict[str, tuple[tuple[int, int], dict[str, str]]] = {_literal(names)}",
        f"FACTS: dict[str, tuple[tuple[File, ...], tuple[Any, ...]]] = {_packages({'mldiag.facts': facts})}",
        f"RULES: dict[str, tuple[tuple[File, ...], tuple[Any, ...]]] = {_packages(listed)}",
    )
    return "\n".join(parts) + "\n"


def _offers_only_rules(package: str) -> bool:
    """Whether a plugin is one of ours and its one hook gives the rules of its package: the index can stand for that."""
    module = importlib.import_module(package)
    hooks = [name for name, value in vars(module).items() if hasattr(value, f"{PROJECT}_impl")]
    ours = Path(_file(package)).parents[1] == FOLDER.parent / "plugins"
    return ours and hooks == ["mldiag_rules"] and module.mldiag_rules() == rules_in(package)


def _file(module: str) -> str:
    return str(importlib.import_module(module).__file__)


def _packages(entries: Mapping[str, Sequence[Any]]) -> str:
    rows = []
    for package, parts in entries.items():
        files = "".join(f"        {_literal(f)},\n" for f in state_of(str(Path(_file(package)).parent)))
        inner = "".join(f"        {_literal(part)},\n" for part in parts)
        rows.append(f"    {_literal(package)}: ((\n{files}    ), (\n{inner}    )),\n")
    return f"{{\n{''.join(rows)}}}"


def _literal(value: Any) -> str:
    return repr(value).replace("'", '"')


def pages(plugins: Plugins) -> dict[Path, str]:
    """Every generated file by its path."""
    readers = sorted(readers_in("mldiag.readers"), key=lambda r: r.name)
    rules = sorted(plugins.rules.values(), key=lambda r: r.code)
    rates = json.loads(RATES.read_text(encoding="utf-8")) if RATES.is_file() else {}
    found = {FOLDER / "rules" / f"{r.stem}.md": rule_page(r, rates) for r in rules}
    found[FOLDER / "rules" / "README.md"] = rule_index(rules)
    found[FOLDER / "labels.md"] = labels_page(tomllib.loads(LABELS.read_text(encoding="utf-8"))["label"])
    notes = tomllib.loads(NOTES.read_text(encoding="utf-8"))["notes"]
    found[FOLDER / "documented-faults.md"] = documented_faults.page(notes, plugins)
    found[FOLDER / "reading.md"] = reading_page(readers)
    found[INDEX] = reader_index(readers)
    found[PARTS] = parts_index()
    return found


def main() -> int:
    """Writes or checks every page; returns the exit code."""
    wanted = pages(load(listed=False))
    known = (
        *FOLDER.glob("rules/*.md"),
        *(FOLDER / f"{n}.md" for n in ("labels", "reading", "documented-faults")),
        INDEX,
        PARTS,
    )
    old = {p: p.read_text(encoding="utf-8") for p in known if p.is_file()}
    stale = sorted(p.name for p in wanted.keys() | old.keys() if wanted.get(p) != old.get(p))
    if "--check" in sys.argv[1:]:
        if stale:
            print(f"docs: {', '.join(stale)}: not what the code says; run `make docs`", file=sys.stderr)
        return bool(stale)
    for path in old.keys() - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
