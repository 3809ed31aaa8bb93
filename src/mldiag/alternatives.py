"""Which of several configurations of one kind the run uses: the one its launch names.

A folder of experiments (`config/train_small.py` beside `config/finetune.py`, Hydra's `conf/model/*.yaml`) holds files
that state the same settings, of which a run takes one. What the others say is not this run's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from mldiag.artifacts import Launch, Role, SettingValue, as_number

MIN_SHARED = 2
"""Settings that two files must both state, and at least half of the smaller file's, to be of one kind."""

# Files that others of their folder build on; they take effect with the one that is named.
_BASES = ("base", "default", "common", "shared")
_HYDRA_CHOICE = "defaults."
_ENDINGS = (".yaml", ".yml", ".json", ".toml", ".py")


def in_effect(values: Sequence[SettingValue], launches: Iterable[Launch]) -> tuple[list[SettingValue], dict[str, str]]:
    """The values without those of files that another of their kind stands for.

    Args:
        launches: the launches that may stand for the run.

    Returns:
        The values, and the settings for which unnamed files of one kind disagree, each with the reason.
    """
    if len({v.source.path for v in values if v.role is Role.FILE and not v.record}) < 2:
        return list(values), {}
    by_file: dict[str, dict[str, SettingValue]] = {}
    for value in values:
        path = value.source.path
        if value.role is Role.FILE and not value.record and not _is_base(path):
            by_file.setdefault(path, {}).setdefault(value.name, value)
    chosen = _files(by_file, (w for launch in launches for w in _named(launch)))
    folders = {posixpath.dirname(path) for path in chosen}
    # What the command line takes for a group goes before the choice that a file makes.
    choices = _files(by_file, (w for v in values for w in _hydra_choice(v)))
    chosen |= {path for path in choices if posixpath.dirname(path) not in folders}
    dropped: set[str] = set()
    ambiguous: dict[str, str] = {}
    for path, stated in by_file.items():
        rivals = [p for p in by_file if p != path and _same_kind(path, stated, p, by_file[p])]
        if path not in chosen and chosen.intersection(rivals):
            dropped.add(path)
            continue
        for rival in rivals:
            if (rival in chosen) == (path in chosen):
                ambiguous.update(_differences(stated, by_file[rival]))
    given = {v.name for v in values if v.role is Role.FLAG}
    kept = [v for v in values if v.source.path not in dropped or v.role is not Role.FILE]
    return kept, {name: why for name, why in ambiguous.items() if name not in given}


def _named(launch: Launch) -> Iterable[str]:
    """Words of a command that may name a configuration: files, and Hydra's `group=name` and `--config-name`."""
    for word in launch.positionals:
        yield from word.split()
    for flag in launch.flags:
        for word in (flag.value or "").replace(",", " ").split():
            yield word
            if not flag.name.startswith("-"):
                yield f"{flag.name}/{word}"
            elif "config" in flag.name or "cfg" in flag.name:
                yield from (word + ending for ending in _ENDINGS)


def _hydra_choice(value: SettingValue) -> Iterable[str]:
    key = value.source.key or ""
    if key.startswith(_HYDRA_CHOICE):
        yield f"{key.removeprefix(_HYDRA_CHOICE)}/{value.value}"


def _files(paths: Iterable[str], words: Iterable[str]) -> set[str]:
    """The files that words name, from whatever folder; with a folder in front, the ending may be missing."""
    found = set()
    wanted = {posixpath.normpath(w) for w in words}
    for path in paths:
        for word in wanted:
            names = (path, posixpath.splitext(path)[0]) if "/" in word else (path,)
            if any(n == word or n.endswith(f"/{word}") or word.endswith(f"/{n}") for n in names):
                found.add(path)
    return found


def _is_base(path: str) -> bool:
    return posixpath.basename(path).lower().lstrip("_").startswith(_BASES)


def _same_kind(path: str, stated: Mapping[str, SettingValue], other: str, others: Mapping[str, SettingValue]) -> bool:
    if posixpath.dirname(path) != posixpath.dirname(other):
        return False
    if posixpath.splitext(path)[1] != posixpath.splitext(other)[1]:
        return False
    shared = len(stated.keys() & others.keys())
    return shared >= MIN_SHARED and 2 * shared >= min(len(stated), len(others))


def _differences(one: Mapping[str, SettingValue], other: Mapping[str, SettingValue]) -> Iterable[tuple[str, str]]:
    for name, first in one.items():
        second = other.get(name)
        if second is None:
            continue
        if _meaning(first) != _meaning(second):
            yield (
                name,
                f"{first.source} says {first.value} for {name} and {second.source} says {second.value}; "
                "no launch names one of them",
            )


def _meaning(value: SettingValue) -> object:
    number = as_number(value.value)
    return str(value.value) if number is None else number
