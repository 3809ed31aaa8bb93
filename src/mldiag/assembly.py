"""From files to a run: each file to its reader, launches to settings, settings from every source side by side."""

from __future__ import annotations

import posixpath
from collections.abc import Container, Iterable, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mldiag.alternatives import in_effect
from mldiag.artifacts import (
    Artifact,
    Flag,
    Launch,
    Metrics,
    Option,
    Origin,
    Program,
    PythonSource,
    Role,
    Scalar,
    Series,
    Settings,
    SettingValue,
    Unread,
)
from mldiag.errors import ReadError
from mldiag.files import File, Folder
from mldiag.run import Run
from mldiag.suppression import Suppression, suppressions_in
from mldiag.vocabulary import Vocabulary, series_name

if TYPE_CHECKING:
    from mldiag.plugins import Plugins

# Programs of a run that do not train: a launch of one of these does not stand for the run.
_NOT_TRAINING = ("eval", "test", "infer", "generat", "sampl", "predict", "export", "convert", "download", "preproc",
                 "prepare", "plot", "tokeniz", "serve", "demo", "bench")  # fmt: skip

# What runs leave behind in formats that may have no reader: passed over, but not in silence.
_LEFT_BY_RUNS = (
    "*tfevents*", "*.wandb", "*.pt", "*.pth", "*.ckpt", "*.safetensors", "*.bin", "*.h5", "*.hdf5", "*.keras", "*.npy",
    "*.npz", "*.pkl", "*.onnx", "*.gguf", "*.msgpack", "*.db", "*.out", "*.err", "*.ini", "*.env",
)  # fmt: skip

# What finds a class or function by a name that only the running program knows: it may be any of a module's.
_LOOKED_UP = frozenset({"__dict__", "getattr", "vars", "import_module", "get_model", "create_model"})


def read_run(
    folder: Folder, label: str, plugins: Plugins, *, name: str = "", pre: bool = False, copies: Iterable[str] = ()
) -> Run:
    """Reads every file of a run root that a reader knows.

    Args:
        label: how the user named the root, for reports.
        pre: leave out what exists only once training has begun.
        copies: corrected copies that mldiag itself wrote; they are no part of the run.
    """
    left_out = set(copies)
    artifacts: list[Artifact] = []
    taken: dict[str, str] = {}
    suppressions: list[Suppression] = []
    for path in folder.paths:
        if path not in left_out:
            file = folder[path]
            _read_file(file, plugins, pre, artifacts, taken)
            if path in taken:
                suppressions += suppressions_in(file)
    program = _program(artifacts)
    return Run(
        root=folder.root,
        path=label,
        name=name or folder.root.resolve().name,
        metrics=Metrics(() if pre else _merged(artifacts)),
        settings=_without_outdated(_settings(artifacts, program, plugins.vocabulary, pre), folder.overlay),
        program=program,
        artifacts=_collected(artifacts),
        unread=tuple(a for a in artifacts if isinstance(a, Unread)),
        files=taken,
        pre=pre,
        facts=plugins.facts,
        suppressions=tuple(suppressions),
    )


_PLACED = (Series, SettingValue, Launch, PythonSource, Unread)


def _collected(artifacts: Iterable[Artifact]) -> dict[type, tuple[Artifact, ...]]:
    """By struct, what collections hand out: all that has no place of its own in a run."""
    found: dict[type, list[Artifact]] = {}
    for artifact in artifacts:
        if not isinstance(artifact, _PLACED):
            found.setdefault(type(artifact), []).append(artifact)
    return {kind: tuple(items) for kind, items in found.items()}


def _read_file(file: File, plugins: Plugins, pre: bool, artifacts: list[Artifact], taken: dict[str, str]) -> None:
    candidates = sorted((r for r in plugins.readers if r.takes(file.path)), key=lambda r: (-r.priority, r.name))
    if not candidates:
        if not pre and any(fnmatch(file.name.lower(), pattern) for pattern in _LEFT_BY_RUNS):
            artifacts.append(Unread(file.path, "no reader takes files of this format", known=False))
        return
    try:
        chosen = next((r for r in candidates if r.matches(file)), None)
        if chosen is None:
            # With `--stage pre` a reader for what training writes may be the only one: then the file is not missed.
            if not (pre and any(r.post for r in candidates)):
                artifacts.append(Unread(file.path, "no reader knows what is in it", known=False))
            return
        if pre and chosen.post:
            return
        taken[file.path] = chosen.name
        artifacts.extend(chosen.read(file))
    except ReadError as error:
        artifacts.append(Unread(file.path, error.reason, line=error.line, partial=error.partial))
    except Exception as error:  # a defect of a reader, perhaps a plugin's, must cost this file only
        reason = f"its reader broke, which is no fault of the file: {type(error).__name__}: {error}"
        artifacts.append(Unread(file.path, " ".join(reason.split())))


def _merged(artifacts: Iterable[Artifact]) -> tuple[Series, ...]:
    """One series per canonical name: the longest, the first read among equals."""
    best: dict[str, Series] = {}
    for series in artifacts:
        if isinstance(series, Series):
            named = series if series.name else replace(series, name=series_name(series.raw_name))
            known = best.get(named.name)
            if known is None or len(named) > len(known):
                best[named.name] = named
    return tuple(best.values())


def _program(artifacts: Sequence[Artifact]) -> Program:
    program = _launched(artifacts)
    sources = tuple(s if s is program.main else _as_imported(s, program.sources) for s in program.sources)
    return replace(program, sources=sources)


def _as_imported(source: PythonSource, sources: Sequence[PythonSource]) -> PythonSource:
    """A module without the sizes that its own calls give, such as a trial's, where another file makes those calls."""
    through = frozenset().union(*(b.through for b in source.builds))
    names = set(posixpath.splitext(source.path)[0].split("/"))
    users = [s for s in sources if s is not source and any(names & set(i.split(".")) for i in s.imports)]
    elsewhere = through & {c.last for user in users for c in user.calls}
    if any(_LOOKED_UP & user.names or _LOOKED_UP & {c.last for c in user.calls} for user in users):
        elsewhere = through
    kept = tuple(b for b in source.builds if not b.through & elsewhere)
    return replace(source, builds=kept) if elsewhere else source


def _launched(artifacts: Sequence[Artifact]) -> Program:
    launches = [a for a in artifacts if isinstance(a, Launch)]
    sources = tuple(a for a in artifacts if isinstance(a, PythonSource))
    if not launches:
        programs = [s for s in sources if any(o.flags for o in s.options)]
        only = programs[0] if len(programs) == 1 else sources[0] if len(sources) == 1 else None
        return Program(main=only, sources=sources)
    ranked = sorted(launches, key=lambda launch: _launch_rank(launch, sources))
    best = _launch_rank(ranked[0], sources)
    standing = [launch for launch in ranked if _launch_rank(launch, sources) == best]
    others = tuple(launch for launch in ranked if launch is not standing[0])
    return Program(standing[0], _source_of(standing[0], sources), sources, others)


def _launch_rank(launch: Launch, sources: Sequence[PythonSource]) -> tuple[bool, bool]:
    stem = posixpath.basename(launch.program).lower()
    trains = "train" in stem or not any(word in stem for word in _NOT_TRAINING)
    return (not trains, _source_of(launch, sources) is None)


def _source_of(launch: Launch, sources: Sequence[PythonSource]) -> PythonSource | None:
    """The source of the launched program: beside the script, from the run's root, or by an unambiguous file name."""
    wanted = posixpath.normpath(launch.path)
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(launch.source.path), wanted))
    by_path = {s.path: s for s in sources}
    if beside in by_path or wanted in by_path:
        return by_path.get(beside) or by_path[wanted]
    same = [s for s in sources if posixpath.basename(s.path) == posixpath.basename(wanted)]
    return same[0] if len(same) == 1 else None


def _settings(artifacts: Sequence[Artifact], program: Program, vocabulary: Vocabulary, pre: bool) -> Settings:
    found = [
        replace(a, name=vocabulary.setting(a.name) or a.name)
        for a in artifacts
        if isinstance(a, SettingValue) and not (pre and _recorded(a))
    ]
    ambiguous: dict[str, str] = {}
    rivals: list[Launch] = []
    if program.launch is not None:
        rivals = [
            other
            for other in program.other_launches
            if _launch_rank(other, program.sources) == _launch_rank(program.launch, program.sources)
        ]
        values = {v.name: v for v in _flag_values(program.launch, program.main, vocabulary)}
        for rival in rivals:
            for value in _flag_values(rival, _source_of(rival, program.sources), vocabulary):
                known = values.get(value.name)
                if known is not None and known.value != value.value:
                    ambiguous[value.name] = (
                        f"{known.source} says {known.value} for {value.name} and {value.source} says {value.value}; "
                        "check one script at a time"
                    )
        found += values.values()
    for source in program.sources:
        if source is program.main or program.main is None or not source.options:
            found += _default_values(source, vocabulary)
    kept, undecided = in_effect(found, [program.launch, *rivals] if program.launch else ())
    return Settings(tuple(kept), undecided | ambiguous)


def _without_outdated(settings: Settings, corrected: Container[str]) -> Settings:
    """Without what the run recorded of a setting that a fix, which is being tried, has changed for the next run."""
    changed = {v.name: v.value for v in settings if v.source.path in corrected and not _recorded(v)}
    kept = tuple(v for v in settings if not (_recorded(v) and v.value != changed.get(v.name, v.value)))
    return replace(settings, found=kept) if changed else settings


def _recorded(value: SettingValue) -> bool:
    return value.record or value.role is Role.LOG


def _flag_values(launch: Launch, source: PythonSource | None, vocabulary: Vocabulary) -> list[SettingValue]:
    users: dict[tuple[str, int | None], list[str]] = {}
    named: list[tuple[str, Flag, Option | None]] = []
    for flag in launch.flags:
        option = option_for(source, flag.name) if source else None
        raw = option.name if option else flag.name.lstrip("-+").replace("-", "_")
        name = vocabulary.setting(raw) or vocabulary.setting(flag.name.lstrip("-+")) or raw
        named.append((name, flag, option))
        users.setdefault((flag.source.path, flag.source.start), []).append(name)
    values = []
    for name, flag, option in named:
        # A word behind a switch is an argument of the program, not the switch's value.
        switch = (flag.value is None and flag.source == flag.at) or (option is not None and not option.takes_value)
        value: Scalar = True if switch else literal(flag.value)
        shared = tuple(n for n in users[flag.source.path, flag.source.start] if n != name)
        # A variable that the script uses elsewhere too (a path, an echo) is not the flag's alone to change.
        if any(launch.references.get(v, 1) > 1 for v in flag.variables):
            shared += flag.variables
        syntax = None if switch or flag.value is None or flag.source.start is None else "shell"
        values.append(SettingValue(name, value, Role.FLAG, flag.source, syntax, shared))
    return values


def _default_values(source: PythonSource, vocabulary: Vocabulary) -> list[SettingValue]:
    return [
        SettingValue(
            vocabulary.setting(o.name) or o.name,
            o.default,
            Role.DEFAULT,
            o.source,
            "python" if o.editable else None,
        )
        for o in source.options
        if o.origin is not Origin.FUNCTION
    ]


def literal(text: str | None) -> Scalar:
    """A command-line word as a number where it is one, else as the text."""
    if text is None:
        return None
    word = text.strip()
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        return {"true": True, "false": False}.get(word.lower(), text)


def option_for(source: PythonSource, flag: str) -> Option | None:
    """The option that a flag sets, as argparse resolves it: an exact spelling, else an unambiguous prefix."""
    exact = next((o for o in source.options if flag in o.flags), None)
    if exact or not flag.startswith("--"):
        return exact
    near = [o for o in source.options if any(f.startswith(flag) for f in o.flags)]
    return near[0] if len(near) == 1 else None
