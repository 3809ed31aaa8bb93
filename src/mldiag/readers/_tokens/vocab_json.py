"""Tokens and ids of a vocabulary in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._tokens.vocabularies import beside, content, special_of
from mldiag.tokens import Tokenizer

SIZE_LIMIT = 64 * 2**20
"""GPT-2's has 1 MB; a word list of two million entries about 40 MB."""

_BELOW = frozenset({
    "vocab", "vocabulary", "stoi", "itos", "token_to_id", "token2id", "id_to_token", "id2token", "char_to_id",
    "char_to_idx", "char2id", "char2idx", "id_to_char", "idx_to_char", "idx2char", "word_index", "word2idx", "word2id",
    "word_to_idx", "word_to_id", "idx_to_word", "idx2word", "tokens", "chars", "encoder", "char_to_int", "ch2id",
    "int_to_char",
})  # fmt: skip


def is_vocabulary(file: File) -> bool:
    """Whether the file is a vocabulary by its content; a broken one named `vocab.json` is one too."""
    try:
        return ids_in(_document(file)) is not None
    except ReadError:
        return file.name.lower() == "vocab.json"


def read(file: File) -> Tokenizer:
    """What a file says of its vocabulary."""
    ids = ids_in(_document(file))
    if ids is None:
        raise ReadError("neither a map between tokens and ids nor a list of tokens")
    numbers = set(ids.values())
    added = beside(file, "added_tokens.json")
    if added is not None:
        try:
            found = _document(added)
        except ReadError:  # a part that is damaged leaves the vocabulary itself as it is
            found = None
        pairs = found.items() if isinstance(found, dict) else ()
        more = {token: number for token, number in pairs if type(number) is int and number >= 0}
        numbers.update(more.values())
        ids = {**ids, **more}
    kind = "bpe" if beside(file, "merges.txt") else "vocab"
    return Tokenizer(file.at(), kind, len(numbers), max(numbers), special_of(file, ids.get))


def _document(file: File) -> Any:
    try:
        return msgspec.json.decode(content(file, SIZE_LIMIT))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ReadError(f"not valid JSON: {error}") from error


def ids_in(document: object) -> dict[str, int] | None:
    """Ids by token; of a list, the places in it."""
    if isinstance(document, list):
        tokens = all(isinstance(t, str) for t in document)
        return {t: n for n, t in enumerate(document)} if document and tokens else None
    if not isinstance(document, dict) or not document:
        return None
    # An id is a whole number; that a value is True or 1.0 says that it is something else.
    if all(type(v) is int and v >= 0 for v in document.values()):
        return _enough(document)
    if all(k.isdecimal() and len(k) < 10 and isinstance(v, str) for k, v in document.items()):
        return {v: int(k) for k, v in document.items()}
    for key, inner in document.items():
        if key.lower() in _BELOW and isinstance(inner, dict | list) and (found := ids_in(inner)) is not None:
            return found
    return None


def _enough(document: Mapping[str, int]) -> dict[str, int] | None:
    """Settings are names with numbers too (`{"vocab_size": 65, "seed": 1}`); ids are different and close together."""
    numbers = set(document.values())
    dense = len(numbers) == len(document) and max(numbers) < 2 * len(document) + 16
    return dict(document) if len(document) > 1 and dense else None
