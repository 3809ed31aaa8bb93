"""Files of token ids."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


def _is_tokens(file: File) -> bool:
    if not file.head:
        return False
    from mldiag.readers._tokens.token_ids import described

    return described(file) is not None


@reader("*.bin", "*.tokens", "*.npy", "*.u16", "*.u32", "*.uint16", "*.uint32", matches=_is_tokens, priority=55)
def token_ids(file: File) -> Iterator[Artifact]:
    """Token ids of a language model's data, one number after another: type, count and the largest id that was seen.

    How they are written is told, in this order, by the header of llm.c and modded-nanogpt (256 numbers; 16 bits an
    id, or 32 with the magic number of Llama 3's), by the index of Megatron or fairseq beside the file (`.idx`), by a
    JSON sidecar with a `dtype` (`train.json`, `meta.json`), by the file's ending, else by the ids themselves: of 32
    bits where every second half is zero or nearly so, of 16 bits where both halves are alike and few ids make up much
    of the whole, as in any text. What looks otherwise (weights, pictures, sound, compressed data), or is named for
    something else (`labels.bin`), is not taken. A file of a split whose size no whole ids have is taken where its
    numbers are ids and the file of another split (`val.bin`) or nanoGPT's `meta.pkl` beside it says the same.
    Ids are looked at at the start, in the middle and at the end only.
    An array of NumPy (`.npy`) is taken where it has one dimension, whole numbers, and the name of tokens (`train.npy`,
    `tokens.npy`, `edu_fineweb_val_000000.npy`). A count in a header or index that the file's size contradicts is told.
    A JSON file beside it (`train.json`, `meta.json`, `manifest.json`) may add how many ids and bytes there should be, a
    checksum, and the tokenizer they were made with.
    """
    from mldiag.readers._tokens.token_ids import read

    yield from read(file)
