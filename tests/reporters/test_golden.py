"""What the reporters make of one real audit. `MLDIAG_GOLDEN=write pytest tests/reporters` writes the files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from mldiag.audit import Request, audit
from mldiag.plugins import Plugins, load
from mldiag.report import Report, Style
from mldiag.reporters.json import json
from mldiag.reporters.text import text

HERE = Path(__file__).parent

FILES = {
    "run.sh": (
        "python train.py \\\n"
        "\t--config config.yaml \\\n"
        "  --seed 42 \\\n"
        "  --seq_len 320 \\\n"
        "  --epochs 2 --steps_per_epoch 41653 \\\n"
        "  --warmup_steps 2000 \\\n"
        "  --total_steps 10000\n"
    ),
    "config.yaml": (
        "model:\n  seq_len: 256  # rows of the position table\nbatch_size: 192  # mldiag: ignore[TST008, no-seeds]\n"
    ),
    "logs/history.json": '{\n  "loss": [3.36, 2.93],\n  "val_loss": [4.24, 4.20]\n}\n',
    "logs/cut.json": '{"loss": [3.1, 2.9',
    "notes.json": '"nothing that a run writes"\n',
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load([HERE / "rules"])


@pytest.fixture
def report(plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    for path, content in FILES.items():
        target = tmp_path / "runs" / "long" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    (tmp_path / "runs" / "short").mkdir()
    (tmp_path / "runs" / "short" / "run.sh").write_text("python train.py --seed 1\n")
    monkeypatch.chdir(tmp_path)
    found = audit(Request((Path("runs/long"), Path("runs/short")), select=("TST",)), plugins)
    return replace(found, seconds=0.08, version="1.2.3", problems=())


def compare(name: str, made: str) -> None:
    golden = HERE / name
    if os.environ.get("MLDIAG_GOLDEN") == "write":
        golden.write_text(made, encoding="utf-8")
    assert made == golden.read_text(encoding="utf-8")


def test_the_text_is_that_of_the_golden_file(report: Report) -> None:
    compare("text.txt", text(report, Style()))


def test_the_text_with_everything_is_that_of_the_golden_file(report: Report) -> None:
    compare("text_all.txt", text(report, Style(width=100, skipped=True, verbose=True)))


def test_the_coloured_text_is_that_of_the_golden_file(report: Report) -> None:
    compare("text_color.txt", text(report, Style(color=True)))


def test_the_ascii_text_is_that_of_the_golden_file(report: Report) -> None:
    made = text(report, Style(encoding="ascii"))
    compare("text_ascii.txt", made)
    assert made.isascii()


def test_the_json_is_that_of_the_golden_file(report: Report) -> None:
    compare("json.json", json(report, Style()))
