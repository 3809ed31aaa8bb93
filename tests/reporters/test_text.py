"""The text report: carets, escapes, circles, widths, and a closing line that adds up."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, strategies as st
from msgspec.structs import replace

from mldiag.artifacts import Source, Unread
from mldiag.findings import Edit, Evidence, Failed, Finding, Fix, Severity, Skipped
from mldiag.report import Report, RunReport, Style, by_cause
from mldiag.reporters.text import text
from mldiag.terminal import columns_of, escaped

EDIT = Edit("run.sh", 0, 1, "a", "b")


def finding(code: str, severity: str = "error", **fields: object) -> Finding:
    made = Finding(f"message of {code}", severity=Severity(severity), code=code, name=f"name-{code.lower()}")
    return replace(made, **fields)  # type: ignore[arg-type]


def report(*findings: Finding, **fields: object) -> Report:
    return Report((RunReport("runs/a", "a", findings, **fields),), seconds=0.1)  # type: ignore[arg-type]


def shown(*findings: Finding, width: int = 80, **fields: object) -> str:
    return text(report(*findings, **fields), Style(width=width))


def caret_lines(out: str) -> tuple[str, str]:
    """The source line and the line with the caret below it."""
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if re.fullmatch(r"\s*│ +\^+", line))
    return lines[at - 1], lines[at]


def marked(out: str) -> str:
    """What stands above the carets, by display columns."""
    line, carets = caret_lines(out)
    start, end = columns_of(carets[: carets.index("^")]), columns_of(carets)
    cells = [c for c in line for _ in range(columns_of(c))]
    return "".join(_thin(cells[start:end]))


def _thin(cells: list[str]) -> list[str]:
    """One cell per character: the second column of a wide one is dropped."""
    kept: list[str] = []
    skip = False
    for cell in cells:
        if not skip:
            kept.append(cell)
        skip = not skip and unicodedata.east_asian_width(cell) in "WF"
    return kept


def at(excerpt: str, value: str) -> Source:
    column = excerpt.index(value) + 1
    return Source("run.sh", 3, column, "key", 10, 10 + len(value), value, excerpt)


@pytest.mark.parametrize(
    ("excerpt", "value"),
    [
        ("--lr 3e-4", "3e-4"),
        ("\t--lr\t3e-4 \\", "3e-4"),
        ("  --título 日本語 --lr 3e-4", "3e-4"),
        ("--name 日本語 --lr 3e-4", "日本語"),
        ("\x1b[31m--lr 3e-4", "3e-4"),
        ("e\u0301te\u0301 3e-4", "3e-4"),
        ("a" * 300 + " 3e-4 " + "b" * 300, "3e-4"),
        ("日本" * 100 + " 3e-4 " + "語" * 300, "3e-4"),
        ("3e-4" + "b" * 300, "3e-4"),
        ("b" * 300 + "3e-4", "3e-4"),
    ],
)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_caret_stands_under_the_value(excerpt: str, value: str, width: int) -> None:
    out = shown(finding("AAA001", at=at(excerpt, value)), width=width)
    assert marked(out) == value
    assert all(columns_of(line) <= width for line in out.splitlines())


def test_a_value_longer_than_the_line_is_marked_as_far_as_it_is_shown() -> None:
    out = shown(finding("AAA001", at=at("--text " + "x" * 500, "x" * 500)))
    line, carets = caret_lines(out)
    assert line.endswith("…")
    assert len(carets) in (len(line) - 1, len(line))


def test_a_place_without_a_column_shows_its_line_without_a_caret() -> None:
    out = shown(finding("AAA001", at=Source("log.json", 3, excerpt='"loss": [1, 2],')))
    assert '    3 │ "loss": [1, 2],' in out
    assert "^" not in out


def test_both_sides_of_a_contradiction_are_shown_with_their_lines() -> None:
    other = Source("train.py", 120, 15, "seq_len", 1, 4, "256", "    default = 256")
    evidence = (Evidence("a", 320, at=at("--seq_len 320", "320")), Evidence("b", 256, at=other))
    out = shown(finding("AAA001", at=at("--seq_len 320", "320"), evidence=evidence))
    assert "      3 │ --seq_len 320\n        │           ^^^\n" in out
    assert "    train.py:120:15\n    120 │     default = 256\n        │               ^^^\n" in out


def test_control_characters_are_shown_and_never_sent() -> None:
    hostile = "\x1b[2J\x07\u202e\x9b31m\r\nrm"
    source = Source("a\x1b[31m.sh", 1, 1, None, 0, 1, "\x1b", hostile)
    out = shown(
        finding("AAA001", message=hostile, at=source, evidence=(Evidence(hostile, hostile, hostile, source),)),
        unread=(Unread(hostile, hostile),),
        failed=(Failed("AAA002", hostile),),
    )
    assert r"\x1b[2J\x07\u202e\x9b31m\r\nrm" in out
    assert not [c for c in out if c != "\n" and not c.isprintable()]


def test_a_symptom_of_two_causes_is_told_once_and_named_under_the_other() -> None:
    out = shown(
        finding("AAA001", explains=("SSS001",)),
        finding("AAA002", "warning", explains=("SSS001",)),
        finding("SSS001", "warning", explained_by=("AAA001", "AAA002")),
    )
    assert out.count("message of SSS001") == 1
    assert out.index("message of AAA001") < out.index("message of SSS001") < out.index("message of AAA002")
    assert "└ SSS001 name-sss001 (told elsewhere)" in out.partition("message of AAA002")[2]


def test_findings_that_explain_each_other_are_told_once_each() -> None:
    circle = ("AAA001", "AAA002", "AAA003")
    findings = [
        finding(code, explains=(circle[(i + 1) % 3],), explained_by=(circle[i - 1],)) for i, code in enumerate(circle)
    ]
    out = shown(*findings)
    assert all(out.count(f"message of {code}") == 1 for code in circle)


def test_causes_come_first_and_the_most_severe_before_them_all() -> None:
    out = shown(
        finding("III001", "info"),
        finding("WWW001", "warning", explains=("EEE002",)),
        finding("EEE001"),
        finding("EEE002", explained_by=("WWW001",)),
    )
    assert [out.index(code) for code in ("EEE001", "WWW001", "EEE002", "III001")] == sorted(
        out.index(code) for code in ("EEE001", "WWW001", "EEE002", "III001")
    )


@given(st.data())
def test_every_finding_is_told_exactly_once_however_they_explain_each_other(data: st.DataObject) -> None:
    codes = [f"AAA{i:03}" for i in range(data.draw(st.integers(1, 7)))]
    some = st.lists(st.sampled_from(codes), max_size=4)
    findings = [
        finding(
            data.draw(st.sampled_from(codes)),
            data.draw(st.sampled_from(list(Severity))),
            message=f"<{i}>",
            explains=tuple(data.draw(some)),
            explained_by=tuple(data.draw(some)),
        )
        for i in range(data.draw(st.integers(0, 12)))
    ]
    out = shown(*findings)
    assert all(out.count(f"<{i}>") == 1 for i in range(len(findings)))

    def told(nodes: object) -> int:
        return sum(1 + told(node.symptoms) for node in nodes)  # type: ignore[attr-defined]

    assert told(by_cause(findings)) == len(findings)


def test_a_chain_of_causes_is_followed_to_its_end() -> None:
    count = 60
    codes = [f"AAA{i:03}" for i in range(count)]
    chain = [
        finding(code, explains=tuple(codes[i + 1 : i + 2]), explained_by=tuple(codes[max(i - 1, 0) : i]))
        for i, code in enumerate(codes)
    ]
    out = shown(*chain, width=40)
    assert all(f"message of {code}" in out for code in codes)
    assert max(map(len, out.splitlines())) <= 40


anything = st.text(st.characters(), max_size=120)
paths = st.text("abc/._-日", min_size=1, max_size=15)


@example("", "0000\x1f\x1f\x1f\x1f\x1f𐀀𐀀𐀀𐀀𐀀", "", None, "", "_", 15, 0, 83, "ascii")  # caret behind a full line
@given(
    message=anything,
    excerpt=anything,
    label=anything,
    value=st.one_of(anything, st.integers(), st.floats(), st.none(), st.booleans()),
    unit=st.text(max_size=10),
    path=paths,
    column=st.integers(1, 130),
    length=st.integers(0, 130),
    width=st.integers(40, 130),
    encoding=st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252", "cp437"]),
)
def test_whatever_the_text_no_line_is_too_wide_and_no_control_character_gets_out(
    message: str,
    excerpt: str,
    label: str,
    value: float | str | None,
    unit: str,
    path: str,
    column: int,
    length: int,
    width: int,
    encoding: str,
) -> None:
    source = Source(path, 12, column, None, 0, length, "x" * length, excerpt)
    found = finding(
        "AAA001",
        message=message,
        at=source,
        advice=message,
        evidence=(Evidence(label, value, value, source, unit), Evidence("second", 1234.5, 2, source, "step")),
        fix=Fix.unsafe(label, EDIT),
        explains=("SSS001",),
    )
    symptom = finding("SSS001", message=excerpt, explained_by=("AAA001",))
    full = report(found, symptom, unread=(Unread(path, message),), skipped=(Skipped("AAA009", label),))
    for verbose in (False, True):
        out = text(full, Style(width=width, encoding=encoding, skipped=True, verbose=verbose))
        assert not [c for c in out if c != "\n" and not c.isprintable() and c not in "\u202f\u2009\u3000\u200c\u200d"]
        # A place is never broken: it is what editors open.
        assert all(columns_of(line) <= width or escaped(path, encoding) in line for line in out.splitlines())
        out.encode(encoding)


@given(st.text(st.characters(exclude_categories=("Zs", "Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")), max_size=300))
def test_nothing_of_a_message_is_cut(message: str) -> None:
    out = shown(finding("AAA001", message=f"<{message}>"), width=40)
    assert f"<{message}>".replace(" ", "") in out.replace("\n", "").replace(" ", "")


def test_without_colour_there_is_no_escape_sequence_and_with_it_the_text_is_the_same() -> None:
    findings = (finding("AAA001", at=at("--lr 3e-4", "3e-4")), finding("BBB001", "info"))
    plain = shown(*findings)
    coloured = text(report(*findings), Style(color=True))
    assert "\x1b" not in plain
    assert "\x1b[1;31merror\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def closing(*findings: Finding, **fields: object) -> str:
    return " ".join(shown(*findings, **fields).rpartition("\n\n")[2].split())


def test_the_closing_line_adds_up() -> None:
    line = closing(
        finding("AAA001", fix=Fix.safe("a", EDIT)),
        finding("AAA002", fix=Fix.unsafe("a", EDIT)),
        finding("AAA003", "warning", fix=Fix.safe("a", EDIT)),
        finding("AAA004", "info", fix=Fix.show("a")),
        clean=("BBB001", "BBB002"),
        skipped=(Skipped("CCC001", "why"),),
        failed=(Failed("DDD001", "why"),),
        suppressed=(finding("EEE001"),),
        unread=(Unread("a", "b"), Unread("c", "d", known=False)),
    )
    assert line == (
        "1 run: 2 errors, 1 warning, 1 info · 2 fixable with mldiag fix (1 more with --unsafe-fixes) · 2 rules clean, "
        "1 skipped (--show-skipped), 1 failed, 1 finding suppressed, 1 file of unknown format · "
        "1 file not read · 0.10 s"
    )


def test_fixes_that_are_all_unsafe_are_not_promised_to_plain_fix() -> None:
    assert "· 1 fixable with mldiag fix --unsafe-fixes ·" in closing(finding("AAA001", fix=Fix.unsafe("a", EDIT)))


def test_a_clean_run_says_how_much_was_looked_at() -> None:
    assert shown(clean=("A", "B"), skipped=(Skipped("C", "why"),)) == (
        "runs/a: nothing found\n\n1 run: nothing found · 2 rules clean, 1 skipped (--show-skipped) · 0.10 s\n"
    )


def test_a_run_on_which_every_rule_was_skipped_is_not_called_clean() -> None:
    out = shown(skipped=(Skipped("C", "why"),))
    assert "runs/a: not checked" in out
    assert "nothing could be checked · 0 rules clean, 1 skipped" in out
    assert "nothing found" not in out


def test_one_unchecked_run_among_clean_ones_is_counted() -> None:
    runs = (RunReport("a", "a", clean=("X",)), RunReport("b", "b", skipped=(Skipped("X", "why"),)))
    out = text(Report(runs), Style())
    assert out.startswith("a: nothing found (1 rule clean, 0 skipped)\nb: not checked (0 rules clean, 1 skipped)\n\n")
    assert "1 run not checked" in " ".join(out.split())


def test_quiet_leaves_only_findings() -> None:
    assert text(report(clean=("A",)), Style(quiet=True)) == ""
    assert text(report(finding("AAA001")), Style(quiet=True)).rstrip().endswith("message of AAA001")


def test_a_report_without_runs_is_empty() -> None:
    assert text(Report(problems=("no run found",)), Style()) == ""


def test_a_long_label_or_value_takes_its_own_line_and_leaves_the_columns_of_the_others() -> None:
    evidence = (Evidence("steps", 10_000, 83_306, unit="step"), Evidence("l" * 60, 5), Evidence("words", "w " * 60))
    out = shown(finding("AAA001", evidence=evidence))
    assert "    steps  10,000 steps  limit 83,306 steps\n" in out
    assert out.count("w") >= 60


@pytest.mark.parametrize(
    ("value", "unit", "wanted"),
    [
        (1, "step", "1 step"),
        (2, "batch", "2 batches"),
        (2, "MB", "2 MB"),
        (3, "tokens/s", "3 tokens/s"),
        (10**400, "step", "about 2^1,328 steps"),
        (float("nan"), "nat", "NaN nats"),
        (1e-7, "", "1e-07"),
        (1234567.25, "", "1,234,567.2"),
        (0.1 + 0.2, "", "0.3"),
        (None, "", "none"),
        (True, "", "True"),
    ],
)
def test_numbers_carry_separators_and_their_unit_in_the_right_number(value: float, unit: str, wanted: str) -> None:
    assert f"  measured  {wanted}\n" in shown(finding("AAA001", evidence=(Evidence("measured", value, unit=unit),)))
