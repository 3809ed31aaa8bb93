"""From the paths a user names to run roots and their files.

A folder is a run when files of a run lie in it or in the usual containers below it (`logs`, `checkpoints`, ...). What
lies deeper belongs to it too, unless two or more folders below have a launch script or a log of their own: then each of
them is a run, and what is above them is shared. A file that is named directly is a run by itself; a launch script
brings the program it calls and the configurations it names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from mldiag.errors import MldiagError, os_reason

CONTAINERS = frozenset({
    "log", "logs", "sample", "samples", "checkpoint", "checkpoints", "ckpt", "ckpts", "result", "results", "output",
    "outputs", "metrics", "history", "artifacts", "config", "configs", "conf", "cfg", "scripts", "script", "src",
    "models", "model", "mappings", "tensorboard", "tb", "tb_logs", "data", "scores", "eval", "plots", ".hydra",
    "generated", "generations", "weights", "tokenizer", "reports", "bin",
})  # fmt: skip
"""Folder names that belong to the run above them."""

SCRIPTS = (".sh", ".bash", ".slurm", ".sbatch")
"""Endings of launch scripts."""

_SOURCES = (".py", ".pyw")
_LOG_FOLDERS = frozenset({"log", "logs", "metrics", "history", "results", "output", "outputs", "tensorboard", "tb"})
_LOG_ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".log", ".txt")
_LOGS = (
    "*.jsonl", "*.ndjson", "trainer_state.json", "*history*.json", "*history*.csv", "*metrics*.csv", "*metrics*.json",
    "*log*.json", "*log*.csv", "*log*.tsv", "results*.csv", "progress*.csv", "train*.log", "training*.txt",
)  # fmt: skip
"""Names of logs: two folders with one each, or with a launch script, are two runs. A reader decides what a file is."""

_SKIPPED = frozenset({
    "__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist", "wandb-cache", ".git",
})  # fmt: skip
MAX_FILES = 20_000
"""More files than this, of names that some reader takes, are not read: a run directory is expected, not a data set."""
MAX_DEPTH = 64
"""Folders below the checked one that are followed."""


class Root(Struct, frozen=True):
    """One run: its folder, how the user named it, its files relative to the folder, and its own name."""

    folder: Path
    label: str
    files: tuple[str, ...]
    name: str


def discover(path: Path, takes: Callable[[str], bool], lost: list[str] | None = None) -> list[Root]:
    """The runs at a path.

    Args:
        takes: whether any reader reads files of a name.
        lost: gets a line for each folder below the path that cannot be read; the rest is looked at all the same.

    Raises:
        MldiagError: the path does not exist, is empty or holds nothing that mldiag reads.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return [Root(path.parent, str(path.parent), (path.name,), path.name)]
        if not stat.S_ISDIR(mode):
            raise MldiagError(f"{path}: neither a folder nor a regular file")
        tree = _Scan(takes, [] if lost is None else lost).tree(path)
    except FileNotFoundError as error:
        reason = "a link that leads nowhere" if path.is_symlink() else "no such file or folder"
        raise MldiagError(f"{path}: {reason}") from error
    except OSError as error:
        raise MldiagError(f"{path}: cannot be read: {os_reason(error)}") from error
    roots = [root for root, _ in _roots(tree, str(path), takes, top=True)]
    if not roots:
        count = sum(1 for _ in tree.walk())
        if not count:
            raise MldiagError(f"{path}: the folder is empty; expected a run: logs, configuration, launch script")
        raise MldiagError(
            f"{path}: no run found: none of its {count:,} files is a log, configuration, launch script, source or "
            "samples file that mldiag reads"
        )
    return roots


class _Tree(Struct):
    folder: Path
    files: list[str]
    children: dict[str, _Tree]

    def walk(self, prefix: str = "") -> Iterator[str]:
        for name in self.files:
            yield prefix + name
        for name, child in self.children.items():
            yield from child.walk(f"{prefix}{name}/")


class _Scan:
    """Looks into folders; of what is left out there is a line in `lost`, and the rest is looked at all the same."""

    def __init__(self, takes: Callable[[str], bool], lost: list[str]) -> None:
        self._takes = takes
        self._lost = lost
        self._left = MAX_FILES

    def tree(self, folder: Path, depth: int = 0) -> _Tree:
        files, folders = _listed(folder)
        readable = sum(map(self._takes, files))
        if readable > self._left:
            self._lost.append(
                f"{folder}: its files were left out, as there are more than {MAX_FILES:,} to read; a run directory is "
                "expected, not a data set"
            )
            files, readable = [], 0
        self._left -= readable
        children = {}
        for name in sorted(folders):
            below = folder / name
            if depth == MAX_DEPTH:
                self._lost.append(f"{below}: was left out, as it lies more than {MAX_DEPTH} folders deep")
                continue
            try:
                children[name] = self.tree(below, depth + 1)
            except OSError as error:
                self._lost.append(f"{below}: cannot be read: {os_reason(error)}")
        return _Tree(folder, sorted(files), children)


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """The names of a folder's files and of the folders in it."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            # Links to folders are not followed: they may leave the run or lead back into it.
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED and (not entry.name.startswith(".") or entry.name == ".hydra"):
                    folders.append(entry.name)
            # A link that leads nowhere is kept: that a log cannot be read must be said.
            elif not entry.name.startswith(".") and (_is_file(entry) or (entry.is_symlink() and not _is_folder(entry))):
                files.append(entry.name)
    return files, folders


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # links in a circle
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _roots(tree: _Tree, label: str, takes: Callable[[str], bool], *, top: bool = False) -> list[tuple[Root, bool]]:
    """The runs in a tree, each with whether a log or launch script shows that it is one."""
    inner = [(name, child) for name, child in tree.children.items() if name not in CONTAINERS and not _is_part(name)]
    held = [*tree.files, *(f"{n}/{f}" for n, c in tree.children.items() if (n, c) not in inner for f in c.walk())]
    own = [f for f in held if takes(f)]
    shown = any(map(_shows_a_run, own))
    below = [found for name, child in inner for found in _roots(child, _joined(label, name), takes)]
    if not own:
        return below
    name = tree.folder.resolve().name
    if sum(strong for _, strong in below) > 1:
        # What lies above several runs is theirs together: a program is read with each of them.
        shared = tuple(f"../{f}" for f in tree.files if f.endswith(_SOURCES) and takes(f))
        lent = [
            (replace(root, files=(*root.files, *shared)) if root.folder.parent == tree.folder else root, strong)
            for root, strong in below
        ]
        return [(Root(tree.folder, label, tuple(held), name), True), *lent] if shown else lent
    if not top and all(f.endswith(_SOURCES) for f in own) and not below:
        return []  # a package of code somewhere in a project
    files = [*held, *(f"{n}/{f}" for n, c in inner for f in c.walk())]
    return [(Root(tree.folder, label, tuple(files), name), shown or any(strong for _, strong in below))]


def _joined(label: str, name: str) -> str:
    return name if label == "." else f"{label.rstrip('/')}/{name}"


def _is_part(name: str) -> bool:
    """`checkpoint-500` of Hugging Face, `epoch_3`: a stage of the run above."""
    return name.startswith(("checkpoint-", "checkpoint_", "epoch_", "step_"))


def _shows_a_run(path: str) -> bool:
    folders, _, name = path.lower().rpartition("/")
    in_logs = bool(_LOG_FOLDERS & set(folders.split("/"))) and name.endswith(_LOG_ENDINGS)
    return in_logs or name.endswith(SCRIPTS) or any(fnmatch(name, pattern) for pattern in _LOGS)
