"""From files to a run: which launch stands for it, what its flags set, what takes effect."""

from __future__ import annotations

import bz2
from pathlib import Path

import pytest

from mldiag.assembly import read_run
from mldiag.audit import Request, audit, read_runs
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
    files = {"run.sh": "python train.py --lr 1\n", "job.err": "x", "last.ckpt": "x", "photo.png": "x"}
    run = read(tmp_path, plugins, files)
    assert [(u.path, u.known) for u in run.unread] == [("job.err", False), ("last.ckpt", False)]
    assert not read(tmp_path, plugins, files, pre=True).unread


def test_a_number_too_large_for_a_float_is_no_setting_rather_than_a_defect(tmp_path: Path, plugins: Plugins) -> None:
    settings = read(tmp_path, plugins, {"config.yaml": f"seq_len: {'9' * 400}\n"}).settings
    assert settings.get("seq_len", int) is None


def five(tmp_path: Path) -> Path:
    names = ("bert", "gan", "lstm", "mnist", "vae")
    write_files(tmp_path, {f"{n}.sh": f"python {n}.py --learning-rate 0.{i + 1}\n" for i, n in enumerate(names)})
    write_files(tmp_path, {f"{n}.py": PROGRAM for n in names} | {"utils.py": "def seed():\n    pass\n"})
    return tmp_path


def test_scripts_of_different_programs_are_a_run_each(tmp_path: Path, plugins: Plugins) -> None:
    runs = list(read_runs(Request((five(tmp_path),)), plugins, []))
    assert [run.name for run in runs] == ["bert.sh", "gan.sh", "lstm.sh", "mnist.sh", "vae.sh"]
    assert [run.settings.get("lr", float) for run in runs] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert all({f"{run.name[:-3]}.py", run.name, "utils.py"} == set(run.files) for run in runs)


def test_scripts_that_share_a_log_stay_one_run_since_nothing_says_whose_it_is(tmp_path: Path, plugins: Plugins) -> None:
    write_files(five(tmp_path), {"log.csv": "step,loss\n1,3\n2,2\n"})
    (run,) = read_runs(Request((tmp_path,)), plugins, [])
    assert "lr" in run.settings.ambiguous
    (planned,) = read_runs(Request((tmp_path,), pre=True), plugins, [])
    assert "lr" in planned.settings.ambiguous


def test_a_program_above_several_runs_is_read_once(tmp_path: Path, plugins: Plugins) -> None:
    call = "python ../train.py\n"
    write_files(tmp_path, {"train.py": PROGRAM, "a/run.sh": call, "b/run.sh": call})
    a, b = read_runs(Request((tmp_path,)), plugins, [])
    assert a.program.main is not None
    assert a.program.main is b.program.main


def test_what_lies_beside_runs_and_is_none_is_left_alone(tmp_path: Path, plugins: Plugins) -> None:
    log = "step,loss\n1,3\n2,2\n"
    write_files(tmp_path, {"a/log.csv": log, "b/log.csv": log, "docs/site.yaml": "name: x\n", "more/t.csv": log})
    problems: list[str] = []
    assert {run.name for run in read_runs(Request((tmp_path,)), plugins, problems)} == {"a", "b", "more"}
    assert not problems


def test_a_data_set_that_was_left_out_is_named(tmp_path: Path, plugins: Plugins) -> None:
    write_files(tmp_path, {"run.sh": "python train.py --lr 1\n"} | {f"labels/{i}.txt": "0 1" for i in range(1001)})
    (run,) = read_runs(Request((tmp_path,)), plugins, [])
    assert [(u.path, u.known) for u in run.unread] == [("labels/*.txt", False)]


def test_thousands_of_runs_need_their_configuration_looked_up_by_folder(tmp_path: Path, plugins: Plugins) -> None:
    write_files(tmp_path, {
        "mldiag.toml": 'ignore = ["CFG"]\n', "b/mldiag.toml": 'ignore = ["BUD"]\n',
        "a/run.sh": "python train.py --lr 1\n", "b/run.sh": "python train.py --lr 1\n",
    })  # fmt: skip
    by_name = {
        r.name: {s.code[:3] for s in r.skipped} | {c[:3] for c in r.clean}
        for r in audit(Request((tmp_path,)), plugins).runs
    }
    assert ("CFG" in by_name["a"], "BUD" in by_name["a"]) == (False, True)
    assert ("CFG" in by_name["b"], "BUD" in by_name["b"]) == (True, False)


def test_a_run_of_mlflow_has_the_name_its_user_gave_it(tmp_path: Path, plugins: Plugins) -> None:
    about = "artifact_uri: x\nrun_id: 0f\nstart_time: 1\n"
    for run, name in (("0f", "tall"), ("0e", "small")):
        write_files(
            tmp_path / run, {"meta.yaml": about, "metrics/loss": "1700000000000 2.5 0\n", "tags/mlflow.runName": name}
        )
    assert [run.name for run in read_runs(Request((tmp_path,)), plugins, [])] == ["small", "tall"]


def test_a_packed_log_is_said_to_be_packed(tmp_path: Path, plugins: Plugins) -> None:
    (tmp_path / "train.log.bz2").write_bytes(bz2.compress(b"epoch 1 loss 0.5\nepoch 2 loss 0.4\n"))
    run = read_run(Folder(tmp_path, ("train.log.bz2",)), "run", plugins)
    assert [u.reason for u in run.unread] == ["packed with bzip2; unpack it to have it read"]
