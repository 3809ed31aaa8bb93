"""GGUF."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


@reader("*.gguf", "*.ggml", "*.bin", matches=lambda file: file.head.startswith(b"GGUF"), priority=60, post=True)
def gguf(file: File) -> Iterator[Artifact]:
    """Models of llama.cpp in the GGUF format, versions 1 to 3: names, shapes and types of the tensors, and the
    scalars of the metadata; the vocabulary in it is a tokenizer.

    Shapes are turned around to the order of PyTorch, rows first. Blocks of quantised numbers keep the format's name
    (`q8_0`, `q4_k`). Arrays in the metadata (tokens, scores, merges) are counted, not kept. A tensor that reaches
    beyond the file is named.
    """
    from mldiag.readers._weights.gguf import read

    yield from read(file)
