"""The parts of `tokenizer.json` that say which ids there are.

Source: https://github.com/huggingface/tokenizers, `tokenizers/src/tokenizer/serialization.rs` and `models/*`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct, field

from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._tokens.vocabularies import content, special_of
from mldiag.tokens import Tokenizer

SIZE_LIMIT = 128 * 2**20
"""The largest in use, of vocabularies of 262,144 tokens, have about 35 MB."""

_KINDS = {"BPE": "bpe", "WordPiece": "wordpiece", "Unigram": "unigram", "WordLevel": "wordlevel"}


class _Model(Struct):
    # A Unigram model lists its pieces with their scores: the id is the place in the list.
    vocab: dict[str, int] | list[tuple[str, float]] = field(default_factory=dict)
    type: str | None = None
    unk_token: str | None = None
    unk_id: int | None = None
    continuing_subword_prefix: str | None = None
    merges: msgspec.Raw = msgspec.Raw()


class _Added(Struct):
    id: int
    content: str
    special: bool = False


class _Padding(Struct):
    pad_id: int | None = None


class _Document(Struct):
    model: _Model | None = None
    normalizer: Any = None
    added_tokens: list[_Added] | None = None
    padding: _Padding | None = None
    config: Any = None
    class_name: str | None = None


def read(file: File) -> Tokenizer:
    """What a file says of its vocabulary.

    Raises:
        ReadError: no such file, or a damaged one.
    """
    try:
        document = msgspec.json.decode(content(file, SIZE_LIMIT), type=_Document)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ReadError(f"no `tokenizer.json` as the tokenizers library writes it: {error}") from error
    model = document.model
    if model is None:
        return _keras(file, document)
    added = document.added_tokens or []
    if isinstance(model.vocab, dict):
        ids = model.vocab
    else:
        ids = {piece: number for number, (piece, _) in enumerate(model.vocab)}
    # Two pieces of one text are one entry of the mapping, but two ids of a Unigram model.
    numbers = set(ids.values()) if isinstance(model.vocab, dict) else set(range(len(model.vocab)))
    numbers.update(a.id for a in added)
    if not numbers:
        raise ReadError("a tokenizer without tokens")
    named = {a.content: a.id for a in added}
    special = special_of(file, lambda token: named.get(token, ids.get(token)), [a.content for a in added if a.special])
    if model.unk_token is not None and (unknown := named.get(model.unk_token, ids.get(model.unk_token))) is not None:
        special.setdefault("unk", unknown)
    if model.unk_id is not None:
        special.setdefault("unk", model.unk_id)
    if document.padding is not None and document.padding.pad_id is not None:
        special.setdefault("pad", document.padding.pad_id)
    normalizers = tuple(_normalizers(document.normalizer))
    return Tokenizer(file.at(), _kind(model), len(numbers), max(numbers), dict(sorted(special.items())), normalizers)


def _normalizers(found: object) -> Iterator[str]:
    """The names of the steps, those of a sequence one by one; what `BertNormalizer` does by its two switches."""
    if not isinstance(found, dict):
        return
    name = found.get("type")
    if name == "Sequence":
        steps = found.get("normalizers")
        for step in steps if isinstance(steps, list) else ():
            yield from _normalizers(step)
    elif name == "BertNormalizer":
        lower = found.get("lowercase", True) is not False
        # Without a word of its own, accents go where case goes.
        accents = lower if found.get("strip_accents") is None else found["strip_accents"]
        yield from (step for step, does in (("Lowercase", lower), ("StripAccents", accents)) if does)
    elif isinstance(name, str):
        yield name


def _kind(model: _Model) -> str:
    """The model's kind; older files do not say it, but each kind has a member of its own."""
    if model.type in _KINDS:
        return _KINDS[model.type]
    if isinstance(model.vocab, list):
        return "unigram"
    if model.merges:
        return "bpe"
    return "wordpiece" if model.continuing_subword_prefix is not None else "wordlevel"


def _keras(file: File, document: _Document) -> Tokenizer:
    """Keras' `Tokenizer.to_json`: the index is a JSON document inside the document; its ids begin with 1."""
    config = document.config
    index = config.get("word_index") if isinstance(config, dict) else None
    try:
        words: object = msgspec.json.decode(index) if isinstance(index, str) else index
    except msgspec.MsgspecError as error:
        raise ReadError(f"`word_index` is no JSON: {error}") from error
    numbers = {v for v in words.values() if type(v) is int} if isinstance(words, dict) else set()
    if not numbers:
        raise ReadError("neither a `model` with a `vocab`, as tokenizers have, nor Keras' `word_index`")
    return Tokenizer(file.at(), "wordlevel", len(numbers), max(numbers))
