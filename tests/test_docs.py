"""The pages written by hand agree with the tree and with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mldiag.facts.parameters import transformer_core
from mldiag.plugins import load
from mldiag.settings import find

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/rules/*.md"), *ROOT.glob("examples/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_architecture_places_every_module_and_folder_of_the_core() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    core = ROOT / "src" / "mldiag"
    modules = {p.name for p in core.glob("[a-z]*.py")} | {f"{p.parent.name}/" for p in core.glob("*/__init__.py")}
    assert not {name for name in modules if f"`{name}`" not in page and f"`{name}" not in page}


def test_the_documentation_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert not [p.name for p in ROOT.glob("docs/*.md") if p.name != "README.md" and p.name not in index]


@pytest.mark.parametrize(("width", "layers", "ff"), [(384, 6, 1536), (256, 4, 1024)])
def test_the_counts_on_the_page_of_wrong_claims_are_those_of_the_formula(width: int, layers: int, ff: int) -> None:
    page = (ROOT / "docs" / "wrong-claims.md").read_text(encoding="utf-8")
    core, table = transformer_core(width, layers, ff), 4000 * width
    tied = core + table + 256 * width
    for count in (core, table, 256 * width, tied, tied + table):
        assert f"{count:,.0f}" in page


def test_the_fix_section_of_a_page_begins_with_how_safe_it_is() -> None:
    for rule in load().rules.values():
        assert ("## Fix" in rule.doc) == (rule.fix is not None), rule.code


def test_every_format_of_the_readme_is_shown_by_cases() -> None:
    """A word in quotes behind a link names cases of that file; every reader is among what the table shows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("| left by |") : readme.index("\n\nText is UTF-8")]
    shown = re.findall(r'\]\((tests/readers/[\w.]+)\)(?: "([^"]+)")?', table)
    assert not [(path, word) for path, word in shown if word not in (ROOT / path).read_text(encoding="utf-8")]
    pages = "".join((ROOT / path).read_text(encoding="utf-8") for path, _ in shown)
    assert not [r.name for r in load().readers if r.name not in pages]


def test_the_configuration_that_the_readme_shows_is_one(tmp_path: Path) -> None:
    shown = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    (tmp_path / "pyproject.toml").write_text(shown[1])
    config = find(tmp_path)
    config.check(load().rules.values())
    assert config.figures
    assert config.overrides
