"""Writes the pages that have their source in docstrings: `docs/rules/` and `docs/reading.md`.

python docs/build.py            writes
python docs/build.py --check    exit 1 when a page is not what the code says
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from mldiag.plugins import Plugins, load
from mldiag.readers import Reader
from mldiag.rules import Rule

FOLDER = Path(__file__).parent


def rule_page(rule: Rule) -> str:
    """One rule's page as Markdown."""
    stage = "before training (`--stage pre`) and after" if rule.pre else "after training"
    explains = f"\nMay explain: {', '.join(rule.explains)}.\n" if rule.explains else ""
    return (
        f"# {rule.code} {rule.name}\n\n"
        f"Severity: {rule.severity}. Family: {rule.family}. Checked: {stage}.\n{explains}\n{rule.doc}\n"
    )


def rule_index(rules: list[Rule]) -> str:
    """The catalogue, one line a rule."""
    rows = [f"| [{r.code}]({r.stem}.md) | {r.name} | {r.severity} | {r.summary} |" for r in rules]
    return "# Rules\n\n| code | name | severity | what |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def reading_page(readers: list[Reader]) -> str:
    """Every format that is read, as its reader describes it."""
    parts = [
        "# What is read, and how\n\n"
        "Several readers may take files of one name; of those that recognise the content, the one of highest priority "
        "reads. "
        "`mldiag inspect PATH` says which reader took which file, what it found, and what could not be read and why. "
        "Text is UTF-8, UTF-16, UTF-32, GB18030 or Latin-1, told by its mark or its bytes. Logs of lines are read block "
        "by block, whatever their length; a document that has to be read as a whole is refused above 128 MiB, a line "
        "above 16 MiB.\n"
    ]
    for reader in readers:
        names = ", ".join(f"`{p}`" for p in reader.patterns)
        after = " Left alone with `--stage pre`." if reader.post else ""
        parts.append(f"## {reader.name}\n\nFiles: {names}.{after}\n\n{inspect.getdoc(reader.read)}\n")
    return "\n".join(parts)


def pages(plugins: Plugins) -> dict[Path, str]:
    """Every generated page by its path."""
    rules = sorted(plugins.rules.values(), key=lambda r: r.code)
    found = {FOLDER / "rules" / f"{r.stem}.md": rule_page(r) for r in rules}
    found[FOLDER / "rules" / "README.md"] = rule_index(rules)
    found[FOLDER / "reading.md"] = reading_page(sorted(plugins.readers, key=lambda r: r.name))
    return found


def main() -> int:
    """Writes or checks every page; returns the exit code."""
    wanted = pages(load())
    old = {p: p.read_text(encoding="utf-8") for p in (*FOLDER.glob("rules/*.md"), FOLDER / "reading.md") if p.is_file()}
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
