"""Corrected files go where the user said, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.errors import FixError
from mldiag.fixes import Change
from mldiag.journal import write
from mldiag.placement import check_suffix, check_unchanged, copies, in_place, renamed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "run"
    (folder / "sub").mkdir(parents=True)
    (folder / "run.sh").write_bytes(b"old")
    (folder / "run.sh").chmod(0o750)
    (folder / "sub" / "run.sh").write_bytes(b"old")
    return folder


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("run_v5_transformer.sh", "run_v5_transformer_fixed.sh"),
        ("conf.prod.yaml", "conf.prod_fixed.yaml"),
        ("Makefile", "Makefile_fixed"),
        (".env", ".env_fixed"),
    ],
)
def test_the_suffix_goes_before_the_ending(name: str, copy: str) -> None:
    assert renamed(Path("a.b") / name, "_fixed") == Path("a.b") / copy


@pytest.mark.parametrize("suffix", ["_fixed", "-v2", ".fixed", "_korrigiert_ä"])
def test_a_suffix_of_plain_characters_is_taken(suffix: str) -> None:
    check_suffix(suffix)


def test_a_file_that_changed_between_planning_and_writing_is_refused(run: Path) -> None:
    with pytest.raises(FixError, match=r"run\.sh: the file changed since the fixes were planned"):
        check_unchanged([Change(run / "run.sh", b"planned from this", b"new")])
    with pytest.raises(FixError, match=r"gone\.sh: the file changed since"):
        check_unchanged([Change(run / "gone.sh", b"old", b"new")])
    check_unchanged([Change(run / "run.sh", b"old", b"new")])


def test_a_file_belongs_to_the_innermost_checked_folder(run: Path) -> None:
    change = Change(run / "sub" / "run.sh", b"old", b"new")
    assert in_place([change], [run, run / "sub", run.parent])[0].folder == run / "sub"


def test_a_path_that_leads_out_with_dots_is_refused(run: Path) -> None:
    with pytest.raises(FixError, match="outside the checked path"):
        in_place([Change(run / "sub" / ".." / "run.sh", b"old", b"new")], [run / "sub"])


def test_two_names_of_one_file_are_written_once_if_they_agree(run: Path) -> None:
    (run / "link.sh").symlink_to("run.sh")
    changes = [Change(run / "run.sh", b"old", b"new"), Change(run / "link.sh", b"old", b"new")]
    assert [w.path for w in in_place(changes, [run])] == [run / "run.sh"]
    with pytest.raises(FixError, match="two names lead to it"):
        in_place([changes[0], Change(run / "link.sh", b"old", b"other")], [run])


def test_a_copy_has_the_mode_of_its_original_and_lies_beside_it(run: Path) -> None:
    (planned,) = copies({run / "run.sh": b"new"}, [run], suffix="_fixed")
    assert (planned.path, planned.mode, planned.before) == (run / "run_fixed.sh", 0o750, None)
    assert planned.copy_of == run / "run.sh"


def test_the_copy_of_a_link_lies_beside_the_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "shared.sh").write_bytes(b"old")
    (run / "link.sh").symlink_to(tmp_path / "shared.sh")
    (planned,) = copies({run / "link.sh": b"new"}, [run], suffix="_fixed")
    assert planned.path == run / "link_fixed.sh"


def test_a_copy_that_is_there_and_the_same_is_left_out_whoever_wrote_it(run: Path) -> None:
    (run / "run_fixed.sh").write_bytes(b"new")
    assert copies({run / "run.sh": b"new"}, [run], suffix="_fixed") == []


def test_a_copy_is_not_written_through_a_link_or_over_a_folder(run: Path) -> None:
    (run / "run_a.sh").symlink_to(run / "sub" / "run.sh")
    (run / "run_b.sh").mkdir()
    for suffix in ("_a", "_b"):
        with pytest.raises(FixError, match="exists, and is not as mldiag wrote it"):
            copies({run / "run.sh": b"new"}, [run], suffix=suffix)


def test_a_copy_that_mldiag_wrote_may_be_written_again(run: Path) -> None:
    write(copies({run / "run.sh": b"new"}, [run], suffix="_fixed"))
    (planned,) = copies({run / "run.sh": b"newer"}, [run], suffix="_fixed")
    assert planned.before == b"new"


def test_output_of_the_checked_folder_itself_would_replace_originals_and_is_refused(run: Path) -> None:
    with pytest.raises(FixError, match=r"run\.sh: exists, and is not as mldiag wrote it"):
        copies({run / "run.sh": b"new"}, [run], output=run)


def test_two_files_of_the_same_copy_are_refused(run: Path) -> None:
    with pytest.raises(FixError, match="would both be written to"):
        copies({run / "run.sh": b"1", run / "sub" / "run.sh": b"2"}, [run, run / "sub"], output=run / "out")
