"""From paths to runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.discovery import MAX_DEPTH, MAX_FILES, discover
from mldiag.errors import MldiagError
from mldiag.testing import write_files


def takes(name: str) -> bool:
    return name.endswith((".json", ".sh", ".py", ".csv"))


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
    data = tmp_path / "data"
    write_files(tmp_path, {"run.sh": "x"})
    data.mkdir()
    for i in range(MAX_FILES + 1):
        (data / f"{i}{ending}").touch()
    lost: list[str] = []
    (root,) = discover(tmp_path, takes, lost)
    assert "run.sh" in root.files
    assert [line.partition(":")[0] for line in lost] == [str(data)] * told
