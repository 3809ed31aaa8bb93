"""Checkpoints in several files with an index: `model.safetensors.index.json`, `pytorch_model.bin.index.json`."""

from __future__ import annotations

from msgspec.structs import replace

from mldiag.artifacts import Scalar
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File, size_of
from mldiag.patterns import lazily
from mldiag.readers._weights.binary import decoded, listed, shown

INDEX_LIMIT = 64 * 2**20
_SHARD = lazily(r"(.+)-\d{5}-of-\d{5}(\.(?:safetensors|bin))")


def index_of(file: File) -> str | None:
    """The path of the index that lists a shard; None for a file that stands for itself."""
    named = _SHARD.fullmatch(file.name)
    if not named:
        return None
    path = f"{file.path[: len(file.path) - len(file.name)]}{named[1]}{named[2]}.index.json"
    if size_of(file.root, path) is None:
        return None
    try:
        return path if file.name in shards(File(file.root, path)) else None
    except ReadError:  # told by the reader of the index; the shard then stands for itself
        return None


def shards(index: File) -> dict[str, list[str]]:
    """The names of the tensors by the name of the file that holds them.

    Raises:
        ReadError: no index of a checkpoint.
    """
    if index.size > INDEX_LIMIT:
        raise ReadError(f"an index of {index.size:,} bytes, more than the {INDEX_LIMIT:,} that are read")
    document: object = decoded(index.data, "the index")
    mapping = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(mapping, dict):
        raise ReadError("no object `weight_map`, which an index of a checkpoint has")
    found: dict[str, list[str]] = {}
    for name, shard in mapping.items():
        if not isinstance(shard, str) or not shard or "/" in shard or "\\" in shard or shard in (".", ".."):
            raise ReadError(f"`weight_map` gives {str(shard)[:40]!r} for {shown(name)}, which is no file beside it")
        found.setdefault(shard, []).append(name)
    return found


def merged(index: File, wanted: dict[str, list[str]]) -> tuple[Checkpoint, list[str]]:
    """One checkpoint of all files of an index, and what is missing of it."""
    folder = index.path[: len(index.path) - len(index.name)]
    tensors: list[Tensor] = []
    missing, broken, lost, extra = [], [], [], []
    metadata: dict[str, Scalar | tuple[Scalar, ...]] = {}
    kind, calls = "safetensors", set[str]()
    for shard, names in wanted.items():
        file = File(index.root, folder + shard)
        if size_of(index.root, file.path) is None:
            missing.append(shard)
            continue
        try:
            found, trouble = _read(file)
        except ReadError as error:
            broken.append(f"{shard}: {error.reason}")
            continue
        if trouble:
            broken.append(f"{shard}: {trouble}")
        kind = found.format
        calls.update(found.calls)
        metadata |= found.metadata
        held = found.by_name
        lost += [f"{name} in {shard}" for name in names if name not in held]
        known = set(names)
        extra += [f"{name} in {shard}" for name in held if name not in known]
        tensors += [replace(t, path=file.path) for t in found.tensors]
    troubles = [
        f"{len(found):,} {what}: {listed(found)}"
        for found, what in (
            (missing, f"of {len(wanted):,} files of the checkpoint are missing"),
            (broken, f"of {len(wanted):,} files of the checkpoint are damaged"),
            (lost, "tensors of the index are not in their file"),
            (extra, "tensors are not in the index"),
        )
        if found
    ]
    return Checkpoint(kind, tuple(tensors), index.at(), metadata, tuple(sorted(calls))), troubles


def _read(file: File) -> tuple[Checkpoint, str]:
    if file.name.endswith(".safetensors"):
        from mldiag.readers._weights import safetensors as _safetensors

        return _safetensors.read(file)
    from mldiag.readers._weights import pytorch as _pytorch

    found, _, trouble = _pytorch.read(file)
    return found, trouble
