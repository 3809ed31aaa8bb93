"""Indexes of checkpoints in several files."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader


@reader("*.safetensors.index.json", "*.bin.index.json", priority=60, post=True)
def checkpoint_index(file: File) -> Iterator[Artifact]:
    """Checkpoints in several files, by the index that Hugging Face writes beside them (`model.safetensors.index.json`).

    The files are told as one checkpoint with the names of the index; each tensor knows which file it lies in. A file
    that is missing or cannot be read, a tensor that the index promises and its file lacks, and one that a file has and
    the index does not know, are named; the others are kept.
    """
    from mldiag.readers._weights.shards import merged, shards

    listed = shards(file)
    checkpoint, troubles = merged(file, listed)
    yield checkpoint
    if troubles:
        raise ReadError("; ".join(troubles), partial=True)
