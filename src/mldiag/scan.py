"""Looks into folders: which files below a path may be of a run, without opening any.

Left alone are hidden folders (but Hydra's), packages that others wrote, caches, environments by name or content, and
links to folders, which may leave the run or lead back into it. A folder of a data set costs no more than its listing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from mldiag.errors import os_reason
from mldiag.readers import is_left_by_runs

MAX_FILES = 200_000
"""More files than this, of names that some reader takes, are not read: ten for each run of a sweep of 20,000."""
MAX_ALIKE = 1_000
"""More files than this with one ending in one folder are a data set (labels, annotations), not logs: the fullest
folder of 380 runs looked at holds 20 files."""
MAX_DEPTH = 64
"""Folders below the checked one that are followed."""

_SKIPPED = frozenset({
    "__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist", "wandb-cache", ".git",
})  # fmt: skip
_ENVIRONMENTS = frozenset({"pyvenv.cfg", "conda-meta"})


class Tree(Struct):
    """A folder.

    Attributes:
        name: its name. `below`: its path from the checked folder, empty for that one.
        files: what some reader takes, sorted.
        others: what runs leave behind in formats without a reader, sorted; other files are only counted.
        left_out: what a reader would have taken, with the reason why it was not.
        count: files of any kind, here.
    """

    name: str
    below: str
    files: list[str]
    others: list[str]
    count: int
    children: dict[str, Tree]
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def walk(self, prefix: str = "") -> Iterator[str]:
        """Paths of what may be read, here and below."""
        for name in self.files:
            yield prefix + name
        for name, child in self.children.items():
            yield from child.walk(f"{prefix}{name}/")

    def walk_others(self, prefix: str = "") -> Iterator[str]:
        """Paths of what has no reader."""
        for name in self.others:
            yield prefix + name
        for name, child in self.children.items():
            yield from child.walk_others(f"{prefix}{name}/")

    def walk_left_out(self, prefix: str = "") -> Iterator[tuple[str, str]]:
        """Paths and reasons of what was left out."""
        for name, reason in self.left_out:
            yield prefix + name, reason
        for name, child in self.children.items():
            yield from child.walk_left_out(f"{prefix}{name}/")

    def total(self) -> int:
        """Files of any kind, here and below."""
        return self.count + sum(child.total() for child in self.children.values())


class Scan:
    """One walk. Of a folder that cannot be read there is a line in `lost`; the rest is looked at all the same.

    Args:
        takes: whether any reader reads files of such a path, relative to the checked folder.
        is_log: whether a name is that of a log: those are kept in the midst of a data set.
    """

    def __init__(self, takes: Callable[[str], bool], lost: list[str], is_log: Callable[[str], bool]) -> None:
        self._takes = takes
        self._is_log = is_log
        self._lost = lost
        self._left = MAX_FILES

    def tree(self, path: str, name: str, below: str = "", depth: int = 0) -> Tree:
        """A folder and what is below it.

        Raises:
            OSError: the folder itself cannot be listed.
        """
        listed, folders = _listed(path)
        if depth and not (_ENVIRONMENTS.isdisjoint(listed) and _ENVIRONMENTS.isdisjoint(folders)):
            return Tree(name, below, [], [], 0, {})
        prefix = f"{below}/" if below else ""
        asked, left_out = self._without_data(listed, prefix)
        files, others = [], []
        for found in asked:
            if self._takes(prefix + found):
                files.append(found)
            elif is_left_by_runs(found):
                others.append(found)
        if len(files) > self._left:
            self._lost.append(
                f"{path}: its files were left out, as there are more than {MAX_FILES:,} to read; check a part of it"
            )
            files = []
        self._left -= len(files)
        children = {}
        for inner in sorted(folders):
            there = f"{path.rstrip(os.sep)}{os.sep}{inner}"
            if depth == MAX_DEPTH:
                self._lost.append(f"{there}: was left out, as it lies more than {MAX_DEPTH} folders deep")
                continue
            try:
                children[inner] = self.tree(there, inner, prefix + inner, depth + 1)
            except OSError as error:
                self._lost.append(f"{there}: cannot be read: {os_reason(error)}")
        return Tree(name, below, sorted(files), sorted(others), len(listed), children, left_out)

    def _without_data(self, names: list[str], prefix: str) -> tuple[list[str], list[tuple[str, str]]]:
        """The names that may be of a run, and what is told of the others: nothing of images, which no reader takes."""
        if len(names) <= MAX_ALIKE:
            return names, []
        counts = Counter(map(_ending, names))
        alike = {ending for ending, count in counts.items() if count > MAX_ALIKE}
        logs = [n for n in names if _ending(n) in alike and self._is_log(n)]
        kept = [n for n in names if _ending(n) not in alike] + (logs if len(logs) <= MAX_ALIKE else [])
        left_out = [
            (f"*{ending}", f"{counts[ending]:,} files alike in one folder are a data set, and were left out")
            for ending in sorted(alike)
            if self._takes(prefix + next(n for n in names if _ending(n) == ending))
        ]
        return kept, left_out


def _ending(name: str) -> str:
    return name[name.rfind(".") :].lower() if "." in name else ""


def _listed(path: str) -> tuple[list[str], list[str]]:
    """The names of a folder's files and of the folders in it."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if name not in _SKIPPED and (not name.startswith(".") or name == ".hydra"):
                    folders.append(name)
            # Links that lead nowhere and pipes are kept: that a log cannot be read must be said.
            elif (not name.startswith(".") or name == ".env") and not (entry.is_symlink() and _is_folder(entry)):
                files.append(name)
    return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


__all__ = ["MAX_ALIKE", "MAX_DEPTH", "MAX_FILES", "Scan", "Tree"]
