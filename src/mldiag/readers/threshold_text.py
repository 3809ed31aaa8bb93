"""A decision threshold in a text file of its own."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact, Role, SettingValue
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.vocabulary import normalized

SIZE_LIMIT = 256
"""Bytes of one number with a name and a comment."""

_NUMBER = lazily(r"\s*(?:[^\W\d][\w .-]*[:=]\s*)?([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?:#[^\n]*)?\s*")


def _is_number(file: File) -> bool:
    return 0 < file.size <= SIZE_LIMIT and not file.is_binary and _NUMBER.fullmatch(file.text) is not None


@reader("*thresh*.txt", "*cutoff*.txt", "*limiar*.txt", matches=_is_number, priority=34)
def threshold_text(file: File) -> Iterator[Artifact]:
    """A file that holds one number and is named for it (`optimal_threshold.txt`): the setting of that name.

    A name before the number (`threshold: 0.43`) and a comment behind it are passed over.
    """
    from mldiag.spans import Spans

    found = _NUMBER.fullmatch(file.text)
    if found is None:
        return
    start, end = (len(file.text[:at].encode()) for at in found.span(1))
    name = normalized(file.name.rsplit(".", 1)[0])
    yield SettingValue(name, float(found[1]), Role.FILE, Spans(file).source(start, end, key=name), "env")
