"""Arrays of NumPy."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


@reader("*.npy", "*.npz", priority=10, post=True)
def numpy_arrays(file: File) -> Iterator[Artifact]:
    """Arrays of NumPy (`.npy`, `.npz`): shape and type from the header of each; values are not read.

    Arrays of Python objects are listed as `object` and not unpickled, records of several fields as `structured`. Types
    of the other byte order keep NumPy's spelling (`>f4`). An array whose bytes are not all there is named.
    """
    from mldiag.readers._weights.numpy_headers import read

    yield from read(file)
