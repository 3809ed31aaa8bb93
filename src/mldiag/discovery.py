"""From the paths a user names to run roots and their files.

A folder is one run when files of a run lie directly in it, or when all its sub-folders are the usual containers
(`logs`, `checkpoints`, ...). Otherwise each sub-folder is looked at in the same way. A sub-folder that holds a launch
script of its own beside other such folders is a run of its own. A file that is named directly is a run by itself; a
launch script brings the program it calls and the configurations it names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mldiag.errors import MldiagError

CONTAINERS = frozenset({
    "log", "logs", "sample", "samples", "checkpoint", "checkpoints", "ckpt", "ckpts", "result", "results", "output",
    "outputs", "metrics", "history", "artifacts", "config", "configs", "conf", "cfg", "scripts", "script", "src",
    "models", "model", "mappings", "tensorboard", "tb", "tb_logs", "data", "scores", "eval", "plots", ".hydra",
    "generated", "generations", "weights", "tokenizer", "reports", "bin",
})  # fmt: skip
"""Folder names that belong to the run above them."""

_SKIPPED = frozenset({
    "__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist", "wandb-cache", ".git",
})  # fmt: skip
MAX_FILES = 20_000
"""More files than this below one root are refused: a run directory, not a data set, is expected."""


@dataclass(frozen=True)
class Root:
    """One run: its folder, how the user named it, its files relative to the folder, and its own name."""

    folder: Path
    label: str
    files: tuple[str, ...]
    name: str


def discover(path: Path, takes: Callable[[str], bool]) -> list[Root]:
    """The runs at a path.

    Args:
        takes: whether any reader reads files of a name.

    Raises:
        MldiagError: the path does not exist, is empty or holds nothing that mldiag reads.
    """
    if not path.exists():
        raise MldiagError(f"{path}: no such file or folder")
    if path.is_file():
        return [Root(path.parent, str(path.parent), (path.name,), path.name)]
    try:
        tree = _scan(path)
    except OSError as error:
        raise MldiagError(f"{error.filename}: cannot be read: {(error.strerror or '').lower()}") from error
    roots = list(_roots(tree, str(path), takes))
    if not roots:
        count = sum(1 for _ in tree.walk())
        if not count:
            raise MldiagError(f"{path}: the folder is empty; expected a run: logs, configuration, launch script")
        raise MldiagError(
            f"{path}: no run found: none of its {count:,} files is a log, configuration, launch script, source or "
            "samples file that mldiag reads"
        )
    return roots


@dataclass
class _Tree:
    folder: Path
    files: list[str]
    children: dict[str, _Tree]

    def walk(self, prefix: str = "") -> Iterator[str]:
        for name in self.files:
            yield prefix + name
        for name, child in self.children.items():
            yield from child.walk(f"{prefix}{name}/")


def _scan(folder: Path, budget: list[int] | None = None) -> _Tree:
    budget = [MAX_FILES] if budget is None else budget
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            # Links to folders are not followed: they may leave the run or lead back into it.
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED and (not entry.name.startswith(".") or entry.name == ".hydra"):
                    folders.append(entry.name)
            elif entry.is_file() and not entry.name.startswith("."):
                files.append(entry.name)
    budget[0] -= len(files)
    if budget[0] < 0:
        raise MldiagError(f"{folder}: more than {MAX_FILES:,} files; name the run directory itself")
    children = {name: _scan(folder / name, budget) for name in sorted(folders)}
    return _Tree(folder, sorted(files), children)


def _roots(tree: _Tree, label: str, takes: Callable[[str], bool]) -> Iterator[Root]:
    own = [f for f in tree.files if takes(f)]
    launched = [n for n, c in tree.children.items() if n not in CONTAINERS and _has_launch(c)]
    plain = [n for n in tree.children if n not in CONTAINERS]
    contained = any(takes(f) for n, c in tree.children.items() if n in CONTAINERS for f in c.walk())
    if _has_launch(tree) or (own and len(launched) < 2) or (contained and not plain):
        inner = set(launched) if len(launched) > 1 else set()
        files = [*tree.files, *(f"{n}/{f}" for n, c in tree.children.items() if n not in inner for f in c.walk())]
        if any(takes(f) for f in files):
            yield Root(tree.folder, label, tuple(files), tree.folder.resolve().name)
        for name in sorted(inner):
            yield from _roots(tree.children[name], f"{label}/{name}", takes)
        return
    for name, child in tree.children.items():
        yield from _roots(child, f"{label.rstrip('/')}/{name}", takes)


def _has_launch(tree: _Tree) -> bool:
    return any(f.endswith((".sh", ".bash", ".slurm", ".sbatch")) for f in tree.files)
