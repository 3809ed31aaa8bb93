"""Models of SentencePiece."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


def _is_model(file: File) -> bool:
    # Every model begins with its first piece: field 1 of the message, itself a message that begins with its text.
    head = file.head
    return len(head) > 4 and head[0] == 0x0A and 0 < head[1] < 0x80 and head[2] == 0x0A and head[3] < head[1]


@reader("*.model", "*.spm", matches=_is_model, priority=20)
def sentencepiece(file: File) -> Iterator[Artifact]:
    """SentencePiece models (`tokenizer.model`, `spiece.model`, `*.spm`): the number of pieces and the ids of the
    special ones.

    The pieces are counted; what the trainer was asked for (`vocab_size`) may differ and is not used. Beside a
    `tokenizer.json` the model repeats what that one says, and is passed over.
    """
    from mldiag.readers._tokens.sentencepiece import read
    from mldiag.readers._tokens.vocabularies import beside

    if beside(file, "tokenizer.json"):
        return
    yield read(file)
