"""Vocabularies of one token a line."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader

LONGEST = 1_000
"""Bytes of a token; a file of longer lines is no vocabulary."""


def _is_vocabulary(file: File) -> bool:
    head = file.head
    return b"\0" not in head and all(len(line) <= LONGEST for line in head.split(b"\n"))


@reader("vocab.txt", "*_vocab.txt", "*-vocab.txt", "vocabulary.txt", "*.vocab", matches=_is_vocabulary, priority=50)
def vocab_text(file: File) -> Iterator[Artifact]:
    """Vocabularies of one token a line: BERT's `vocab.txt`, SentencePiece's `.vocab` (tokens with scores), word lists.

    The id is the number of the line, from 0; the size is the number of lines. Tokens that begin with `##` show a
    WordPiece vocabulary. Beside a `tokenizer.json`, or a SentencePiece model of the same name, the file repeats what
    that one says, and is passed over.
    """
    from mldiag.readers._tokens.vocabularies import CONVENTIONS, beside, special_of
    from mldiag.tokens import Tokenizer

    if beside(file, "tokenizer.json") or beside(file, f"{file.name.rpartition('.')[0]}.model"):
        return
    ids: dict[str, int] = {}
    size = scored = pieces = 0
    for block in file.blocks():
        for line in block.data.split(b"\n")[: -1 if block.data.endswith(b"\n") else None]:
            token, tab, rest = line.rstrip(b"\r").partition(b"\t")
            scored += bool(tab) and rest.replace(b".", b"").lstrip(b"-").isdigit()
            pieces += token.startswith(b"##")
            text = token.decode("utf-8", "replace") if len(token) < 40 else ""
            if text in CONVENTIONS:
                ids.setdefault(text, size)
            size += 1
    if not size:
        raise ReadError("the file is empty")
    kind = "wordpiece" if pieces else "sentencepiece" if scored > size / 2 else "vocab"
    yield Tokenizer(file.at(), kind, size, size - 1, special_of(file, ids.get))
