"""From files to a run: each file to its reader, launches to settings, settings from every source side by side."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

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
    Sample,
    Samples,
    Scalar,
    Series,
    Settings,
    SettingValue,
    Unread,
)
from mldiag.errors import ReadError
from mldiag.facts import Fact
from mldiag.files import File, Folder
from mldiag.readers import Reader
from mldiag.run import Run
from mldiag.vocabulary import Vocabulary

# Programs of a run that do not train: a launch of one of these does not stand for the run.
_NOT_TRAINING = ("eval", "test", "infer", "generat", "sampl", "predict", "export", "convert", "download", "preproc",
                 "prepare", "plot", "tokeniz", "serve", "demo", "bench")  # fmt: skip


class Parts(Struct, frozen=True):
    """What plugins offer for reading a run."""

    readers: Sequence[Reader]
    facts: Mapping[type, Fact]
    vocabulary: Vocabulary


def read_run(
    folder: Folder, label: str, parts: Parts, *, name: str = "", pre: bool = False, copies: Iterable[str] = ()
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
    for path in folder.paths:
        if path not in left_out:
            _read_file(folder[path], parts, pre, artifacts, taken)
    program = _program(artifacts)
    return Run(
        root=folder.root,
        path=label,
        name=name or folder.root.resolve().name,
        metrics=Metrics(() if pre else _merged(artifacts, parts.vocabulary)),
        settings=_settings(artifacts, program, parts.vocabulary, pre),
        program=program,
        samples=Samples(() if pre else tuple(a for a in artifacts if isinstance(a, Sample))),
        unread=tuple(a for a in artifacts if isinstance(a, Unread)),
        files=taken,
        pre=pre,
        facts=parts.facts,
    )


def _read_file(file: File, parts: Parts, pre: bool, artifacts: list[Artifact], taken: dict[str, str]) -> None:
    candidates = sorted((r for r in parts.readers if r.takes(file.name)), key=lambda r: (-r.priority, r.name))
    if not candidates:
        return
    try:
        chosen = next((r for r in candidates if not (pre and r.post) and r.matches(file)), None)
        if chosen is None:
            # With `--stage pre` a reader for what training writes may be the only one: then the file is not missed.
            if not (pre and any(r.post for r in candidates)):
                artifacts.append(Unread(file.path, "no reader knows what is in it", known=False))
            return
        taken[file.path] = chosen.name
        artifacts.extend(chosen.read(file))
    except ReadError as error:
        artifacts.append(Unread(file.path, error.reason, line=error.line, partial=error.partial))
    except Exception as error:  # a defect of a reader, perhaps a plugin's, must cost this file only
        reason = f"its reader broke, which is no fault of the file: {type(error).__name__}: {error}"
        artifacts.append(Unread(file.path, " ".join(reason.split())))


def _merged(artifacts: Iterable[Artifact], vocabulary: Vocabulary) -> tuple[Series, ...]:
    """One series per canonical name: the longest, the first read among equals."""
    best: dict[str, Series] = {}
    for series in artifacts:
        if isinstance(series, Series):
            named = series if series.name else replace(series, name=vocabulary.series(series.raw_name))
            known = best.get(named.name)
            if known is None or len(named) > len(known):
                best[named.name] = named
    return tuple(best.values())


def _program(artifacts: Sequence[Artifact]) -> Program:
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
    wanted = launch.program
    if launch.launcher.endswith("-m"):
        wanted = wanted.replace(".", "/") + ".py"
    wanted = posixpath.normpath(wanted)
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
        if isinstance(a, SettingValue) and not (pre and (a.record or a.role is Role.LOG))
    ]
    ambiguous: dict[str, str] = {}
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
    return Settings(tuple(found), ambiguous)


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
