"""Vocabularies in JSON."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader

_PARTS = ("merges.txt", "added_tokens.json")


def _is_vocabulary(file: File) -> bool:
    if file.name.lower() in _PARTS:
        return b"\0" not in file.head
    from mldiag.readers._tokens.vocab_json import is_vocabulary

    return is_vocabulary(file)


@reader(
    "*vocab*.json", "*stoi*.json", "*itos*.json", "*2id*.json", "*2idx*.json", "*_to_id*.json", "*_to_idx*.json",
    "*word_index*.json", "*char_map*.json", *_PARTS,
    matches=_is_vocabulary, priority=50,
)  # fmt: skip
def vocab_json(file: File) -> Iterator[Artifact]:
    """Vocabularies in JSON: a map from tokens to ids or from ids to tokens, or a list of tokens, also below a key such
    as `stoi`, `itos` or `vocab`.

    `vocab.json` with `merges.txt` beside it is the byte-pair encoding of GPT-2 and its kin; tokens of an
    `added_tokens.json` count too. Beside a `tokenizer.json` these files repeat what that one says, and are passed over.
    The size counts ids, each once.
    """
    from mldiag.readers._tokens.vocab_json import read
    from mldiag.readers._tokens.vocabularies import beside

    if file.name.lower() in _PARTS or beside(file, "tokenizer.json"):
        return
    yield read(file)
