"""What a language model was fed with: text, files of token ids, and the vocabulary they are ids of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

from mldiag.artifacts import Collection, Source
from mldiag.errors import ReadError

if TYPE_CHECKING:
    from mldiag.files import File


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
        stated: ids that the header, the index or the description beside the file says there are; None where none does.
        stated_at: where it says so; None for the file's own header.
        size: bytes of the file; 0 where they are not known. `stated_size`: what the description beside it says.
        checksum: algorithm and hexadecimal digest that the description gives, else None.
        tokenizer: what the description says the ids were made with, a name or a path; empty where it does not say.
    """

    source: Source
    dtype: str
    count: int
    offset: int = 0
    header: str = ""
    largest_seen: int | None = None
    seen: int = 0
    split: str | None = None
    stated: int | None = None
    stated_at: Source | None = None
    size: int = 0
    stated_size: int | None = None
    checksum: tuple[str, str] | None = None
    tokenizer: str = ""

    @property
    def width(self) -> int:
        """Bytes of an id."""
        digits = "".join(c for c in self.dtype if c.isdigit())
        return int(digits) // 8 if "int" in self.dtype else int(digits)


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
        normalizers: what the text goes through before it is cut into tokens, by the names of the tokenizers library
            (`Lowercase`, `StripAccents`, `NFD`); empty where the file says none.
    """

    source: Source
    kind: str
    size: int
    largest_id: int | None = None
    special: Mapping[str, int] = field(default_factory=dict)
    normalizers: tuple[str, ...] = ()


class Tokenizers(Collection, frozen=True):
    """The vocabularies of a run."""

    of = Tokenizer
    called = "tokenizers"

    items: tuple[Tokenizer, ...] = ()


class TrainingText(Struct, frozen=True):
    """A file of text that a model was trained on. The text stays on disk and goes by in pieces.

    Attributes:
        size: bytes of the file.
        file: what gives the text.
        rows: the file is JSON lines, of which the strings are the text.
    """

    source: Source
    size: int
    file: File
    rows: bool = False

    def pieces(self) -> Iterator[tuple[int, str]]:
        """The text in pieces of about a megabyte that end with a line, each with the number of its first line.

        A file that has become unreadable meanwhile ends early.
        """
        try:
            for block in self.file.blocks():
                text = block.data.decode("utf-8", "replace")
                yield block.line, _strings(text) if self.rows else text
        except ReadError:
            return


def _strings(lines: str) -> str:
    """The longer strings of JSON lines; the short ones are names and labels."""
    import json

    found: list[str] = []
    for line in lines.split("\n"):
        try:
            row = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            found += [v for v in row.values() if isinstance(v, str) and len(v) >= 40]
    return "\n".join(found)


class TrainingTexts(Collection, frozen=True):
    """The training texts of a run."""

    of = TrainingText
    called = "training text among the run's files"

    items: tuple[TrainingText, ...] = ()
