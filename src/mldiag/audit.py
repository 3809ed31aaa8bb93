"""The whole audit of some paths: plugins, configuration, run roots, rules, report."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct, field

from mldiag import settings
from mldiag.artifacts import Launch
from mldiag.assembly import read_run
from mldiag.discovery import SCRIPTS, Root, discover
from mldiag.engine import apply_rules
from mldiag.errors import MldiagError, ReadError
from mldiag.files import Folder
from mldiag.journal import copies_in
from mldiag.plugins import Plugins
from mldiag.report import Report, RunReport
from mldiag.run import Run
from mldiag.settings import Config

_BROUGHT_ALONG = (".py", ".yaml", ".yml", ".json", ".toml")


class Request(Struct, frozen=True):
    """What the user asked to check.

    Attributes:
        overlay: absolute path → content that replaces what is on disk, for a fix that is being tried.
    """

    paths: tuple[Path, ...]
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    pre: bool = False
    overlay: Mapping[Path, bytes] = field(default_factory=dict)


def read_runs(request: Request, plugins: Plugins, problems: list[str]) -> Iterator[Run]:
    """Reads the runs at the requested paths; what cannot be worked on becomes a line of `problems`."""
    seen: set[tuple[Path, str]] = set()
    for path in request.paths:
        try:
            for root in discover(path, plugins.takes, problems):
                # A run that two of the paths lead to is one run.
                own = (root.folder.resolve(), root.name)
                if own in seen:
                    continue
                seen.add(own)
                copies = copies_in(root.folder, root.files, path) if path.is_dir() else ()
                if not set(root.files) <= set(copies):
                    yield _read(root, request, plugins, copies)
        except MldiagError as error:
            problems.append(str(error))


def audit(request: Request, plugins: Plugins) -> Report:
    """Checks the requested paths.

    Raises:
        SettingsError: the configuration that holds for a path cannot be used.
    """
    from mldiag import __version__

    started = time.perf_counter()
    problems = list(plugins.broken)
    rules = list(plugins.rules.values())
    reports: list[RunReport] = []
    if not rules:
        problems.append("no rule is loaded; is mldiag installed with its plugins? (`mldiag plugins`)")
    for run in read_runs(request, plugins, problems):
        config = _config(run.root, request, plugins)
        chosen = config.chosen(rules, run.path, run.root)
        if run.empty and not run.unread:
            problems.append(f"{run.path}: no run found: its files hold no metrics, settings, source or samples")
            continue
        if rules and not chosen:
            problems.append(f"{run.path}: no rule is left to apply; what is selected is ignored as well")
        reports.append(apply_rules(run, chosen, config.options_by_name(rules), loaded=rules))
    return Report(tuple(reports), tuple(problems), time.perf_counter() - started, __version__, tuple(rules))


def _config(root: Path, request: Request, plugins: Plugins) -> Config:
    config = settings.find(root).with_choice(request.select, request.ignore)
    config.check(plugins.rules.values())
    return config


def _read(root: Root, request: Request, plugins: Plugins, copies: Iterable[str]) -> Run:
    base = root.folder.resolve()
    files = root.files
    single = len(files) == 1 and root.name == files[0]
    if single and root.name.endswith(SCRIPTS):
        files = (*files, *_companions(root, plugins))
    # A run inside this one, or a file beside a single one, is not its own.
    below = {p.relative_to(base).as_posix(): c for p, c in request.overlay.items() if p.is_relative_to(base)}
    overlay = {name: below[name] for name in files if name in below}
    folder = Folder(root.folder, files, overlay)
    return read_run(folder, root.label, plugins, name=root.name, pre=request.pre, copies=copies)


def _companions(root: Root, plugins: Plugins) -> Iterable[str]:
    """What a launch script that was named alone brings along: its programs and the files its flags name."""
    folder = Folder(root.folder, root.files)
    file = folder[root.files[0]]
    found: dict[str, None] = {}
    for reader in plugins.readers:
        if not reader.takes(file.path):
            continue
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
                    there = next((p for p in places if (root.folder / p).is_file()), None)
                    if there is not None:
                        found[there] = None
    return tuple(found)
