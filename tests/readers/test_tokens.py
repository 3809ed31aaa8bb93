"""Files of token ids, told from what else a binary file may hold, and the vocabularies they are ids of."""

from __future__ import annotations

import json
import pickle
import random
import struct
from array import array
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import pytest
from checkpoint_files import message, npy
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.parts import readers_in
from mldiag.tokens import TokenFile, Tokenizer

READERS = {r.name: r for r in readers_in("mldiag.readers")}
DICE = random.Random(0)
N = 20_000


def read(root: Path, name: str, data: bytes | None = None) -> list[Artifact]:
    """What the reader of highest priority among those for tokens and vocabularies finds."""
    names = ("token_ids", "tokenizer_json", "vocab_json", "vocab_text", "sentencepiece", "meta_pickle")
    file = File(root, name, data)
    fitting = [READERS[n] for n in names if READERS[n].takes(name) and READERS[n].matches(file)]
    return list(fitting[0].read(file)) if fitting else []


def tokens(root: Path, name: str, data: bytes | None = None) -> TokenFile | None:
    found = read(root, name, data)
    assert len(found) <= 1
    assert all(isinstance(f, TokenFile) for f in found)
    return found[0] if found else None  # type: ignore[return-value]


def zipf(size: int, kind: str, *, shuffled: bool = False) -> bytes:
    """Ids that are as frequent as words are: the n-th most frequent one n times less than the first."""
    weights = list(accumulate(1 / n for n in range(1, size + 1)))
    ids = list(range(size))
    if shuffled:
        DICE.shuffle(ids)
    return array(kind, DICE.choices(ids, cum_weights=weights, k=N)).tobytes()


def numbers(kind: str, spread: float, *, positive: bool = False) -> bytes:
    values = [DICE.gauss(0, spread) for _ in range(N)]
    return struct.pack(f"<{N}{kind}", *(abs(v) if positive else v for v in values))


TOKENS = {
    "GPT-2": (zipf(50257, "H"), "uint16"),
    "Llama 2": (zipf(32000, "H"), "uint16"),
    "Llama 3": (zipf(128256, "I"), "uint32"),
    "GPT-2 in 32 bits": (zipf(50257, "I"), "uint32"),
    "Llama 3 in 64 bits": (zipf(128256, "q"), "int64"),
    "a vocabulary in no order": (zipf(32000, "H", shuffled=True), "uint16"),
    "characters": (array("H", DICE.choices(range(65), k=N)).tobytes(), "uint16"),
    "characters in 32 bits": (array("I", DICE.choices(range(65), k=N)).tobytes(), "uint32"),
    "five letters": (array("H", DICE.choices(range(5), k=N)).tobytes(), "uint16"),
}
OTHERS = {
    "float32": numbers("f", 0.02),
    "float16": numbers("e", 0.02),
    "float16, positive": numbers("e", 0.02, positive=True),
    "float64": numbers("d", 1.0),
    "bfloat16": b"".join(struct.pack("<f", DICE.gauss(0, 0.02))[2:] for _ in range(N)),
    "noise": DICE.randbytes(N),
    "a picture": bytes(min(255, max(0, int(DICE.gauss(110, 50)))) for _ in range(N)),
    "digits on black": bytes(DICE.choice((0, 0, 0, 0, DICE.randrange(256))) for _ in range(N)),
    "sound": array("h", [int(DICE.gauss(0, 2000)) for _ in range(N)]).tobytes(),
    "text": b"the quick brown fox jumps over the lazy dog\n" * 500,
    "characters of one byte": bytes(DICE.choices(range(65), k=N)),
    "zeros": bytes(N),
    "fp32 with zeros": struct.pack(f"<{N}f", *(max(0.0, DICE.gauss(0, 0.02)) for _ in range(N))),
}


@pytest.mark.parametrize("name", TOKENS)
def test_ids_without_a_header_are_told_by_themselves(name: str) -> None:
    data, dtype = TOKENS[name]
    found = tokens(Path(), "train.bin", data)
    assert found is not None
    item = {"uint16": 2, "uint32": 4, "int64": 8}[dtype]
    assert (found.dtype, found.count, found.header, found.split) == (dtype, len(data) // item, "", "train")
    seen = array({"uint16": "H", "uint32": "I", "int64": "q"}[dtype], data)
    assert found.largest_seen is not None
    assert found.largest_seen <= max(seen)
    assert found.seen <= len(seen)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_list_of_ids_is_not_taken(name: str) -> None:
    assert tokens(Path(), "train.bin", OTHERS[name]) is None


@pytest.mark.parametrize("name", ["labels.bin", "train_labels.bin", "model.bin", "y_train.bin", "masks.bin"])
def test_what_is_named_for_something_else_is_not_taken(name: str) -> None:
    assert tokens(Path(), name, TOKENS["characters in 32 bits"][0]) is None


@pytest.mark.parametrize(
    ("magic", "version", "kind", "dtype"), [(20240520, 1, "H", "uint16"), (20240801, 7, "I", "uint32")]
)
def test_the_header_of_llm_c_says_type_and_count(magic: int, version: int, kind: str, dtype: str) -> None:
    ids = array(kind, range(100))
    data = array("i", [magic, version, 100] + [0] * 253).tobytes() + ids.tobytes()
    found = tokens(Path(), "edu_fineweb_val_000000.bin", data)
    assert found is not None
    assert (found.dtype, found.count, found.offset, found.header) == (dtype, 100, 1024, "llm.c")
    assert (found.largest_seen, found.seen, found.split) == (99, 100, "val")
    with pytest.raises(ReadError, match="the header says 100 ids, the file has 99"):
        tokens(Path(), "val.bin", data[: -ids.itemsize])


@pytest.mark.parametrize("fairseq", [False, True])
def test_an_index_beside_the_file_says_type_and_count(tmp_path: Path, fairseq: bool) -> None:
    lengths, places = struct.pack("<2i", 60, 40), struct.pack("<2q", 0, 240)
    documents = b"" if fairseq else struct.pack("<3q", 0, 1, 2)
    counts = struct.pack("<Q", 2) if fairseq else struct.pack("<QQ", 2, 3)
    (tmp_path / "data.idx").write_bytes(
        b"MMIDIDX\0\0" + struct.pack("<QB", 1, 4) + counts + lengths + places + documents
    )
    (tmp_path / "data.bin").write_bytes(array("i", range(100)).tobytes())
    found = tokens(tmp_path, "data.bin")
    assert found is not None
    assert (found.dtype, found.count, found.header) == ("int32", 100, "data.idx")
    (tmp_path / "data.bin").write_bytes(array("i", range(90)).tobytes())
    with pytest.raises(ReadError, match=r"data\.idx says 100 ids, the file has 90"):
        tokens(tmp_path, "data.bin")


def test_a_sidecar_says_the_type(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"dtype": "numpy.uint32", "vocab_size": 10}')
    (tmp_path / "train.bin").write_bytes(array("I", [1, 2, 3]).tobytes())
    found = tokens(tmp_path, "train.bin")
    assert found is not None
    assert (found.dtype, found.count, found.header, found.largest_seen) == ("uint32", 3, "meta.json", 3)


def test_the_vocabulary_of_nanogpt_is_read_without_loading_its_pickle(tmp_path: Path) -> None:
    letters = {chr(97 + i): i for i in range(26)}
    meta = {"vocab_size": 26, "itos": {i: c for c, i in letters.items()}, "stoi": letters}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta))
    (tmp_path / "train.bin").write_bytes(array("H", DICE.choices(range(26), k=1000)).tobytes())
    found = tokens(tmp_path, "train.bin")
    assert found is not None
    assert found.header == "meta.pkl"
    (vocabulary,) = read(tmp_path, "meta.pkl")
    assert isinstance(vocabulary, Tokenizer)
    assert (vocabulary.kind, vocabulary.size, vocabulary.largest_id) == ("vocab", 26, 25)


@pytest.mark.parametrize(
    ("name", "descr", "kind", "taken"),
    [
        ("train.npy", "'<u2'", "H", True),
        ("tokens.npy", "'<i8'", "q", True),
        ("edufineweb_train_000001.npy", "'<u2'", "H", True),
        ("train_labels.npy", "'<i8'", "q", False),
        ("y_train.npy", "'<u2'", "H", False),
        ("train.npy", "'<f4'", "f", False),
        ("embeddings.npy", "'<u2'", "H", False),
    ],
)
def test_an_array_of_numpy_holds_tokens_where_name_and_type_say_so(
    name: str, descr: str, kind: str, taken: bool
) -> None:
    found = tokens(Path(), name, npy(descr, (50,), array(kind, range(50)).tobytes()))
    assert (found is not None) == taken
    if found:
        assert (found.count, found.largest_seen, found.header) == (50, 49, "numpy")


@given(st.sampled_from(["train.bin", "tokens.npy", "x.u16", "x.idx"]), st.binary(max_size=3000))
@settings(deadline=None)
def test_any_bytes_are_tokens_or_not(name: str, data: bytes) -> None:
    with suppress(ReadError):
        read(Path("/nonexistent"), name, data)


def tokenizer(root: Path, name: str, data: str | bytes | None = None) -> Tokenizer:
    (found,) = read(root, name, data.encode() if isinstance(data, str) else data)
    assert isinstance(found, Tokenizer)
    return found


def test_added_tokens_count_once_and_may_leave_gaps() -> None:
    document = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "<pad>": 2}, "merges": ["a b"], "unk_token": "a"},
        "added_tokens": [
            {"id": 2, "content": "<pad>", "special": True},
            {"id": 9, "content": "<|endoftext|>", "special": True, "lstrip": False},
        ],
    }
    found = tokenizer(Path(), "tokenizer.json", json.dumps(document))
    assert (found.kind, found.size, found.largest_id) == ("bpe", 4, 9)
    assert found.special == {"eos": 9, "pad": 2, "unk": 0}


def test_a_unigram_model_numbers_its_pieces_by_their_place() -> None:
    document = {"model": {"unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5], ["b", -2]]}}
    found = tokenizer(Path(), "tokenizer.json", json.dumps(document))
    assert (found.kind, found.size, found.largest_id, found.special) == ("unigram", 3, 2, {"unk": 0})


def test_the_files_beside_say_what_a_token_stands_for(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "b", "eos_token": {"content": "c"}}')
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "c": 2}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    (tmp_path / "added_tokens.json").write_text('{"<extra>": 3}')
    found = tokenizer(tmp_path, "vocab.json")
    assert (found.kind, found.size, found.largest_id, found.special) == ("bpe", 4, 3, {"eos": 2, "pad": 1})
    assert read(tmp_path, "merges.txt") == []


def test_files_that_repeat_a_tokenizer_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {"a": 0}}}')
    (tmp_path / "vocab.txt").write_text("a\n")
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    assert read(tmp_path, "vocab.txt") == []
    assert read(tmp_path, "vocab.json") == []
    assert tokenizer(tmp_path, "tokenizer.json").kind == "wordpiece"


@pytest.mark.parametrize(
    ("document", "size", "largest"),
    [
        ({"\n": 0, " ": 1, "a": 2}, 3, 2),
        ({"0": "a", "1": "b"}, 2, 1),
        (["a", "b", "c"], 3, 2),
        ({"stoi": {"a": 0, "b": 1}, "itos": {"0": "a", "1": "b"}}, 2, 1),
        ({"word_index": {"the": 1, "a": 2}}, 2, 2),
    ],
)
def test_a_vocabulary_in_json_has_several_forms(document: object, size: int, largest: int) -> None:
    found = tokenizer(Path(), "vocab.json", json.dumps(document))
    assert (found.size, found.largest_id) == (size, largest)


@pytest.mark.parametrize("document", [{"vocab_size": 800, "seed": 1}, {"a": 0.5, "b": 1}, {"a": True}, [], {}, 3])
def test_other_json_is_no_vocabulary(document: object) -> None:
    assert read(Path(), "my_vocab.json", json.dumps(document).encode()) == []


def test_keras_keeps_its_index_in_a_text() -> None:
    document = {"class_name": "Tokenizer", "config": {"num_words": 10, "word_index": '{"the": 1, "a": 2}'}}
    found = tokenizer(Path(), "tokenizer.json", json.dumps(document))
    assert (found.kind, found.size, found.largest_id) == ("wordlevel", 2, 2)


@pytest.mark.parametrize(
    ("name", "text", "kind", "size", "special"),
    [
        ("vocab.txt", "[PAD]\n[UNK]\nthe\n##ing\n", "wordpiece", 4, {"pad": 0, "unk": 1}),
        ("vocab.txt", "a\r\nb\r\n", "vocab", 2, {}),
        ("vocab.txt", "a\n\u2028\nb", "vocab", 3, {}),
        ("sp.vocab", "<unk>\t0\n<s>\t0\n</s>\t0\nthe\t-3.2\n", "sentencepiece", 4, {"bos": 1, "eos": 2, "unk": 0}),
    ],
)
def test_a_vocabulary_of_lines(name: str, text: str, kind: str, size: int, special: dict[str, int]) -> None:
    found = tokenizer(Path(), name, text)
    assert (found.kind, found.size, found.largest_id, found.special) == (kind, size, size - 1, special)


def sentencepiece() -> bytes:
    def piece(text: bytes, kind: int = 1) -> tuple[int, bytes]:
        return 1, message([(1, text), (3, kind)])

    trainer = message([(4, 8000), (40, 0), (41, 2**64 - 1), (42, 1), (43, 2)])
    return message([piece(b"<unk>", 2), piece(b"</s>", 3), piece(b"<blank>", 3), piece(b"the"), (2, trainer)])


def test_a_sentencepiece_model_has_its_pieces_not_what_was_asked_for() -> None:
    found = tokenizer(Path(), "tokenizer.model", sentencepiece())
    assert (found.kind, found.size, found.largest_id) == ("sentencepiece", 4, 3)
    assert found.special == {"eos": 1, "pad": 2, "unk": 0}


@given(st.sampled_from(["tokenizer.json", "vocab.json", "vocab.txt", "t.model", "meta.pkl"]), st.data())
@settings(deadline=None)
def test_damage_is_told(name: str, data: st.DataObject) -> None:
    whole = {
        "tokenizer.json": b'{"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "b"}]}',
        "vocab.json": b'{"a": 0, "b": 1}',
        "vocab.txt": b"a\nb\n",
        "t.model": sentencepiece(),
        "meta.pkl": pickle.dumps({"vocab_size": 3}),
    }[name]
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.binary(max_size=8)) + whole[at + data.draw(st.integers(0, 8)) :]
    with suppress(ReadError):
        read(Path("/nonexistent"), name, damaged)


def cut(root: Path, train: bytes, val: bytes) -> TokenFile | None:
    """What is found of a training file that lies beside a validation file; the contradiction is told after it."""
    (root / "val.bin").write_bytes(val)
    (root / "train.bin").write_bytes(train)
    found: list[Artifact] = []
    file = File(root, "train.bin")
    if READERS["token_ids"].matches(file):
        with suppress(ReadError):
            found.extend(READERS["token_ids"].read(file))
    return found[0] if found else None  # type: ignore[return-value]


@pytest.mark.parametrize(("kind", "dtype", "lost"), [("H", "uint16", 1), ("H", "uint16", 301), ("I", "uint32", 2)])
def test_a_file_that_was_cut_within_an_id_is_known_by_the_one_beside_it(
    tmp_path: Path, kind: str, dtype: str, lost: int
) -> None:
    train = zipf(3_000, kind)[:-lost]
    found = cut(tmp_path, train, zipf(3_000, kind))
    assert found is not None
    assert (found.dtype, found.count, found.size) == (dtype, len(train) // found.width, len(train))
    # Two files that were both cut, or one alone, prove nothing.
    assert cut(tmp_path, train, zipf(3_000, kind)[:-lost]) is None


def test_an_odd_file_that_holds_no_ids_is_not_taken_for_the_one_beside_it(tmp_path: Path) -> None:
    assert cut(tmp_path, DICE.randbytes(39_999), zipf(3_000, "H")) is None
    assert cut(tmp_path, numbers("f", 0.02)[:-1], zipf(3_000, "H")) is None
