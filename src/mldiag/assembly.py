"""From files to a run: each file to its reader, launches to settings, settings from every source side by side."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from mldiag.alternatives import in_effect
from mldiag.artifacts import (
    Artifact,
    Flag,
    Launch,
    LogRows,
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
    as_count,
)
from mldiag.checkpoints import Checkpoint
from mldiag.errors import ReadError
from mldiag.files import File, Folder
from mldiag.merging import Merged, merge
from mldiag.readers import is_left_by_runs
from mldiag.run import Run
from mldiag.secrets import is_harmless, is_secret, masked
from mldiag.suppression import Suppression, suppressions_in
from mldiag.tokens import TokenFile, Tokenizer, TrainingText
from mldiag.unknown import unread

if TYPE_CHECKING:
    from mldiag.plugins import Plugins

_T = TypeVar("_T")

_BESIDE_RUNS = (SettingValue, PythonSource, TrainingText, Unread)

# Programs of a run that do not train: a launch of one of these does not stand for the run.
_NOT_TRAINING = ("eval", "test", "infer", "generat", "sampl", "predict", "export", "convert", "download", "preproc",
                 "prepare", "plot", "tokeniz", "serve", "demo", "bench")  # fmt: skip

# What finds a class or function by a name that only the running program knows: it may be any of a module's.
_LOOKED_UP = frozenset({"__dict__", "getattr", "vars", "import_module", "get_model", "create_model"})


_READERS = frozenset({"os.environ.get", "os.getenv"})
"""Functions that read a variable of the environment."""

# Set by launchers and libraries for themselves; a default in the source is for runs without them.
_SYSTEM = frozenset({
    "WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONPATH", "PYTHONHASHSEED", "PATH", "HOME", "USER", "HOSTNAME",
    "SHELL", "PWD", "TERM", "LANG",
})  # fmt: skip

_FILLED_IN = frozenset({
    "batch_size", "global_batch_size", "grad_accum", "devices", "lr", "weight_decay", "clip_norm", "warmup_steps",
    "total_steps", "min_lr",
})  # fmt: skip
"""Numbers for which "auto" means "as another part says" (DeepSpeed's configuration under Hugging Face's arguments)."""


class Gathered(Struct):
    """What was read of some files.

    Attributes:
        files: paths that were read, with the name of the reader that took each.
        logged: there are logs among the files, read or left for after training.
    """

    artifacts: list[Artifact] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    suppressions: list[Suppression] = field(default_factory=list)
    logged: bool = False

    @property
    def tells_of_a_run(self) -> bool:
        """There is more than configuration and source, which lie beside runs as well."""
        return self.logged or not all(issubclass(kind, _BESIDE_RUNS) for kind in {*map(type, self.artifacts)})

    def add(self, other: Gathered) -> None:
        self.artifacts += other.artifacts
        self.files |= other.files
        self.suppressions += other.suppressions
        self.logged |= other.logged


Named = Callable[[str], str | None]
"""The canonical name of a settings key, None where there is none."""

Shared = dict[tuple[str, str], Gathered]
"""What files beside several runs hold, by the run's folder above and the path: read once."""


def read_run(
    folder: Folder, label: str, plugins: Plugins, *, name: str = "", pre: bool = False, copies: Iterable[str] = ()
) -> Run:
    """Reads every file of a run root that a reader knows.

    Args:
        label: how the user named the root, for reports.
        pre: leave out what exists only once training has begun.
        copies: corrected copies that mldiag itself wrote; they are no part of the run.
    """
    return assembled(gathered(folder, plugins, pre=pre, copies=copies), folder, label, plugins, name=name, pre=pre)


def gathered(
    folder: Folder, plugins: Plugins, *, pre: bool = False, copies: Iterable[str] = (), shared: Shared | None = None
) -> Gathered:
    """What the files of a run root hold, file by file.

    Args:
        shared: what was read beside other runs, to which this adds.
    """
    left_out = set(copies)
    whole = Gathered()
    for path in folder.paths:
        if path in left_out:
            continue
        if shared is None or not path.startswith("../"):
            _read_file(folder[path], plugins, pre, whole)
            continue
        key = (posixpath.normpath(posixpath.join(folder.root.as_posix(), path)), path)
        if key not in shared:
            shared[key] = Gathered()
            _read_file(folder[path], plugins, pre, shared[key])
        whole.add(shared[key])
    return whole


def assembled(
    found: Gathered, folder: Folder, label: str, plugins: Plugins, *, name: str = "", pre: bool = False
) -> Run:
    """The run that was read."""
    kinds = _by_kind(found.artifacts)
    program = _program(_of(kinds, Launch), _of(kinds, PythonSource))
    merged = Merged() if pre else merge(_of(kinds, Series))
    return Run(
        root=folder.root,
        path=label,
        name=name or folder.root.resolve().name,
        metrics=Metrics(merged.series, merged.disagreements),
        settings=_without_outdated(_settings(_values(kinds), program, plugins.setting, pre), folder.overlay),
        program=program,
        rows={a.source.path: a for a in _of(kinds, LogRows)},
        artifacts={kind: tuple(items) for kind, items in kinds.items() if not issubclass(kind, _PLACED)},
        passed_over=merged.passed_over,
        unread=tuple(_of(kinds, Unread)),
        files=found.files,
        pre=pre,
        facts=plugins.facts,
        suppressions=tuple(found.suppressions),
    )


def by_program(found: Gathered) -> list[tuple[str, Gathered]]:
    """Scripts that train different programs, side by side with nothing else of a run: each is a run of its own.

    Where a log or a checkpoint lies beside them, nothing says whose it is: then they stay one run, and settings in
    which they differ are ambiguous.

    Returns:
        The name of each run, empty where everything is one, with what is its own.
    """
    kinds = {*map(type, found.artifacts)}
    if found.logged or Launch not in kinds or not all(issubclass(kind, (*_BESIDE_RUNS, Launch)) for kind in kinds):
        return [("", found)]
    sources = tuple(a for a in found.artifacts if isinstance(a, PythonSource))
    launches = [a for a in found.artifacts if isinstance(a, Launch) and not _launch_rank(a, sources)[0]]
    starts = {(launch.source.path, _called(launch, sources)) for launch in launches}
    if len({program for _, program in starts}) == len({script for script, _ in starts}) == len(starts) > 1:
        parts = [(script, _only(found, {script, program}, starts)) for script, program in sorted(starts)]
        for _, part in parts[1:]:  # what could not be read is told once
            part.artifacts = [a for a in part.artifacts if not isinstance(a, Unread)]
        return parts
    return [("", found)]


def _called(launch: Launch, sources: Sequence[PythonSource]) -> str:
    source = _source_of(launch, sources)
    return source.path if source else launch.path


def _only(found: Gathered, own: set[str], starts: set[tuple[str, str]]) -> Gathered:
    """Without the other scripts and their programs."""
    others = {path for start in starts for path in start} - own
    return Gathered(
        [a for a in found.artifacts if _path(a) not in others],
        {path: reader for path, reader in found.files.items() if path not in others},
        [s for s in found.suppressions if s.source.path not in others],
    )


def _path(artifact: Artifact) -> str | None:
    source = getattr(artifact, "source", None)
    return getattr(artifact, "path", None) if source is None else source.path


_SHAPED = (Checkpoint, Tokenizer, TokenFile)


def _values(kinds: Mapping[type, list[Any]]) -> Sequence[SettingValue]:
    """What files say, and what the shapes of weights and vocabularies show."""
    said = _of(kinds, SettingValue)
    if not any(issubclass(kind, _SHAPED) for kind in kinds):
        return said
    checkpoints, tokenizers, tokens = _of(kinds, Checkpoint), _of(kinds, Tokenizer), _of(kinds, TokenFile)
    from mldiag.shapes import from_checkpoints, from_tokens

    return [*said, *from_checkpoints(checkpoints), *from_tokens(tokenizers, tokens)]


_PLACED = (LogRows, Series, SettingValue, Launch, PythonSource, Unread)
"""What has a place of its own in a run; all else is handed out by collections."""


def _by_kind(artifacts: Iterable[Artifact]) -> dict[type, list[Artifact]]:
    found: dict[type, list[Artifact]] = defaultdict(list)
    for artifact in artifacts:
        found[type(artifact)].append(artifact)
    return found


def _of(kinds: Mapping[type, list[Any]], wanted: type[_T]) -> Sequence[_T]:
    named = [kind for kind in kinds if issubclass(kind, wanted)]
    return kinds[named[0]] if len(named) == 1 else [artifact for kind in named for artifact in kinds[kind]]


_OURS = frozenset({"mldiag.toml", "mldiag-baseline.json"})
"""What mldiag itself is told and keeps; no part of a run."""


def _read_file(file: File, plugins: Plugins, pre: bool, found: Gathered) -> None:
    """Adds what a file holds."""
    if file.name in _OURS:
        return
    candidates = plugins.candidates(file.path)
    if not candidates:
        if not pre and is_left_by_runs(file.name):
            found.artifacts.append(Unread(file.path, "no reader takes files of this format", known=False))
        return
    try:
        sniffed = file.sniffed
        chosen = next((r for r in candidates if r.matches(sniffed)), None)
        if chosen is None:
            # With `--stage pre` a reader for what training writes may be the only one: then the file is not missed.
            if not (pre and any(r.post for r in candidates)):
                found.artifacts.append(unread(sniffed, file.path))
            return
        if pre and chosen.post:
            found.logged = True
            return
        found.files[file.path] = chosen.name
        found.artifacts.extend(chosen.read(file))
    except ReadError as error:
        found.artifacts.append(Unread(file.path, masked(error.reason), line=error.line, partial=error.partial))
    except Exception as error:  # a defect of a reader, perhaps a plugin's, must cost this file only
        reason = f"its reader broke, which is no fault of the file: {type(error).__name__}: {error}"
        found.artifacts.append(Unread(file.path, masked(" ".join(reason.split()))))
    if file.damage is not None:
        found.artifacts.append(Unread(file.path, file.damage.reason, partial=True))
    if file.path in found.files:
        found.suppressions += suppressions_in(file)


def _program(launches: Sequence[Launch], sources: Sequence[PythonSource]) -> Program:
    if not launches and not sources:
        return Program()
    program = _launched(launches, tuple(sources))
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


def _launched(launches: Sequence[Launch], sources: tuple[PythonSource, ...]) -> Program:
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


def _settings(values: Sequence[SettingValue], program: Program, setting_name: Named, pre: bool) -> Settings:
    if pre:
        values = [value for value in values if not _recorded(value)]
    found = [a if (name := setting_name(a.name)) in (None, a.name) else replace(a, name=name) for a in values]
    found = [a for a in found if a.value != "auto" or a.name not in _FILLED_IN]
    ambiguous: dict[str, str] = {}
    rivals: list[Launch] = []
    if program.launch is not None:
        rivals = [
            other
            for other in program.other_launches
            if _launch_rank(other, program.sources) == _launch_rank(program.launch, program.sources)
        ]
        stated = {v.name: v for v in _flag_values(program.launch, program.main, setting_name)}
        for rival in rivals:
            for value in _flag_values(rival, _source_of(rival, program.sources), setting_name):
                known = stated.get(value.name)
                if known is not None and known.value != value.value:
                    ambiguous[value.name] = (
                        f"{known.source} says {known.value} for {value.name} and {value.source} says {value.value}; "
                        "check one script at a time"
                    )
        found += stated.values()
        found += _environment_values(program.launch, program.sources, setting_name)
        # The batch system starts the launcher on each of its nodes, and counts the devices of all.
        if not any(v.name == "devices" and v.source.path == program.launch.source.path for v in found):
            found += _launcher_values(program.launch)
    for source in program.sources:
        found += _environment_defaults(source, setting_name)
        if source is program.main or program.main is None or not source.options:
            found += _default_values(source, setting_name)
    found = [v for v in found if is_harmless(v.name, type(v.value)) or not is_secret(v.name, v.value)]
    kept, undecided = in_effect(found, [program.launch, *rivals] if program.launch else ())
    return Settings(tuple(kept), undecided | ambiguous)


def _without_outdated(settings: Settings, corrected: Container[str]) -> Settings:
    """Without what the run recorded of a setting that a fix, which is being tried, has changed for the next run."""
    if not corrected:
        return settings
    changed = {v.name: v.value for v in settings if v.source.path in corrected and not _recorded(v)}
    kept = tuple(v for v in settings if not (_recorded(v) and v.value != changed.get(v.name, v.value)))
    return replace(settings, found=kept) if changed else settings


def _recorded(value: SettingValue) -> bool:
    return value.record or value.role is Role.LOG


def _flag_values(launch: Launch, source: PythonSource | None, setting_name: Named) -> list[SettingValue]:
    users: dict[tuple[str, int | None], list[str]] = {}
    named: list[tuple[str, Flag, Option | None]] = []
    for flag in launch.flags:
        option = option_for(source, flag.name) if source else None
        raw = option.name if option else flag.name.lstrip("-+").replace("-", "_")
        name = setting_name(raw) or setting_name(flag.name.lstrip("-+")) or raw
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


def _environment_values(launch: Launch, sources: Sequence[PythonSource], setting_name: Named) -> Iterator[SettingValue]:
    """Variables that the script sets and a source reads."""
    for variable, text in launch.environment.items():
        at = launch.environment_at.get(variable)
        if at is None or variable in _SYSTEM or not any(_reads(s, variable) for s in sources):
            continue
        # A variable that the script also expands elsewhere is not the program's alone to change.
        shared = (variable,) if launch.references.get(variable) else ()
        name = setting_name(variable) or variable.lower()
        yield SettingValue(name, literal(text), Role.FLAG, at, None if at.start is None else "shell", shared)


def _reads(source: PythonSource, variable: str) -> bool:
    if "environ" in source.names and variable in source.names:
        return True
    return any(c.positional[:1] == (variable,) for c in source.calls if c.resolved in _READERS)


def _environment_defaults(source: PythonSource, setting_name: Named) -> Iterator[SettingValue]:
    """What the program takes where a variable is not set: `os.environ.get("SEQ_LEN", 256)`."""
    for call in source.calls:
        if call.resolved in _READERS and len(call.positional) > 1:
            variable, default = call.positional[:2]
            if isinstance(variable, str) and variable not in _SYSTEM and default is not None:
                value = literal(default) if isinstance(default, str) else default
                yield SettingValue(setting_name(variable) or variable.lower(), value, Role.DEFAULT, call.source)


def _launcher_values(launch: Launch) -> Iterator[SettingValue]:
    """The processes that a distributed launcher starts, one for each device."""
    given = {f.name.lstrip("-").replace("-", "_"): f for f in launch.launcher_flags}
    each = next((given[n] for n in ("nproc_per_node", "num_gpus", "num_processes") if n in given), None)
    count = as_count(literal(each.value)) if each is not None else None
    nodes = next((given[n] for n in ("nnodes", "num_nodes") if n in given), None)
    groups = 1 if nodes is None or "num_processes" in given else as_count(literal(nodes.value))
    if each is not None and count is not None and groups is not None:
        yield SettingValue("devices", count * groups, Role.FLAG, each.source)


def _default_values(source: PythonSource, setting_name: Named) -> list[SettingValue]:
    return [
        SettingValue(
            setting_name(o.name) or o.name,
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
