"""Readers: one module per format. A reader decides what bytes mean; it knows no thresholds and makes no guesses.

To add one, write `readers/<format>.py` with one function under `@reader(...)` and a case `tests/readers/<format>.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch

from msgspec import Struct

from mldiag.artifacts import Artifact
from mldiag.files import File

Read = Callable[[File], Iterator[Artifact]]
Matches = Callable[[File], bool]
Members = Callable[[File], Iterable[str]]
_MARK = "__mldiag_reader__"


class Reader(Struct, frozen=True):
    """One format.

    Attributes:
        name: the format.
        patterns: file names it may take, as in `fnmatch`, in lower case; one with a slash (`metrics/*`) is held against
            the end of the path, folder by folder.
        matches: decides by content; asked only where a pattern fits. May raise `ReadError`.
        read: yields what the file holds; a `ReadError` half-way keeps what was yielded before.
        priority: where several match, the highest reads; 0 is the fallback for its patterns.
        post: the file exists only once training has begun; left alone with `--stage pre`.
        members: names the runs in one file that holds several (a tracking database); each becomes a run of its own, and
            `read` finds the wanted one in `File.member`. None for formats of one run a file.
    """

    name: str
    patterns: tuple[str, ...]
    matches: Matches
    read: Read
    priority: int
    post: bool
    members: Members | None = None

    def takes(self, path: str) -> bool:
        """Whether a file's path, relative to its run, fits."""
        parts = path.lower().split("/")
        return any(fnmatch("/".join(parts[-1 - p.count("/") :]), p) for p in self.patterns)


def reader(
    *patterns: str,
    matches: Matches = lambda file: True,
    priority: int = 0,
    post: bool = False,
    members: Members | None = None,
) -> Callable[[Read], Read]:
    """Marks a function as a reader; its name is the format's name, its docstring the format's description."""
    fields = (patterns, matches, priority, post, members)

    def mark(read: Read) -> Read:
        setattr(read, _MARK, fields)
        return read

    return mark


def as_reader(read: Read) -> Reader:
    """The `Reader` of a marked function."""
    patterns, matches, priority, post, members = getattr(read, _MARK)
    return Reader(read.__name__, patterns, matches, read, priority, post, members)


def is_reader(value: object) -> bool:
    """Whether a value is a function marked by `reader`."""
    return hasattr(value, _MARK)
