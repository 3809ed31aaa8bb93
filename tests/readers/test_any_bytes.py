"""Every reader on damaged files: whatever the bytes, it ends, and nothing but `ReadError` comes out of it.

The files are those of the readers' own cases, so a reader that has cases is held to this without further words.
"""

from __future__ import annotations

import base64
import random
import time
import tomllib
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest
from damage import mutated

from mldiag.artifacts import Artifact, Series
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.plugins import load
from mldiag.readers import Reader

FOLDER = Path(__file__).parent
LARGEST = 30_000
MUTANTS = 150
CUTS = 6
LINES = frozenset({"csv_table", "jsonl", "mlflow_run", "monitor_csv", "text_log"})
"""Logs in which each line stands for itself and a cut last one is left out."""
LEARNT = frozenset({"csv_table", "text_log"})
"""What a line means follows from those behind it as well."""
OPEN = LINES | {
    "argfile", "env_config", "ini_config", "python_source", "samples_json", "samples_text", "score_table", "shell",
    "tensorboard", "threshold_text", "toml_config", "training_text", "vocab_text", "wandb_run", "yaml_config",
}  # fmt: skip
"""Formats in which a file may end behind any line, record or word."""
REPEATED = b'"loss": [9.0], "loss"'
"""In the one case with a key that stands twice, the last counts."""


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


def read(reader: Reader, root: Path, path: str) -> list[Artifact]:
    """What a reader makes of a file, whether it would have chosen it or not."""
    return told(reader, root, path)[0]


def told(reader: Reader, root: Path, path: str) -> tuple[list[Artifact], ReadError | None]:
    """The same, with what the reader says is missing."""
    found: list[Artifact] = []
    trouble = None
    try:
        file = File(root, path)
        reader.matches(file)
        for member in [*reader.members(file)][:2] if reader.members else [""]:
            found.extend(reader.read(File(root, path, member=member)))
    except ReadError as error:
        trouble = error
        assert trouble.reason
        assert "\n" not in trouble.reason
    return found, trouble


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
        known = _values(read(readers()[name], root, path))
        for cut in _cuts(content, dice):
            placed(root, path, content[:cut], others)
            at_cut = _values(read(readers()[name], root, path))
            placed(root, path, content[: content.rfind(b"\n", 0, cut) + 1], others)
            at_line = _values(read(readers()[name], root, path))
            lost = {n for n in at_line if n in known and at_cut[n][: len(at_line[n])] != at_line[n]}
            assert not lost, (content[:cut], lost)


@pytest.mark.parametrize("name", sorted(set(readers()) - LEARNT))
def test_what_was_read_of_a_file_stays_when_it_grows(name: str, tmp_path: Path) -> None:
    dice = random.Random(name)
    for number, (path, content, others) in enumerate(seeds()[name]):
        before: dict[str, list[str]] = {}
        for cut in (*_cuts(content, dice), len(content)):
            placed(tmp_path / str(number), path, content[:cut], others)
            now = _values(read(readers()[name], tmp_path / str(number), path))
            lost = {n for n, values in before.items() if now[n][: len(values)] != values}
            assert not lost or REPEATED in content, (content[:cut], lost)
            before = now


@pytest.mark.parametrize("name", sorted(set(readers()) - OPEN))
def test_what_is_missing_from_a_cut_document_is_told(name: str, tmp_path: Path) -> None:
    dice = random.Random(name)
    for number, (path, content, others) in enumerate(seeds()[name]):
        root = tmp_path / str(number)
        placed(root, path, content, others)
        whole = Counter(map(repr, read(readers()[name], root, path)))
        for cut in _cuts(content, dice):
            placed(root, path, content[:cut], others)
            found, trouble = told(readers()[name], root, path)
            missing = whole - Counter(map(repr, found))
            assert trouble or not missing, (content[:cut], missing)


def _cuts(content: bytes, dice: random.Random) -> list[int]:
    return sorted(dice.randrange(len(content)) for _ in range(CUTS)) if content else []


def _values(found: list[Artifact]) -> defaultdict[str, list[str]]:
    """Values by name; as text, since NaN is not itself."""
    values: defaultdict[str, list[str]] = defaultdict(list)
    for series in found:
        if isinstance(series, Series):
            values[series.raw_name] += map(repr, series.data)
    return values
