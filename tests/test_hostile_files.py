"""Files made to do harm: nothing of them runs, blocks, or takes more time and memory than they are large."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mldiag.files import File, size_of

GOOD = '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.0}\n{"step": 3, "loss": 1.5}\n'
MEMORY = 1_500 * 2**20
SECONDS = 20


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


class Calls:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def field(number: int, data: bytes) -> bytes:
    length, size = b"", len(data)
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


LAUGHS = b"".join(b"0]q" + bytes([n]) + b"(" + (b"h" + bytes([n - 1])) * 10 + b"e" for n in range(1, 40))
NAMES = (b"\x81\xda\x03\xe8" + b"k" * 1000) * 60
HOSTILE = {
    "config.toml": b"a" + b".a" * 50_000 + b" = 1\n",
    "train.toml": "".join(f"k{n} = {n}\n" for n in range(20_000)).encode(),
    "config.yaml": b"a0: &a0 {x: 1}\n"
    + b"".join(b"a%d: &a%d\n  <<: [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 40)),
    "one_line.yaml": b"{" + b",".join(b'"a%d": 1' % n for n in range(100_000)) + b"}",
    "accents.yaml": "\n".join(f"k{n}: é" for n in range(20_000)).encode(),
    "train.sh": b"A=(a b c)\n" + b'A+=("${A[@]}")\n' * 60 + b'python train.py "${A[@]}" --lr 0.1\n',
    "nested.sh": b"".join(b'A%d=("${A%d[@]}" x)\n' % (n + 1, n) for n in range(2000)) + b'python x.py "${A2000[@]}"\n',
    "script.sh": f"python train.py --lr 0.1 --config {'x' * 300}.yaml\n".encode(),
    "laughs.pt": b"\x80\x02]q\x00(" + b"K\x01" * 10 + b"e" + LAUGHS + b".",
    "copies.pt": b"\x80\x02]q\x00(" + b"K\x01K\x02\x86" * 100_000 + b"e"
    + b"ccollections\nOrderedDict\nh\x00\x85R" * 5000 + b".",
    "long.pt": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"\xff" * 100,
    "calls.pt": pickle.dumps({"x": Calls("touch PWNED")}),
    "meta.pkl": pickle.dumps({"x": Calls("touch PWNED"), "vocab_size": 65}),
    "counts.gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60),
    "arrays.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 4_000_000)
    + bytes(12 * 4_000_000),
    "empty.onnx": b"\x08\x08" + field(2, b"pytorch") + field(7, field(5, b"") * 1_000_000),
    "digits.onnx": b"\x08\x08" + field(2, b"p") + field(7, field(5, b"\x08\x04\x10\x01" + field(8, b"w")
    + field(13, field(1, b"location") + field(2, b"config.toml")) + field(13, field(1, b"offset")
    + field(2, "²".encode())) + b"\x70\x01")),
    "names.onnx": b"\x08\x08" + field(2, b"p") + field(7, field(5, b"\x08\x04\x10\x01" + field(8, b"w")
    + field(13, field(1, b"location") + field(2, b"n" * 300)) + b"\x70\x01")),
    "names.msgpack": NAMES + b"\xdc\xff\xff" + (b"\xc7\x0d\x01\x93\x90\xa7float32\xc4\x00") * 65_535,
    "huge.safetensors": struct.pack("<Q", 2**63) + b"{}",
    "events.out.tfevents.1.host": struct.pack("<Q", 2**63) + bytes(1000),
}  # fmt: skip


def limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_costs_little_and_the_others_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name])
    (tmp_path / "log.jsonl").write_text(GOOD)
    found = subprocess.run(
        [sys.executable, "-m", "mldiag", "inspect", "."],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, preexec_fn=limits, check=False,
    )  # fmt: skip
    assert found.returncode in (0, 2), found.stderr
    assert "Traceback" not in found.stderr
    assert "its reader broke" not in found.stdout
    assert "train/loss" in found.stdout
    assert not (tmp_path / "PWNED").exists()


def test_a_script_named_alone_may_name_files_that_no_system_takes(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_bytes(HOSTILE["script.sh"])
    found = subprocess.run(
        [sys.executable, "-m", "mldiag", "check", str(tmp_path / "train.sh")],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert found.returncode in (0, 1)
    assert "Traceback" not in found.stderr


def test_a_pipe_in_the_place_of_a_journal_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(GOOD)
    (tmp_path / ".mldiag").mkdir()
    os.mkfifo(tmp_path / ".mldiag" / "1-x.json")
    (tmp_path / ".mldiag" / "2-x.json").write_bytes(b'{"\xff')
    found = subprocess.run(
        [sys.executable, "-m", "mldiag", "check", str(tmp_path)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_a_broken_project_file_of_one_run_costs_only_that_run(tmp_path: Path) -> None:
    for name in ("run1", "run2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text(GOOD)
    (tmp_path / "run1" / "pyproject.toml").write_text("x = = 1\n")
    found = subprocess.run(
        [sys.executable, "-m", "mldiag", "check", str(tmp_path)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert "run1/pyproject.toml: cannot be read as TOML" in found.stderr
    assert "run2" in found.stdout


def test_a_place_behind_accents_is_found_forwards_and_backwards(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("é: 1\nü: 2\n", encoding="utf-8")
    file = File(tmp_path, "a.yaml")
    assert [file.byte_offset(n) for n in (5, 8, 3, 8, 0)] == [6, 10, 4, 10, 0]


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", ".", "gone"])
def test_a_name_that_is_no_file_has_no_size(name: str, tmp_path: Path) -> None:
    assert size_of(tmp_path, name) is None
