"""What W&B notes about how a run was started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mldiag.artifacts import Artifact, Role, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._configs.literals import literal
from mldiag.readers._configs.settings import Value, is_secret, recorded
from mldiag.readers._tables.columns import shortened

_KEPT = ("program", "gpu", "gpu_count")


@reader("wandb-metadata.json", priority=40, post=True)
def wandb_metadata(file: File) -> Iterator[Artifact]:
    """`wandb-metadata.json` of Weights & Biases: the arguments the program was called with, each a record.

    `--lr 0.1`, `--lr=0.1` and Hydra's `optim.lr=0.1` give settings; a flag without a value is true. Beside them the
    program, the graphics card and how many the machine has are kept. Of a cut file the arguments before the cut are
    read.
    """
    document, _, cut = file.json_so_far
    if not isinstance(document, dict):
        raise ReadError(f"expected an object, found {type(document).__name__}")
    yield from recorded({k: document[k] for k in _KEPT if isinstance(document.get(k), str | int)}, file)
    words = document.get("args")
    if isinstance(words, list) and all(isinstance(w, str) for w in words):
        for word, name, value in _arguments(words):
            if not is_secret(name, value):
                place = shortened(file.find(f'"{word}"', key=name))
                yield SettingValue(name, value, Role.LOG, place, record=True)
    if cut is not None:
        raise cut


def _arguments(words: Sequence[str]) -> Iterator[tuple[str, str, Value]]:
    """Words that set something, each with what it sets and to what.

    The word behind a flag is its value unless it looks like a flag itself; several numbers in a row are a list.
    """
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        name, equals, text = word.partition("=")
        flag = _is_flag(word)
        plain = name.lstrip("-+")
        if not plain or not (flag or equals):
            continue
        if equals:
            yield word, plain, literal(text)
            continue
        values: list[Value] = []
        while at < len(words) and not _is_flag(words[at]):
            value = literal(words[at])
            if values and not all(isinstance(v, int | float) for v in (*values, value)):
                break
            values.append(value)
            at += 1
        yield word, plain, _joined(values)


def _joined(values: Sequence[Value]) -> Value:
    """No value is a switch, one is itself."""
    if len(values) == 1:
        return values[0]
    return tuple(v for v in values if not isinstance(v, tuple)) or True


def _is_flag(word: str) -> bool:
    """Whether a word is an option rather than a value: `-1e-4` is a number."""
    return word.startswith("-") and len(word) > 1 and not isinstance(literal(word), int | float)
