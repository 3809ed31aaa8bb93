"""Text on a screen: widths, wrapping, tables, and what a stream is taken to understand."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, strategies as st

from mldiag.terminal import Page, Screen, columns_of, escaped

printable = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("ｱ", 1), ("a\u200db", 2), ("😀", 2), ("Ａ", 2)]
)
def test_wide_characters_take_two_columns_and_combining_ones_none(text: str, columns: int) -> None:
    assert columns_of(text) == columns


@pytest.mark.parametrize(
    ("text", "encoding", "wanted"),
    [
        ("\x1b[31m", "utf-8", r"\x1b[31m"),
        ("a\nb\tc\r", "utf-8", r"a\nb\tc\r"),
        ("\u202e\u2028\ud800", "utf-8", r"\u202e\u2028\ud800"),
        ("3 × 4 – 5 …", "ascii", "3 x 4 - 5 ..."),
        ("ação", "ascii", r"a\xe7\xe3o"),
        ("ação ×", "latin-1", "ação ×"),
        ("日", "latin-1", r"\u65e5"),
    ],
)
def test_what_cannot_be_shown_is_spelled_out(text: str, encoding: str, wanted: str) -> None:
    assert escaped(text, encoding) == wanted


@given(printable)
def test_escaping_twice_changes_nothing_more(text: str) -> None:
    assert escaped(escaped(text)) == escaped(text)


@given(
    st.lists(st.lists(st.tuples(printable, st.sampled_from(["", "dim"])), min_size=1, max_size=5), max_size=5),
    st.integers(60, 120),
)
def test_a_table_fits_its_width_and_loses_nothing(rows: list[list[tuple[str, str]]], width: int) -> None:
    page = Page(Screen(width))
    page.table(rows, indent=2)
    out = page.text()
    assert all(columns_of(line) <= width for line in out.splitlines())
    shown = sum(c not in " \n" for c in out)
    assert shown == sum(c not in " \xa0" for row in rows for text, _ in row for c in escaped(text))


def test_columns_are_as_wide_as_they_need_to_be_and_the_widest_gives_way() -> None:
    page = Page(Screen(40))
    page.table([[("ab", ""), ("word " * 12, ""), ("run.sh:1", "")], [("c", ""), ("short", ""), ("x", "")]])
    assert page.text() == (
        "ab  word word word word word    run.sh:1\n"
        "    word word word word word\n"
        "    word word\n"
        "c   short                       x\n"
    )


@pytest.mark.parametrize(
    ("environment", "color"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_a_terminal_has_colour_unless_the_environment_says_no(
    environment: dict[str, str], color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Screen.of(Terminal()).color is color


def test_what_is_no_terminal_has_80_columns_and_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    assert Screen.of(io.StringIO()) == Screen(80, False, "utf-8")
    monkeypatch.setenv("COLUMNS", "132")
    assert Screen.of(io.StringIO()).width == 132
    monkeypatch.setenv("COLUMNS", "wide")
    assert Screen.of(io.StringIO()).width == 80
