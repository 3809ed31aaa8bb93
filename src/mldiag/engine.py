"""Applies rules to a run. Every rule ends in one of four outcomes: found, clean, skipped with a reason, failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from mldiag.errors import NotApplicable
from mldiag.findings import Failed, Finding, Severity, Skipped
from mldiag.report import RunReport
from mldiag.rules import Rule
from mldiag.run import Run, arguments
from mldiag.suppression import Suppression, unused


def apply_rules(
    run: Run,
    rules: Sequence[Rule],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    loaded: Sequence[Rule] | None = None,
) -> RunReport:
    """Applies the rules to one run and links causes with their symptoms.

    Args:
        options: rule name → option → value, validated by `mldiag.settings`.
        loaded: every rule there is, where `rules` are a choice of them: a comment may name one that was not chosen.
    """
    findings: list[Finding] = []
    suppressed: list[Finding] = []
    clean: list[str] = []
    skipped: list[Skipped] = []
    failed: list[Failed] = []
    used: set[tuple[Suppression, str]] = set()
    for rule in rules:
        if run.pre and not rule.pre:
            skipped.append(Skipped(rule.code, "needs what training writes; --stage pre looks at the plan only"))
            continue
        try:
            found = _stamped(rule, rule.check(*arguments(run, rule), **(options or {}).get(rule.name, {})))
        except NotApplicable as reason:
            skipped.append(Skipped(rule.code, str(reason)))
            continue
        except Exception as error:  # a defect of the rule; the other rules go on
            failed.append(Failed(rule.code, f"{type(error).__name__}: {error}"))
            continue
        for finding in found:
            comments = {(c, word) for c in run.suppressions if (word := c.covers(finding)) is not None}
            used |= comments
            (suppressed if comments else findings).append(finding)
        if not found:
            clean.append(rule.code)
    withheld = _withheld(rules, [*findings, *suppressed])
    skipped += (Skipped(code, f"{better} says what happened to these values") for code, better in withheld.items())
    findings = [f for f in findings if f.code not in withheld]
    suppressed = [f for f in suppressed if f.code not in withheld]
    return RunReport(
        path=run.path,
        name=run.name,
        findings=_linked(findings),
        clean=tuple(clean),
        skipped=tuple(skipped),
        failed=tuple(failed),
        unread=run.unread,
        suppressed=tuple(suppressed),
        unused=tuple(
            unused(run.suppressions, used, {*clean, *(f.code for f in (*findings, *suppressed))}, loaded or rules)
        ),
        files=len(run.files),
    )


def _stamped(rule: Rule, found: Iterable[Finding]) -> list[Finding]:
    return [
        replace(
            finding,
            code=rule.code,
            name=rule.name,
            family=rule.family,
            severity=finding.severity or rule.severity,
            explains=rule.explains if finding.explains is None else finding.explains,
        )
        for finding in found
    ]


def _withheld(rules: Iterable[Rule], found: Sequence[Finding]) -> dict[str, str]:
    """Rules whose findings another's take the place of, with that other: the gravest finding of each decides.

    A finding that was suppressed counts, too: it was known, and what it rules out is no truer for that.
    """
    gravest: dict[str, int] = {}
    for finding in found:
        gravest[finding.code] = min(finding.level.rank, gravest.get(finding.code, finding.level.rank))
    better = {
        rule.code: [c for c in rule.gives_way_to if gravest.get(c, len(Severity)) <= gravest[rule.code]]
        for rule in rules
        if rule.code in gravest
    }
    return {code: codes[0] for code, codes in better.items() if codes}


def _linked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Keeps of `explains` what was found, fills `explained_by`, and puts causes before their symptoms."""
    codes = {f.code for f in findings}
    causes: dict[str, list[str]] = {}
    linked = []
    for finding in findings:
        explains = tuple(c for c in dict.fromkeys(finding.explains or ()) if c in codes and c != finding.code)
        for code in explains:
            causes.setdefault(code, []).append(finding.code)
        linked.append(replace(finding, explains=explains))
    with_causes = [replace(f, explained_by=tuple(dict.fromkeys(causes.get(f.code, ())))) for f in linked]
    return tuple(
        sorted(with_causes, key=lambda f: (bool(f.explained_by), f.level.rank, -len(f.explains or ()), f.code))
    )
