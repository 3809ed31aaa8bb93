"""What is told of logs that cannot be read: each once, with the reason, and without a hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mldiag.files import LINE_LIMIT

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
LOGS = {
    "an endless line": ("train.log", b"x" * (LINE_LIMIT + 2**21), "a line of more than the"),
    "binary data": ("train.log", bytes(range(256)) * 20, "binary data where the text of a log was expected"),
    "nothing but a hole": ("slurm-12.out", bytes(5000), "NUL bytes and no row of a log"),
    "a pointer in a text log": ("train.log", POINTER, "a Git LFS pointer"),
    "a pointer in a state": ("trainer_state.json", POINTER, "a Git LFS pointer"),
    "a pointer in weights": ("model.safetensors", POINTER, "a Git LFS pointer"),
}


def inspected(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mldiag", "inspect", str(root)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("damage", LOGS)
def test_a_log_that_cannot_be_read_is_told_once(damage: str, tmp_path: Path) -> None:
    name, content, reason = LOGS[damage]
    (tmp_path / name).write_bytes(content)
    found = inspected(tmp_path)
    text = " ".join(found.stdout.partition("\nfacts\n")[0].split())
    assert found.returncode == 2
    assert "0 files read · 1 not read" in text
    assert text.count(name) == 1
    assert reason in text


def test_a_pipe_by_the_name_of_a_log_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.log")
    (tmp_path / "log.csv").write_text("step,loss\n1,2.0\n2,1.0\n")
    found = inspected(tmp_path)
    assert found.returncode == 2
    assert "1 file read · 1 not read" in found.stdout
    assert "cannot be read: not a regular file" in found.stdout


def test_a_file_that_is_read_in_part_is_counted_as_read(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text('{"loss": [2.0, 1.0], "val_loss": [2.5, 1.')
    found = inspected(tmp_path)
    assert found.returncode == 2
    assert "1 file read · in part" in found.stdout


def test_a_data_set_on_one_line_is_no_damaged_log(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_bytes(b"x" * (LINE_LIMIT + 2**21))
    (tmp_path / "log.csv").write_text("step,loss\n1,2.0\n2,1.0\n")
    found = inspected(tmp_path)
    assert found.returncode == 0
    assert "damage" not in found.stdout
