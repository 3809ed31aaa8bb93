"""HDF5 and Keras."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


def _is_hdf5(file: File) -> bool:
    if file.name.lower().endswith(".keras"):
        return True
    # The superblock may stand behind a block of the user's own, at 512 bytes or twice that and so on.
    head = file.head
    return any(head.startswith(b"\x89HDF\r\n\x1a\n", at) for at in (0, 512, 1024, 2048, 4096))


@reader("*.h5", "*.hdf5", "*.hdf", "*.keras", matches=_is_hdf5, priority=50, post=True)
def hdf5(file: File) -> Iterator[Artifact]:
    """Weights in HDF5 (`.h5`, `.weights.h5`) and Keras' `.keras`: every dataset with its path, shape and type.

    Groups of the old layout, which Keras and h5py write, and of the new one are followed; hard links only, each object
    once. Attributes of the root and Keras' `metadata.json` are metadata; how the model was compiled (optimizer,
    learning rate, loss) are settings that the checkpoint states. Values are not read; of chunked or compressed datasets
    no place is known. What the file keeps in a way that is not understood, and what lies behind its end, is named.
    """
    from mldiag.readers._weights.keras import read

    yield from read(file)
