"""safetensors."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader


@reader("*.safetensors", priority=50, post=True)
def safetensors(file: File) -> Iterator[Artifact]:
    """Checkpoints in the safetensors format: names, shapes and types from the header, with the texts of `__metadata__`.

    Of a file of any size only the header is read, up to the 100 MB that the safetensors library allows. A shard that
    an index beside it lists (`model.safetensors.index.json`) is told with that index, not twice. Tensors that overlap,
    reach beyond the file, or whose bytes do not fit their shape are an error; the others are kept. So is a file that is
    shorter or longer than its header says.
    """
    from mldiag.readers._weights.shards import index_of

    if index_of(file):
        return
    from mldiag.readers._weights.safetensors import read

    found, trouble = read(file)
    yield found
    if trouble:
        raise ReadError(trouble, partial=True)
