"""Keras' files around HDF5: what a model was compiled with, and the archive of `.keras`."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mldiag.artifacts import Artifact, Role, Scalar, SettingValue
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._configs.settings import flattened
from mldiag.readers._weights.binary import listed, window
from mldiag.readers._weights.hdf5 import Hdf5
from mldiag.readers._weights.zip import STORED, Archive

WEIGHTS_LIMIT = 512 * 2**20
"""Bytes of weights that are unpacked where the archive compresses them; Keras itself does not."""
JSON_LIMIT = 64 * 2**20
MAX_TEXT = 1_000


def read(file: File) -> Iterator[Artifact]:
    """What a file holds, then what is wrong with it."""
    with window(file) as whole:
        if file.head.startswith(b"PK\x03\x04"):
            archive = Archive(whole)
            documents = {n: _json(archive, n) for n in ("metadata.json", "config.json")}
            member = archive.members.get("model.weights.h5")
            if member is None:
                raise ReadError(f"an archive without `model.weights.h5`; it has {listed(list(archive.members))}")
            if member.method != STORED:
                raise ReadError(f"{member.name} is compressed, which Keras does not do: it is not read")
            tree = Hdf5(archive.part(member))
            kind, notes = "keras", _short(documents["metadata.json"])
            compiled: Any = documents["config.json"].get("compile_config")
        else:
            tree = Hdf5(whole)
            kind = "hdf5"
            notes = _short({k: v for k, v in tree.attributes.items() if not k.endswith("_config")})
            compiled = _decoded(tree.attributes.get("training_config"))
        tensors = [
            Tensor(d.name, d.shape, d.dtype, d.offset, d.size if d.offset is not None else None) for d in tree.datasets
        ]
    yield Checkpoint(kind, tuple(tensors), file.at(), notes)
    yield from _settings(file, compiled)
    if tree.troubles:
        raise ReadError(listed(tree.troubles), partial=True)


def _json(archive: Archive, name: str) -> Mapping[str, Any]:
    member = archive.members.get(name)
    if member is None:
        return {}
    found = _decoded(archive.read(member, JSON_LIMIT))
    return found if isinstance(found, dict) else {}


def _decoded(text: object) -> Any:
    try:
        return msgspec.json.decode(text) if isinstance(text, str | bytes) else None
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _short(document: Mapping[str, Any]) -> dict[str, Scalar | tuple[Scalar, ...]]:
    return {k: v for k, v in document.items() if isinstance(v, bool | int | float | str) and len(str(v)) <= MAX_TEXT}


def _settings(file: File, compiled: Any) -> Iterator[SettingValue]:
    """How the model was compiled: Keras 2 has `optimizer_config`, Keras 3 `optimizer`, each with a `config`."""
    if not isinstance(compiled, dict):
        return
    optimizer = compiled.get("optimizer_config", compiled.get("optimizer"))
    if isinstance(optimizer, dict):
        name = optimizer.get("class_name")
        if isinstance(name, str):
            yield _setting(file, "optimizer", name.rpartition(">")[2])
        config = optimizer.get("config")
        for path, value in flattened(config) if isinstance(config, dict) else ():
            # A schedule of the rate is an object with settings of its own, below `learning_rate.config`.
            if value is not None and path[-1] not in ("name", "class_name", "module", "registered_name"):
                yield _setting(file, ".".join(("optimizer", *path)), _shortest(value))
    loss = compiled.get("loss")
    if isinstance(loss, str):
        yield _setting(file, "loss", loss)


def _shortest(value: Scalar | tuple[Scalar, ...]) -> Scalar | tuple[Scalar, ...]:
    """Keras 3 writes the 32 bits of a rate as 64: 0.0010000000474974513 is the 0.001 that was asked for."""
    if not isinstance(value, float) or not 1e-30 < abs(value) < 1e30:
        return value
    stored = struct.pack("<f", value)
    if struct.unpack("<f", stored)[0] != value:
        return value
    rounded = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((r for r in rounded if struct.pack("<f", r) == stored), value)


def _setting(file: File, key: str, value: Scalar | tuple[Scalar, ...]) -> SettingValue:
    return SettingValue(key, value, Role.CHECKPOINT, file.at(key=key), record=True)
