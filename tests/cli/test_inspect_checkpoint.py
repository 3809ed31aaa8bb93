"""`mldiag inspect` of a checkpoint: its tensors, what their values say, and what was not read."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hostile_checkpoints import TRICKS
from readers.checkpoint_files import LIGHTNING, TRAINING_ARGS, VIEWS, archive, npy, of_arrays

from mldiag.cli import main

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
BROKEN = np.array([[1, np.nan, 3], [2, 2, 2]], np.float32)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tensors = {
        "encoder.weight": WEIGHT,
        "encoder.bias": BROKEN,
        "steps": np.array(7, np.int64),
        "half": np.full(4, np.inf, np.float16),
    }
    metadata = {"format": "pt", "global_step": "120", "lr": "0.0003", "transformers_version": "4.40.1", "note": "x"}
    (tmp_path / "model.safetensors").write_bytes(of_arrays(tensors, metadata))
    monkeypatch.chdir(tmp_path)
    return Path("model.safetensors")


def inspected(*arguments: str, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"}).invoke(main, ["inspect", *arguments])


def told(*arguments: str) -> dict[str, Any]:
    (found,) = json.loads(inspected(*arguments, "--format", "json").stdout)["checkpoints"]
    assert isinstance(found, dict)
    return found


GOLDEN = """\
── model.safetensors (safetensors) ─────────────────────────────────────────────
4 tensors · 23 elements · 88 B
float32 72 B in 2 tensors, int64 8 B in 1 tensor, float16 8 B in 1 tensor
values of 4 tensors: 1 NaN, 4 infinities, 1 constant row

states
  step       120     global_step
  lr         0.0003  lr
  framework  pt      format
  version    4.40.1  transformers_version

metadata
  note  x

tensors
  tensor          shape   dtype    elements  bytes
  encoder.weight  3×4     float32        12   48 B
  encoder.bias    2×3     float32         6   24 B
  steps           scalar  int64           1    8 B
  half            4       float16         4    8 B

values
  tensor           min   max  mean     std     L2  zeros  notes
  encoder.weight     0    11   5.5   3.452  22.49      1
  encoder.bias       1     3     2  0.6325   4.69      0  1 NaN, 1 of 2 rows
                                                          constant
  steps              7     7     7       0      7      0
  half            none  none  none    none   none      0  4 infinite
"""


def test_a_checkpoint_is_told_tensor_by_tensor(model: Path) -> None:
    found = inspected(str(model), "--values")
    assert found.stdout == GOLDEN
    assert found.exit_code == 0


def test_without_values_nothing_is_said_of_them(model: Path) -> None:
    out = inspected(str(model)).stdout
    assert "NaN" not in out
    assert "\nvalues" not in out
    assert "  encoder.weight  3×4     float32        12   48 B\n" in out


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(model: Path, columns: int) -> None:
    lines = inspected(str(model), "--values", columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    joined = "\n".join(lines)
    assert all(part in joined for part in ("encoder.weight", "22.49", "1 NaN", "none", "float16"))


def test_names_that_leave_no_room_stand_above_their_figures(model: Path, tmp_path: Path) -> None:
    name = "model.layers.10.self_attention.query_key_value.weight"
    (tmp_path / "long.safetensors").write_bytes(of_arrays({name: WEIGHT}))
    out = inspected("long.safetensors", "--values", columns=60).stdout
    assert f"\n  {name}\n    min 0 · max 11 · mean 5.5 · std 3.452 · L2 22.49 ·\n    zeros 1\n" in out


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("file", ["encoder.weight", "encoder.bias", "steps", "half"]),
        ("name", ["encoder.bias", "encoder.weight", "half", "steps"]),
        ("size", ["encoder.weight", "encoder.bias", "half", "steps"]),
        ("bytes", ["encoder.weight", "encoder.bias", "steps", "half"]),
        ("norm", ["encoder.weight", "steps", "encoder.bias", "half"]),
        ("nan", ["encoder.bias", "half", "encoder.weight", "steps"]),
    ],
)
def test_tensors_come_in_the_order_that_is_asked_for(model: Path, sort: str, names: list[str]) -> None:
    assert [t["name"] for t in told(str(model), "--sort", sort)["tensors"]] == names
    first = told(str(model), "--sort", sort, "--limit", "1")
    assert ([t["name"] for t in first["tensors"]], first["left_out"]) == (names[:1], 3)
    assert first["totals"]["tensors"] == 4
    assert "  and 3 more\n" in inspected(str(model), "--sort", sort, "--limit", "1").stdout


def test_as_json_it_says_the_same(model: Path) -> None:
    found = told(str(model), "--values")
    assert found["path"] == "model.safetensors"
    assert found["totals"]["bytes"] == 88
    assert found["totals"]["values"] == {"tensors": 4, "nan": 1, "inf": 4, "zeros": 1, "constant_rows": 1}
    assert found["stated"]["step"] == {"key": "global_step", "value": "120"}
    weight, bias, *_ = found["tensors"]
    assert weight["values"]["std"] == pytest.approx(float(WEIGHT.std()))
    assert (bias["values"]["nan"], bias["values"]["min"], bias["values"]["constant_rows"]) == (1, 1, 1)
    assert (weight["file"], weight["bytes"], weight["elements"], weight["shape"]) == (
        "model.safetensors",
        48,
        12,
        [3, 4],
    )
    plain = told(str(model))
    assert plain["totals"]["values"] is None
    assert {t["values"] for t in plain["tensors"]} == {None}
    # What a run of one file says stays where it was.
    assert json.loads(inspected(str(model), "--format", "json").stdout)["runs"][0]["checkpoints"][0]["tensors"] == 4


def test_a_training_state_is_told_by_its_parts_with_what_it_states(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(LIGHTNING)
    out = inspected(str(tmp_path / "last.ckpt")).stdout
    assert "\nstate_dict: 2 tensors, 8 elements; optimizer_states: 1 tensor, 6 elements\n" in out
    assert "\nstates\n  step   120    global_step\n  epoch  3      epoch\n  lr     0.001  hyper_parameters.lr\n" in out
    assert "  batch_size  32     hyper_parameters.batch_size\n" in out


def test_tensors_that_share_memory_are_named_and_counted_once(tmp_path: Path) -> None:
    (tmp_path / "views.pt").write_bytes(VIEWS)
    out = inspected(str(tmp_path / "views.pt")).stdout
    assert "\n5 tensors · 11 elements and 12 of shared memory · 88 B\n" in out
    assert "\nshare memory: a, tied, turned\n" in out


def test_what_loading_would_call_is_told_and_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickled, name = TRICKS["system"]
    (tmp_path / "evil.pt").write_bytes(
        archive({"a/data.pkl": b"\x80\x02}X\x01\x00\x00\x00a" + pickled + b"s.", "a/version": b"3"})
    )
    out = inspected("evil.pt", columns=120).stdout
    assert f"not safe to unpickle: loading it would call {name}; nothing of it was called here" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.pt"]


HOSTILE = ["\x1b[31mred", "a\nb", "\u202eevil", "[bold]x[/bold]", "::error::x", "n" * 5000]


def test_names_from_a_file_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    entries = {name: np.zeros(1, np.float32) for name in HOSTILE}
    (tmp_path / "m.safetensors").write_bytes(of_arrays(entries, {"\x1b]0;title\x07": "\x1b[2J"}))
    out = inspected(str(tmp_path / "m.safetensors"), "--values").stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert r"\x1b[31mred" in out
    assert "[bold]x[/bold]" in out
    assert len(out) < 4000
    names = [t["name"] for t in told(str(tmp_path / "m.safetensors"))["tensors"]]
    assert names == HOSTILE
    raw = inspected(str(tmp_path / "m.safetensors"), "--format", "json").stdout
    assert raw.isascii()
    assert raw.replace("\n", "").isprintable()


def test_a_folder_of_shards_is_one_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(of_arrays({"a": WEIGHT}))
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(of_arrays({"b": BROKEN}))
    for _ in range(2):
        found = inspected(str(tmp_path), "--values")
        assert found.exit_code == 0
        assert "\n2 tensors · 18 elements · 72 B · 2 files\n" in found.stdout
        weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    one = inspected(str(tmp_path / "model-00002-of-00002.safetensors"))
    assert "\n1 tensor · 6 elements · 24 B\n" in one.stdout
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    missing = inspected(str(tmp_path))
    assert "1 of 2 files of the checkpoint are missing" in missing.stdout
    assert missing.exit_code == 2


def test_a_missing_shard_is_told_without_an_index_too(tmp_path: Path) -> None:
    (tmp_path / "model-00001-of-00003.safetensors").write_bytes(of_arrays({"a": WEIGHT}))
    found = inspected(str(tmp_path))
    assert "model-*-of-00003: 2 of 3 files of the checkpoint are missing\n" in found.stdout
    assert found.exit_code == 2


def test_a_run_keeps_its_page_and_shows_its_tensors_when_asked(model: Path, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n1,3\n2,2\n")
    assert "\ncheckpoints\n  model.safetensors  safetensors  4 tensors  23 elements" in inspected(".").stdout
    assert inspected(".", "--values").stdout == GOLDEN
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "log.csv").write_text("step,loss\n1,3\n2,2\n")
    without = inspected("bare", "--values")
    assert (without.exit_code, without.stdout) == (2, "")
    assert without.stderr == "mldiag: bare: no checkpoint was found, which --values, --sort and --limit are about\n"


def test_values_that_are_no_numbers_are_named_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(
        archive({"t.npy": npy("'<U2'", (2,), bytes(16)), "x.npy": npy("'<f4'", (2,), bytes(8))})
    )
    found = inspected(str(tmp_path / "a.npz"), "--values")
    assert "\nvalues that were not read\n  t: " in found.stdout
    assert "is text, not numbers\n" in found.stdout
    assert found.exit_code == 0


def test_values_that_are_not_there_are_named_and_a_failure(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-4])
    found = inspected(str(model), "--values", columns=120)
    assert "the file is cut" in found.stdout
    assert "\nvalues that were not read\n  half: its values should be bytes" in found.stdout
    assert "22.49" in found.stdout
    assert found.exit_code == 2
    assert inspected(str(model)).exit_code == 2


@pytest.mark.parametrize("words", [[], ["--values"]], ids=["plain", "values"])
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.pt", None, "no such file or folder"),
        ("text.pt", b"not a checkpoint", "neither a zip archive nor a pickle"),
        ("empty.safetensors", b"", "empty"),
        ("cut.safetensors", of_arrays({"a": WEIGHT})[:40], "the header should be bytes 8 to"),
        ("bomb.safetensors", struct.pack("<Q", 2**60) + b"{}", "its header would have"),
        ("cut.pt", LIGHTNING[:600], ""),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], name: str, content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found = inspected(name, *words)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.startswith(f"mldiag: {name}: ")
    assert reason in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_record_of_arguments_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "training_args.bin").write_bytes(TRAINING_ARGS)
    assert "\nsettings\n" in inspected(str(tmp_path / "training_args.bin")).stdout


def test_no_secret_of_the_metadata_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(of_arrays({"a": WEIGHT}, {"hub_token": "hidden-and-long-1", "step": "3"}))
    for words in ([], ["--format", "json"]):
        out = inspected(str(tmp_path / "m.safetensors"), *words).stdout
        assert "hidden-and-long-1" not in out
        assert "step" in out
