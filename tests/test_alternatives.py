"""Of several configurations of one kind the one that the launch names is the run's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.assembly import read_run
from mldiag.files import Folder
from mldiag.plugins import Plugins, load
from mldiag.run import Run
from mldiag.testing import write_files

SMALL = "lr: 1\nd_model: 256\nvocab_size: 100\n"
LARGE = "lr: 2\nd_model: 512\nvocab_size: 100\n"


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def read(tmp_path: Path, plugins: Plugins, files: dict[str, str]) -> Run:
    write_files(tmp_path, files)
    return read_run(Folder(tmp_path, tuple(files)), "run", plugins)


@pytest.mark.parametrize(
    "command",
    [
        "python train.py conf/large.yaml",
        "python train.py --config conf/large.yaml",
        "python train.py --config=../conf/large.yaml",
        "python train.py --config-name large",
        "python train.py conf=large",
        "python train.py --cfg large --seed 1",
    ],
)
def test_the_file_that_the_launch_names_takes_effect(tmp_path: Path, plugins: Plugins, command: str) -> None:
    files = {"run.sh": command + "\n", "conf/large.yaml": LARGE, "conf/small.yaml": SMALL}
    settings = read(tmp_path, plugins, files).settings
    assert (settings.get("lr"), settings.get("d_model")) == (2, 512)
    assert not settings.ambiguous


def test_where_no_launch_names_one_nothing_is_guessed(tmp_path: Path, plugins: Plugins) -> None:
    settings = read(tmp_path, plugins, {"conf/large.yaml": LARGE, "conf/small.yaml": SMALL}).settings
    assert settings.effective("lr") is None
    assert settings.get("vocab_size") == 100
    assert "no launch names one" in settings.ambiguous["d_model"]


def test_a_flag_says_what_the_files_leave_open(tmp_path: Path, plugins: Plugins) -> None:
    files = {"run.sh": "python train.py --lr 3\n", "conf/large.yaml": LARGE, "conf/small.yaml": SMALL}
    settings = read(tmp_path, plugins, files).settings
    assert settings.get("lr") == 3
    assert settings.get("d_model") is None


def test_the_command_line_goes_before_the_choice_in_a_hydra_file(tmp_path: Path, plugins: Plugins) -> None:
    files = {
        "run.sh": "python train.py model=large\n",
        "conf/config.yaml": "defaults:\n  - model: small\nseed: 1\n",
        "conf/model/large.yaml": LARGE,
        "conf/model/small.yaml": SMALL,
    }
    assert read(tmp_path, plugins, files).settings.get("d_model") == 512
    del files["run.sh"]
    assert read(tmp_path, plugins, files).settings.get("d_model") == 256


def test_a_sweep_over_both_leaves_them_open(tmp_path: Path, plugins: Plugins) -> None:
    files = {
        "run.sh": "python train.py -m model=large,small\n",
        "conf/model/large.yaml": LARGE,
        "conf/model/small.yaml": SMALL,
    }
    assert "d_model" in read(tmp_path, plugins, files).settings.ambiguous


@pytest.mark.parametrize(
    "other",
    [
        {"base.yaml": SMALL},  # what the named file builds on
        {"ds_config.yaml": "zero: 2\nfp16: true\nlr: 9\n"},  # of another kind
        {"hparams.yaml": SMALL},  # what the run recorded
        {"small.json": '{"lr": 1, "d_model": 256, "vocab_size": 100}'},
    ],
)
def test_files_of_other_kinds_are_kept(tmp_path: Path, plugins: Plugins, other: dict[str, str]) -> None:
    files = {"run.sh": "python train.py large.yaml\n", "large.yaml": LARGE, **other}
    found = read(tmp_path, plugins, files).settings
    assert {v.source.path for v in found} == {"large.yaml", *other}
    assert not found.ambiguous
