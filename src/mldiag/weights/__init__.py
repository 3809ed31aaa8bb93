"""Checkpoints that a user names by path, told one by one (`mldiag inspect`) or held against each other (`compare`)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Role, Samples, SettingValue, Unread
from mldiag.checkpoints import Checkpoint
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.run import Run

_SHARD = lazily(r"(.+)-(\d{5})-of-(\d{5})\.(?:safetensors|bin|gguf)")


class Opened(Struct, frozen=True):
    """A checkpoint with what was read beside it.

    Attributes:
        label: as the user named it, or as it was found below that. `root`: what its paths are relative to.
        settings: what the same file says or proves of the run.
        unread: what could not be read of its files.
    """

    label: str
    root: Path
    checkpoint: Checkpoint
    settings: tuple[SettingValue, ...] = ()
    unread: tuple[Unread, ...] = ()


def opened(run: Run) -> Iterator[Opened]:
    """The checkpoints of a run; shards without an index are one."""
    for checkpoint, lost in _joined(run.artifacts.get(Checkpoint, ())):
        files = {checkpoint.path, *(t.path for t in checkpoint.tensors if t.path)}
        unread = tuple(u for u in run.unread if u.path in files) + lost
        settings = tuple(v for v in run.settings.found if v.source.path in files)
        yield Opened(
            posixpath.normpath(posixpath.join(run.path, checkpoint.path)), run.root, checkpoint, settings, unread
        )


def shard(path: Path) -> Opened | None:
    """A file that was named by itself although an index beside it lists it; None for any other.

    Raises:
        ReadError: it cannot be read.
    """
    from mldiag.readers._weights.shards import index_of

    file = File(path.parent.resolve(), path.name)
    if not _SHARD.fullmatch(path.name) or not index_of(file):
        return None
    if path.suffix == ".safetensors":
        from mldiag.readers._weights import safetensors

        found, trouble = safetensors.read(file)
    else:
        from mldiag.readers._weights import pytorch

        found, _, trouble = pytorch.read(file)
    unread = (Unread(path.name, trouble, partial=True),) if trouble else ()
    return Opened(str(path), file.root, found, (), unread)


def is_weights(run: Run) -> bool:
    """Whether a path named a checkpoint: a file of weights, or a folder with the pieces of one and nothing else."""
    found = run.artifacts.get(Checkpoint, ())
    if not found or run.metrics.series:
        return False
    if is_file(run):
        return True
    others = any(kind is not Checkpoint for kind in run.artifacts)
    stated = any(v.role is not Role.CHECKPOINT for v in run.settings.found)
    bare = not (others or stated or run.program.launch or run.program.sources)
    return bare and len(list(_joined(found))) == 1


def is_file(run: Run) -> bool:
    """Whether a file was named, which is a run by itself."""
    return (run.root / run.name).is_file()


def is_model(run: Run) -> bool:
    """Whether a folder holds one model and nothing of its training: weights, configuration, tokenizer."""
    trained = run.metrics.series or run.program.launch or run.program.sources or run.artifacts.get(Samples.of)
    return not trained and len(list(_joined(run.artifacts.get(Checkpoint, ())))) == 1


def _joined(found: tuple[Checkpoint, ...]) -> Iterator[tuple[Checkpoint, tuple[Unread, ...]]]:
    """Each checkpoint, and what is missing of it; pieces that are numbered as such, and no index lists, are one."""
    sets: dict[tuple[str, str], list[Checkpoint]] = {}
    for checkpoint in found:
        named = _SHARD.fullmatch(checkpoint.path)
        sets.setdefault((named[1], named[3]) if named else (checkpoint.path, ""), []).append(checkpoint)
    for (stem, of), parts in sets.items():
        if not of:
            yield parts[0], ()
            continue
        parts.sort(key=lambda c: c.path)
        tensors = tuple(replace(t, path=t.path or c.path) for c in parts for t in c.tensors)
        metadata = {key: value for c in parts for key, value in c.metadata.items()}
        calls = tuple(sorted({call for c in parts for call in c.calls}))
        whole = Checkpoint(parts[0].format, tensors, parts[0].source, metadata, calls)
        missing = int(of) - len(parts)
        reason = f"{missing:,} of {int(of):,} files of the checkpoint are missing"
        yield whole, ((Unread(f"{stem}-*-of-{of}", reason, partial=True),) if missing > 0 else ())


__all__ = ["Opened", "is_file", "is_model", "is_weights", "opened", "shard"]
