"""`mldiag inspect --settings`: what each source says of each setting, and who wins."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mldiag.cli import main

SCRIPT = """\
export WARMUP=200
LR=3e-4 torchrun --nproc_per_node=4 --nnodes=2 train.py --seq_len 320 --grad_accum 2
"""
PROGRAM = """\
import argparse
import os

import torch.nn as nn

parser = argparse.ArgumentParser()
parser.add_argument("--seq_len", type=int, default=256)
parser.add_argument("--grad_accum", type=int, default=1)
args = parser.parse_args([])
lr = float(os.environ.get("LR", "1e-3"))
warmup = int(os.environ["WARMUP"])
position_embedding = nn.Embedding(args.seq_len, 8)
"""
CONFIG = """\
grad_accum: 4
d_model: 8
vocab_size: 40
note: a text of one's own
"""
GOLDEN = """\
── run ─────────────────────────────────────────────────────────────────────────
a run.sh · b config.yaml · c vocab.json · d train.py · e model.safetensors

   setting               flag         file     default     checkpoint  built
   d_model                            8* b:2
   devices               8* a:2
   grad_accum            2* a:2       4 b:1    1 d:8
   lr                    0.0003* a:2           0.001 d:10
   max_positions                                           256* e      256 d:7
!  seq_len               320* a:2              256 d:7
   vocab_size                         40* b:3              40 e
   tokenizer.largest_id               39* c
   tokenizer.vocab_size               40* c
   warmup_steps          200* a:1
* takes effect; ! contradicts
! seq_len: 320 at run.sh:2 stands against 256 at train.py:7, with which the
  model is built at train.py:12
1 setting under names of their own, on which no two places differ, left out
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "run"
    root.mkdir()
    (root / "run.sh").write_text(SCRIPT)
    (root / "train.py").write_text(PROGRAM)
    (root / "config.yaml").write_text(CONFIG)
    (root / "vocab.json").write_text(json.dumps({chr(0x4E00 + i): i for i in range(40)}))
    shapes = {"transformer.wte.weight": (40, 8), "transformer.wpe.weight": (256, 8)}
    (root / "model.safetensors").write_bytes(weights(shapes))
    monkeypatch.chdir(tmp_path)
    return Path("run")


def weights(shapes: dict[str, tuple[int, int]]) -> bytes:
    """A safetensors file of zeros."""
    header, at = {}, 0
    for name, (rows, width) in shapes.items():
        header[name] = {"dtype": "F16", "shape": [rows, width], "data_offsets": [at, at + 2 * rows * width]}
        at += 2 * rows * width
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def inspected(*arguments: str, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"}).invoke(main, ["inspect", *arguments])


def test_every_source_has_a_column_and_the_winner_a_star(run: Path) -> None:
    assert inspected("--settings", str(run)).stdout == GOLDEN


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(run: Path, columns: int) -> None:
    assert max(map(len, inspected("--settings", str(run), columns=columns).stdout.splitlines())) <= columns


def test_as_data_each_value_has_its_place(run: Path) -> None:
    document = json.loads(inspected(str(run), "--format", "json").stdout)
    found = document["runs"][0]["settings_matrix"]
    assert found["columns"] == ["flag", "file", "default", "checkpoint", "built"]
    assert found["files"] == ["run.sh", "config.yaml", "vocab.json", "train.py", "model.safetensors"]
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["note"]["known"] is False
    assert rows["grad_accum"]["differ"] is True
    assert rows["grad_accum"]["conflict"] is None
    (flag,) = rows["seq_len"]["cells"]["flag"]
    assert flag["value"] == 320
    assert flag["effective"] is True
    assert (flag["at"]["path"], flag["at"]["line"]) == ("run.sh", 2)
    assert "the model is built at train.py:12" in rows["seq_len"]["conflict"]


def test_launches_that_disagree_are_told_with_the_reason(tmp_path: Path) -> None:
    for name, rate in (("one.sh", 0.1), ("two.sh", 0.2)):
        (tmp_path / name).write_text(f"python train.py --lr {rate}\n")
    (tmp_path / "log.csv").write_text("step,loss\n1,3\n2,2\n3,1\n")
    out = inspected("--settings", str(tmp_path)).stdout
    assert "!  lr" in out
    assert "check one script at a time" in " ".join(out.split())


def test_without_settings_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n1,3\n2,2\n3,1\n")
    assert "no settings were found" in inspected("--settings", str(tmp_path)).stdout


def test_many_files_of_one_folder_share_a_letter(tmp_path: Path) -> None:
    (tmp_path / "meta.yaml").write_text("artifact_uri: x\nrun_id: abc\nstart_time: 1\n")
    (tmp_path / "params").mkdir()
    for name in ("lr", "epochs", "seed", "dropout", "batch_size"):
        (tmp_path / "params" / name).write_text("1")
    out = inspected("--settings", str(tmp_path)).stdout
    assert "\na params/ (5 files)\n" in out
    assert "  lr          1* a:1\n" in out
