"""From files to a run: which launch stands for it, what its flags set, what takes effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.assembly import read_run
from mldiag.audit import Request, audit
from mldiag.errors import NotApplicable
from mldiag.files import Folder
from mldiag.plugins import Plugins, load
from mldiag.run import Run
from mldiag.testing import write_files

PROGRAM = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--amp", action="store_true")
parser.add_argument("data", nargs="?")
args = parser.parse_args()
"""


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def read(tmp_path: Path, plugins: Plugins, files: dict[str, str], *, pre: bool = False) -> Run:
    write_files(tmp_path, files)
    return read_run(Folder(tmp_path, tuple(files)), "run", plugins, pre=pre)


def test_a_flag_goes_before_a_file_and_a_file_before_a_default(tmp_path: Path, plugins: Plugins) -> None:
    files = {
        "run.sh": "python train.py --lr 1\n",
        "config.yaml": "lr: 2\nepochs: 3\n",
        "train.py": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', default=4)\n"
        "p.add_argument('--epochs', default=5)\np.add_argument('--seed', default=6)\np.parse_args()\n",
    }
    settings = read(tmp_path, plugins, files).settings
    assert [v.value for v in settings.all("lr")] == [1, 2, 4]
    assert [settings.get(n, int) for n in ("lr", "epochs", "seed")] == [1, 3, 6]


def test_a_flag_has_the_name_its_program_gives_it_even_when_abbreviated(tmp_path: Path, plugins: Plugins) -> None:
    run = read(tmp_path, plugins, {"run.sh": "python train.py --learn 0.5\n", "train.py": PROGRAM})
    assert run.settings.require("lr", float) == 0.5


def test_a_word_behind_a_switch_is_not_its_value(tmp_path: Path, plugins: Plugins) -> None:
    run = read(tmp_path, plugins, {"run.sh": "python train.py --amp corpus/\n", "train.py": PROGRAM})
    assert run.settings.get("amp") is True


def test_the_launch_that_trains_stands_for_the_run(tmp_path: Path, plugins: Plugins) -> None:
    files = {"a.sh": "python evaluate.py --lr 9\n", "b.sh": "python train.py --lr 1\n", "train.py": PROGRAM}
    run = read(tmp_path, plugins, files)
    assert run.program.launch is not None
    assert run.program.launch.program == "train.py"
    assert run.settings.get("lr", int) == 1
    assert [launch.program for launch in run.program.other_launches] == ["evaluate.py"]


def test_what_two_launches_of_one_program_disagree_on_is_not_guessed(tmp_path: Path, plugins: Plugins) -> None:
    files = {"a.sh": "python train.py --lr 1 --seed 3\n", "b.sh": "python train.py --lr 2 --seed 3\n"}
    settings = read(tmp_path, plugins, files | {"train.py": PROGRAM}).settings
    assert settings.get("seed", int) == 3
    with pytest.raises(NotApplicable, match=r"a.sh:1 says 1 for lr and b.sh:1 says 2; check one script at a time"):
        settings.require("lr", float)


def test_a_variable_used_twice_is_not_offered_for_editing(tmp_path: Path, plugins: Plugins) -> None:
    script = "N=3\npython train.py --lr $N --epochs $N\n"
    settings = read(tmp_path, plugins, {"run.sh": script}).settings
    value = settings.effective("lr")
    assert value is not None
    assert value.shared_by


def test_before_training_nothing_that_a_run_wrote_is_known(tmp_path: Path, plugins: Plugins) -> None:
    files = {
        "run.sh": "python train.py --lr 1\n",
        "history.json": '{"loss": [2, 1], "val_loss": [2, 1]}',
        "hparams.yaml": "epochs: 3\n",
        "samples.json": '[{"prompt": "a", "output": "b"}]',
    }
    run = read(tmp_path, plugins, files, pre=True)
    assert not run.metrics.series
    assert not len(run.samples)
    assert "epochs" not in run.settings
    assert run.settings.get("lr", int) == 1


def test_the_longest_of_two_logs_of_one_series_is_kept(tmp_path: Path, plugins: Plugins) -> None:
    files = {"a.csv": "epoch,loss\n1,3\n2,2\n", "history.json": '{"loss": [3, 2, 1], "val_loss": [3, 2, 1]}'}
    run = read(tmp_path, plugins, files)
    assert run.metrics.require("train/loss").data.tolist() == [3, 2, 1]
    assert run.metrics.require("train/loss").source.path == "history.json"


def test_series_become_a_frame(tmp_path: Path, plugins: Plugins) -> None:
    pandas = pytest.importorskip("pandas", reason="needs the `analysis` extra")
    frame = read(tmp_path, plugins, {"a.csv": "step,loss,lr\n10,3,0.1\n20,2,0.1\n"}).metrics.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame[frame.series == "train/loss"].value.tolist() == [3, 2]
    assert frame.step.tolist() == [10, 20, 10, 20]


def test_before_training_a_log_is_left_out_whatever_its_ending(tmp_path: Path, plugins: Plugins) -> None:
    lines = '{"iteration": 19, "total_loss": 3.9, "lr": 0.1}\n{"iteration": 39, "total_loss": 2.9, "lr": 0.1}\n'
    run = read(tmp_path, plugins, {"metrics.json": lines, "config.yaml": "lr: 0.1\n"}, pre=True)
    assert (run.unread, list(run.files)) == ((), ["config.yaml"])


def test_a_record_of_what_a_fix_has_changed_is_outdated(tmp_path: Path, plugins: Plugins) -> None:
    files = {"run.sh": "python train.py --lr 3\n", "args.json": '{"lr": 3, "seed": 1, "epochs": 2}'}
    write_files(tmp_path, files)
    corrected = {"run.sh": b"python train.py --lr 1\n"}
    found = read_run(Folder(tmp_path, tuple(files), corrected), "run", plugins).settings
    assert [v.value for v in found.all("lr")] == [1]
    assert found.get("seed") == 1


def test_a_script_that_is_named_alone_brings_its_program_from_beside_it_or_above(
    tmp_path: Path, plugins: Plugins
) -> None:
    script = "python train.py --learning-rate 0.5 --warmpu 3\n"
    write_files(tmp_path, {"scripts/run.sh": script, "train.py": PROGRAM})
    request = Request((tmp_path / "scripts" / "run.sh",), select=("CFG006",))
    (found,) = audit(request, plugins).findings
    assert "--warmpu" in found.message
    write_files(tmp_path, {"scripts/train.py": PROGRAM.replace("--amp", "--warmpu")})
    assert not list(audit(request, plugins).findings)


def test_what_a_run_left_in_a_format_without_a_reader_is_named(tmp_path: Path, plugins: Plugins) -> None:
    files = {"run.sh": "python train.py --lr 1\n", "events.out.tfevents.1": "x", "last.ckpt": "x", "photo.png": "x"}
    run = read(tmp_path, plugins, files)
    assert [(u.path, u.known) for u in run.unread] == [("events.out.tfevents.1", False), ("last.ckpt", False)]
    assert not read(tmp_path, plugins, files, pre=True).unread


def test_a_number_too_large_for_a_float_is_no_setting_rather_than_a_defect(tmp_path: Path, plugins: Plugins) -> None:
    settings = read(tmp_path, plugins, {"config.yaml": f"seq_len: {'9' * 400}\n"}).settings
    assert settings.get("seq_len", int) is None
