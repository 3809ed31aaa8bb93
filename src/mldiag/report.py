"""The result of an audit, as reporters and the exit code need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from mldiag.artifacts import Unread
from mldiag.findings import Failed, Finding, Safety, Severity, Skipped

OK, FOUND, BROKEN = 0, 1, 2
"""Exit codes: nothing at or above the gate; findings at or above it; the work could not be done."""


@dataclass(frozen=True)
class RunReport:
    """What the rules said about one run. Every rule is in exactly one of the four outcomes.

    Attributes:
        path: the run's path as the user gave it or as it was found below that; all other paths are relative to it.
        suppressed: findings that a comment in the file silenced.
    """

    path: str
    name: str
    findings: tuple[Finding, ...] = ()
    clean: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = ()
    unread: tuple[Unread, ...] = ()
    suppressed: tuple[Finding, ...] = ()
    files: int = 0


@dataclass(frozen=True)
class Report:
    """What one `mldiag check` found.

    Attributes:
        problems: one line each: why a path, a plugin or the whole audit could not be worked on.
        seconds: wall time of the audit.
    """

    runs: tuple[RunReport, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    version: str = ""

    @property
    def findings(self) -> Iterator[Finding]:
        for run in self.runs:
            yield from run.findings

    def count(self, severity: Severity) -> int:
        return Counter(f.level for f in self.findings)[severity]

    @property
    def fixable(self) -> int:
        """Findings with edits, safe or unsafe."""
        return sum(f.fix is not None and f.fix.safety is not Safety.SHOW for f in self.findings)

    def exit_code(self, fail_on: Severity | None = Severity.ERROR) -> int:
        """2 when something could not be checked, else 1 when a finding reaches the gate (None: no gate), else 0.

        A file whose format no reader knows is not counted as unreadable; one that its reader had to give up is.
        """
        unread = any(u.known for run in self.runs for u in run.unread)
        failed = any(run.failed for run in self.runs)
        # Zero rules is not passed: a run on which every rule was skipped has not been checked.
        idle = any(not run.findings and not run.clean and not run.suppressed for run in self.runs)
        if self.problems or not self.runs or unread or failed or idle:
            return BROKEN
        if fail_on is not None and any(f.level.rank <= fail_on.rank for f in self.findings):
            return FOUND
        return OK


@dataclass(frozen=True)
class Style:
    """How a reporter for people may draw; machine formats ignore it.

    Attributes:
        width: columns. `color`: ANSI colours are understood. `skipped`: list the skipped rules.
        fail_on: the gate, for the closing line.
    """

    width: int = 80
    color: bool = False
    skipped: bool = False
    verbose: bool = False
    fail_on: Severity | None = Severity.ERROR
    options: dict[str, str] = field(default_factory=dict)
