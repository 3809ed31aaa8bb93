"""What the readers of configurations share: nested mappings to settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from mldiag.artifacts import Role, Scalar, SettingValue, Source
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers._tables.columns import shortened
from mldiag.secrets import is_secret as is_secret

Value = Scalar | tuple[Scalar, ...]
_SIMPLE = (int, float, str, type(None))  # a union would be made anew at each of many calls

MAX_DEPTH = 8
MAX_LIST = 64
"""Longer lists are data (class names, token ids), not settings."""
TABLE_SIZE = 40
"""A mapping of more entries than this whose values are all of one kind is a table (token → id, id → label)."""

_TABLES = frozenset({"id2label", "label2id", "vocab", "_wandb", "added_tokens_decoder", "task_specific_params"})

RECORDS = lazily(
    r"(hparams|args|opt|hyp|debug|(train|training|run|command_?line)_?args.*|arguments|llamaboard_config|.*_opt|opts?)",
    re.IGNORECASE,
)
"""Stems of files that a run writes to say what it used: Lightning's hparams, Ultralytics' args, YOLOv5's opt and hyp,
nnU-Net's debug, dumps of Hugging Face's TrainingArguments and of LLaMA-Factory's board."""


def is_record(file: File) -> bool:
    """Whether the run itself wrote the file, by its name or, for Hydra's and W&B's dumps, its folder."""
    return _is_record(file.path, file.name)


@lru_cache(1024)
def _is_record(path: str, name: str) -> bool:
    folders = path.split("/")[:-1]
    return bool(RECORDS.fullmatch(name.split(".")[0])) or any(f in (".hydra", "wandb") for f in folders)


def flattened(mapping: Mapping[str, object], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Value]]:
    """Keys and scalar values of a nested mapping; a short list of scalars is a tuple, `{value: …}` is unwrapped."""
    for key, value in mapping.items():
        here = (*path, str(key))
        if isinstance(value, _SIMPLE):
            if str(key) not in _TABLES and not is_secret(str(key), value):
                yield here, value
            continue
        inner = unwrapped(value)
        if isinstance(inner, dict):
            if len(here) < MAX_DEPTH and str(key) not in _TABLES and not is_table(inner):
                yield from flattened(inner, here)
        elif isinstance(inner, list):
            short = len(inner) <= MAX_LIST and not any(isinstance(v, dict | list) for v in inner)
            if short and not is_secret(str(key), inner):
                yield here, tuple(_scalar(v) for v in inner)
        elif str(key) not in _TABLES and not is_secret(str(key), inner):
            yield here, _scalar(inner)


def unwrapped(value: object) -> object:
    """W&B writes each configuration entry as `{"value": …, "desc": …}`."""
    return value["value"] if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"} else value


def is_table(mapping: Mapping[object, object]) -> bool:
    """A map from tokens or numbers to ids or names is data, not settings."""
    if mapping and all(str(k).isdigit() for k in mapping):
        return True
    return len(mapping) > TABLE_SIZE and len({type(v) for v in mapping.values()}) == 1


def recorded(
    mapping: Mapping[str, object], file: File, *, line: int | None = None, but: tuple[int, int] = (0, 0)
) -> Iterator[SettingValue]:
    """Scalars that a log holds beside its series: what the run says it used.

    Args:
        line: where all of them stand, if that is known; `but`: characters of the file among which none of them stands.
    """
    found = [(".".join(path), path[-1], value) for path, value in flattened(mapping)]
    if line:
        places: Iterator[Source] = (file.at(line, key=name) for name, _, _ in found)
    else:
        places = file.find_each([(name, f'"{last}"') for name, last, _ in found], but=but)
    for (name, _, value), place in zip(found, places, strict=True):
        yield SettingValue(name, value, Role.LOG, shortened(place), record=True)


def _scalar(value: object) -> Scalar:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
