"""A corrected value takes with it what follows from it, in every format that is edited and wherever it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from mldiag.cli import main

PLANS = {
    "config.yaml": "train:\n  epochs: 2\n  steps_per_epoch: 1000\n  plan: {max_steps: 500, warmup_steps: 400}  # p\n",
    "config.json": '{\r\n "epochs": 2,\r\n "steps_per_epoch": 1000,\r\n "p":{"max_steps":500,"warmup_steps":400}\r\n}',
    "config.toml": "epochs = 2\nsteps_per_epoch = 1000\n[plan]\nmax_steps = 500  # short\nwarmup_steps = 400\n",
    "config.ini": "[train]\nepochs = 2\nsteps_per_epoch = 1000\nmax_steps = 500\nwarmup_steps: 400 ; long\n",
    ".env": 'EPOCHS=2\nSTEPS_PER_EPOCH=1000\nexport MAX_STEPS="500"\nWARMUP_STEPS=400 # long\n',
    "args.txt": "--epochs=2\n--steps_per_epoch=1000\n--max_steps\n500\n--warmup_steps 400\n",
    "config.py": "epochs = 2\nsteps_per_epoch = 1000\nmax_steps = 500\nwarmup_steps = 400  # long\n",
}


def fix(folder: Path, codes: str, *words: str) -> str:
    select = [word for code in codes.split() for word in ("--select", code)]
    done = CliRunner().invoke(main, ["fix", str(folder), *select, "--apply", *words])
    assert done.exit_code == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("name", PLANS)
def test_a_new_total_moves_the_warm_up_in_the_next_round(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(PLANS[name].encode())
    said = fix(tmp_path, "SCH001 SCH003")
    assert path.read_bytes() == PLANS[name].replace("500", "2000").encode(), said
    said = fix(tmp_path, "SCH001 SCH003", "--unsafe-fixes")
    changed = PLANS[name].replace("500", "2000").replace("400  #", "100  #").replace("400", "100")
    assert path.read_bytes() == changed.encode(), said
    assert "checked again: 0 errors and 0 warnings left" in said
    for _ in range(2):
        assert CliRunner().invoke(main, ["fix", str(tmp_path), "--undo"]).exit_code == 0
    assert path.read_bytes() == PLANS[name].encode()


def test_the_decay_that_was_as_long_as_the_run_stays_so(tmp_path: Path) -> None:
    text = "max_iters = 500\nlr_decay_iters = 500\nepochs = 2\nsteps_per_epoch = 1000\n"
    (tmp_path / "config.py").write_text(text)
    fix(tmp_path, "SCH001")
    assert (tmp_path / "config.py").read_text() == text.replace("500", "2000")


def test_a_new_length_moves_the_stride_of_windows_that_lie_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(
        '{"seq_len": 320, "stride": 320, "max_positions": 256, "vocab_size": 1000, "lr": 1}\n'
    )
    (tmp_path / "data.yaml").write_text("data:\n  windows: {seq_len: 320}  # as in model.json\n")
    fix(tmp_path, "CFG002")
    assert (tmp_path / "model.json").read_text().startswith('{"seq_len": 256, "stride": 256, "max_positions": 256')
    assert (tmp_path / "data.yaml").read_text() == "data:\n  windows: {seq_len: 256}  # as in model.json\n"
