"""The result of an audit, as reporters and the exit code need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from mldiag.artifacts import Unread
from mldiag.errors import BROKEN, FOUND, OK
from mldiag.findings import Failed, Finding, Safety, Severity, Skipped
from mldiag.suppression import Unused

if TYPE_CHECKING:
    from mldiag.rules import Rule


class RunReport(Struct, frozen=True):
    """What the rules said about one run. Every rule is in exactly one of the four outcomes.

    Attributes:
        path: the run's path as the user gave it or as it was found below that; all other paths are relative to it.
        suppressed: findings that a comment in the file silenced.
        unused: rules in such comments that silenced nothing.
        members: paths of the runs that were compared, where this tells of several together; else empty.
        accepted: findings that the baseline file holds already.
    """

    path: str
    name: str
    findings: tuple[Finding, ...] = ()
    clean: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = ()
    unread: tuple[Unread, ...] = ()
    suppressed: tuple[Finding, ...] = ()
    unused: tuple[Unused, ...] = ()
    files: int = 0
    members: tuple[str, ...] = ()
    accepted: tuple[Finding, ...] = ()

    @property
    def checked(self) -> bool:
        """At least one rule looked at the run: zero rules is not passed."""
        return bool(self.findings or self.clean or self.suppressed or self.accepted)


class Report(Struct, frozen=True):
    """What one `mldiag check` found.

    Attributes:
        problems: one line each: why a path, a plugin or the whole audit could not be worked on.
        seconds: wall time of the audit.
        rules: the rules that were loaded, for reporters that name or describe one which found nothing.
    """

    runs: tuple[RunReport, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    version: str = ""
    rules: tuple[Rule, ...] = ()

    @property
    def single(self) -> tuple[RunReport, ...]:
        """The reports of one run each, without what was said of several together."""
        return tuple(run for run in self.runs if not run.members)

    @property
    def unchecked(self) -> tuple[RunReport, ...]:
        """The runs that no rule looked at, neither alone nor together with others."""
        together = {path for run in self.runs if run.members and run.checked for path in run.members}
        return tuple(run for run in self.single if not (run.checked or run.path in together))

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
        if self.problems or not self.runs or unread or failed or self.unchecked:
            return BROKEN
        if fail_on is not None and any(f.level.rank <= fail_on.rank for f in self.findings):
            return FOUND
        return OK


class Node(Struct, frozen=True):
    """A finding with the symptoms that are told under it.

    Attributes:
        also: findings it explains as well, which are told elsewhere.
    """

    finding: Finding
    symptoms: tuple[Node, ...] = ()
    also: tuple[Finding, ...] = ()


def by_cause(findings: Sequence[Finding]) -> tuple[Node, ...]:
    """Causes with their symptoms under them, the most severe first; every finding is in exactly one place.

    A symptom of several causes is told under the first of them. Where findings explain each other in a circle, the most
    severe is taken as the cause.
    """
    order = sorted(range(len(findings)), key=lambda i: findings[i].level.rank)
    by_code: dict[str, list[int]] = {}
    for i in order:
        by_code.setdefault(findings[i].code, []).append(i)
    told: set[int] = set()

    def grown(i: int) -> Node:
        explained = [j for code in findings[i].explains or () for j in by_code.get(code, ()) if j != i]
        own = sorted({j for j in explained if j not in told}, key=order.index)
        also = tuple(findings[j] for j in explained if j in told)
        told.update(own)
        return Node(findings[i], tuple(grown(j) for j in own), also)

    nodes = []
    for i in [*(i for i in order if not findings[i].explained_by), *order]:
        if i not in told:
            told.add(i)
            nodes.append(grown(i))
    return tuple(sorted(nodes, key=lambda node: node.finding.level.rank))


class Style(Struct, frozen=True):
    """How a reporter for people may draw; machine formats ignore it.

    Attributes:
        width: columns. `color`: ANSI colours are understood. `encoding`: what the text will be written in.
        skipped: list the skipped and the clean rules. `verbose`: all there is to say about every finding.
        quiet: findings only.
        fail_on: the gate, for the closing line.
    """

    width: int = 80
    color: bool = False
    skipped: bool = False
    verbose: bool = False
    quiet: bool = False
    encoding: str = "utf-8"
    fail_on: Severity | None = Severity.ERROR
