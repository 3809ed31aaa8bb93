"""What a line of a document says of a token file, in the spellings people use."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.errors import NotApplicable
from mldiag.facts.token_claims import TokenClaim, token_claims
from mldiag.run import Run


def claims(root: Path, text: str) -> tuple[TokenClaim, ...]:
    (root / "README.md").write_text(text)
    run = Run(root, str(root), files={"config.json": "json_config"})
    try:
        found: tuple[TokenClaim, ...] = token_claims(run, None, None).items
    except NotApplicable:
        return ()
    return found


@pytest.mark.parametrize(
    ("line", "tokens", "size"),
    [
        ("tokenized_v15: 555 MB, ~220M tokens", 220e6, 555e6),
        ("- `data/train.bin` (1.07 GB) has 535 million tokens", 535e6, 1.07e9),
        ("train.bin: 18GB, 9B tokens", 9e9, 18e9),
        ("tokenized/train.npy 600 MiB 314,572,800 tokens", 314_572_800, 600 * 2**20),
        ("tokens_v2.bin 1,5 GB e 750 milhões de tokens", 750e6, 1.5e9),
        ("train.bin: 2 MB with 1.000.000 tokens", 1e6, 2e6),
    ],
)
def test_a_line_that_names_file_size_and_tokens_is_a_claim(
    tmp_path: Path, line: str, tokens: float, size: float
) -> None:
    (claim,) = claims(tmp_path, f"# Data\n\n{line}\n")
    assert claim.tokens == pytest.approx(tokens)
    assert claim.sizes[0] == pytest.approx(size)
    assert claim.source.line == 3


@pytest.mark.parametrize(
    "line",
    [
        "corpus.txt: 1.2 GB, about 300M tokens",
        "model.bin is 500 MB; it saw 300B tokens",
        "train.bin has 600 MB",
        "train.bin 600 MB and val.bin 6 MB: 303M tokens",
        "the tokenizer_v15 (1.27 MB) has 32,000 tokens",
        "train.bin was made from data.jsonl, 2 GB, 300M tokens",
        "tokens per second: 100k on 24 GB",
    ],
)
def test_a_line_that_leaves_one_of_them_open_is_none(tmp_path: Path, line: str) -> None:
    assert not claims(tmp_path, line + "\n")


def test_a_table_gives_a_claim_for_each_row_of_a_token_file(tmp_path: Path) -> None:
    found = claims(
        tmp_path,
        "| Dataset | Size | # Tokens |\n|---|---|---|\n| tokenized_a | 10 MB | 4M |\n| tokenized_b | 20 MB | 8M |\n"
        "| corpus.txt | 50 MB | 8M |\n\n| Vocab | Size | Tokens |\n|---|---|---|\n| tokenizer_a | 1 MB | 32,000 |\n",
    )
    assert [(c.name, c.tokens) for c in found] == [("tokenized_a", 4e6), ("tokenized_b", 8e6)]


def test_a_document_of_another_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "data.md").write_text("tokenized_v15: 555 MB, ~220M tokens\n")
    assert not claims(tmp_path, "nothing\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train.bin has 300M tokens", {"train.bin": 300e6}),
        ("`data/chars/train.bin` (uint16) holds 1.2M tokens, `val.bin` 6k tokens.",
         {"data/chars/train.bin": 1.2e6, "val.bin": 6e3}),
        ("Trained on characters: `train.bin` ~54k tokens, `val.bin` ~6k tokens", {"train.bin": 54e3, "val.bin": 6e3}),
        ("- **val.bin**: about 36,059 tokens", {"val.bin": 36_059}),
        ("train.npy contém cerca de 1,5 milhões de tokens", {"train.npy": 1.5e6}),
        ("tokens_v2.bin contains 12 million tokens", {"tokens_v2.bin": 12e6}),
        ("train.bin is read in chunks of 65,536 tokens", {}),
        ("train.bin with 4,096 tokens per sequence", {}),
        ("train.bin has 100k tokens more than val.bin", {}),
        ("the model saw 300M tokens of train.bin", {}),
        ("train.bin: 8 epochs of 2M tokens", {}),
        ("train.bin has 256 tokens", {}),
        ("pytorch_model.bin saw 300M tokens, model.bin: 300M tokens", {}),
    ],
)  # fmt: skip
def test_a_count_right_behind_a_file_is_a_claim_without_a_size(
    tmp_path: Path, line: str, said: dict[str, float]
) -> None:
    found = claims(tmp_path, line + "\n")
    assert {c.name: c.tokens for c in found} == pytest.approx(said)
    assert not any(c.sizes for c in found)


def test_two_counts_of_one_name_are_of_two_data_sets(tmp_path: Path) -> None:
    assert not claims(tmp_path, "shakespeare: train.bin has 301,966 tokens\nopenwebtext: train.bin has 9B tokens\n")


def test_what_rounding_may_have_moved(tmp_path: Path) -> None:
    (claim,) = claims(tmp_path, "train.bin has 1.2M tokens\n")
    assert claim.rounding == pytest.approx(5e4)
