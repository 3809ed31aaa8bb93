"""Readers: one module per format. A reader decides what bytes mean; it knows no thresholds and makes no guesses.

To add one, write `readers/<format>.py` with one function under `@reader(...)` and a case `tests/readers/<format>.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch, fnmatchcase, translate
from functools import cached_property

from msgspec import Struct

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.patterns import lazily

Read = Callable[[File], Iterator[Artifact]]
Matches = Callable[[File], bool]
Members = Callable[[File], Iterable[str]]
_MARK = "__mldiag_reader__"

_LEFT_BY_RUNS = lazily(
    r"tfevents|\.(?:wandb|pth?|ckpt|safetensors|bin|h5|hdf5|keras|np[yz]|pkl|onnx|gguf|msgpack|db|out|err|ini|env)$"
)
_LITERAL = lazily(r"[^*?\[\]]*")
_NAMES_KEPT = 4096
_FEW = 200


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


class Choice:
    """Which readers may take a path, in the order they are asked: the highest priority first, then by name.

    A directory has tens of thousands of files and there are some hundred patterns, so most are looked up: exact names,
    and endings by each dot of a name. What is left is one expression. Of a name the answer is kept, since runs have
    the same files; patterns with a slash need the path.
    """

    def __init__(self, readers: Iterable[Reader]) -> None:
        self._readers = sorted(readers, key=lambda r: (-r.priority, r.name))
        self._exact: dict[str, list[int]] = {}
        self._endings: dict[str, list[int]] = {}
        self._kept: dict[str, tuple[Reader, ...]] = {}
        others: dict[int, list[tuple[str, int]]] = {}
        for rank, known in enumerate(self._readers):
            for pattern in known.patterns:
                if "/" not in pattern and _LITERAL.fullmatch(pattern):
                    self._exact.setdefault(pattern, []).append(rank)
                elif pattern.startswith("*.") and "/" not in pattern and _LITERAL.fullmatch(pattern, 1):
                    self._endings.setdefault(pattern[1:], []).append(rank)
                else:
                    others.setdefault(pattern.count("/"), []).append((pattern, rank))
        self._named = _Expressions(others.pop(0, []))
        self._placed = [(folders, _Expressions(patterns)) for folders, patterns in sorted(others.items())]

    def __call__(self, path: str) -> tuple[Reader, ...]:
        """The readers of a path, relative to its run or to the folder that is checked."""
        lower = path.lower()
        if "/" not in lower:
            return self._named_so(lower)
        parts = lower.split("/")
        kept = self._named_so(parts[-1])
        placed = [
            rank
            for folders, patterns in self._placed
            if folders < len(parts)
            for rank in patterns.matching("/".join(parts[-1 - folders :]))
        ]
        return self._ranked({*placed, *map(self._readers.index, kept)}) if placed else kept

    def _named_so(self, name: str) -> tuple[Reader, ...]:
        kept = self._kept.get(name)
        if kept is None:
            if len(self._kept) == _NAMES_KEPT:
                self._kept.clear()
            kept = self._kept[name] = self._ranked(self._by_name(name))
        return kept

    def _by_name(self, name: str) -> set[int]:
        found = {*self._exact.get(name, ()), *self._named.matching(name)}
        at = name.find(".")
        while at >= 0:
            found.update(self._endings.get(name[at:], ()))
            at = name.find(".", at + 1)
        return found

    def _ranked(self, ranks: Iterable[int]) -> tuple[Reader, ...]:
        return tuple(self._readers[rank] for rank in sorted(ranks))


class _Expressions:
    """Patterns that have to be tried one by one; when many names are asked, behind one expression for all of them.

    Compiling that takes milliseconds, which an audit of a few files does not have.
    """

    def __init__(self, patterns: Sequence[tuple[str, int]]) -> None:
        self._patterns = patterns
        self._asked = 0

    def matching(self, text: str) -> list[int]:
        self._asked += 1
        if self._asked > _FEW and not self._any.match(text):
            return []
        return [rank for pattern, rank in self._patterns if _fits(text, pattern)]

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return re.compile("|".join(translate(pattern) for pattern, _ in self._patterns) or r"(?!)")


def _fits(text: str, pattern: str) -> bool:
    """`fnmatch`, without compiling anything for patterns of stars."""
    if "?" in pattern or "[" in pattern:
        return fnmatchcase(text, pattern)
    first, *between = pattern.split("*")
    if not between:
        return text == pattern
    last = between.pop()
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for part in between:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def is_left_by_runs(name: str) -> bool:
    """Whether a file is of a kind that runs leave behind, although perhaps no reader takes it."""
    return _LEFT_BY_RUNS.search(name.lower()) is not None


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
