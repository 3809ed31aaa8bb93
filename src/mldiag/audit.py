"""The whole audit of some paths: plugins, configuration, run roots, rules, report."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from mldiag import settings
from mldiag.artifacts import Launch, SettingValue, Unread
from mldiag.assembly import Gathered, Shared, assembled, by_program, gathered
from mldiag.discovery import SCRIPTS, Root, discover
from mldiag.engine import apply_rules
from mldiag.errors import MldiagError, ReadError, SettingsError
from mldiag.expectations import Expectation, Reference
from mldiag.files import File, Folder, size_of
from mldiag.groups import Against, Group, Member, common_folder, member_of
from mldiag.journal import FOLDER as JOURNAL, copies_in, interrupted
from mldiag.plugins import Plugins
from mldiag.report import Report, RunReport
from mldiag.rules import Rule
from mldiag.run import Run
from mldiag.settings import Config
from mldiag.vocabulary import series_name, split_of

_BROUGHT_ALONG = (".py", ".yaml", ".yml", ".json", ".toml")


class Request(Struct, frozen=True):
    """What the user asked to check.

    Attributes:
        overlay: absolute path → content that replaces what is on disk, for a fix that is being tried.
        against: a run that the results of the others are held against; None: as configured.
    """

    paths: tuple[Path, ...]
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    pre: bool = False
    overlay: Mapping[Path, bytes] = field(default_factory=dict)
    against: Path | None = None


def read_runs(request: Request, plugins: Plugins, problems: list[str]) -> Iterator[Run]:
    """Reads the runs at the requested paths; what cannot be worked on becomes a line of `problems`."""
    seen: set[tuple[str, str]] = set()
    for path in request.paths:
        reading = _Reading(path, request, plugins, problems)
        try:
            for root in discover(path, plugins.takes, problems, reading.members):
                # A run that two of the paths lead to is one run.
                own = (str(root.folder), root.name)
                if own not in seen:
                    seen.add(own)
                    yield from reading.runs(root)
        except MldiagError as error:
            problems.append(str(error))


def audit(request: Request, plugins: Plugins) -> Report:
    """Checks the requested paths; a run whose configuration cannot be used becomes a problem."""
    from mldiag import __version__

    started = time.perf_counter()
    problems = list(plugins.broken)
    rules = list(plugins.rules.values())
    reports: list[RunReport] = []
    if not rules:
        problems.append("no rule is loaded; is mldiag installed with its plugins? (`mldiag plugins`)")
    configs = _Configs(request, plugins)
    baselines = _Baselines(request, plugins, problems)
    comparing = any(rule.compares for rule in rules)
    members: list[Member] = []
    for run in read_runs(request, plugins, problems):
        try:
            config = configs.of(run.root)
        except SettingsError as error:
            # That of one run among many must not keep the others from being checked.
            if str(error) not in problems:
                problems.append(str(error))
            continue
        chosen = config.chosen(rules, run.path, run.root)
        if run.empty and not run.unread:
            problems.append(f"{run.path}: no run found: its files hold no metrics, settings, source or samples")
            continue
        if rules and not chosen:
            problems.append(f"{run.path}: no rule is left to apply; what is selected is ignored as well")
        _expect(run, config)
        baselines.give(run, config)
        if comparing and not run.pre:
            members.append(member_of(run))
        options = config.options_by_name(rules, run.path, run.root)
        reports.append(apply_rules(run, chosen, options, loaded=rules))
    if len(members) > 1 or (members and baselines.found and not baselines.is_one(members[0])):
        reports = _compared(members, rules, configs, baselines, reports)
    return Report(tuple(reports), tuple(problems), time.perf_counter() - started, __version__, tuple(rules))


def _compared(
    members: Sequence[Member],
    rules: Sequence[Rule],
    configs: _Configs,
    baselines: _Baselines,
    reports: Sequence[RunReport],
) -> list[RunReport]:
    """The reports of the runs with one more, of the rules that look at all of them together."""
    folder, label = common_folder(members)
    try:
        config = configs.of(folder)
    except SettingsError:  # told already, for the runs that it holds for
        return [*reports]
    chosen = [r for r in config.chosen(rules, label, folder) if r.compares]
    if not chosen:
        return [*reports]
    against = baselines.of(config)
    group = Group(tuple(m.seen_from(folder) for m in members), against.seen_from(folder) if against else None)
    run = Run(folder, label, folder.name, _derived={Group: group})
    _expect(run, config)
    together = apply_rules(run, chosen, config.options_by_name(rules, label, folder), loaded=rules)
    codes = {rule.code for rule in chosen}
    alone = [replace(r, skipped=tuple(s for s in r.skipped if s.code not in codes)) for r in reports]
    return [*alone, replace(together, members=tuple(m.path for m in members))]


def _expect(run: Run, config: Config) -> None:
    """Gives a run the figures of the configuration that its results are held against."""
    figures = config.figures_of(run.path, run.root)
    if figures:
        known = {series.name for series in run.metrics}
        named = [replace(f, metric=_series_of(f.metric, known)) for f in figures]
        of = {kind: tuple(f for f in named if isinstance(f, kind)) for kind in (Expectation, Reference)}
        run.artifacts = {**run.artifacts, **{kind: found for kind, found in of.items() if found}}


def _series_of(stated: str, known: Container[str]) -> str:
    """The series that a figure is about: `accuracy` is that of validation where training logs none."""
    name = series_name(stated)
    split, _, quantity = name.partition("/")
    if name in known or split != "train" or split_of(stated.partition("/")[0].partition("_")[0]) == "train":
        return name
    return next((other for s in ("val", "test") if (other := f"{s}/{quantity}") in known), name)


class _Baselines:
    """The run that others are held against, as the command line or the configuration names it; read once."""

    def __init__(self, request: Request, plugins: Plugins, problems: list[str]) -> None:
        self._request = request
        self._plugins = plugins
        self._problems = problems
        self._known: dict[Path, Member | None] = {}

    def of(self, config: Config) -> Member | None:
        path = self._request.against or config.against
        if path is None:
            return None
        path = path.resolve()
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    @property
    def found(self) -> bool:
        return any(member is not None for member in self._known.values())

    def is_one(self, member: Member) -> bool:
        """Whether a run is itself what others are held against."""
        return any(m is not None and m.root == member.root for m in self._known.values())

    def give(self, run: Run, config: Config) -> None:
        """Makes it an artifact of a run; it is not held against itself."""
        member = self.of(config)
        if member is not None and member.root != run.root.resolve():
            run.artifacts = {**run.artifacts, Against.of: (member.seen_from(run.root.resolve()),)}

    def _read(self, path: Path) -> Member | None:
        runs = list(read_runs(Request((path,)), self._plugins, self._problems))
        if len(runs) != 1:
            said = "no run" if not runs else f"{len(runs):,} runs"
            self._problems.append(f"{path}: {said} found; expected the one run that others are held against")
            return None
        return member_of(runs[0])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered, which the audit tells
        return False


class _Configs:
    """The configuration that holds for each run. Thousands of runs lie in few folders, so it is found by folder."""

    def __init__(self, request: Request, plugins: Plugins) -> None:
        self._request = request
        self._rules = list(plugins.rules.values())
        self._known: dict[Path, Config] = {}

    def of(self, folder: Path) -> Config:
        if folder not in self._known:
            own = any(_is_file(folder / name) for name in ("mldiag.toml", "pyproject.toml"))
            inherits = not own and folder.parent != folder
            self._known[folder] = self.of(folder.parent) if inherits else self._found(folder)
        return self._known[folder]

    def _found(self, folder: Path) -> Config:
        config = settings.find(folder).with_choice(self._request.select, self._request.ignore)
        config.check(self._rules)
        return config


class _Reading:
    """Reads the runs below one requested path."""

    def __init__(self, path: Path, request: Request, plugins: Plugins, problems: list[str]) -> None:
        self._path = path
        self._request = request
        self._plugins = plugins
        self._problems = problems
        self._shared: Shared = {}
        self._journals: dict[str, bool] = {}

    @cached_property
    def _is_folder(self) -> bool:
        return self._path.is_dir()

    def members(self, folder: Path, file: str) -> tuple[str, ...]:
        """The runs in a file."""
        return self._plugins.members(File(folder, file)) if self._plugins.may_hold_several(file) else ()

    def runs(self, root: Root) -> Iterator[Run]:
        """The run of a root; none where the folder holds nothing of a run, or corrected copies only."""
        copies = copies_in(root.folder, root.files, self._path) if self._has_copies(root) else ()
        if set(root.files) <= set(copies):
            return
        files = root.files
        single = len(files) == 1 and root.name == files[0]
        if single and root.name.endswith(SCRIPTS):
            files = (*files, *_companions(root, self._plugins))
        folder = Folder(root.folder, files, self._overlay(root, files), root.member)
        pre = self._request.pre
        found = gathered(folder, self._plugins, pre=pre, copies=copies, shared=self._shared)
        if not (root.certain or found.tells_of_a_run):
            return
        found.artifacts += [Unread(path, reason, known=False) for path, reason in root.left_out]
        own = _run_name(root, found) or root.name
        for name, part in by_program(found):
            yield assembled(part, folder, root.label, self._plugins, name=name or own, pre=pre)

    def _overlay(self, root: Root, files: Iterable[str]) -> Mapping[str, bytes]:
        """What a fix that is being tried puts in place of the run's files."""
        if not self._request.overlay:
            return {}
        below = {
            p.relative_to(root.folder).as_posix(): content
            for p, content in self._request.overlay.items()
            if p.is_relative_to(root.folder)
        }
        # A run inside this one, or a file beside a single one, is not its own.
        return {name: below[name] for name in files if name in below}

    def _has_copies(self, root: Root) -> bool:
        base = str(root.folder)
        below = {name.rpartition("/")[0] for name in root.files if "/" in name}
        found = [self._has_journal(base), *(self._has_journal(f"{base}/{folder}") for folder in below)]
        return self._is_folder and any(found)

    def _has_journal(self, folder: str) -> bool:
        """Whether a journal of written fixes lies in a folder or above it; tells of a fix that was left half done."""
        known = self._journals.get(folder)
        if known is None:
            known = os.path.lexists(f"{folder}/{JOURNAL}")
            line = interrupted(Path(folder)) if known else None
            if line is not None and line not in self._problems:
                self._problems.append(line)
            above = folder.rpartition("/")[0]
            known |= above != folder and self._has_journal(above)
            self._journals[folder] = known
        return known


def _run_name(root: Root, found: Gathered) -> str | None:
    """What the user called a run that MLflow knows by an id."""
    if not root.member and "meta.yaml" not in root.files:
        return None
    keys = ("mlflow.run_name", "mlflow.runName")
    names = (a.value for a in found.artifacts if isinstance(a, SettingValue) and a.name in keys)
    return next((name for name in names if isinstance(name, str) and name), None)


def _companions(root: Root, plugins: Plugins) -> Iterable[str]:
    """What a launch script that was named alone brings along: its programs and the files its flags name."""
    folder = Folder(root.folder, root.files)
    file = folder[root.files[0]]
    found: dict[str, None] = {}
    for reader in plugins.candidates(file.path):
        try:
            launches = [a for a in reader.read(file) if isinstance(a, Launch)]
        except ReadError:
            continue  # said again, with its place, when the run is read
        for launch in launches:
            named = [launch.path, *launch.positionals, *(f.value for f in launch.flags if f.value)]
            for word in named:
                if posixpath.splitext(word)[1] in _BROUGHT_ALONG and not word.startswith("/"):
                    # Scripts are kept in a folder of their own and started from the one above it, too.
                    places = (posixpath.normpath(word), posixpath.normpath(f"../{word}"))
                    there = next((p for p in places if size_of(root.folder, p) is not None), None)
                    if there is not None:
                        found[there] = None
    return tuple(found)
