"""What rules say: findings with their evidence, and the fixes that go with them."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from mldiag.artifacts import Source


class Severity(StrEnum):
    """How much a finding matters. Order: error, warning, info."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for error, 1 for warning, 2 for info."""
        return list(Severity).index(self)


class Safety(StrEnum):
    """What a fix does to the next run."""

    SAFE = "safe"
    """Restores what the run's other parts already say: the run trains as its author meant."""
    UNSAFE = "unsafe"
    """The next run learns differently, by judgment; applied only on request."""
    SHOW = "show"
    """Only a person can do it; the fix is advice without edits."""


class Evidence(Struct, frozen=True):
    """One number behind a finding; every figure of a message is one of these or follows from them.

    Attributes:
        label: what was measured ("planned steps").
        value: the measured value.
        limit: the threshold it was held against, where there is one.
        unit: of value and limit ("step", "nat", "token"); empty for ratios and counts of no unit.
        at: where the value was read.
    """

    label: str
    value: float | int | str | None
    limit: float | int | str | None = None
    at: Source | None = None
    unit: str = ""


class Edit(Struct, frozen=True):
    """Replace the bytes `[start, end)` of a file, which must hold `old`, by `new` (an insertion has `start == end`)."""

    path: str
    start: int
    end: int
    old: str
    new: str


class Fix(Struct, frozen=True):
    """A correction: all its edits land together or not at all."""

    safety: Safety
    title: str
    edits: tuple[Edit, ...] = ()

    @classmethod
    def safe(cls, title: str, *edits: Edit | None) -> Fix:
        """A fix that restores consistency. With an edit that cannot be made (None) it is only shown."""
        return cls._of(Safety.SAFE, title, edits)

    @classmethod
    def unsafe(cls, title: str, *edits: Edit | None) -> Fix:
        """A fix after which the next run learns differently. With an edit that cannot be made it is only shown."""
        return cls._of(Safety.UNSAFE, title, edits)

    @classmethod
    def show(cls, title: str) -> Fix:
        """Advice: only a person can do it."""
        return cls(Safety.SHOW, title)

    @classmethod
    def _of(cls, safety: Safety, title: str, edits: tuple[Edit | None, ...]) -> Fix:
        possible = tuple(e for e in edits if e is not None)
        if not possible or len(possible) < len(edits):
            return cls(Safety.SHOW, title)
        return cls(safety, title, possible)


class Finding(Struct, frozen=True):
    """One thing that is wrong. A rule fills the first block; the engine stamps the second.

    Attributes:
        message: what happened, with numbers and units; lower case, past tense for what the run did.
        at: the place to look at first.
        advice: what to do, one sentence, where no fix says it.
        severity: overrides the rule's own.
        explains: codes of rules whose findings this one causes, where they differ from the rule's own list. After the
            engine has linked a run's findings, only the codes that were really found.
    """

    message: str
    at: Source | None = None
    evidence: tuple[Evidence, ...] = ()
    advice: str = ""
    fix: Fix | None = None
    severity: Severity | None = None
    explains: tuple[str, ...] | None = None

    code: str = ""
    name: str = ""
    family: str = ""
    explained_by: tuple[str, ...] = ()

    @property
    def level(self) -> Severity:
        """The severity, which the engine guarantees to be set."""
        return self.severity or Severity.WARNING


class Skipped(Struct, frozen=True):
    """A rule that could not be applied, and why."""

    code: str
    reason: str


class Failed(Struct, frozen=True):
    """A rule that broke: a defect of the rule, never of the run."""

    code: str
    error: str
