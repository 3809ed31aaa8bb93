"""From paths to runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mldiag.discovery import discover
from mldiag.errors import MldiagError
from mldiag.scan import MAX_ALIKE, MAX_DEPTH
from mldiag.testing import write_files

ENDINGS = (
    ".json",
    ".jsonl",
    ".sh",
    ".py",
    ".csv",
    ".yaml",
    ".log",
    ".txt",
    ".tsv",
    ".wandb",
    ".ckpt",
    ".pt",
    ".db",
    ".v2",
)


def takes(path: str) -> bool:
    folder = path.rpartition("/")[0].rpartition("/")[2]
    return path.endswith(ENDINGS) or "tfevents" in path or folder in ("metrics", "params", "tags")


def events(second: int, process: int = 1) -> str:
    return f"events.out.tfevents.{1_700_000_000 + second}.host.{process}.0"


def roots(tmp_path: Path, *files: str) -> dict[str, set[str]]:
    tmp_path.mkdir(exist_ok=True)
    write_files(tmp_path, dict.fromkeys(files, "x"))
    found = discover(tmp_path, takes)
    return {Path(r.label).relative_to(tmp_path).as_posix(): set(r.files) for r in found}


def test_a_folder_with_files_of_a_run_is_one_run_with_all_below(tmp_path: Path) -> None:
    assert roots(tmp_path, "run.sh", "logs/train.json", "a/b/c.csv") == {
        ".": {"run.sh", "logs/train.json", "a/b/c.csv"}
    }


def test_a_folder_of_runs_gives_each_of_them(tmp_path: Path) -> None:
    found = roots(tmp_path, "v4/run.sh", "v4/logs/h.json", "v5/run.sh", "v5/train.py")
    assert found == {"v4": {"run.sh", "logs/h.json"}, "v5": {"run.sh", "train.py"}}


def test_a_readme_beside_runs_does_not_make_them_one(tmp_path: Path) -> None:
    assert set(roots(tmp_path, "README.md", "a/run.sh", "b/run.sh")) == {"a", "b"}


def test_experiments_with_launch_scripts_of_their_own_are_runs_that_share_the_program_above(tmp_path: Path) -> None:
    found = roots(tmp_path, "train.py", "lr1/run.sh", "lr1/log.csv", "lr2/run.sh", "lr2/log.csv")
    assert found == {"lr1": {"run.sh", "log.csv", "../train.py"}, "lr2": {"run.sh", "log.csv", "../train.py"}}


def test_logs_of_several_runs_are_not_mixed_because_a_configuration_lies_above_them(tmp_path: Path) -> None:
    found = roots(tmp_path, "config.json", "runs/a/metrics.csv", "runs/b/metrics.csv")
    assert set(found) == {"runs/a", "runs/b"}


HYDRA = (".hydra/config.yaml", "train.log")
MLFLOW = ("meta.yaml", "metrics/loss", "params/lr", "tags/mlflow.runName", "artifacts/model/model.pt")
WANDB = ("files/config.yaml", "files/wandb-summary.json", "logs/debug.log")


@pytest.mark.parametrize(
    ("files", "runs"),
    [
        pytest.param(
            ["train.sh", "eval.sh", "src/train.py", "src/model/net.py", "configs/a.yaml", "tests/test_net.py"],
            ["."],
            id="a repository",
        ),
        pytest.param(
            [f"s/run_{i:02}/out.txt" for i in range(20)], [f"s/run_{i:02}" for i in range(20)], id="sweep"
        ),
        pytest.param(
            ["sweep.yaml", *(f"lr{i}/log.csv" for i in range(3))], ["lr0", "lr1", "lr2"], id="sweep with a plan above"
        ),
        pytest.param(
            [f"outputs/2024-01-0{day}/12-00-00/{file}" for day in (1, 2) for file in HYDRA],
            ["outputs/2024-01-01/12-00-00", "outputs/2024-01-02/12-00-00"],
            id="Hydra, single runs",
        ),
        pytest.param(
            ["multirun/d/t/multirun.yaml", *(f"multirun/d/t/{job}/{file}" for job in range(3) for file in HYDRA)],
            [f"multirun/d/t/{job}" for job in range(3)],
            id="Hydra, a sweep",
        ),
        pytest.param(
            ["train.py", *(f"outputs/2024-01-01/12-00-00/{f}" for f in HYDRA)], ["."], id="Hydra, one run of a program"
        ),
        pytest.param(
            [
                "mlruns/0/meta.yaml", *(f"mlruns/0/{run}/{file}" for run in ("aa", "bb") for file in MLFLOW),
                "mlruns/0/models/m-1/meta.yaml", "mlruns/0/models/m-1/params/lr", "mlruns/.trash/meta.yaml",
            ],
            ["mlruns/0/aa", "mlruns/0/bb"],
            id="MLflow",
        ),
        pytest.param(["mlruns/0/meta.yaml", *(f"mlruns/0/a/{f}" for f in MLFLOW)], ["mlruns/0/a"], id="MLflow, one"),
        pytest.param(
            [f"lightning_logs/version_{v}/{f}" for v in range(3) for f in ("hparams.yaml", "checkpoints/epoch=1.ckpt")],
            [f"lightning_logs/version_{v}" for v in range(3)],
            id="Lightning, runs without a log",
        ),
        pytest.param(
            ["logs/lightning_logs/version_0/metrics.csv", "logs/lightning_logs/version_1/metrics.csv"],
            ["logs/lightning_logs/version_0", "logs/lightning_logs/version_1"],
            id="a shelf of several runs",
        ),
        pytest.param(
            ["wandb/debug.log", *(f"wandb/run-20240101_00000{i}-ab{i}/{f}" for i in range(2) for f in WANDB)],
            ["wandb/run-20240101_000000-ab0", "wandb/run-20240101_000001-ab1"],
            id="W&B",
        ),
        pytest.param(
            ["train.py", "train.log", *(f"wandb/run-20240101_000000-ab0/{f}" for f in WANDB)], ["."], id="W&B, one run"
        ),
        pytest.param(list(WANDB), ["."], id="a W&B run's own folder"),
        pytest.param([f"runs/{r}/{events(0)}" for r in ("a", "b")], ["runs/a", "runs/b"], id="TensorBoard"),
        pytest.param(
            [f"logs/fit/{r}/{s}/{events(0)}.v2" for r in ("1", "2") for s in ("train", "validation")],
            ["logs/fit/1", "logs/fit/2"],
            id="TensorBoard of Keras",
        ),
        pytest.param(
            [f"runs/a/{events(0)}", f"runs/a/Loss_train/{events(1)}", f"runs/a/Loss_val/{events(2)}"],
            ["runs/a"],
            id="TensorBoard's add_scalars",
        ),
        pytest.param(
            [f"runs/{events(0)}", f"runs/a/{events(1, 2)}", f"runs/b/{events(2, 3)}"],
            ["runs", "runs/a", "runs/b"],
            id="TensorBoard, runs below a run",
        ),
        pytest.param(
            [f"catboost_info/{f}" for f in ("learn_error.tsv", "learn/" + events(0), "test/" + events(0))],
            ["catboost_info"],
            id="CatBoost",
        ),
        pytest.param(
            [f"runs/detect/{r}/{f}" for r in ("train", "train2") for f in ("args.yaml", "results.csv", "weights/a.pt")],
            ["runs/detect/train", "runs/detect/train2"],
            id="YOLO",
        ),
        pytest.param([f"checkpoint-{i}/trainer_state.json" for i in (5, 9)], ["."], id="stages of one run"),
        pytest.param(
            ["trainer_state.json", *(f"runs/Dec{d}_07-29-26_host/{events(d, d)}" for d in (15, 16))],
            ["."],
            id="launches of Hugging Face's Trainer",
        ),
        pytest.param(["a/run.sh", "b/run.sh", "docs/notes.txt"], ["a", "b", "docs"], id="something else beside runs"),
    ],
)  # fmt: skip
def test_run_roots_are_where_a_person_would_put_them(tmp_path: Path, files: list[str], runs: list[str]) -> None:
    assert sorted(roots(tmp_path, *files)) == sorted(runs)


def test_what_trackers_write_about_themselves_is_no_part_of_a_run(tmp_path: Path) -> None:
    run = "wandb/run-20240101_000000-ab0"
    files = (
        "debug.log",
        "logs/debug.log",
        f"{run}/logs/debug.log",
        f"{run}/files/requirements.txt",
        f"{run}/run-ab0.wandb",
    )
    assert roots(tmp_path, *files) == {".": {"debug.log", "logs/debug.log", f"{run}/run-ab0.wandb"}}


def test_only_what_shows_that_it_is_a_run_is_certain_beside_runs(tmp_path: Path) -> None:
    write_files(tmp_path, dict.fromkeys(("a/run.sh", "b/run.sh", "docs/notes.txt"), "x"))
    assert {root.name: root.certain for root in discover(tmp_path, takes)} == {"a": True, "b": True, "docs": False}
    assert [root.certain for root in discover(tmp_path / "docs", takes)] == [True]


def test_a_program_above_shelves_of_runs_is_read_with_each_of_them(tmp_path: Path) -> None:
    found = roots(tmp_path, "train.py", "outputs/a/metrics.csv", "outputs/b/metrics.csv")
    assert found["outputs/a"] == {"metrics.csv", "../../train.py"}


def test_a_database_of_several_runs_gives_each_of_them(tmp_path: Path) -> None:
    write_files(tmp_path, {"mlflow.db": "x", "run.sh": "x"})
    asked = []

    def members(folder: Path, file: str) -> tuple[str, ...]:
        asked.append((folder, file))
        return ("one", "two") if file == "mlflow.db" else ()

    found = [(root.name, root.member, root.files) for root in discover(tmp_path, takes, members=members)]
    assert ("one", "one", ("mlflow.db",)) in found
    assert ("two", "two", ("mlflow.db",)) in found
    assert (tmp_path.name, "", ("run.sh",)) in found
    assert [root.member for root in discover(tmp_path / "mlflow.db", takes, members=members)] == ["one", "two"]
    assert set(asked) == {(tmp_path, "mlflow.db"), (tmp_path, "run.sh")}


def test_what_lies_beside_a_database_of_runs_is_not_lost(tmp_path: Path) -> None:
    write_files(tmp_path, {"mlflow.db": "x", "last.ckpt": "x"})
    found = discover(tmp_path, takes, members=lambda folder, file: ("1", "2") if file == "mlflow.db" else ())
    assert [(root.files, root.certain) for root in found] == [
        (("last.ckpt",), False), (("mlflow.db",), True), (("mlflow.db",), True),
    ]  # fmt: skip


def test_a_file_that_only_its_folder_tells_apart_is_named_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"metrics/loss": "1 2 3"})
    monkeypatch.chdir(tmp_path / "metrics")
    for named, label in ((tmp_path / "metrics" / "loss", str(tmp_path)), (Path("loss"), "..")):
        (root,) = discover(named, takes)
        assert (root.folder, root.files, root.label) == (tmp_path, ("metrics/loss",), label)


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/history"])
def test_an_environment_is_known_by_what_is_in_it(tmp_path: Path, mark: str) -> None:
    found = roots(tmp_path, "run.sh", f"my_tools/{mark}", "my_tools/lib/a/train.py", "my_tools/lib/b/run.sh")
    assert found == {".": {"run.sh"}}


def test_a_folder_that_may_not_be_entered_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"run.sh": "x", "secret/log.csv": "x"})
    listed = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refused)
    lost: list[str] = []
    (root,) = discover(tmp_path, takes, lost)
    assert (root.files, lost) == (("run.sh",), [f"{tmp_path / 'secret'}: cannot be read: permission denied"])


def test_the_only_log_below_belongs_to_the_launch_script_above(tmp_path: Path) -> None:
    assert roots(tmp_path, "run.sh", "out/exp/metrics.csv") == {".": {"run.sh", "out/exp/metrics.csv"}}


def test_checkpoints_of_one_run_are_not_runs(tmp_path: Path) -> None:
    found = roots(tmp_path, "checkpoint-500/trainer_state.json", "checkpoint-1000/trainer_state.json")
    assert set(found) == {"."}


def test_code_beside_runs_is_no_run_but_code_alone_can_be_checked(tmp_path: Path) -> None:
    assert set(roots(tmp_path / "a", "lib/x.py", "r/run.sh")) == {"r"}
    assert set(roots(tmp_path / "b", "x.py")) == {"."}


def test_only_the_usual_containers_make_one_run(tmp_path: Path) -> None:
    assert set(roots(tmp_path, "logs/h.json", "samples/s.json")) == {"."}


def test_hidden_folders_and_environments_are_left_alone(tmp_path: Path) -> None:
    found = roots(tmp_path, "run.sh", ".git/config.json", "venv/x.py", "node_modules/y.json", ".hydra/config.json")
    assert found == {".": {"run.sh", ".hydra/config.json"}}


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "loop").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "run.sh").write_text("x")
    (root,) = discover(tmp_path / "run", takes)
    assert root.files == ("run.sh",)


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").symlink_to(tmp_path / "gone")
    (root,) = discover(tmp_path / "run", takes)
    assert root.files == ("metrics.csv",)


def test_a_file_is_a_run_by_itself(tmp_path: Path) -> None:
    write_files(tmp_path, {"run.sh": "x", "log.json": "{}"})
    (root,) = discover(tmp_path / "log.json", takes)
    assert (root.name, root.label, root.files) == ("log.json", str(tmp_path), ("log.json",))


@pytest.mark.parametrize(
    ("files", "reason"),
    [((), "the folder is empty"), (("a.bin", "b/c.pdf"), "no run found: none of its 2 files")],
)
def test_a_folder_without_a_run_says_why(tmp_path: Path, files: tuple[str, ...], reason: str) -> None:
    with pytest.raises(MldiagError, match=reason):
        roots(tmp_path, *files)


def test_a_missing_path_is_named() -> None:
    with pytest.raises(MldiagError, match="absent: no such file or folder"):
        discover(Path("absent"), takes)


def test_a_link_to_nothing_is_told_from_a_missing_path(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "gone")
    with pytest.raises(MldiagError, match="run: a link that leads nowhere"):
        discover(tmp_path / "run", takes)


def test_links_in_a_circle_are_told_and_cost_only_themselves(tmp_path: Path) -> None:
    (tmp_path / "circle.json").symlink_to("circle.json")
    with pytest.raises(MldiagError, match=r"circle\.json: cannot be read: too many levels of symbolic links"):
        discover(tmp_path / "circle.json", takes)
    assert roots(tmp_path, "run.sh") == {".": {"run.sh", "circle.json"}}


def test_what_is_neither_folder_nor_file_is_refused() -> None:
    with pytest.raises(MldiagError, match="neither a folder nor a regular file"):
        discover(Path("/dev/null"), takes)


def test_a_folder_too_deep_to_be_followed_costs_only_itself(tmp_path: Path) -> None:
    beyond = tmp_path.joinpath(*["d"] * (MAX_DEPTH + 1))
    write_files(tmp_path, {"run.sh": "x", f"{beyond.relative_to(tmp_path)}/log.json": "x"})
    lost: list[str] = []
    (root,) = discover(tmp_path, takes, lost)
    assert root.files == ("run.sh",)
    assert lost == [f"{beyond}: was left out, as it lies more than {MAX_DEPTH} folders deep"]


@pytest.mark.parametrize(("ending", "told"), [(".json", 1), (".png", 0)])
def test_a_data_set_in_a_run_costs_only_itself(tmp_path: Path, ending: str, told: int) -> None:
    write_files(tmp_path, {"run.sh": "x", "data/train_log.json": "{}"})
    for i in range(MAX_ALIKE + 1):
        (tmp_path / "data" / f"{i}{ending}").touch()
    lost: list[str] = []
    (root,) = discover(tmp_path, takes, lost)
    assert root.files == ("run.sh", "data/train_log.json")
    assert [path for path, _ in root.left_out] == ["data/*.json"] * told
    assert not lost
