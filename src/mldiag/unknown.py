"""Why a file that no reader takes was not read."""

from __future__ import annotations

import re

from mldiag.artifacts import Unread
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of compressed files; a rotated log (`train.log.1.gz`) has a log's name."""
_LOG = lazily(r"(?:.*\.|)(?:log|out|err|stdout|stderr)(?:\.\d+)?|(?:log|train|nohup|slurm).*\.txt", re.IGNORECASE)
"""Names by which a file is expected to be a log; other texts are data as often as not."""


def unread(file: File, path: str) -> Unread:
    """What is told of a file that no reader takes.

    Args:
        path: of the file as it lies there, packed or not.

    Raises:
        ReadError: the file is damaged, but was a log by its name.
    """
    packed = next((name for begin, name in _PACKED.items() if file.head.startswith(begin)), None)
    if packed is not None:
        return Unread(path, f"packed with {packed}; unpack it to have it read", known=False)
    if _LOG.fullmatch(file.name):
        if file.is_binary:
            raise ReadError("binary data where the text of a log was expected")
        next(file.blocks(), None)  # refuses one endless line
        if b"\0" in file.head and file.encoding == "utf-8":
            raise ReadError("NUL bytes and no row of a log: a hole that a crash or a full disk left")
    return Unread(path, "no reader knows what is in it", known=False)
