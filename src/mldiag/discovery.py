"""From the paths a user names to run roots and their files.

A folder is a run when files of a run lie in it or in the usual folders of one (`configs`, `checkpoints`, `train` beside
`validation`). What lies deeper belongs to it too, unless two or more folders below show that they are runs: by a launch
script, a log, event files, or as a run's folder of MLflow, W&B, Hydra or Lightning. Then each of them is a run, what
is above them is shared, and a folder above that has a log or script of its own is a run as well. Shelves (`logs`,
`outputs`) belong to the run above them unless they hold several.

A file that is named directly is a run by itself; a launch script brings the program it calls and the configurations it
names. A tracking database gives a run for each that is in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from mldiag.errors import MldiagError, os_reason
from mldiag.patterns import lazily
from mldiag.scan import Scan, Tree

SCRIPTS = (".sh", ".bash", ".slurm", ".sbatch")
"""Endings of launch scripts."""

PARTS = frozenset({
    "sample", "samples", "metrics", "history", "artifacts", "config", "configs", "conf", "cfg", "scripts", "script",
    "src", "mappings", "data", "scores", "eval", "plots", ".hydra", "generated", "generations", "weights", "tokenizer",
    "reports", "bin", "params", "tags",
})  # fmt: skip
"""Folder names that belong to the run above them."""

SHELVES = frozenset({
    "log", "logs", "checkpoint", "checkpoints", "ckpt", "ckpts", "result", "results", "output", "outputs", "models",
    "model", "tensorboard", "tb", "tb_logs", "output_dir", "out", "logdir", "log_dir",
})  # fmt: skip
"""Folder names that belong to the run above them, unless several runs lie in them."""

_SPLITS = frozenset({"train", "val", "valid", "validation", "test", "eval", "dev", "learn"})
"""Keras' TensorBoard callback writes `train` beside `validation`, CatBoost `learn` beside `test`."""
_STAGE = lazily(r"(checkpoint|epoch|step)[-_].*|(ckpt|iter|global_?step|epoch|step)[-_=]?\d.*")
"""`checkpoint-500` of Hugging Face, `epoch_3`, `global_step100` of DeepSpeed: a stage of the run above."""
_NUMBERED = lazily(r"(run|trial|exp|experiment|version|fold|seed|task|job)[-_]?\d+(\D.*)?")
"""Lightning's `version_3`, YOLOv5's `exp2`, `run_07` of a sweep: a run, even where its log has an unusual name."""
_SESSION = lazily(r"[A-Z][a-z]{2}\d{2}_\d{2}-\d{2}-\d{2}_.+")
"""`Dec30_14-32-19_host`: where PyTorch's `SummaryWriter` writes unless it is told; Hugging Face's Trainer, below `runs`
of its output folder, for each launch."""
_WANDB_RUN = lazily(r"(?:offline-)?run-\d{8}_\d{6}-\w+")

_SOURCES = (".py", ".pyw")
_CONFIGS = (".yaml", ".yml", ".toml", ".ini", ".cfg", *SCRIPTS, *_SOURCES)
_LOG_FOLDERS = frozenset({"log", "logs", "metrics", "history", "results", "output", "outputs", "tensorboard", "tb"})
_LOG_ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".log", ".txt")
_LOG = lazily(
    r".*\.(?:jsonl|ndjson|wandb|log)|trainer_state\.json|.*history.*\.(?:json|csv)|.*metrics.*\.(?:csv|json)"
    r"|.*log.*\.(?:json|csv|tsv)|(?:results|progress|monitor).*\.csv|(?:log|training).*\.txt|.*tfevents.*|result\.json"
)
"""Names of logs: two folders with one each, or with a launch script, are two runs. A reader decides what a file is."""
_WRITER = lazily(r".*tfevents\.\d+\.(.+\.\d+)\.\d+(?:\.v2)?")
"""The host and process in the name of an event file."""
_WANDB_LOG = lazily(r"debug(-internal|-core)?\.log")


class Root(Struct, frozen=True):
    """One run: its folder, how the user named it, its files relative to the folder, and its own name.

    Attributes:
        folder: absolute, links resolved.
        member: which run of a file that holds several.
        left_out: files that were not looked into, with the reason.
        certain: a log, launch script or a tracker's layout shows that it is a run. Another folder beside runs is one
            only if something of a run is found in it.
    """

    folder: Path
    label: str
    files: tuple[str, ...]
    name: str
    member: str = ""
    left_out: tuple[tuple[str, str], ...] = ()
    certain: bool = True


Takes = Callable[[str], bool]
Members = Callable[[Path, str], Sequence[str]]


def discover(path: Path, takes: Takes, lost: list[str] | None = None, members: Members | None = None) -> list[Root]:
    """The runs at a path.

    Args:
        takes: whether any reader reads files of such a path, relative to what is checked.
        lost: gets a line for each folder below the path that cannot be read; the rest is looked at all the same.
        members: the runs in a file of a folder, for formats that hold several.

    Raises:
        MldiagError: the path does not exist, is empty or holds nothing that mldiag reads.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return _single(path, takes, members)
        if not stat.S_ISDIR(mode):
            raise MldiagError(f"{path}: neither a folder nor a regular file")
        base = path.resolve()
        tree = Scan(takes, [] if lost is None else lost, _shows_a_run).tree(str(path), base.name)
    except FileNotFoundError as error:
        reason = "a link that leads nowhere" if path.is_symlink() else "no such file or folder"
        raise MldiagError(f"{path}: {reason}") from error
    except OSError as error:
        raise MldiagError(f"{path}: cannot be read: {os_reason(error)}") from error
    roots = _Roots(base, members).of(tree, str(path), top=True)
    if not roots:
        raise MldiagError(f"{path}: {_nothing(tree)}")
    # Where nothing shows what a run is, every folder with something to read may be one.
    return roots if any(root.certain for root in roots) else [replace(root, certain=True) for root in roots]


def _nothing(tree: Tree) -> str:
    count = tree.total()
    if not count:
        return "the folder is empty; expected a run: logs, configuration, launch script"
    for name, reason in tree.walk_left_out():
        return f"no run found: {name}: {reason}"
    return (
        f"no run found: none of its {count:,} files is a log, configuration, launch script, source or samples file "
        "that mldiag reads"
    )


def _single(path: Path, takes: Takes, members: Members | None) -> list[Root]:
    """A file by itself. One that only its folder tells apart (`metrics/loss` of MLflow) is named with that folder."""
    folder, file, label = path.parent.resolve(), path.name, path.parent
    if not takes(file) and takes(f"{folder.name}/{file}"):
        file = f"{folder.name}/{file}"
        folder, label = folder.parent, label / ".." if label.name in ("", "..") else label.parent
    found = members(folder, file) if members else ()
    if len(found) > 1:
        return [Root(folder, str(label), (file,), member, member) for member in found]
    return [Root(folder, str(label), (file,), file)]


class _Roots:
    """Decides, from the leaves up, which folders are runs."""

    def __init__(self, base: Path, members: Members | None) -> None:
        self._base = base
        self._members = members

    def of(self, tree: Tree, label: str, *, top: bool = False) -> list[Root]:
        """The runs in a tree; `certain` where something shows that it is one."""
        _prune(tree)
        folder = self._base / tree.below if tree.below else self._base
        databases = [Root(folder, label, (f,), m, m) for f in tree.files for m in self._several(folder, f)]
        taken_out = {root.files[0] for root in databases}
        here = [f for f in tree.files if f not in taken_out and not _is_bookkeeping(f, tree)]
        parts: list[tuple[str, Tree]] = []
        inner: list[tuple[str, Tree]] = []
        below = databases
        for name, child in tree.children.items():
            if _is_part(name, child, tree):
                parts.append((name, child))
                continue
            if _is_store_of_models(name, tree):
                continue
            found = self.of(child, _joined(label, name))
            if name.lower() in SHELVES and sum(root.certain for root in found) < 2:
                parts.append((name, child))
                continue
            inner.append((name, child))
            below += found
        own = [*here, *(f"{n}/{f}" for n, c in parts for f in c.walk())] if parts else here
        shown = any(map(_shows_a_run, own))
        if not own:
            return below
        if sum(root.certain for root in below) > 1:
            return self._above_several(tree, folder, label, own, parts, below, shown=shown)
        if not top and not below and all(f.endswith(_SOURCES) for f in own):
            return []  # a package of code somewhere in a project
        if not tree.children:
            certain = shown or _is_declared(tree)
            return [Root(folder, label, (*own, *tree.others), tree.name, "", tuple(tree.left_out), certain)]
        others = [*tree.others, *(f"{n}/{f}" for n, c in tree.children.items() for f in c.walk_others())]
        files = (*own, *(f"{n}/{f}" for n, c in inner for f in c.walk()), *others)
        certain = shown or _is_declared(tree) or any(root.certain for root in below)
        return [Root(folder, label, files, tree.name, left_out=tuple(tree.walk_left_out()), certain=certain)]

    @staticmethod
    def _above_several(
        tree: Tree,
        folder: Path,
        label: str,
        own: list[str],
        parts: list[tuple[str, Tree]],
        below: list[Root],
        *,
        shown: bool,
    ) -> list[Root]:
        """What lies above several runs is theirs together: a program is read with each of them."""
        sources = [f for f in tree.files if f.endswith(_SOURCES)]
        if sources:
            up = {root.folder: os.path.relpath(folder, root.folder) for root in below}
            below = [_with(root, [f"{up[root.folder]}/{f}" for f in sources]) for root in below]
        # Configuration and source alone are no run, and are read where a run uses them.
        if not shown and all(f.lower().endswith((*_CONFIGS, ".json", ".txt")) for f in own):
            return below
        others = [*tree.others, *(f"{n}/{f}" for n, c in parts for f in c.walk_others())]
        left_out = [*tree.left_out, *((f"{n}/{f}", why) for n, c in parts for f, why in c.walk_left_out())]
        return [Root(folder, label, (*own, *others), tree.name, left_out=tuple(left_out), certain=shown), *below]

    def _several(self, folder: Path, file: str) -> Sequence[str]:
        if self._members is None:
            return ()
        found = self._members(folder, file)
        return found if len(found) > 1 else ()


def _with(root: Root, files: list[str]) -> Root:
    return root if root.member else replace(root, files=(*root.files, *files))


def _joined(label: str, name: str) -> str:
    return name if label == "." else f"{label.rstrip('/')}/{name}"


def _is_part(name: str, child: Tree, parent: Tree) -> bool:
    """Whether a folder belongs to the run above it whatever is in it."""
    lower = name.lower()
    if lower in PARTS or _STAGE.fullmatch(lower) or _is_tracked(parent):
        return True
    if _NUMBERED.fullmatch(lower):
        return False
    if name == "runs" and (
        "trainer_state.json" in parent.files or any(c.startswith("checkpoint-") for c in parent.children)
    ):
        return all(map(_SESSION.fullmatch, child.children))
    if lower in _SPLITS:
        # Ultralytics calls its first run `train`, too; that has a configuration and weights of its own.
        return not child.children and not any(f.lower().endswith(_CONFIGS) for f in child.files)
    return _writers(child) <= _writers(parent) and bool(_writers(child)) and len(child.files) == len(_events(child))


def _is_tracked(tree: Tree) -> bool:
    """A run's folder of MLflow or W&B, in which everything is the run's."""
    if "meta.yaml" in tree.files and ("metrics" in tree.children or "params" in tree.children):
        return True
    files = tree.children.get("files")
    written_by_wandb = files is not None and any(f.startswith("wandb-") for f in files.files)
    return written_by_wandb or _WANDB_RUN.fullmatch(tree.name) is not None


def _is_declared(tree: Tree) -> bool:
    """A run's folder by its layout or name, whatever its files are called."""
    return _is_tracked(tree) or ".hydra" in tree.children or _NUMBERED.fullmatch(tree.name.lower()) is not None


def _is_store_of_models(name: str, parent: Tree) -> bool:
    """`models` of an MLflow experiment: its folders look like runs, and are what runs produced."""
    return name == "models" and "meta.yaml" in parent.files


def _is_bookkeeping(name: str, tree: Tree) -> bool:
    """Whether a file above runs is the tracker's own: nothing that a run is made of."""
    if name == "meta.yaml":
        return not _is_tracked(tree)
    return name == "multirun.yaml" or (_WANDB_LOG.fullmatch(name) is not None and _holds_wandb_runs(tree))


def _holds_wandb_runs(tree: Tree) -> bool:
    return any(map(_WANDB_RUN.fullmatch, tree.children))


def _prune(tree: Tree) -> None:
    """Takes out what W&B writes about itself beside its runs' own files."""
    for name, child in tree.children.items() if tree.children and _WANDB_RUN.fullmatch(tree.name) else ():
        if name in ("logs", "files"):
            child.files = [f for f in child.files if not _WANDB_LOG.fullmatch(f) and f != "requirements.txt"]


def _events(tree: Tree) -> list[str]:
    return [f for f in tree.files if "tfevents" in f]


def _writers(tree: Tree) -> set[str]:
    """Host and process of each event file: folders that one process wrote into, below its own, are of its run."""
    return {found[1] for f in _events(tree) if (found := _WRITER.fullmatch(f))}


@lru_cache(4096)
def _shows_a_run(path: str) -> bool:
    folders, _, name = path.lower().rpartition("/")
    if name.endswith(SCRIPTS) or _LOG.fullmatch(name):
        return True
    return name.endswith(_LOG_ENDINGS) and not _LOG_FOLDERS.isdisjoint(folders.split("/"))


__all__ = ["PARTS", "SCRIPTS", "SHELVES", "Root", "discover"]
