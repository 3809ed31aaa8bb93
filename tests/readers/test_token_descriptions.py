"""What JSON files beside a token file say of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mldiag.artifacts import Source
from mldiag.files import File
from mldiag.readers._tokens.descriptions import with_description
from mldiag.readers._tokens.tokenizer_json import read
from mldiag.tokens import TokenFile

SHA = "ab" * 32


def described(root: Path, name: str, document: object) -> TokenFile:
    (root / "train.bin").write_bytes(bytes(20))
    (root / name).write_text(json.dumps(document, indent=1))
    return with_description(File(root, "train.bin"), TokenFile(Source("train.bin"), "uint16", 10, size=20))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("train.json", {"num_tokens": 9, "bytes": 18, "sha256": SHA, "tokenizer": "gpt2"}),
        ("train.bin.json", {"n_tokens": 9, "size_bytes": 18, "checksum": f"sha256:{SHA}", "tokenizer_name": "gpt2"}),
        ("meta.json", {"train_num_tokens": 9, "train_bytes": 18, "train_sha256": SHA, "tokenizer": "gpt2"}),
        ("manifest.json", {"train.bin": {"tokens": 9, "bytes": 18, "hash": SHA}, "tokenizer": "gpt2"}),
        ("dataset_info.json", {"files": [{"path": "x/train.bin", "tokens": 9, "bytes": 18, "sha256": SHA}],
                               "tokenizer": "gpt2"}),
        ("metadata.json", {"splits": {"train": {"token_count": 9, "nbytes": 18, "digest": SHA.upper()}},
                           "tokenizer": "gpt2"}),
    ],
)  # fmt: skip
def test_count_size_checksum_and_tokenizer_are_found_in_the_usual_places(
    tmp_path: Path, name: str, document: object
) -> None:
    found = described(tmp_path, name, document)
    assert (found.stated, found.stated_size, found.checksum) == (9, 18, ("sha256", SHA))
    assert found.tokenizer == "gpt2"
    assert found.stated_at is not None
    assert found.stated_at.path == name
    assert found.stated_at.line is not None


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("meta.json", {"num_tokens": 9, "bytes": 18, "sha256": SHA}),
        ("val.json", {"num_tokens": 9}),
        ("manifest.json", {"val.bin": {"tokens": 9}, "files": [{"path": "val.bin", "tokens": 9}]}),
        ("train.json", {"num_tokens": "9", "bytes": -1, "sha256": "not one", "tokenizer": 3}),
        ("train.json", ["num_tokens", 9]),
    ],
)
def test_what_is_said_of_others_or_of_all_is_not_taken(tmp_path: Path, name: str, document: object) -> None:
    found = described(tmp_path, name, document)
    assert (found.stated, found.stated_size, found.checksum, found.tokenizer) == (None, None, None, "")


def test_of_several_entries_the_line_is_that_of_the_file(tmp_path: Path) -> None:
    found = described(tmp_path, "manifest.json", {"val.bin": {"tokens": 7}, "train.bin": {"tokens": 9}})
    assert found.stated_at is not None
    assert '"tokens": 9' in (found.stated_at.excerpt or "")


@pytest.mark.parametrize(
    ("normalizer", "steps"),
    [
        (None, ()),
        ({"type": "NFC"}, ("NFC",)),
        ({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}, ("NFD", "StripAccents")),
        ({"type": "BertNormalizer"}, ("Lowercase", "StripAccents")),
        ({"type": "BertNormalizer", "lowercase": False, "strip_accents": None}, ()),
        ({"type": "BertNormalizer", "lowercase": False, "strip_accents": True}, ("StripAccents",)),
        ({"type": "BertNormalizer", "lowercase": True, "strip_accents": False}, ("Lowercase",)),
    ],
)
def test_the_steps_of_a_normaliser_are_named(tmp_path: Path, normalizer: object, steps: tuple[str, ...]) -> None:
    document = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": normalizer}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    assert read(File(tmp_path, "tokenizer.json")).normalizers == steps
