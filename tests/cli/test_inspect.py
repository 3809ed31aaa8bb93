"""`mldiag inspect`: what was read, from where, and what was not, at a glance."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mldiag.cli import main

STEPS = range(10, 70, 10)
LOSSES = [2.51234567, 2.31234567, 2.21234567, 2.11234567, 2.01234567, 1.91234567]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two launches whose log is repeated by another file, contradicted by a third, and beside a checkpoint."""
    rows = [(s, v) for s, v in zip(STEPS, LOSSES, strict=True)]
    twice = [*rows, *rows[:3]]
    lines = [json.dumps({"step": s, "loss": v, "zzz_thing": 1.0, "acc": 40 + s / 10}) for s, v in twice]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "copy.csv").write_text("step,acc\n" + "".join(f"{s},{40 + s / 10}\n" for s, _ in rows))
    edited = [*LOSSES[:5], 1.5]
    other = "".join(f"{s},{v}\n" for s, v in zip(STEPS, edited, strict=True))
    (tmp_path / "edited.csv").write_text(f"step,loss\n{other}")
    (tmp_path / "config.yaml").write_text("max_steps: 120\nmy_own_knob: 3\n")
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\na\nb\n")
    (tmp_path / "cut.json").write_text('{"loss": [3.36')
    monkeypatch.chdir(tmp_path.parent)
    return Path(tmp_path.name)


def inspected(*arguments: str, columns: int = 100) -> Result:
    return CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"}).invoke(main, ["inspect", *arguments])


def described(path: Path) -> dict[str, object]:
    document = json.loads(inspected(str(path), "--format", "json").stdout)
    (found,) = document["runs"]
    assert isinstance(found, dict)
    return found


def test_the_summary_tells_files_curves_launches_and_plan(run: Path) -> None:
    lines = inspected(str(run)).stdout.splitlines()
    assert (
        lines[1] == "6 files read · 1 not read · 3 series · 2 launches in the log · 1 disagreement · 1 checkpoint · 1"
    )
    assert lines[2] == "tokenizer"
    assert lines[3].startswith("train/loss 2.5123 → 2.2123 over 9 points, step 10–30 · train/accuracy 41 → 43 % over 9")
    assert "plan: " in "".join(lines[4:7])


def test_series_show_unit_launches_other_places_and_names_without_a_meaning(run: Path) -> None:
    out = inspected(str(run)).stdout
    assert "series in metrics.jsonl: 9 points each, step 10–30, from line 1\n" in out
    assert "  train/accuracy     41 → 43 %        as acc\n" in out
    assert "  train/zzz_thing ?  1 → 1            as zzz_thing\n" in out
    assert "  each of 2 launches\n" in out
    assert "  train/accuracy also in copy.csv\n" in out
    assert "  ? a name that mldiag has no meaning for\n" in out


def test_files_that_contradict_each_other_are_told_with_both_places(run: Path) -> None:
    out = inspected(str(run)).stdout
    assert "\nfiles that contradict each other\n" in out
    assert "train/loss  step 60  1.91235 in metrics.jsonl:6  1.5 in edited.csv:7  1 of 6 points differ\n" in out


def test_settings_without_a_meaning_come_behind_those_that_rules_know(run: Path) -> None:
    out = inspected(str(run)).stdout
    assert out.index("\nsettings\n  total_steps") < out.index("\nsettings under names of their own\n  my_own_knob")


def test_checkpoints_and_tokenizers_are_described(run: Path) -> None:
    out = inspected(str(run)).stdout
    assert "  model.safetensors  safetensors  1 tensor  6 elements  float32\n" in out
    assert "\ntokenizers\n  vocab.txt" in out


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal(run: Path, columns: int) -> None:
    assert max(map(len, inspected(str(run), columns=columns).stdout.splitlines())) <= columns


def test_as_json_every_key_is_there_whatever_was_found(run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    bare = tmp_path_factory.mktemp("bare")
    (bare / "config.yaml").write_text("lr: 1\n")
    (run_keys, bare_keys) = (set(described(run)), set(described(bare)))
    assert run_keys == bare_keys
    assert {
        "summary",
        "passed_over",
        "disagreements",
        "checkpoints",
        "token_files",
        "tokenizers",
        "score_tables",
    } <= run_keys
    found = described(run)
    assert found["summary"] == {
        "files": 6, "unread": 1, "unknown": 0, "series": 3, "points": 9, "launches": 2,
        "main": ["train/loss", "train/accuracy"],
        "plan": {"total_steps": 120, "epochs": None, "done_steps": 60, "done_epochs": None},
    }  # fmt: skip


def test_several_runs_are_counted(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "log.csv").write_text("step,loss\n1,3\n2,2\n")
    assert inspected(str(tmp_path / "runs")).stdout.startswith("2 runs\n")


def test_many_files_of_one_folder_share_a_row(tmp_path: Path) -> None:
    (tmp_path / "meta.yaml").write_text("artifact_uri: x\nrun_id: abc\nstart_time: 1\n")
    (tmp_path / "params").mkdir()
    for number in range(20):
        (tmp_path / "params" / f"p{number}").write_text("1")
    assert "params/ (20 files)" in inspected(str(tmp_path)).stdout


def test_series_with_a_file_each_share_a_table(tmp_path: Path) -> None:
    metrics = tmp_path / "ab12" / "metrics"
    metrics.mkdir(parents=True)
    (tmp_path / "ab12" / "meta.yaml").write_text("artifact_uri: file:///a\nrun_id: ab12\n")
    for name in ("val_loss", "test_loss"):
        (metrics / name).write_text("1700000000000 0.5 0\n")
    out = inspected(str(tmp_path / "ab12")).stdout
    assert "series in metrics/ (a file each): 1 point each, from line 1\n" in out
    assert "  test/loss  0.5  as test_loss\n" in out


def test_a_single_value_without_an_axis_is_told_without_one_and_reasons_once(tmp_path: Path) -> None:
    (tmp_path / "eval_results.json").write_text('{"eval_loss": 0.5}')
    out = inspected(str(tmp_path)).stdout
    assert "val/loss 0.5 over 1 point\n" in out
    assert "point 1" not in out
    assert out.count("no settings were found") == 1
