"""Readers: one module per format. A reader decides what bytes mean; it knows no thresholds and makes no guesses.

To add one, write `readers/<format>.py` with one function under `@reader(...)` and a case `tests/readers/<format>.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatch

from msgspec import Struct

from mldiag.artifacts import Artifact
from mldiag.files import File

Read = Callable[[File], Iterator[Artifact]]
Matches = Callable[[File], bool]
_MARK = "__mldiag_reader__"


class Reader(Struct, frozen=True):
    """One format.

    Attributes:
        name: the format.
        patterns: file names it may take, as in `fnmatch`.
        matches: decides by content; asked only where a pattern fits. May raise `ReadError`.
        read: yields what the file holds; a `ReadError` half-way keeps what was yielded before.
        priority: where several match, the highest reads; 0 is the fallback for its patterns.
        post: the file exists only once training has begun; left alone with `--stage pre`.
    """

    name: str
    patterns: tuple[str, ...]
    matches: Matches
    read: Read
    priority: int
    post: bool

    def takes(self, name: str) -> bool:
        """Whether a file's name, or the last part of its path, fits."""
        last = name.rsplit("/", 1)[-1].lower()
        return any(fnmatch(last, p) for p in self.patterns)


def reader(
    *patterns: str, matches: Matches = lambda file: True, priority: int = 0, post: bool = False
) -> Callable[[Read], Read]:
    """Marks a function as a reader; its name is the format's name, its docstring the format's description."""
    fields = (patterns, matches, priority, post)

    def mark(read: Read) -> Read:
        setattr(read, _MARK, fields)
        return read

    return mark


def as_reader(read: Read) -> Reader:
    """The `Reader` of a marked function."""
    patterns, matches, priority, post = getattr(read, _MARK)
    return Reader(read.__name__, patterns, matches, read, priority, post)


def is_reader(value: object) -> bool:
    """Whether a value is a function marked by `reader`."""
    return hasattr(value, _MARK)
