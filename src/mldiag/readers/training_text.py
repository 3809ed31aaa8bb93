"""The text that a language model was trained on, where it lies beside the run."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.tokens import TrainingText

_LEAST = 4_000
"""Bytes; shorter texts train nothing."""
_OTHER = lazily(
    r"log|result|output|sampl|generat|amostra|eval|test|valid|requirement|vocab|args|config|metric|loss|label|class|list"
    r"|token|licen|readme|predict"
)
_PATHS = lazily(r"[^\s]*[/\\][^\s]*|\S+\.(?:jpe?g|png|bmp|tiff?|wav|flac|mp3|mp4|npy|txt|xml|json)")
_WORDS, _LETTERS, _DIGITS = 4, 0.6, 0.1
"""Words of the mean line, and shares of letters and digits among what is no blank, as text and source code have."""
_FEW_STRINGS = 0.5


def _is_text(file: File) -> bool:
    """Whether a file with the name of training text holds text, and no list of files, log or table."""
    if file.size < _LEAST or file.is_binary or _OTHER.search(file.name.lower()):
        return False
    head = file.head.decode(file.encoding, "replace")
    if _has_rows(file):
        import json

        from mldiag.readers.jsonl import head_objects

        objects, others = head_objects(file)
        if not objects or others > len(objects):
            return False
        strings = sum(len(v) for o in objects for v in o.values() if isinstance(v, str) and len(v) >= 40)
        return strings >= _FEW_STRINGS * sum(len(json.dumps(o, ensure_ascii=False)) for o in objects)
    lines = [line for line in head.splitlines() if line.strip()]
    visible = "".join(head.split())
    if not visible or len([line for line in lines if _PATHS.match(line.strip())]) > len(lines) / 4:
        return False
    letters = sum(map(str.isalpha, visible)) / len(visible)
    digits = sum(map(str.isdigit, visible)) / len(visible)
    # Text without blanks (Chinese) has one long word a line.
    worded = len(head.split()) >= _WORDS * len(lines) or len(visible) >= 20 * len(lines)
    return letters >= _LETTERS and digits <= _DIGITS and worded


def _has_rows(file: File) -> bool:
    return file.name.lower().endswith((".jsonl", ".ndjson"))


@reader(
    "input.txt", "data.txt", "text.txt", "*train*.txt", "*treino*.txt", "*corpus*.txt", "*dataset*.txt",
    "*.train.tokens", "*.train.raw", "*train*.jsonl", "*corpus*.jsonl", "*dataset*.jsonl",
    matches=_is_text, priority=2,
)  # fmt: skip
def training_text(file: File) -> Iterator[Artifact]:
    """Text that a language model was trained on: `input.txt`, `train.txt`, `corpus.txt`, `train.jsonl` beside the run.

    By name, and if the beginning is text: of letters for the most part, in lines of words; lists of files, tables and
    logs are none. Of JSON lines the strings of 40 characters and more are the text. Nothing of it is kept: a rule that
    compares samples with it reads it in pieces.
    """
    yield TrainingText(file.at(), file.size, file, _has_rows(file))
