"""What a run left behind, as readers hand it over: every value knows the place it was read from.

The classes here hold facts and look-ups only. What bytes mean is decided in `readers/`, what follows from several
artifacts together in `facts/`, what is wrong in the plugins.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from msgspec import Struct, field

from mldiag.errors import NotApplicable
from mldiag.vocabulary import normalized

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Scalar = bool | int | float | str | None
_T = TypeVar("_T", int, float, str, bool)


class Source(Struct, frozen=True):
    """A place in a file of the run.

    Attributes:
        path: POSIX path relative to the run's root.
        line: 1-based line, `column`: 1-based column in characters; both None where a place has none.
        key: series name, setting key, flag or JSON path that is meant.
        start, end: byte span `[start, end)` of the value in the file as it is on disk.
        text: what stands in that span, as decoded; an edit must find exactly this.
        excerpt: the whole line, for people.
    """

    path: str
    line: int | None = None
    column: int | None = None
    key: str | None = None
    start: int | None = None
    end: int | None = None
    text: str | None = None
    excerpt: str | None = None

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


class Series(Struct, frozen=True):
    """One named quantity over the run.

    The numbers are kept in `array('d')` buffers so that a small audit needs no numpy; the array properties wrap the
    same memory. NaN and infinities are kept. All columns that are present have the same length.

    Attributes:
        name: canonical name, `split/quantity` or a bare quantity (`train/loss`, `val/accuracy`, `lr`).
        raw_name: the name in the file.
        data: the values, in the order they were logged.
        step_data, epoch_data, time_data: optimizer step, epoch (may be fractional) and wall time in seconds at each
            value, or None where the file does not say.
        nulls: positions whose value is an explicit null (JSON `null`), kept as NaN in `data`.
        lines: 1-based line of each value, or None where the file does not say or has it all on one.
        unit: what the file or the name says the values are in (`percent`, `bits`, `s`), or None where neither does.
        also: other places where the same values stand (a log beside event files, a second copy).
    """

    name: str
    raw_name: str
    data: array[float]
    source: Source
    step_data: array[float] | None = None
    epoch_data: array[float] | None = None
    time_data: array[float] | None = None
    nulls: tuple[int, ...] = ()
    lines: Sequence[int] | None = None
    unit: str | None = None
    also: tuple[Source, ...] = ()

    def __len__(self) -> int:
        return len(self.data)

    def at(self, index: int) -> Source:
        """The place of one value, as far as it is known; else that of the series."""
        if self.lines is None or self.lines[index] == self.source.line:
            return self.source
        return Source(self.source.path, self.lines[index], key=self.source.key)

    @property
    def values(self) -> NDArray[np.float64]:
        """float64, shape (n,)."""
        return _as_numpy(self.data)

    @property
    def steps(self) -> NDArray[np.float64] | None:
        """Optimizer steps, float64, shape (n,), or None."""
        return None if self.step_data is None else _as_numpy(self.step_data)

    @property
    def epochs(self) -> NDArray[np.float64] | None:
        """Epochs, float64, shape (n,), or None."""
        return None if self.epoch_data is None else _as_numpy(self.epoch_data)

    @property
    def wall_times(self) -> NDArray[np.float64] | None:
        """Seconds, float64, shape (n,), or None."""
        return None if self.time_data is None else _as_numpy(self.time_data)

    @property
    def positions(self) -> Sequence[float]:
        """The best x axis there is: steps, else epochs, else 1-based position."""
        if self.step_data is not None:
            return self.step_data
        return self.epoch_data if self.epoch_data is not None else range(1, len(self.data) + 1)

    def place(self, index: int) -> str:
        """Where a point lies on the x axis, for messages: `step 1,200`, `epoch 3` or `point 7`."""
        index %= len(self.data)
        if self.step_data is not None:
            return f"step {self.step_data[index]:,.0f}"
        if self.epoch_data is not None:
            return f"epoch {self.epoch_data[index]:g}"
        return f"point {index + 1:,}"


def _as_numpy(data: array[float]) -> NDArray[np.float64]:
    import numpy as np

    return np.frombuffer(data, dtype=np.float64) if data else np.empty(0)


class LogRows(Struct, frozen=True):
    """How many rows a log has, whatever each of them holds: training and validation may stand in rows of their own.

    Attributes:
        cut: behind them stands the beginning of one more, which is still being written or was never finished.
    """

    source: Source
    count: int
    cut: bool = False


class Disagreement(Struct, frozen=True):
    """Two files that give different values of one series at the same step.

    Attributes:
        name: canonical name of the series.
        place: where on the x axis the first difference lies (`step 1,200`).
        kept, other: the value of the series in `Metrics` and the one of the other file.
        points: points that differ, of `common` that both have.
    """

    name: str
    place: str
    kept: float
    other: float
    kept_at: Source
    other_at: Source
    points: int
    common: int


class Metrics(Struct, frozen=True, dict=True):
    """The named series of a run, one per canonical name.

    Attributes:
        disagreements: where files of the run contradict each other about one series.
    """

    series: tuple[Series, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Series]:
        return {s.name: s for s in self.series}

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    def get(self, *names: str) -> Series | None:
        """The first of the named series that exists and has a value."""
        return next((self.by_name[n] for n in names if n in self.by_name and len(self.by_name[n])), None)

    def require(self, *names: str) -> Series:
        """Like `get`; without any of them the rule is skipped."""
        found = self.get(*names)
        if found is None:
            raise NotApplicable(f"no series {' or '.join(names)}")
        return found

    def where(self, name: str) -> Source:
        return self.require(name).source

    def to_frame(self) -> pd.DataFrame:
        """One row per logged point: columns series, step, epoch, wall_time, value (needs the `analysis` extra)."""
        import pandas as pd

        def column(data: array[float] | None, n: int) -> list[float]:
            return [float("nan")] * n if data is None else list(data)

        rows = [
            pd.DataFrame(
                {
                    "series": s.name,
                    "step": column(s.step_data, len(s)),
                    "epoch": column(s.epoch_data, len(s)),
                    "wall_time": column(s.time_data, len(s)),
                    "value": list(s.data),
                }
            )
            for s in self.series
        ]
        columns = ["series", "step", "epoch", "wall_time", "value"]
        return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


class Role(StrEnum):
    """What kind of place a setting's value was read from."""

    FLAG = "flag"
    FILE = "file"
    DEFAULT = "default"
    LOG = "log"
    CHECKPOINT = "checkpoint"


class Site(Struct, frozen=True):
    """Where something may be inserted: a key behind its sibling, a keyword behind a call's last argument.

    Attributes:
        offset: of the byte in the file before which it goes.
        form: the inserted text, with `{key}` and `{value}` in it: separators, line end and indentation as they are
            around it.
    """

    offset: int
    form: str

    def text(self, key: str, value: str) -> str:
        """What is inserted."""
        return self.form.replace("{key}", key, 1).replace("{value}", value, 1)


class SettingValue(Struct, frozen=True):
    """One value of one setting at one place.

    Attributes:
        name: canonical name, or the raw key where the vocabulary knows none.
        role: `FLAG` launch script, `FILE` configuration or framework dump, `DEFAULT` default in the source, `LOG`
            printed header, `CHECKPOINT` proven by stored shapes.
        source: the place of the value itself; its span is what an edit replaces.
        syntax: the editor that can rewrite the span (`shell`, `python`, ...), or None where none can.
        shared_by: other settings that read the same span (a shell variable used twice): such a span is not edited.
        record: written by the run itself (`hparams.yaml`, `training_args.json`): it says what was used, and editing
            it changes nothing.
        site: where a further setting of the same file and section may be inserted, or None where none can.
    """

    name: str
    value: Scalar | tuple[Scalar, ...]
    role: Role
    source: Source
    syntax: str | None = None
    shared_by: tuple[str, ...] = ()
    record: bool = False
    site: Site | None = None

    @property
    def rank(self) -> int:
        """Lower takes effect first: flag, file, default; what the run recorded of itself goes before a default."""
        return _PRECEDENCE[self.role] + (self.record and self.role is Role.FILE)

    @property
    def key(self) -> str:
        """The last part of the key as the file spells it, in lower case with underscores (`num_train_epochs`)."""
        return _last_part(self.source.key or self.name)


@lru_cache(8192)
def _last_part(key: str) -> str:
    return normalized(re.split(r"[./]", key)[-1])


_PRECEDENCE = {Role.FLAG: 0, Role.FILE: 1, Role.LOG: 3, Role.DEFAULT: 4, Role.CHECKPOINT: 5}


class Settings(Struct, frozen=True, dict=True):
    """Every value found for every setting, and which of them takes effect.

    Attributes:
        ambiguous: settings for which several launches of the run disagree, with the reason.
    """

    found: tuple[SettingValue, ...] = ()
    ambiguous: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, tuple[SettingValue, ...]]:
        table: dict[str, list[SettingValue]] = {}
        for value in self.found:
            table.setdefault(value.name, []).append(value)
        return {n: tuple(sorted(v, key=lambda s: s.rank)) for n, v in table.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def __iter__(self) -> Iterator[SettingValue]:
        return iter(self.found)

    def all(self, name: str, *roles: Role) -> tuple[SettingValue, ...]:
        """Every value of a setting, the one that takes effect first; optionally of some roles only."""
        values = self.by_name.get(name, ())
        return tuple(v for v in values if v.role in roles) if roles else values

    def effective(self, name: str) -> SettingValue | None:
        """The value that takes effect: flag, then file, then default; None where nothing says."""
        if name in self.ambiguous:
            return None
        return next((v for v in self.by_name.get(name, ()) if v.value is not None), None)

    @overload
    def get(self, name: str) -> Scalar | tuple[Scalar, ...]: ...
    @overload
    def get(self, name: str, kind: type[_T]) -> _T | None: ...
    def get(self, name: str, kind: type[Any] | None = None) -> Any:
        """The effective value; with `kind`, as that type, or None where it is absent or of another type."""
        found = self.effective(name)
        if found is None:
            return None
        return found.value if kind is None else _coerce(found.value, kind)

    def require(self, name: str, kind: type[_T]) -> _T:
        """The effective value as `kind`; without it the rule is skipped."""
        if name in self.ambiguous:
            raise NotApplicable(self.ambiguous[name])
        value = self.get(name, kind)
        if value is None:
            found = self.effective(name)
            if found is None:
                raise NotApplicable(f"no setting {name}")
            raise NotApplicable(f"setting {name} is {found.value!r}, not {kind.__name__}, at {found.source}")
        return value

    def where(self, name: str) -> Source | None:
        found = self.effective(name)
        return None if found is None else found.source


def as_number(value: object) -> float | None:
    """A finite number, also one written as text (YAML 1.1 calls `3e-4` a string); None for booleans and the rest."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_count(value: object) -> int | None:
    """A whole number above zero that 64 bits hold; None for booleans, fractions, text and the rest."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63 else None


def _coerce(value: object, kind: type[Any]) -> Any:
    """`value` as `kind` where that loses nothing; None otherwise. Numbers written as strings count as numbers."""
    if kind is str:
        return value if isinstance(value, str) else None
    if kind is bool:
        if isinstance(value, bool):
            return value
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    if kind is float:
        return number
    if not number.is_integer():  # False for NaN and infinities too
        return None
    return int(value) if isinstance(value, int) else int(number)


class Flag(Struct, frozen=True):
    """One flag of a launch command.

    Attributes:
        name: as written, with its dashes (`--seq_len`); a Hydra-style `key=value` override has none.
        value: the text after expansion of variables that the script assigns; None for a bare switch, or where the
            value is only known when the script runs (`$1`, `$(date)`).
        source: the place of the value, which is a variable's assignment where the flag uses one.
        at: the place of the flag itself.
        variables: names of the script variables that the value was expanded from.
    """

    name: str
    value: str | None
    source: Source
    at: Source
    variables: tuple[str, ...] = ()


class Launch(Struct, frozen=True):
    """One command of a script that starts a Python program.

    Attributes:
        program: the path or module as written (`train.py`, `pkg.train`).
        launcher: `python`, `python -m`, `torchrun`, `accelerate launch`, ...
        launcher_flags: flags that belong to the launcher (`--nproc_per_node`).
        environment: `NAME=value` before the command or exported earlier in the script; `environment_at`: the places of
            the values.
        end: byte offset behind the command's last word, where a new flag may be inserted.
        references: how often each script variable is used in the whole script.
    """

    program: str
    launcher: str
    flags: tuple[Flag, ...]
    source: Source
    positionals: tuple[str, ...] = ()
    launcher_flags: tuple[Flag, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    end: int | None = None
    references: Mapping[str, int] = field(default_factory=dict)
    environment_at: Mapping[str, Source] = field(default_factory=dict)

    @property
    def is_module(self) -> bool:
        """`program` names a module (`python -m pkg.train`), not a file."""
        return self.launcher.endswith("-m")

    @property
    def path(self) -> str:
        """The program as a path; of a module (`pkg.train`) that of its file."""
        return f"{self.program.replace('.', '/')}.py" if self.is_module else self.program


class Origin(StrEnum):
    """Where a source option is declared."""

    ARGPARSE = "argparse"
    CLICK = "click"
    DATACLASS = "dataclass"
    FUNCTION = "function"
    CONSTANT = "constant"


class Option(Struct, frozen=True):
    """A setting that a program declares, with the default it has in the source.

    Attributes:
        name: the destination (`seq_len`), with underscores.
        flags: every spelling the command line takes (`--seq_len`, `-s`); empty for constants and parameters.
        default: the literal default; None where it is None or not a literal.
        source: the place of the default where it is written, else of the declaration.
        editable: `source` spans the default literal itself.
        help: the help text, joined into one line.
        owner: the function, class or parser that declares it.
        takes_value: False for a switch (`action="store_true"`).
    """

    name: str
    flags: tuple[str, ...]
    default: Scalar | tuple[Scalar, ...]
    origin: Origin
    source: Source
    editable: bool = False
    help: str = ""
    owner: str = ""
    takes_value: bool = True


class Call(Struct, frozen=True):
    """A call in the source.

    Attributes:
        name: dotted name as written (`tf.keras.losses.SparseCategoricalCrossentropy`).
        resolved: the same with import aliases resolved (`tensorflow.keras.losses...`).
        keywords: keyword → literal value, or None where it is not a literal.
        positional: the positional arguments' literals, None where not a literal.
        where: keyword → place of that keyword argument.
        site: where a keyword may be added; None where a `**` may hold it already, or the place is not plain.
    """

    name: str
    resolved: str
    source: Source
    positional: tuple[Scalar, ...] = ()
    keywords: Mapping[str, Scalar] = field(default_factory=dict)
    where: Mapping[str, Source] = field(default_factory=dict)
    site: Site | None = None

    @property
    def last(self) -> str:
        """The last dotted part of what is called: `clip_grad_norm_`."""
        return self.resolved.rsplit(".", 1)[-1]


class Build(Struct, frozen=True):
    """A dimension of the model that the source fixes, followed back to where its number comes from.

    Attributes:
        name: canonical setting (`max_positions`, `vocab_size`, `d_model` ...).
        value: the number, where the source alone proves it.
        option: the program option it comes from, where one is involved.
        uses_default: True when the *declared default* of `option` is used, whatever the command line says
            (`parser.get_default`, `parse_args([])`, a dataclass built without arguments); False when the parsed value.
        at: the line where the model is built with it; `source`: the place of the number.
        through: functions and classes of the file whose calls *in the file* gave the number; a call in another file
            may give another one.
    """

    name: str
    value: Scalar
    source: Source
    at: Source
    option: str | None = None
    uses_default: bool = False
    through: frozenset[str] = frozenset()


class Idiom(Struct, frozen=True):
    """A way to write something that a file shows, found by its syntax: `pysource/idioms` says which there are.

    Attributes:
        details: what was seen, by name: names of the program as it spells them, and counts.
        also: the other places that show it.
    """

    name: str
    source: Source
    details: tuple[tuple[str, str | int | float], ...] = ()
    also: tuple[Source, ...] = ()

    def detail(self, name: str) -> str | int | float:
        return dict(self.details)[name]


class PythonSource(Struct, frozen=True):
    """One Python file, read with `ast` and never run.

    Attributes:
        closed: the program takes exactly the options in `options`: one parser, no `parse_known_args`, no sub-commands,
            no options added elsewhere. Only then an unknown flag is certain to be refused.
        imports: names of the imported modules (`torch`, `tensorflow.keras`).
        names: every identifier and attribute that is read anywhere (`args.seed` gives `seed`).
        idioms: ways to write a training step that do something else than was meant.
    """

    path: str
    options: tuple[Option, ...] = ()
    calls: tuple[Call, ...] = ()
    builds: tuple[Build, ...] = ()
    closed: bool = False
    imports: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    idioms: tuple[Idiom, ...] = ()

    def option(self, name: str) -> Option | None:
        return next((o for o in self.options if o.name == name), None)

    def calls_to(self, *last_names: str) -> Iterator[Call]:
        """Calls whose last dotted part is one of the names (`EarlyStopping`)."""
        return (c for c in self.calls if c.last in last_names)


class Program(Struct, frozen=True):
    """The launch that stands for the run, and the sources it runs.

    Attributes:
        launch: None where the run has no launch script.
        main: the source of the program that the launch names, or the only program there is; None if it was not found.
        sources: every Python source that was read.
        other_launches: launches that do not stand for the run (evaluation, corrected copies, other programs).
    """

    launch: Launch | None = None
    main: PythonSource | None = None
    sources: tuple[PythonSource, ...] = ()
    other_launches: tuple[Launch, ...] = ()

    def calls_to(self, *last_names: str) -> Iterator[Call]:
        for source in self.sources:
            yield from source.calls_to(*last_names)

    @property
    def builds(self) -> Iterator[Build]:
        for source in self.sources:
            yield from source.builds


class Sample(Struct, frozen=True):
    """One generated text. `prompt` is None where the file gives none.

    Attributes:
        finish: why it ended, where the file says: `stop` at an end token, `length` at the longest that was allowed.
    """

    output: str
    source: Source
    prompt: str | None = None
    finish: str | None = None


class Collection(Struct, frozen=True):
    """All artifacts of one kind of a run; what a rule or fact names to be given them.

    A kind of artifact is a struct with a `source` and a subclass of this that says which struct it collects. Readers
    yield the struct; nothing else needs to know of it.

    Attributes:
        of: the struct. `called`: what it is called in the reason of a rule that was skipped for want of it.
    """

    of: ClassVar[type]
    called: ClassVar[str]

    items: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class Samples(Collection, frozen=True):
    """Generated texts of the run."""

    of = Sample
    called = "generated samples"

    items: tuple[Sample, ...] = ()


class Unread(Struct, frozen=True):
    """A file, or a part of one, that could not be used.

    Attributes:
        partial: the rest of the file was read.
        known: a reader took the file as its own and failed; False where no reader knows the format.
    """

    path: str
    reason: str
    line: int | None = None
    partial: bool = False
    known: bool = True

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.reason}"


Artifact = object
"""What readers yield: `Series`, `LogRows`, `SettingValue`, `Launch`, `PythonSource`, `Unread`, or a struct that a
`Collection` hands out."""


def floats(values: Iterable[float]) -> array[float]:
    """The buffer that `Series` keeps its numbers in."""
    return array("d", values)
