"""What every id of a token file says, and what two files share: as a slow look at all of it would."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Source
from mldiag.errors import NotApplicable
from mldiag.facts import token_statistics as module
from mldiag.facts.token_statistics import TokenStatistics
from mldiag.tokens import TokenFile

DICE = np.random.default_rng(7)


def written(root: Path, name: str, ids: np.ndarray, offset: int = 0) -> TokenFile:
    (root / name).write_bytes(b"\xff" * offset + ids.tobytes())
    dtype = ids.dtype.str if ids.dtype.byteorder == ">" else str(ids.dtype)
    return TokenFile(Source(name), dtype, len(ids), offset, size=offset + ids.nbytes)


def text(n: int, seed: int = 0) -> np.ndarray:
    """Ids as frequent as words are."""
    return np.random.default_rng(seed).zipf(1.3, n).clip(0, 30_000).astype("<u2")


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<u4", "<i4", "<i8", "<u1"])
@pytest.mark.parametrize("offset", [0, 10])
@pytest.mark.parametrize("numpy_from", [0, 2**30])
def test_the_largest_id_and_those_beyond_a_limit_are_those_of_the_whole_file(
    tmp_path: Path, kind: str, offset: int, numpy_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_NUMPY", numpy_from)
    monkeypatch.setattr(module, "PIECE", 64)
    ids = DICE.integers(0, 100, 1_003).astype(kind)
    ids[700], ids[900] = 120, 120
    found = TokenStatistics((), tmp_path)
    file = written(tmp_path, "train.bin", ids, offset)
    assert found.largest(file) == 120
    assert found.beyond(file, 100) == (2, 700)
    assert found.beyond(file, 121) == (0, None)


def test_numbers_below_zero_are_below_every_limit(tmp_path: Path) -> None:
    file = written(tmp_path, "x.npy", np.array([1, -100, 5], "<i4"))
    assert TokenStatistics((), tmp_path).largest(file) == 5


def test_a_file_without_ids_has_no_largest_one_and_a_missing_one_is_not_judged(tmp_path: Path) -> None:
    assert TokenStatistics((), tmp_path).largest(written(tmp_path, "x.bin", np.empty(0, "<u2"))) is None
    with pytest.raises(NotApplicable, match="cannot be read"):
        TokenStatistics((), tmp_path).largest(TokenFile(Source("gone.bin"), "uint16", 5))


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(1_000, 6_000), st.integers(8, 80), st.integers(0, 1_000))
def test_the_shared_part_is_the_part_that_was_copied(
    tmp_path_factory: pytest.TempPathFactory, share: float, count: int, window: int, seed: int
) -> None:
    root = tmp_path_factory.mktemp("tokens")
    train, other = text(20_000, seed), text(count, seed + 1)
    copied = int(share * count)
    held = np.concatenate([train[5_000 : 5_000 + copied], other[copied:]])
    found = TokenStatistics((), root).shared(written(root, "a", train), written(root, "b", held), window)
    windows = np.lib.stride_tricks.sliding_window_view
    known = {row.tobytes() for row in windows(train, window)}
    every = {row.tobytes() for row in windows(held, window)}
    assert (found.windows, found.found) == (len(every), len(every & known))


def test_pieces_lose_no_window_where_they_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, held = text(5_000), text(5_000)[1_000:2_000]
    files = written(tmp_path, "a", train), written(tmp_path, "b", held)
    whole = TokenStatistics((), tmp_path).shared(*files, 32)
    monkeypatch.setattr(module, "PIECE", 128)
    monkeypatch.setattr(module, "IN_NUMPY", 0)
    assert TokenStatistics((), tmp_path).shared(*files, 32) == whole
    assert whole.share == 1.0


def test_padding_counts_once(tmp_path: Path) -> None:
    padding = np.zeros(5_000, "<u2")
    train = np.concatenate([text(5_000, 1), padding])
    held = np.concatenate([text(2_000, 2), padding])
    found = TokenStatistics((), tmp_path).shared(written(tmp_path, "a", train), written(tmp_path, "b", held), 64)
    assert found.found == 1
    assert found.share < 0.001


def test_of_long_files_a_sample_tells_the_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLED", 1_000)
    monkeypatch.setattr(module, "MOST_TOKENS", 200_000)
    monkeypatch.setattr(module, "PIECE", 2**13)
    train = text(400_000, 3)
    held = np.concatenate([train[:50_000], text(50_000, 4)])
    found = TokenStatistics((), tmp_path).shared(written(tmp_path, "a", train), written(tmp_path, "b", held), 64)
    assert 800 < found.windows < 1_200
    # Every second piece was looked at: of what is shared half is met, and what is not shared never.
    assert 0.15 < found.share < 0.35


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256", "crc32"])
def test_checksums_are_of_the_whole_file(tmp_path: Path, kind: str) -> None:
    file = written(tmp_path, "a", text(3_000), offset=7)
    data = (tmp_path / "a").read_bytes()
    expected = f"{zlib.crc32(data):08x}" if kind == "crc32" else hashlib.new(kind, data).hexdigest()
    assert TokenStatistics((), tmp_path).checksum(file, kind) == expected
