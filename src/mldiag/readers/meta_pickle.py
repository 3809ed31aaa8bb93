"""nanoGPT's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader


@reader("meta.pkl", matches=lambda file: file.head[:1] == b"\x80", priority=10)
def meta_pickle(file: File) -> Iterator[Artifact]:
    """`meta.pkl`, which nanoGPT writes beside the tokens of a data set: how many tokens its vocabulary has.

    The pickle is not loaded: its opcodes are followed by a machine that builds dictionaries and numbers only. The
    size is `vocab_size`, else that of the tables `stoi` and `itos`; the largest id is that of `stoi`.
    """
    from mldiag.readers._tokens.meta_pickle import mapping, vocabulary_size
    from mldiag.readers._weights.pickle_opcodes import Pairs
    from mldiag.tokens import Tokenizer

    found = mapping(file)
    size = vocabulary_size(file)
    if size is None:
        raise ReadError("no `vocab_size`, `stoi` or `itos` in the dictionary")
    stoi = found.get("stoi")
    ids = [v for _, v in stoi.pairs if type(v) is int] if isinstance(stoi, Pairs) else []
    yield Tokenizer(file.at(), "vocab", size, max(ids, default=None))
