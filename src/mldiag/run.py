"""A run: everything that was read below one root, put together so that rules can ask for it by type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from mldiag.artifacts import Collection, LogRows, Metrics, Program, Samples, Series, Settings, Unread
from mldiag.errors import NotApplicable
from mldiag.facts import Fact, Facts
from mldiag.groups import Group
from mldiag.index import at, place_of
from mldiag.rules import Rule
from mldiag.suppression import Suppression


class Missing(Struct, frozen=True):
    """A fact that could not be derived."""

    reason: str


class Run(Struct):
    """One run.

    Attributes:
        root: its folder. `path`: how the user named that, for reports. `name`: of the run: its folder's or, where one
            file was named, that file's.
        files: paths that were read, relative to the root, with the name of the reader that took each.
        rows: by path, the rows of each log.
        artifacts: by struct, what the collections hand out (`Sample`, `Checkpoint`, `ScoreTable`, …).
        passed_over: series that share the canonical name of one in `metrics` and are another quantity.
        pre: only what is known before training was read.
        suppressions: comments in the files that silence rules.
    """

    root: Path
    path: str
    name: str = ""
    metrics: Metrics = field(default_factory=Metrics)
    settings: Settings = field(default_factory=Settings)
    program: Program = field(default_factory=Program)
    rows: Mapping[str, LogRows] = field(default_factory=dict)
    artifacts: Mapping[type, tuple[Any, ...]] = field(default_factory=dict)
    passed_over: tuple[Series, ...] = ()
    unread: tuple[Unread, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    pre: bool = False
    facts: Mapping[type, Fact] = field(default_factory=dict)
    suppressions: tuple[Suppression, ...] = ()
    _derived: dict[type | str, Any] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Nothing was found that a rule could look at."""
        return not (self.metrics.series or self.settings.found or self.program.sources or self.artifacts)

    @property
    def samples(self) -> Samples:
        return Samples(self.artifacts.get(Samples.of, ()))

    def get(self, kind: type | str) -> Any:
        """The artifact or fact of a type; a fact is derived once and kept.

        Args:
            kind: or its place (`mldiag.facts.curves:Curves`): then it is imported only where what it needs is there.

        Raises:
            NotApplicable: the artifact is absent or the fact cannot be derived; the message is the reason.
            TypeError: no artifact or fact of that type exists.
        """
        if kind is Run or kind == _RUN:
            return self
        if kind not in self._derived:
            self._derived[kind] = self._at(kind) if isinstance(kind, str) else self._find(kind)
        found = self._derived[kind]
        if isinstance(found, Missing):
            raise NotApplicable(found.reason)
        return found

    def _at(self, place: str) -> Any:
        try:
            if isinstance(self.facts, Facts):
                for needed in self.facts.needs(place):
                    self.get(needed)
            return self.get(at(place))
        except NotApplicable as reason:
            return Missing(str(reason))

    def _find(self, kind: type) -> Any:
        if kind is Metrics:
            return self.metrics if self.metrics.series else Missing("no metrics were logged")
        if kind is Settings:
            return self.settings if self.settings.found else Missing("no settings were found")
        if kind is Program:
            known = self.program.launch or self.program.sources
            return self.program if known else Missing("no launch script and no source were found")
        if kind is Group:
            return Missing("several runs are compared, and one was checked")
        if issubclass(kind, Collection):
            found = self.artifacts.get(kind.of)
            return kind(found) if found else Missing(f"no {kind.called} were found")
        known_fact = self.facts.get(kind)
        if known_fact is None:
            raise TypeError(f"no artifact or fact of type {kind.__name__}")
        try:
            return known_fact.derive(*arguments(self, known_fact))
        except NotApplicable as reason:
            return Missing(str(reason))


_RUN = place_of(Run)


def arguments(run: Run, of: Rule | Fact) -> list[Any]:
    """The values for the parameters of a rule or fact, None for an optional one that is absent.

    What it cannot do without is looked for first: where that is absent, nothing else has to be derived or imported.

    Raises:
        NotApplicable: a required one is absent.
    """
    wanted: list[tuple[type | str, bool]]
    if of.listed is None:
        wanted = [(each.type, each.optional) for each in of.inputs]
    else:
        wanted = [(place, optional) for _, place, optional in of.listed]
    for kind, optional in wanted:
        if not optional:
            run.get(kind)
    return [_optional(run, kind) if optional else run.get(kind) for kind, optional in wanted]


def _optional(run: Run, kind: type | str) -> Any:
    try:
        return run.get(kind)
    except NotApplicable:
        return None
