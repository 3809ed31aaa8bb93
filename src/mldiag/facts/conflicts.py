"""Settings that are said twice, differently, by places that both claim to say the same thing.

That a flag overrides a default of the program or a configuration file is what flags are for, and no conflict.
"""

from __future__ import annotations

import itertools
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from mldiag.artifacts import Flag, Program, Role, Scalar, Settings, SettingValue, Source, as_number
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.positions import PADDING_ROWS, option_setting
from mldiag.failures import LoggedFailures
from mldiag.patterns import lazily
from mldiag.vocabulary import normalized

ARCHITECTURE = frozenset({
    "vocab_size", "d_model", "num_layers", "num_heads", "d_ff", "seq_len", "max_positions", "rotary_dim", "rnn_units",
})  # fmt: skip
"""Settings that fix the shapes of a model: two descriptions of one model must agree in each."""

RECORDED = ARCHITECTURE | frozenset({
    "lr", "min_lr", "weight_decay", "dropout", "label_smoothing", "warmup_steps", "warmup_ratio", "grad_accum",
    "stride", "seed", "clip_norm", "patience", "total_steps", "epochs",
})  # fmt: skip
"""Settings that a record of the run should repeat as the command line gave them. Left out: batch size and workers,
which programs divide by the number of devices before they record them, and everything that is derived or a path."""

VOCABULARY_PADDING = (8, 16, 32, 64, 128, 256, 512)
"""Multiples to which trainers round a vocabulary up for speed (Megatron-LM: 128; nanoGPT: 64)."""

REPEATABLE = RECORDED | {"batch_size", "steps_per_epoch"}
"""Settings of one value each, so that a second flag replaces the first."""

MIN_SHARED = 3
"""Sizes in which two files must agree, the vocabulary's counting twice, before a difference in one other counts as a
contradiction. Small numbers agree by chance: BERT base and GPT-2 small share width, depth and heads, but differ in two
sizes, vocabulary and positions."""

_MODEL_KEYS = ("model_type", "architectures")
"""Keys of a saved Hugging Face model's configuration, whose sizes are that model's own: a flag of the same name may
mean the part that the program puts on top of it."""

_OTHER_MODEL = frozenset({
    "teacher", "student", "draft", "encoder", "decoder", "vision", "text", "image", "audio", "generator",
    "discriminator", "critic", "reward", "pretrained", "pretrain", "base", "tokenizer", "backup", "old",
})  # fmt: skip
_OUTSIDE = lazily(
    r"Label class (\d{1,9}) exceeds nc=|Target (\d{1,9}) is out of bounds|"
    r"label value of (\d{1,9}) which is outside the valid range"
)
"""YOLOv5's assertion, PyTorch's cross-entropy on a CPU, TensorFlow's sparse cross-entropy."""
_TOLERANCE = 1e-6
"""Relative; a record in float32 repeats 3e-4 as 0.0003000000142."""


class ConflictKind(StrEnum):
    """How two places come to disagree."""

    DEFAULT_BUILT = "default built"
    """The source builds the model from a declared default although the command line gives another value."""
    REPEATED_FLAG = "repeated flag"
    """One command gives the flag twice."""
    RECORD = "record"
    """What the run recorded of itself is not what the command line says."""
    DESCRIPTION = "description"
    """Two descriptions of one model, or a description and a checkpoint, differ in its shape."""
    PARTNER = "partner"
    """Two configurations of one trainer, which refuses to start unless they agree."""
    LABEL = "label"
    """The data holds a label that the stated number of classes has no place for; the program said so when it ended."""


class Conflict(Struct, frozen=True):
    """One setting, two values.

    Attributes:
        name: the setting, canonical where the vocabulary knows it.
        stated: the value that a person wrote, which a correction would change.
        actual: the value that took effect: what was built, recorded or given last. `actual_at`: its place.
        built_at: the line that builds the model with `actual`, where the source shows it.
        settled: the run itself proves `actual`; False where two descriptions stand against each other.
        shared: settings in which two descriptions agree, which shows that they describe one model.
    """

    name: str
    kind: ConflictKind
    stated: SettingValue
    actual: Scalar
    actual_at: Source
    built_at: Source | None = None
    settled: bool = True
    shared: tuple[str, ...] = ()


class Conflicts(Struct, frozen=True):
    """Every setting in conflict, each once. `compared` counts the settings that more than one place gives."""

    items: tuple[Conflict, ...]
    compared: int


@fact
def conflicts(settings: Settings, program: Program | None, failures: LoggedFailures | None) -> Conflicts:
    """Compares the places of every setting; what took effect by a proof goes before what two files merely say."""
    found: dict[str, Conflict] = {}
    for conflict in (
        *_built_from_defaults(settings, program),
        *_repeated_flags(settings, program),
        *_records(settings, program),
        *_partners(settings),
        *_descriptions(settings),
        *_labels(settings, failures),
    ):
        if conflict.name not in settings.ambiguous:
            found.setdefault(conflict.name, conflict)
    compared = sum(len({v.source for v in settings.all(name)}) > 1 for name in settings.by_name)
    if not compared and not found:
        raise NotApplicable("every setting is given in one place only")
    return Conflicts(tuple(found.values()), compared)


def same_value(one: object, other: object) -> bool:
    """Equal as numbers where both are numbers (3e-4 and "0.0003"), else as text in lower case."""
    first, second = as_number(one), as_number(other)
    if first is not None and second is not None:
        return math.isclose(first, second, rel_tol=_TOLERANCE)
    return str(one).strip().lower() == str(other).strip().lower()


def _built_from_defaults(settings: Settings, program: Program | None) -> Iterator[Conflict]:
    """Only the launched program counts: the trial code of a module may well build its own defaults."""
    main = program.main if program else None
    for build in main.builds if main else ():
        if main is None or not build.option or not build.uses_default or build.at.path != main.path:
            continue
        name = option_setting(settings, program, build)
        flag = next(iter(settings.all(name, Role.FLAG)), None)
        if flag is None or as_number(flag.value) is None or as_number(build.value) is None:
            continue
        if not same_value(flag.value, build.value):
            yield Conflict(name, ConflictKind.DEFAULT_BUILT, flag, build.value, build.source, build.at)


def _repeated_flags(settings: Settings, program: Program | None) -> Iterator[Conflict]:
    """A number written twice in one command; argparse and its kin take the last.

    A flag behind a variable that holds it already (`$COMMON --lr 0.2`) overrides on purpose.
    """
    launch = program.launch if program else None
    given: dict[str, list[Flag]] = {}
    for flag in launch.flags if launch else ():
        if flag.name and flag.value is not None and not flag.variables:
            given.setdefault(flag.name, []).append(flag)
    for flags in given.values():
        first, last = flags[0], flags[-1]
        effective = next((v for v in settings if v.role is Role.FLAG and v.source == last.source), None)
        # Options that collect values (`--layer 1 --layer 2`) are none of these.
        if effective is None or effective.name not in REPEATABLE or as_number(first.value) is None:
            continue
        if not same_value(first.value, effective.value) and not isinstance(effective.value, tuple):
            syntax = None if first.source.start is None else "shell"
            stated = SettingValue(effective.name, first.value, Role.FLAG, first.source, syntax)
            yield Conflict(effective.name, ConflictKind.REPEATED_FLAG, stated, effective.value, last.source)


def _records(settings: Settings, program: Program | None) -> Iterator[Conflict]:
    """Flags against what the run wrote about itself, where only one launch of the program can have written it."""
    launch = program.launch if program else None
    if launch is None or program is None:
        return
    if any(posixpath.basename(o.program) == posixpath.basename(launch.program) for o in program.other_launches):
        return
    spelled = {f.source: normalized(f.name.lstrip("-+")) for f in launch.flags}
    spelled |= {place: normalized(variable) for variable, place in launch.environment_at.items()}
    models = {v.source.path for v in settings if v.name in _MODEL_KEYS}
    for name in sorted(RECORDED):
        flag = next(iter(settings.all(name, Role.FLAG)), None)
        records = [
            v
            for v in settings.all(name, Role.FILE, Role.LOG)
            if (v.record or v.role is Role.LOG) and v.source.path not in models
        ]
        if flag is None or not records or not _positive(flag.value):
            continue
        # Two values in one record, or two records that differ, are two parts of a model or two launches.
        values = {str(as_number(r.value)) for r in records}
        actual = records[0].value
        if len(values) > 1 or not _positive(actual) or isinstance(actual, tuple):
            continue
        same_key = spelled.get(flag.source) in {r.key for r in records}
        if same_key and not same_value(flag.value, actual):
            yield Conflict(name, ConflictKind.RECORD, flag, actual, records[0].source)


def _partners(settings: Settings) -> Iterator[Conflict]:
    """DeepSpeed's configuration under Hugging Face's arguments, which name its file: "auto" means "as they say"."""
    named = {posixpath.basename(str(v.value)) for v in settings.all("deepspeed")}
    for name, keys in _DEEPSPEED_KEYS.items():
        own = [
            v
            for v in settings.all(name, Role.FILE)
            if posixpath.basename(v.source.path) in named and _positive(v.value) and not v.record
        ]
        others = [
            v
            for v in settings.all(name, Role.FLAG, Role.FILE)
            if v.key in keys and posixpath.basename(v.source.path) not in named and _positive(v.value)
        ]
        if len(own) == 1 and others and not same_value(own[0].value, others[0].value):
            actual = others[0]
            if not isinstance(actual.value, tuple):
                settled = actual.role is Role.FLAG
                yield Conflict(name, ConflictKind.PARTNER, own[0], actual.value, actual.source, settled=settled)


_DEEPSPEED_KEYS = {
    "batch_size": ("per_device_train_batch_size", "micro_batch_size"), "grad_accum": ("gradient_accumulation_steps",),
    "clip_norm": ("max_grad_norm",), "lr": ("learning_rate",), "weight_decay": ("weight_decay",),
    "warmup_steps": ("warmup_steps",),
}  # fmt: skip
"""Settings of both, with the keys of Hugging Face's arguments and axolotl's (in transformers,
`HfTrainerDeepSpeedConfig.trainer_config_process`)."""


def _labels(settings: Settings, failures: LoggedFailures | None) -> Iterator[Conflict]:
    """A label outside the classes, as the libraries' own messages give it."""
    stated = next((v for v in settings.all("num_classes") if _positive(v.value)), None)
    for failure in failures or ():
        found = _OUTSIDE.search(failure.message)
        if found is None or stated is None:
            continue
        label = int(next(text for text in found.groups() if text is not None))
        if label >= (as_number(stated.value) or 0):
            yield Conflict("num_classes", ConflictKind.LABEL, stated, label + 1, failure.source, settled=False)
            return


def _descriptions(settings: Settings) -> Iterator[Conflict]:
    """Files that describe one model, and files or flags against what a checkpoint proves."""
    for name in sorted(ARCHITECTURE):
        proven = settings.all(name, Role.CHECKPOINT)
        stated = next((v for v in settings.all(name, Role.FLAG, Role.FILE) if _positive(v.value)), None)
        if not proven or stated is None or len({v.value for v in proven}) > 1 or not _positive(proven[0].value):
            continue
        if name == "vocab_size":  # CFG005 holds it against the tokenizer as well
            continue
        actual = proven[0].value
        # One file may say a size of several modules; one of them is the stored one's.
        if any(_same_size(name, v.value, actual) for v in settings.all(name, stated.role)):
            continue
        if not isinstance(actual, tuple):
            yield Conflict(name, ConflictKind.DESCRIPTION, stated, actual, proven[0].source)
    described = _by_file(settings)
    for first, second in itertools.combinations(sorted(described), 2):
        yield from _differences(described[first], described[second])


def _by_file(settings: Settings) -> dict[str, dict[str, SettingValue]]:
    """Path → the architecture settings that the file gives one value each; files about another model are left out."""
    found: dict[str, dict[str, list[SettingValue]]] = {}
    for value in settings:
        if value.role is Role.FILE and value.name in ARCHITECTURE and _positive(value.value):
            words = set(re.split(r"[^a-z]+", f"{value.source.path} {value.source.key or ''}".lower()))
            if not words & _OTHER_MODEL:
                found.setdefault(value.source.path, {}).setdefault(value.name, []).append(value)
    return {
        path: {name: vs[0] for name, vs in values.items() if len({v.value for v in vs}) == 1}
        for path, values in found.items()
    }


def _differences(first: Mapping[str, SettingValue], second: Mapping[str, SettingValue]) -> Iterator[Conflict]:
    """Where two files agree in most of a model's shape, they describe one model, and the rest is a contradiction."""
    shared = sorted(set(first) & set(second))
    differing = [n for n in shared if not _same_size(n, first[n].value, second[n].value)]
    agreed = tuple(n for n in shared if n not in differing)
    # Widths and heads come in the same few sizes everywhere; a vocabulary is a fingerprint of its own.
    if len(differing) != 1 or len(agreed) + ("vocab_size" in agreed) < MIN_SHARED:
        return
    for name in differing:
        one, other = first[name], second[name]
        if _siblings(one, other):
            continue
        stated, actual = (other, one) if one.record else (one, other)
        if not isinstance(actual.value, tuple):
            settled = actual.record and not stated.record
            yield Conflict(
                name, ConflictKind.DESCRIPTION, stated, actual.value, actual.source, settled=settled, shared=agreed
            )


def _siblings(one: SettingValue, other: SettingValue) -> bool:
    """Descriptions of one kind stand for two models: `small.yaml` by `large.yaml`, or two folders' `config.json`."""
    (folder, name), (other_folder, other_name) = posixpath.split(one.source.path), posixpath.split(other.source.path)
    if folder == other_folder:
        variants = posixpath.splitext(name)[1] == posixpath.splitext(other_name)[1]
        return variants and not (one.record or other.record)
    return name == other_name


def _same_size(name: str, one: object, other: object) -> bool:
    """Equal, or one vocabulary padded up from the other."""
    if same_value(one, other):
        return True
    low, high = sorted((int(as_number(one) or 0), int(as_number(other) or 0)))
    if name == "max_positions":
        # Tables of some families begin with rows for padding (BART, OPT, RoBERTa), which a configuration may not count.
        return high - low == PADDING_ROWS
    return name == "vocab_size" and is_padded_vocabulary(low, high)


def is_padded_vocabulary(low: int, high: int) -> bool:
    """Whether one vocabulary is the other, rounded up to a multiple."""
    return any(-(-low // m) * m == high for m in VOCABULARY_PADDING)


def _positive(value: object) -> bool:
    """A number above zero: 0 and -1 stand for "derive it" or "off"."""
    number = as_number(value)
    return number is not None and number > 0
