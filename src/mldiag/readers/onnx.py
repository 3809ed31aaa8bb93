"""ONNX."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


@reader("*.onnx", priority=50, post=True)
def onnx(file: File) -> Iterator[Artifact]:
    """Models in the ONNX format: the initializers of the graph, by name, shape and type.

    The message is walked through without reading the numbers in it, so a model of gigabytes costs no more than a small
    one. Where numbers lie in files of their own, the tensor says which; one that is missing is named. Producer, version
    and the properties of the model are metadata. Constants within nodes and subgraphs are no weights and are left out.
    """
    from mldiag.readers._weights.onnx import read

    yield from read(file)
