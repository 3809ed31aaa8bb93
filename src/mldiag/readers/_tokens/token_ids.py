"""How a file of token ids is written: by its header, by a file beside it, else by the ids themselves.

Sources: llm.c, `dev/data/data_common.py` (`write_datafile`); Megatron-LM, `megatron/core/datasets/indexed_dataset.py`;
fairseq, `fairseq/data/indexed_dataset.py`; nanoGPT, `data/*/prepare.py`.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from mldiag.artifacts import Artifact, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers._tokens.descriptions import with_description
from mldiag.readers._weights import numpy_headers as _numpy_headers
from mldiag.readers._weights.binary import Window, window
from mldiag.tokens import TokenFile
from mldiag.vocabulary import split_of

LLMC = {20240520: ("uint16", 1), 20240801: ("uint32", 7)}
"""Magic numbers of llm.c's data files, with type and version: those of GPT-2's and of Llama 3's tokens."""
LLMC_HEADER = 1024
LLMC_OTHERS = frozenset({20240326, 20240327, 20240522, 20240527})
"""Its weights, its states for debugging, its evaluation sets, its optimizer states: headers with no stream of ids."""

MMIDIDX = b"MMIDIDX\x00\x00"
INDEX_TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16", 9: "uint32", 10: "uint64"}
"""Codes of Megatron and fairseq; those between are floating point, which token ids are not."""

SAMPLE = 2**14
"""Bytes that are looked at in each of three places; 24,000 ids of 16 bits in all."""
FEWEST = 64
"""Ids below which nothing can be told from them."""
LARGEST = 2**20
"""Ids a vocabulary can have: the largest in use have 262,144."""

FREQUENT, FREQUENT_SHARE = 100, 0.25
"""Text repeats itself: the hundred most frequent tokens make up half of English, in any vocabulary (Zipf's law: 45 % of
50,257). Of weights in half precision they make up 3 %, of weights in bfloat16 up to 20 %, of noise less than 1 %."""
SMALL, SMALL_SHARE = 2**13, 0.05
"""Weights in bfloat16 and half precision have no values that would be small ids."""
HIGH = 15 * 2**12
"""Sound and other signed numbers have as many values just below 2**16 as just above zero."""
BYTES_APART, HALVES_APART, NOISE = 0.15, 0.15, 5.0
"""Distance between two distributions of bytes (half the sum of the differences) from which they are not the same; by
chance alone two samples of n lie up to `NOISE / sqrt(n)` apart. Pictures, text and labels of one byte have the same
distribution in even and odd bytes, ids have not; ids have it in even and odd halves, numbers of 32 bits have not."""

_FOREIGN = (b"PK\x03\x04", b"\x80\x02\x8a", b"GGUF", b"\x89HDF", b"\x1f\x8b")
_TYPES = {"uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "int64": "q",
          "uint64": "Q", "u2": "H", "u4": "I", "i4": "i", "i8": "q"}  # fmt: skip
_ENDINGS = {"u16": "uint16", "uint16": "uint16", "u32": "uint32", "uint32": "uint32"}
_SPLITS = ("train", "val", "valid", "validation", "test", "dev")
_OTHERS = lazily(
    r"(^|[\W_])(labels?|targets?|y|mask|masks|images?|pixels?|weights?|model|params?|embeddings?|emb|features?|optimizer|"
    r"scheduler|rng|state|index|idx|offsets?|lengths?|audio|wav|depth|scores?|batch|points?|args)([\W_]|\d|$)"
)


class Layout(Struct, frozen=True):
    """How ids are written; `trouble` is what the file's size contradicts, `stated` the ids that a header says."""

    dtype: str
    count: int
    offset: int = 0
    header: str = ""
    trouble: str = ""
    stated: int | None = None


def read(file: File) -> Iterator[Artifact]:
    """The description of a file that `described` knows."""
    layout = described(file)
    if layout is None:
        raise ReadError(
            "neither a header, nor a file beside it, nor the numbers themselves show that these are token ids"
        )
    with window(file) as whole:
        largest, seen = _looked_at(whole, layout)
    split = split_of(re.sub(r"[_-]?\d+$", "", file.name.rsplit(".", 1)[0]))
    found = TokenFile(
        file.at(), layout.dtype, layout.count, layout.offset, layout.header, largest, seen,
        split or _folder_split(file), layout.stated, _own(file, layout), file.size,
    )  # fmt: skip
    yield with_description(file, found)
    if layout.trouble:
        raise ReadError(layout.trouble, partial=True)


def described(file: File) -> Layout | None:
    """How the ids of a file are written; None where they are none."""
    if file.head.startswith(_numpy_headers.MAGIC):
        return _array(file)
    if file.head.startswith(_FOREIGN) or int.from_bytes(file.head[:4], "little") in LLMC_OTHERS:
        return None
    return _known(file) or _cut(file)


def _known(file: File) -> Layout | None:
    return _llmc(file) or _indexed(file) or _by_sidecar(file) or _by_ending(file) or _by_ids(file)


def _array(file: File) -> Layout | None:
    found = _numpy_headers.of_tokens(file)
    if found is None or found.item is None:
        return None
    there = max(0, (file.size - found.start) // found.item)
    cut = _numpy_headers.cut(file, found)
    return Layout(found.dtype, min(found.shape[0], there), found.start, "numpy", cut, found.shape[0])


def _llmc(file: File) -> Layout | None:
    if len(file.head) < LLMC_HEADER:
        return None
    magic, version, count = struct.unpack_from("<3i", file.head)
    dtype, expected = LLMC.get(magic, ("", 0))
    # A fourth number or more than the known version would be another layout.
    if not dtype or version != expected or count < 0:
        return None
    item = _size(dtype)
    there = (file.size - LLMC_HEADER) // item
    trouble = "" if there == count else f"the header says {count:,} ids, the file has {there:,}"
    return Layout(dtype, min(count, there), LLMC_HEADER, "llm.c", trouble, count)


def _indexed(file: File) -> Layout | None:
    """By the index of Megatron or fairseq: what type, and how many bytes all documents have together."""
    beside = _beside(file, f"{file.name.rsplit('.', 1)[0]}.idx")
    if beside is None or not beside.head.startswith(MMIDIDX) or len(beside.head) < 34:
        return None
    version, code, sequences, documents = struct.unpack_from("<QBQQ", beside.head, 9)
    dtype = INDEX_TYPES.get(code)
    if version != 1 or dtype is None:
        return None
    fairseq = beside.size == 26 + 12 * sequences
    start = 26 if fairseq else 34
    item = _size(dtype)
    there = file.size // item
    if not fairseq and beside.size < start + 12 * sequences + 8 * documents:
        return Layout(dtype, there, 0, beside.name, f"{beside.name} is cut: it has {beside.size:,} bytes")
    if not sequences:
        return Layout(dtype, there, 0, beside.name)
    with window(beside) as whole:
        last = whole.number(start + 4 * (sequences - 1), 4, "the length of the last sequence")
        at = whole.number(start + 4 * sequences + 8 * (sequences - 1), 8, "the place of the last sequence")
    count = at // item + last
    trouble = "" if count * item == file.size else f"{beside.name} says {count:,} ids, the file has {there:,}"
    return Layout(dtype, min(count, there), 0, beside.name, trouble, count)


def _by_sidecar(file: File) -> Layout | None:
    """By a JSON file beside it that says the `dtype`."""
    stem = file.name.rsplit(".", 1)[0]
    for name in (f"{file.name}.json", f"{stem}.json", f"{stem}_meta.json", "meta.json", "metadata.json"):
        beside = _beside(file, name)
        if beside is None or beside.size > 2**16:
            continue
        try:
            document: Any = msgspec.json.decode(beside.head)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
        said = document.get("dtype", document.get("token_dtype")) if isinstance(document, dict) else None
        dtype = str(said).rpartition(".")[2].strip("<>' ") if isinstance(said, str) else ""
        dtype = {"u2": "uint16", "u4": "uint32", "i4": "int32", "i8": "int64"}.get(dtype, dtype)
        if dtype in _TYPES:
            return _whole(file, dtype, name)
    return None


def _by_ending(file: File) -> Layout | None:
    dtype = _ENDINGS.get(file.name.lower().rpartition(".")[2])
    return _whole(file, dtype, "") if dtype else None


def _whole(file: File, dtype: str, header: str) -> Layout:
    rest = file.size % _size(dtype)
    trouble = f"{file.size:,} bytes are no whole number of ids of {dtype}" if rest else ""
    return Layout(dtype, file.size // _size(dtype), 0, header, trouble)


def _cut(file: File) -> Layout | None:
    """Of a size that no whole ids have, beside the file of another split or a vocabulary that shows what they are.

    Its numbers have to be ids by themselves as well: a name alone proves nothing.
    """
    stem, dot, ending = file.name.rpartition(".")
    if file.size % 4 == 0 or not dot or split_of(stem) is None:
        return None
    seen = _by_ids(file, file.size // 8 * 8)
    if seen is None or not file.size % _size(seen.dtype):
        return None
    if seen.header:
        return _whole(file, seen.dtype, seen.header)
    for name in _SPLITS:
        twin = _beside(file, f"{name}.{ending}") if name != stem.lower() else None
        layout = _known(twin) if twin is not None else None
        if layout is not None and layout.dtype == seen.dtype and not layout.trouble:
            return _whole(file, seen.dtype, layout.header)
    return None


def _by_ids(file: File, size: int | None = None) -> Layout | None:
    """By the numbers, read as halves of 16 bits: every type of id shows itself in where the zeros are.

    Args:
        size: bytes that are looked at, from the start; the whole file without.
    """
    size = file.size if size is None else size
    if size % 2 or size < 2 * FEWEST or _OTHERS.search(file.name.rsplit(".", 1)[0].lower()):
        return None
    with window(file) as whole:
        pieces = [_halves(whole, start) for start in _places(size)]
    halves = array("H", (h for piece in pieces for h in piece))
    lows, highs = halves[::2], halves[1::2]
    if len(lows) < FEWEST / 2 or not any(lows):
        return None
    wide = LARGEST >> 16
    if size % 8 == 0 and not any(lows[1::2]) and not any(highs[1::2]) and max(highs) < wide:
        return _whole(file, "int64", "")
    low, top = max(lows), max(highs)
    # The upper halves of 32 bits are zero, or small where the lower ones use all their range.
    if size % 4 == 0 and low > top and (top == 0 or (top < wide and low >= 2**15)):
        return _whole(file, "uint32", "")
    if _is_ids(halves):
        meta = _beside(file, "meta.pkl")
        return _whole(file, "uint16", "meta.pkl" if meta is not None and _fits(meta, max(low, top)) else "")
    return None


def _is_ids(halves: array[int]) -> bool:
    """Whether numbers of 16 bits are distributed as the ids of tokens are."""
    data = halves.tobytes()
    if _apart(data[::2], data[1::2]) < BYTES_APART:
        return False
    uppers = data[1::2] if sys.byteorder == "little" else data[::2]
    if _apart(uppers[::2], uppers[1::2]) > HALVES_APART + NOISE / len(halves) ** 0.5:
        return False
    counts = Counter(halves)
    del counts[0]  # padding, or the black of a picture: says nothing
    total = counts.total()
    small = sum(n for v, n in counts.items() if v < SMALL)
    high = sum(n for v, n in counts.items() if v >= HIGH)
    frequent = sum(n for _, n in counts.most_common(FREQUENT))
    return (
        len(counts) > 1
        and frequent >= FREQUENT_SHARE * total
        and small >= SMALL_SHARE * total
        and 3 * high <= 2 * small
    )


def _apart(some: bytes, others: bytes) -> float:
    """How far the distributions of two samples of bytes lie apart: 0 where they are the same, 1 at most."""
    first, second = Counter(some), Counter(others)
    return sum(abs(first[b] / len(some) - second[b] / len(others)) for b in range(256)) / 2


def _fits(meta: File, largest: int) -> bool:
    """Whether nanoGPT's `meta.pkl` has a vocabulary for ids up to the largest."""
    from mldiag.readers._tokens.meta_pickle import vocabulary_size

    size = vocabulary_size(meta)
    return size is not None and largest < size


def _places(size: int) -> list[int]:
    """Where to look, each a multiple of eight bytes: the start, the middle, the end; all of a small file."""
    if size <= 3 * SAMPLE:
        return list(range(0, size, SAMPLE))
    return [0, (size - SAMPLE) // 2 // 8 * 8, (size - SAMPLE) // 8 * 8]


def _halves(whole: Window, start: int) -> array[int]:
    data = whole.some(start, SAMPLE)
    return _numbers(data, "uint16")


def _numbers(data: bytes, dtype: str) -> array[int]:
    numbers = array(_TYPES[dtype.removeprefix(">")])
    numbers.frombytes(data[: len(data) // numbers.itemsize * numbers.itemsize])
    if (sys.byteorder == "big") != dtype.startswith(">"):
        numbers.byteswap()
    return numbers


def _looked_at(whole: Window, layout: Layout) -> tuple[int | None, int]:
    """The largest id of those in the three places, and how many these are."""
    end = layout.count * _size(layout.dtype)
    largest: int | None = None
    seen = 0
    for start in _places(end):
        numbers = _numbers(whole.some(layout.offset + start, min(SAMPLE, end - start)), layout.dtype)
        if numbers:
            largest = max(max(numbers), -1 if largest is None else largest)
            seen += len(numbers)
    return largest, seen


def _own(file: File, layout: Layout) -> Source | None:
    """Where the header is that says how many ids there are, if it is another file's."""
    beside = _beside(file, layout.header) if layout.header.endswith(".idx") else None
    return None if beside is None else beside.at()


def _size(dtype: str) -> int:
    return array(_TYPES[dtype.removeprefix(">")]).itemsize


def _beside(file: File, name: str) -> File | None:
    """A file in the same folder, where it is there and can be read."""
    if name == file.name:
        return None
    beside = File(file.root, file.path[: len(file.path) - len(file.name)] + name)
    try:
        return beside if beside.size and beside.head else None
    except ReadError:
        return None


def _folder_split(file: File) -> str | None:
    folder = file.path.split("/")[-2:-1]
    return split_of(folder[0]) if folder else None
