"""`tokenizer.json`."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


@reader("tokenizer.json", "*_tokenizer.json", "*-tokenizer.json", matches=lambda f: b'"' in f.head, priority=50)
def tokenizer_json(file: File) -> Iterator[Artifact]:
    """`tokenizer.json` of Hugging Face's tokenizers: kind, number of tokens with the added ones, largest id.

    The size counts ids, each once: an added token that is in the vocabulary already counts once, and a gap between the
    vocabulary and the added tokens does not count. What a special token stands for is said by the padding and the
    model in the file, by `tokenizer_config.json` and `special_tokens_map.json` beside it, else by the way it is
    written (`[PAD]`, `</s>`). Keras' `tokenizer.json` (`word_index`) is read too. Merges and scores are passed over.
    """
    from mldiag.readers._tokens.tokenizer_json import read

    yield read(file)
