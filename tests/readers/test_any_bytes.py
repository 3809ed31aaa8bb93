"""Every reader on damaged files: whatever the bytes, it ends, and nothing but `ReadError` comes out of it.

The files are those of the readers' own cases, so a reader that has cases is held to this without further words.
"""

from __future__ import annotations

import base64
import random
import time
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from mldiag.artifacts import Artifact, Series
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.plugins import load
from mldiag.readers import Reader

FOLDER = Path(__file__).parent
LARGEST = 30_000
MUTANTS = 150
LINES = frozenset({"jsonl", "mlflow_run", "monitor_csv"})
"""Formats in which each line stands for itself and a cut last one is left out."""
SNIPPETS = (
    b"NaN", b"null", b"1e999", b'"', b"{", b"[[" * 300, b"\\", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"-", b"'", b"$(",
    b"9" * 5000, b"\n", b"\r", b"\xe2\x80\xa8", "²".encode(), b",", b";", b"#", b"\xff" * 8, b"\0" * 16, b"\x80",
    b"\x7f" * 8,
)  # fmt: skip
"""What has broken parsers before: ends of values and lines, numbers and lengths beyond all bounds."""


@cache
def seeds() -> dict[str, list[tuple[str, bytes, dict[str, bytes]]]]:
    """By reader: path, content and the files beside of each of its cases."""
    found: dict[str, list[tuple[str, bytes, dict[str, bytes]]]] = {name: [] for name in readers()}
    for path in sorted(FOLDER.glob("*.toml")):
        for case in tomllib.loads(path.read_text(encoding="utf-8")).get("case", []):
            name = case.get("reader") or path.stem
            content = data(case["content"])
            if name in found and len(content) <= LARGEST:
                others = {n: data(c) for n, c in case.get("others", {}).items()}
                found[name].append((case["file"], content, others))
    return found


@cache
def readers() -> dict[str, Reader]:
    return {reader.name: reader for reader in load().readers}


def data(content: str) -> bytes:
    return base64.b64decode(content[7:]) if content.startswith("base64:") else content.encode()


def mutated(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.randint(1, 5)):
        at, kind = dice.randrange(len(changed) + 1), dice.randrange(7)
        if kind == 0:
            changed[at : at + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            del changed[at : at + dice.randint(1, 200)]
        elif kind == 2:
            changed[at:at] = changed[at : at + dice.randint(1, 300)]
        elif kind == 3:
            changed[at:at] = dice.choice(SNIPPETS)
        elif kind == 4:  # a length, a count or a position
            width = dice.choice((1, 2, 4, 8))
            changed[at : at + width] = dice.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little")[:width]
        elif kind == 5:
            changed[at : at + 8] = dice.randbytes(8)
        else:
            del changed[at:]
    return bytes(changed)


def read(reader: Reader, root: Path, path: str) -> list[Artifact]:
    """What a reader makes of a file, whether it would have chosen it or not."""
    found: list[Artifact] = []
    reason = "none"
    try:
        file = File(root, path)
        reader.matches(file)
        for member in [*reader.members(file)][:2] if reader.members else [""]:
            found.extend(reader.read(File(root, path, member=member)))
    except ReadError as error:
        reason = error.reason
    assert reason
    assert "\n" not in reason
    return found


def placed(root: Path, path: str, content: bytes, others: dict[str, bytes]) -> None:
    for name, inside in {**others, path: content}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(inside)


@pytest.mark.parametrize("name", sorted(readers()))
def test_a_reader_has_cases(name: str) -> None:
    assert seeds()[name], f"no case of tests/readers/*.toml is of the reader {name}"


@pytest.mark.parametrize("name", sorted(readers()))
def test_damaged_files_break_no_reader(name: str, tmp_path: Path) -> None:
    dice = random.Random(name)
    for number in range(MUTANTS):
        path, content, others = dice.choice(seeds()[name])
        root = tmp_path / str(number)
        damaged = mutated(content, dice)
        placed(root, path, damaged, others)
        started = time.perf_counter()
        try:
            read(readers()[name], root, path)
        except Exception as error:
            raise AssertionError(f"{name} breaks on {damaged!r}") from error
        assert time.perf_counter() - started < 5


@pytest.mark.parametrize("name", sorted(readers()))
def test_files_of_other_formats_break_no_reader(name: str, tmp_path: Path) -> None:
    dice = random.Random(name)
    everything = [seed for found in seeds().values() for seed in found]
    own = seeds()[name][0][0]
    for number in range(MUTANTS // 2):
        content = b"" if not number else dice.choice(everything)[1]
        placed(tmp_path / str(number), own, content, {})
        read(readers()[name], tmp_path / str(number), own)


@pytest.mark.parametrize("name", sorted(LINES))
def test_a_cut_last_line_costs_no_whole_one(name: str, tmp_path: Path) -> None:
    dice = random.Random(name)
    for number, (path, content, others) in enumerate(seeds()[name]):
        root = tmp_path / str(number)
        placed(root, path, content, others)
        whole = _lengths(read(readers()[name], root, path))
        ends = [0, *(at + 1 for at, byte in enumerate(content) if byte == 10)]
        for _ in range(4):
            cut = dice.randrange(len(content) + 1)
            kept = max(end for end in ends if end <= cut)
            placed(root, path, content[:cut], others)
            at_cut = _lengths(read(readers()[name], root, path))
            placed(root, path, content[:kept], others)
            at_line = _lengths(read(readers()[name], root, path))
            assert all(at_cut[n] >= count for n, count in at_line.items() if n in whole), (content, cut)


def _lengths(found: list[Artifact]) -> Counter[str]:
    return Counter({s.raw_name: len(s.data) for s in found if isinstance(s, Series)})
