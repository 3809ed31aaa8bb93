"""The tokens of a vocabulary with their ids, for comparing two of one size; the readers keep only their number."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._tokens.vocabularies import content

SIZE_LIMIT = 64 * 2**20


def ids_of(file: File) -> Mapping[str, int] | None:
    """Ids by token; None where the format does not tell them in a way that compares with others."""
    try:
        name = file.name.lower()
        if name.endswith(".pkl"):
            return _pickled(file)
        if name.endswith(".json"):
            return _written(file)
        if name.endswith((".txt", ".vocab")):
            lines = content(file, SIZE_LIMIT).decode(errors="replace").splitlines()
            return {line.partition("\t")[0]: number for number, line in enumerate(lines)}
    except (ReadError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return None


def _pickled(file: File) -> Mapping[str, int] | None:
    from mldiag.readers._tokens.meta_pickle import mapping
    from mldiag.readers._weights.pickle_opcodes import Pairs

    found = mapping(file)
    stoi, itos = found.get("stoi"), found.get("itos")
    if isinstance(stoi, Pairs):
        return {k: v for k, v in stoi.pairs if isinstance(k, str) and type(v) is int}
    if isinstance(itos, Pairs):
        return {v: k for k, v in itos.pairs if isinstance(v, str) and type(k) is int}
    return None


def _written(file: File) -> Mapping[str, int] | None:
    from mldiag.readers._tokens.vocab_json import ids_in

    document: object = msgspec.json.decode(content(file, SIZE_LIMIT))
    model = document.get("model") if isinstance(document, dict) else None
    return ids_in(model if isinstance(model, dict) else document)
