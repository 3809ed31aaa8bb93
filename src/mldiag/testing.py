"""Runs rule cases: TOML files whose files are written verbatim, read by the real readers and judged by the real rule.

A case file has the stem of its rule's file and holds `[[case]]` tables:

    [[case]]
    name = "10,000 of 83,306 planned steps"
    outcome = "found"                       # found, clean or skipped
    pre = true                              # optional: as with --stage pre
    check = ["new"]                         # optional: the folders to check, where not all of the files are
    against = "old"                         # optional: as with --against
    options = {tolerance = 0.05}            # optional: rule options
    [case.files]                            # path → content; `base64:...` for bytes that are no text
    "run.sh" = '''
    python train.py --total_steps 10000
    '''
    [case.expect]                           # optional, for what was found
    count = 1                               # number of findings, default 1
    severity = "error"
    message = ["10,000", "12.0 %"]          # each must occur
    at = "run.sh:2"
    evidence = {"planned steps" = 10000}    # label → value; numbers to 1e-6 relative
    fix = "safe"                            # safety of the fix, or "none"
    reason = "no setting"                   # for skipped: must occur in the reason
    [case.fixed]                            # path → exact content after the fix; the rule must then be silent
    "run.sh" = '''
    python train.py --total_steps 83306
    '''

A case whose files hold a `mldiag.toml`, and one of a rule that compares runs, is a whole audit with that configuration;
its options then stand there.

A newline right after the opening quotes is TOML's and is dropped; the content otherwise is what is written.
"""

from __future__ import annotations

import base64
import math
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from mldiag import plugins as plugin_loading
from mldiag.assembly import read_run
from mldiag.discovery import discover
from mldiag.engine import apply_rules
from mldiag.files import Folder
from mldiag.findings import Finding
from mldiag.plugins import Plugins
from mldiag.report import RunReport
from mldiag.rules import Rule

OUTCOMES = ("found", "clean", "skipped")
_KEYS = {"name", "outcome", "pre", "check", "against", "options", "files", "expect", "fixed"}
_EXPECTED = {"count", "severity", "message", "at", "evidence", "fix", "reason", "explains"}


class Case(Struct, frozen=True):
    """One case of a rule. `stem` is the case file's, and the rule's."""

    stem: str
    name: str
    outcome: str
    files: Mapping[str, str]
    pre: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, str] | None = None
    check: tuple[str, ...] = ()
    against: str = ""

    @property
    def code(self) -> str:
        return self.stem.partition("_")[0].upper()

    def __str__(self) -> str:
        return f"{self.stem}: {self.name}"


def load_cases(path: Path) -> list[Case]:
    """The cases of one file, or of every `*.toml` in a folder.

    Raises:
        ValueError: a key that no case has, or a missing one.
    """
    if path.is_dir():
        return [c for file in sorted(path.glob("*.toml")) for c in load_cases(file)]
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return [_case(path, raw) for raw in table.get("case", [])]


def _case(path: Path, raw: Mapping[str, Any]) -> Case:
    unknown = (set(raw) - _KEYS) | (set(raw.get("expect", {})) - _EXPECTED)
    if unknown or not {"name", "outcome"} <= set(raw) or raw["outcome"] not in OUTCOMES:
        raise ValueError(f"{path}: case {raw.get('name')!r} has unknown keys {sorted(unknown)} or no valid outcome")
    return Case(
        path.stem,
        raw["name"],
        raw["outcome"],
        raw.get("files", {}),
        raw.get("pre", False),
        raw.get("options", {}),
        raw.get("expect", {}),
        raw.get("fixed"),
        tuple(raw.get("check", ())),
        raw.get("against", ""),
    )


def check_case(case: Case, plugins: Plugins | None = None) -> None:
    """Runs one case.

    Raises:
        AssertionError: the rule did something else than the case says; the message tells what.
    """
    loaded = plugins or plugin_loading.load()
    rule = loaded.rules.get(case.code)
    assert rule is not None, f"no rule {case.code} is loaded for {case}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        write_files(root, case.files)
        if rule.compares or case.against or "mldiag.toml" in case.files:
            report = _audited(case, rule, root, loaded)
        else:
            report = judge(root, [rule], loaded, pre=case.pre, options={rule.name: dict(case.options)})
        _compare(case, rule, report)
        if case.fixed is not None:
            _check_fix(case, rule, report, root, loaded)


def check_cases(path: Path, rule_folders: Sequence[Path] = ()) -> int:
    """Runs every case of a file or folder, with the rules of further folders; returns how many there were."""
    loaded = plugin_loading.load(rule_folders)
    cases = load_cases(path)
    for case in cases:
        check_case(case, loaded)
    return len(cases)


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Writes a case's files below `root`, newlines as they stand."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        encoded = content.startswith("base64:")
        target.write_bytes(base64.b64decode(content[7:]) if encoded else content.encode())


def judge(
    root: Path,
    rules: Sequence[Rule],
    plugins: Plugins,
    *,
    pre: bool = False,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    overlay: Mapping[str, bytes] | None = None,
) -> RunReport:
    """Reads the one run at `root` and applies the rules; `overlay` replaces files by relative path."""
    found = discover(root, plugins.takes)
    assert len(found) == 1, f"{len(found)} runs at {root}: {[r.label for r in found]}"
    folder = Folder(found[0].folder, found[0].files, overlay)
    return apply_rules(read_run(folder, found[0].label, plugins, pre=pre), rules, options)


def _audited(case: Case, rule: Rule, root: Path, plugins: Plugins) -> RunReport:
    """What a whole audit says of one rule: of the runs together where it compares them, else of the only one."""
    from mldiag.audit import Request, audit

    assert not case.options, f"{case}: options of a whole audit stand in its mldiag.toml"
    paths = tuple(root / folder for folder in case.check) or (root,)
    against = root / case.against if case.against else None
    report = audit(Request(paths, (rule.code,), pre=case.pre, against=against), plugins)
    assert not report.problems, f"{case}: {report.problems}"
    together = [run for run in report.runs if run.members]
    found = together if rule.compares and together else report.single
    assert len(found) == 1, f"{case}: {len(found)} runs: {[run.path for run in found]}"
    return found[0]


def _compare(case: Case, rule: Rule, report: RunReport) -> None:
    happened = outcome_of(rule, report)
    unread = "".join(f"\n  unread: {u}" for u in report.unread)
    said = (
        [f.message for f in report.findings] or [s.reason for s in report.skipped] or [f.error for f in report.failed]
    )
    assert happened == case.outcome, f"{case}: expected {case.outcome}, was {happened}: {said}{unread}"
    expect = case.expect
    if "reason" in expect:
        reason = report.skipped[0].reason
        assert expect["reason"] in reason, f"{case}: reason {reason!r} lacks {expect['reason']!r}"
    if case.outcome != "found":
        return
    count = expect.get("count", 1)
    assert len(report.findings) == count, f"{case}: {len(report.findings)} findings, expected {count}: {said}"
    _compare_finding(case, report.findings[0], expect)


def _compare_finding(case: Case, finding: Finding, expect: Mapping[str, Any]) -> None:
    for part in _listed(expect.get("message", [])):
        assert part in finding.message, f"{case}: message {finding.message!r} lacks {part!r}"
    if "severity" in expect:
        assert finding.level == expect["severity"], f"{case}: severity is {finding.level}"
    if "at" in expect:
        assert str(finding.at) == expect["at"], f"{case}: at {finding.at}, expected {expect['at']}"
    evidence = {e.label: e.value for e in finding.evidence}
    for label, value in expect.get("evidence", {}).items():
        assert label in evidence, f"{case}: no evidence {label!r} in {sorted(evidence)}"
        assert _same(evidence[label], value), f"{case}: evidence {label!r} is {evidence[label]!r}, not {value!r}"
    if "fix" in expect:
        safety = "none" if finding.fix is None else finding.fix.safety.value
        assert safety == expect["fix"], f"{case}: fix is {safety}, expected {expect['fix']}"


def _check_fix(case: Case, rule: Rule, report: RunReport, root: Path, plugins: Plugins) -> None:
    from mldiag.fixes import apply_edits

    overlay: dict[str, bytes] = {}
    for finding in report.findings:
        assert finding.fix is not None, f"{case}: the finding has no fix"
        overlay.update(apply_edits(finding.fix.edits, Folder(root, tuple(case.files), overlay)))
    for path, wanted in (case.fixed or {}).items():
        got = overlay.get(path, (root / path).read_bytes()).decode()
        assert got == wanted, f"{case}: {path} after the fix is\n{got}\nexpected\n{wanted}"
    again = judge(root, [rule], plugins, pre=case.pre, options={rule.name: dict(case.options)}, overlay=overlay)
    assert not again.findings, f"{case}: the rule still fires after its fix: {again.findings[0].message}"


def outcome_of(rule: Rule, report: RunReport) -> str:
    """`found`, `clean`, `skipped` or `failed`: what became of a rule in a report."""
    if any(f.code == rule.code for f in report.findings):
        return "found"
    if rule.code in report.clean:
        return "clean"
    if any(s.code == rule.code for s in report.skipped):
        return "skipped"
    return "failed"


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(got, int | float) and isinstance(wanted, int | float):
        return math.isclose(got, wanted, rel_tol=1e-6, abs_tol=1e-12)
    return bool(got == wanted)


__all__ = ["Case", "check_case", "check_cases", "judge", "load_cases", "outcome_of", "write_files"]
