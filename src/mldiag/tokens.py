"""What a language model was fed with: files of token ids, and the vocabulary they are ids of."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from mldiag.artifacts import Collection, Source


class TokenFile(Struct, frozen=True):
    """A file of token ids, described without reading them all.

    Attributes:
        dtype: `uint16`, `uint32` or `int32`, little endian unless it says otherwise (`>u2`).
        count: ids in the file.
        offset: bytes before the first id.
        header: what says how it is written: `llm.c`, `numpy`, a sidecar's name, or empty where nothing does and the
            type follows from the ids themselves.
        largest_seen: the largest id among those that were looked at to tell the type; `seen`: how many those are.
        split: `train`, `val` or `test` by the name of the file.
    """

    source: Source
    dtype: str
    count: int
    offset: int = 0
    header: str = ""
    largest_seen: int | None = None
    seen: int = 0
    split: str | None = None


class TokenFiles(Collection, frozen=True):
    """The token files of a run."""

    of = TokenFile
    called = "token files"

    items: tuple[TokenFile, ...] = ()


class Tokenizer(Struct, frozen=True):
    """A vocabulary.

    Attributes:
        kind: `bpe`, `wordpiece`, `unigram`, `wordlevel`, `sentencepiece` or `vocab`.
        size: tokens, the added ones included.
        largest_id: the largest id that is given out; None where the file numbers nothing.
        special: special tokens by what they stand for (`pad`, `eos`, `unk`) with their ids, where the file says.
    """

    source: Source
    kind: str
    size: int
    largest_id: int | None = None
    special: Mapping[str, int] = field(default_factory=dict)


class Tokenizers(Collection, frozen=True):
    """The vocabularies of a run."""

    of = Tokenizer
    called = "tokenizers"

    items: tuple[Tokenizer, ...] = ()
