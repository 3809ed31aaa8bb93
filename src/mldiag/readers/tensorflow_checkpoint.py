"""Checkpoints of TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader

_MAGIC = bytes.fromhex("57fb808b247547db")


def _is_index(file: File) -> bool:
    if file.size < 48:
        return False
    with file.open() as stream:
        stream.seek(file.size - 8)
        return stream.read(8) == _MAGIC


@reader("*.index", matches=_is_index, priority=50, post=True)
def tensorflow_checkpoint(file: File) -> Iterator[Artifact]:
    """Checkpoints of TensorFlow (`variables.index`, `model.ckpt-1000.index`): names, shapes and types from the index.

    Each tensor knows the data file and the place its values lie at. The index is a table in LevelDB's format; its
    blocks may be compressed by Snappy, and their checksums are checked. Slots of optimizers and the text of the object
    graph are tensors like any other. A data file that is missing or too short is named.
    """
    from mldiag.readers._weights.tensorflow_index import read

    yield from read(file)
