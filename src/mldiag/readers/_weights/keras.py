"""Keras' files around HDF5: what a model was compiled with, and the archive of `.keras`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from mldiag.artifacts import Artifact, Role, Scalar, SettingValue
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._configs.settings import flattened
from mldiag.readers._weights.binary import decoded, listed, window
from mldiag.readers._weights.hdf5 import Hdf5
from mldiag.readers._weights.zip import STORED, Archive

JSON_LIMIT = 64 * 2**20
MAX_VALUES = 200_000
"""Values and separators of what is decoded of a configuration; an optimizer has some dozen."""
MAX_TEXT = 1_000


class _Config(msgspec.Struct):
    compile_config: msgspec.Raw = msgspec.Raw(b"null")


def read(file: File) -> Iterator[Artifact]:
    """What a file holds, then what is wrong with it."""
    with window(file) as whole:
        if file.head.startswith(b"PK\x03\x04"):
            archive = Archive(whole)
            member = archive.members.get("model.weights.h5")
            if member is None:
                raise ReadError(f"an archive without `model.weights.h5`; it has {listed(list(archive.members))}")
            if member.method != STORED:
                raise ReadError(f"{member.name} is compressed, which Keras does not do: it is not read")
            tree = Hdf5(archive.part(member))
            kind, notes = "keras", _short(_decoded(_document(archive, "metadata.json")))
            compiled = _compiled(_document(archive, "config.json"))
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


def _document(archive: Archive, name: str) -> bytes:
    member = archive.members.get(name)
    return b"" if member is None else archive.read(member, JSON_LIMIT)


def _compiled(config: bytes) -> Any:
    """How the model was compiled; its layers, which may be as many as the file is large, are passed over."""
    try:
        return _decoded(bytes(msgspec.json.decode(config, type=_Config).compile_config))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _decoded(text: object) -> Any:
    if not isinstance(text, str | bytes):
        return None
    try:
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        return decoded(data, "the configuration", MAX_VALUES)
    except ReadError:
        return None


def _short(document: Any) -> dict[str, Scalar | tuple[Scalar, ...]]:
    found = document.items() if isinstance(document, dict) else ()
    return {k: v for k, v in found if isinstance(v, bool | int | float | str) and len(str(v)) <= MAX_TEXT}


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
