"""The JSON report: strict, complete, and safe with any value."""

from __future__ import annotations

import json as standard
import math
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from mldiag.artifacts import Source, Unread
from mldiag.findings import Edit, Evidence, Finding, Fix, Severity
from mldiag.report import Report, RunReport, Style
from mldiag.reporters.json import json

FINDING = Finding("m", severity=Severity.ERROR, code="AAA001", name="a-a", family="f", explains=("BBB001",))


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no strict JSON")


def parsed(report: Report) -> Any:
    made = json(report, Style())
    assert made.isascii()
    return standard.loads(made, parse_constant=refuse)


def evidence_value(value: Any) -> Any:
    run = RunReport("p", "p", (replace(FINDING, evidence=(Evidence("l", value),)),))
    return parsed(Report((run,)))["runs"][0]["findings"][0]["evidence"][0]["value"]


def test_the_keys_are_those_of_schema_1_in_their_order() -> None:
    place = Source("run.sh", 13, 3, "total_steps", 1, 2, "x", "line")
    fix = Fix.safe("t", Edit("run.sh", 1, 2, "o", "n"))
    found = replace(FINDING, at=place, evidence=(Evidence("l", 1, None, place, "step"),), fix=fix)
    run = RunReport("p", "n", (found,), ("C",), unread=(Unread("u", "r", 3, partial=True),))
    made = parsed(Report((run,), (), 0.1234567, "1.0"))
    assert list(made) == ["schema", "tool", "runs", "problems", "summary"]
    assert made["tool"] == {"name": "mldiag", "version": "1.0"}
    assert list(made["runs"][0]) == [
        "path", "name", "findings", "clean", "skipped", "failed", "unread", "suppressed", "unused_suppressions",
        "accepted", "members",
    ]  # fmt: skip
    told = made["runs"][0]["findings"][0]
    assert list(told) == [
        "code", "name", "family", "severity", "message", "advice", "explains", "explained_by", "at", "evidence", "fix",
    ]  # fmt: skip
    assert told["at"] == {"path": "run.sh", "line": 13, "column": 3, "key": "total_steps"}
    assert list(told["evidence"][0]) == ["label", "value", "limit", "unit", "at"]
    edit = {"path": "run.sh", "start": 1, "end": 2, "old": "o", "new": "n"}
    assert told["fix"] == {"safety": "safe", "title": "t", "edits": [edit]}
    assert list(made["summary"]) == ["runs", "error", "warning", "info", "fixable", "seconds"]
    assert made["summary"] == {"runs": 1, "error": 1, "warning": 0, "info": 0, "fixable": 1, "seconds": 0.123}


def test_what_is_absent_is_null_and_its_key_stays() -> None:
    made = parsed(Report((RunReport("p", "p", (replace(FINDING, at=Source("log.json")),)),)))
    told = made["runs"][0]["findings"][0]
    assert told["at"] == {"path": "log.json", "line": None, "column": None, "key": None}
    assert told["fix"] is None


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (True, True), (None, None)],
)
def test_numbers_that_json_lacks_are_strings(value: object, wanted: object) -> None:
    assert evidence_value(value) == wanted


@pytest.mark.parametrize("value", [0, -1, 2**53 + 1, 2**64, -(10**4000)])
def test_integers_of_any_size_are_exact(value: int) -> None:
    assert evidence_value(value) == value


def test_an_integer_too_long_for_python_to_write_out_is_hexadecimal() -> None:
    assert int(evidence_value(10**10_000), 16) == 10**10_000


def test_half_a_surrogate_pair_is_spelled_out() -> None:
    assert evidence_value("run\udcff.sh") == "run\\udcff.sh"


@given(st.one_of(st.text(st.characters()), st.floats(), st.integers(), st.none(), st.booleans()))
def test_every_value_makes_a_strict_document(value: Any) -> None:
    got = evidence_value(value)
    if isinstance(value, float) and math.isfinite(value):
        assert got == value
    if isinstance(value, str) and value.isprintable():
        assert got == value


def test_the_document_of_no_run_says_why() -> None:
    made = parsed(Report(problems=("x: no such file or folder",)))
    assert made["runs"] == []
    assert made["problems"] == ["x: no such file or folder"]
