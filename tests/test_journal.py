"""What was written can be taken back byte for byte, whenever the writing ended, and refused writes write nothing."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from mldiag import journal
from mldiag.errors import FixError
from mldiag.findings import Edit, Finding, Fix
from mldiag.fixes import settle
from mldiag.journal import Undone, Write, copies_in, interrupted, recover, undo, write, written
from mldiag.placement import in_place
from mldiag.report import Report, RunReport


class Killed(BaseException):
    """Ends the process at this point, as far as the code under test can tell."""


def tree(folder: Path) -> dict[str, tuple[int, bytes] | None]:
    """Everything below a folder: mode and content of files, None for folders."""
    return {
        p.relative_to(folder).as_posix(): (stat.S_IMODE(p.stat().st_mode), p.read_bytes()) if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


def put(path: Path, content: bytes, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def edited(path: Path, after: bytes, folder: Path | None = None) -> Write:
    return Write(path, folder or path.parent, path.read_bytes(), after, stat.S_IMODE(path.stat().st_mode))


def created(path: Path, content: bytes, folder: Path, original: Path | None = None, mode: int = 0o644) -> Write:
    return Write(path, folder, None, content, mode, original or folder / "run.sh")


@contextmanager
def ending(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> Iterator[list[str]]:
    """Raises at the n-th time that a file is synced or replaced."""
    calls: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            real = getattr(os, name)

            def counted(*args: Any, name: str = name, real: Any = real) -> Any:
                calls.append(name)
                if len(calls) == step:
                    raise error
                return real(*args)

            patch.setattr(os, name, counted)
        yield calls


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    put(folder / "run.sh", b"python train.py --seq_len 320\r\n", 0o755)
    put(folder / "config.yaml", b"lr: 1e-3\n", 0o640)
    return folder


def two_edits_and_a_copy(run: Path) -> list[Write]:
    return [
        edited(run / "run.sh", b"python train.py --seq_len 256\r\n"),
        edited(run / "config.yaml", b"lr: 1e-4\n"),
        created(run / "fixed" / "deep" / "run.sh", b"copy\n", run, mode=0o755),
    ]


def test_a_write_keeps_the_mode_and_an_undo_restores_bytes_and_mode(run: Path) -> None:
    before = tree(run)
    write(two_edits_and_a_copy(run))
    assert (run / "run.sh").read_bytes() == b"python train.py --seq_len 256\r\n"
    assert stat.S_IMODE((run / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((run / "fixed" / "deep" / "run.sh").stat().st_mode) == 0o755
    undone = undo([run])
    assert undone == [
        Undone(run / "run.sh", "restored"),
        Undone(run / "config.yaml", "restored"),
        Undone(run / "fixed" / "deep" / "run.sh", "removed"),
    ]
    assert tree(run) == before


def test_a_batch_is_one_file_that_says_what_was_written_when_and_by_what(run: Path) -> None:
    write(two_edits_and_a_copy(run))
    (file,) = (run / ".mldiag").iterdir()
    batch = json.loads(file.read_bytes())
    assert batch["version"]
    assert batch["time"].startswith("20")
    assert [(f["path"], f["kind"]) for f in batch["files"]] == [
        ("run.sh", "edited"),
        ("config.yaml", "edited"),
        ("fixed/deep/run.sh", "created"),
    ]
    assert batch["files"][1]["before"] == hashlib.sha256(b"lr: 1e-3\n").hexdigest()
    assert batch["files"][1]["after"] == hashlib.sha256(b"lr: 1e-4\n").hexdigest()


def test_the_journal_of_a_private_file_is_private(run: Path) -> None:
    write([edited(run / "config.yaml", b"lr: 1e-4\n")])
    (file,) = (run / ".mldiag").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_batches_are_taken_back_one_by_one_the_last_first(run: Path) -> None:
    states = [tree(run)]
    for number in range(12):
        write([edited(run / "config.yaml", f"lr: {number}\n".encode())])
        states.append(tree(run))
    for state in reversed(states[:-1]):
        undo([run])
        assert tree(run) == state


def test_without_a_batch_there_is_nothing_to_undo(run: Path) -> None:
    with pytest.raises(FixError, match=r"run: nothing to undo"):
        undo([run])


def test_a_file_that_changed_since_is_refused_and_nothing_is_undone(run: Path) -> None:
    write(two_edits_and_a_copy(run))
    (run / "config.yaml").write_bytes(b"lr: mine\n")
    now = tree(run)
    with pytest.raises(FixError, match=r"config\.yaml: the file changed since it was written; nothing was undone"):
        undo([run])
    assert tree(run) == now


def test_a_copy_that_changed_since_is_not_removed(run: Path) -> None:
    write(two_edits_and_a_copy(run))
    put(run / "fixed" / "deep" / "run.sh", b"mine\n")
    now = tree(run)
    with pytest.raises(FixError, match=r"deep/run\.sh: the file changed since it was written"):
        undo([run])
    assert tree(run) == now


def test_an_edited_file_that_is_gone_is_refused(run: Path) -> None:
    write(two_edits_and_a_copy(run))
    (run / "run.sh").unlink()
    with pytest.raises(FixError, match=r"run\.sh: the file that was written is gone; nothing was undone"):
        undo([run])


def test_a_copy_that_is_gone_is_no_obstacle(run: Path) -> None:
    before = tree(run)
    write(two_edits_and_a_copy(run))
    (run / "fixed" / "deep" / "run.sh").unlink()
    undo([run])
    assert tree(run) == before


def test_one_refused_folder_keeps_all_of_them_from_being_undone(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a" / "run.sh", b"1"), put(tmp_path / "b" / "run.sh", b"1")
    write([edited(first, b"2"), edited(second, b"2")])
    second.write_bytes(b"3")
    now = tree(tmp_path)
    with pytest.raises(FixError, match=r"b/run\.sh: the file changed"):
        undo([first.parent, second.parent])
    assert tree(tmp_path) == now


def test_each_checked_folder_has_its_own_journal(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a" / "run.sh", b"1"), put(tmp_path / "b" / "run.sh", b"1")
    write([edited(first, b"2"), edited(second, b"2")])
    undo([first.parent])
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert not (tmp_path / "a" / ".mldiag").exists()


def test_a_folder_with_something_else_in_it_stays_after_an_undo(run: Path) -> None:
    write(two_edits_and_a_copy(run))
    put(run / "fixed" / "notes.txt", b"mine")
    put(run / ".mldiag" / "notes.txt", b"mine")
    undo([run])
    assert sorted(p.name for p in run.rglob("*") if p.is_file()) == ["config.yaml", "notes.txt", "notes.txt", "run.sh"]


def test_a_file_that_changed_before_the_write_is_refused_and_nothing_is_written(run: Path) -> None:
    planned = two_edits_and_a_copy(run)
    (run / "config.yaml").write_bytes(b"lr: mine\n")
    before = tree(run)
    with pytest.raises(FixError, match=r"config\.yaml: the file changed since the fixes were planned"):
        write(planned)
    assert tree(run) == before


def test_a_file_without_write_permission_is_refused_and_nothing_is_written(run: Path) -> None:
    (run / "config.yaml").chmod(0o444)
    before = tree(run)
    with pytest.raises(FixError, match=r"config\.yaml: the file is read-only; nothing was written"):
        write(two_edits_and_a_copy(run))
    assert tree(run) == before


def test_a_folder_without_write_permission_is_refused(run: Path) -> None:
    planned = two_edits_and_a_copy(run)
    run.chmod(0o555)
    with pytest.raises(FixError, match=r"run: the folder is read-only; nothing was written"):
        write(planned)
    run.chmod(0o755)


def test_a_copy_over_a_file_that_has_appeared_is_refused(run: Path) -> None:
    planned = two_edits_and_a_copy(run)
    put(run / "fixed" / "deep" / "run.sh", b"mine")
    before = tree(run)
    with pytest.raises(FixError, match=r"deep/run\.sh: the file has appeared"):
        write(planned)
    assert tree(run) == before


def test_a_copy_below_a_file_is_refused(run: Path) -> None:
    before = tree(run)
    with pytest.raises(FixError, match=r"run\.sh: is no folder; nothing was written"):
        write([created(run / "run.sh" / "x.sh", b"x", run)])
    assert tree(run) == before


def test_a_name_that_the_journal_cannot_hold_is_refused(run: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(run) + b"/caf\xe9.yaml"))
    path.write_bytes(b"lr: 1")
    with pytest.raises(FixError, match="name is not UTF-8"):
        write([edited(path, b"lr: 2")])
    assert path.read_bytes() == b"lr: 1"


def test_a_journal_that_is_a_link_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run / ".mldiag").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FixError, match=r"\.mldiag: cannot be written: it is a link; expected a folder"):
        write(two_edits_and_a_copy(run))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_damaged_journal_is_named_and_nothing_is_undone(run: Path) -> None:
    write(two_edits_and_a_copy(run))
    (file,) = (run / ".mldiag").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    now = tree(run)
    with pytest.raises(FixError, match=r"\.json: not a journal of mldiag"):
        undo([run])
    assert tree(run) == now


def test_a_journal_with_another_content_than_it_says_restores_nothing(run: Path) -> None:
    write([edited(run / "config.yaml", b"lr: 1e-4\n")])
    (file,) = (run / ".mldiag").iterdir()
    batch = json.loads(file.read_bytes())
    batch["files"][0]["content"] = "aGVsbG8="
    file.write_text(json.dumps(batch))
    with pytest.raises(FixError, match=r"config\.yaml: its former content is damaged in the journal"):
        undo([run])
    assert (run / "config.yaml").read_bytes() == b"lr: 1e-4\n"


@pytest.mark.parametrize("path", ["../victim.txt", "link/victim.txt"])
def test_a_journal_from_elsewhere_cannot_change_files_outside_its_folder(run: Path, tmp_path: Path, path: str) -> None:
    victim = put(tmp_path / "victim.txt", b"known content")
    (run / "link").symlink_to(tmp_path)
    entry = {
        "path": path,
        "kind": "edited",
        "before": hashlib.sha256(b"attack").hexdigest(),
        "after": hashlib.sha256(b"known content").hexdigest(),
        "content": "YXR0YWNr",
        "mode": 0o777,
        "copy_of": "run.sh",
    }
    batch = {"name": "x", "time": "", "version": "", "files": [entry], "folders": [], "schema": 1}
    put(run / ".mldiag" / "000001-x.json", json.dumps(batch).encode())
    with pytest.raises(FixError, match="outside the checked path"):
        undo([run])
    assert victim.read_bytes() == b"known content"


def test_copies_in_another_folder_are_put_back_where_that_folder_is_named(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write([created(out / "run.sh", b"first", run)])
    write([Write(out / "run.sh", run, b"first", b"second", 0o644, run / "run.sh")])
    with pytest.raises(FixError, match="outside the checked path; name its folder with --output"):
        undo([run])
    undo([run], out)
    assert (out / "run.sh").read_bytes() == b"first"
    undo([run])
    assert not out.exists()


def test_a_full_disk_leaves_everything_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(run)
    steps = 0
    for step in range(1, 100):
        planned = two_edits_and_a_copy(run)
        with ending(monkeypatch, step, OSError(28, "No space left on device")) as calls:
            try:
                write(planned)
            except FixError as error:
                message = str(error)
            else:
                message = ""
        if len(calls) < step:
            break
        if not message:  # only a folder could not be synced: the files are written
            undo([run])
        else:
            assert message.endswith("cannot be written: no space left on device; nothing was written")
            steps += 1
        assert tree(run) == before
    assert steps >= 8


def test_an_interrupt_from_the_keyboard_leaves_everything_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(run)
    planned = two_edits_and_a_copy(run)
    with ending(monkeypatch, 8, KeyboardInterrupt()) as calls, pytest.raises(KeyboardInterrupt):
        write(planned)
    assert calls[7] == "replace"
    assert tree(run) == before


def test_a_kill_at_any_step_of_writing_can_be_undone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(run)
    steps = 0
    for step in range(1, 100):
        planned = two_edits_and_a_copy(run)
        with ending(monkeypatch, step, Killed()) as calls:
            try:
                write(planned)
            except Killed:
                steps += 1
        if len(calls) < step:
            break
        if any((run / journal.FOLDER).glob("0*.json")):
            undo([run])
        else:
            assert step <= 2
            with pytest.raises(FixError, match="nothing to undo"):
                undo([run])
        assert tree(run) == before
    assert steps >= 9


def test_a_kill_at_any_step_of_undoing_can_be_undone_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(run)
    steps = 0
    for step in range(1, 100):
        write(two_edits_and_a_copy(run))
        with ending(monkeypatch, step, Killed()) as calls:
            try:
                undo([run])
            except Killed:
                steps += 1
        if len(calls) < step:
            break
        undo([run])
        assert tree(run) == before
    assert steps >= 5


KILL = """
import os, signal, sys
from pathlib import Path
from mldiag.journal import Write, write
run, step = Path(sys.argv[1]), int(sys.argv[2])
calls, real = [], os.replace
def replace(*args):
    calls.append(args)
    if len(calls) == step:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*args)
os.replace = replace
write([Write(run / name, run, (run / name).read_bytes(), b"new", 0o644) for name in ("run.sh", "config.yaml")])
"""


@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_a_killed_process_wrote_is_taken_back(run: Path, step: int) -> None:
    before = tree(run)
    done = subprocess.run([sys.executable, "-c", KILL, str(run), str(step)], check=False)
    assert done.returncode == -9
    assert tree(run) != before
    if step == 1:
        with pytest.raises(FixError, match="nothing to undo"):
            undo([run])
    else:
        undo([run])
    assert tree(run) == before


def killed_at(monkeypatch: pytest.MonkeyPatch, planned: list[Write], step: int) -> bool:
    with ending(monkeypatch, step, Killed()):
        try:
            write(planned)
        except Killed:
            return True
    return False


def test_a_kill_at_any_step_is_told_while_files_are_mixed_and_recovered_to_a_whole_set(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(run)
    told = 0
    for step in range(1, 100):
        planned = two_edits_and_a_copy(run)
        if not killed_at(monkeypatch, planned, step):
            undo([run])
            break
        contents = [w.path.read_bytes() if w.path.exists() else None for w in planned]
        new = sum(content == w.after for content, w in zip(contents, planned, strict=True))
        line = interrupted(run)
        assert (line is not None) == (0 < new < 3)
        if line is not None:
            told += 1
            assert line == (
                f"{run}: a fix was interrupted while it was written, with {new} of 3 files corrected; "
                f"`mldiag fix --undo {run}` takes it back"
            )
        taken_back = recover([run])
        assert len(taken_back) == (new if new < 3 else 0)
        assert interrupted(run) is None
        if new == 3:
            assert [w.path.read_bytes() for w in planned] == [w.after for w in planned]
            undo([run])
        with pytest.raises(FixError, match="nothing to undo"):
            undo([run])
        assert tree(run) == before
    assert told == 2


def test_a_kill_at_any_step_of_undoing_is_told_and_recovered(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(run)
    told = 0
    for step in range(1, 100):
        write(two_edits_and_a_copy(run))
        after = tree(run)
        with ending(monkeypatch, step, Killed()) as calls, suppress(Killed):
            undo([run])
        if len(calls) < step:
            break
        told += interrupted(run) is not None
        recover([run])
        now = {name: held for name, held in tree(run).items() if ".mldiag" not in name}
        whole = [{n: held for n, held in state.items() if ".mldiag" not in n} for state in (before, after)]
        assert now in whole
        if now == whole[1]:
            undo([run])
        assert tree(run) == before
    assert told >= 2


def test_what_was_written_together_is_recovered_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(1, 100):
        first, second = put(tmp_path / "a" / "run.sh", b"1"), put(tmp_path / "b" / "run.sh", b"1")
        before = tree(tmp_path)
        if not killed_at(monkeypatch, [edited(first, b"2"), edited(second, b"2")], step):
            break
        mixed = first.read_bytes() != second.read_bytes()
        lines = {interrupted(first.parent), interrupted(second.parent)}
        assert (len(lines) == 1 and None not in lines) if mixed else lines == {None}
        recover([second.parent])
        recover([first.parent])
        assert first.read_bytes() == second.read_bytes()
        for path in (first, second):
            if path.read_bytes() == b"2":
                undo([path.parent])
            else:
                with pytest.raises(FixError, match="nothing to undo"):
                    undo([path.parent])
        assert tree(tmp_path) == before


def test_an_interrupted_writing_of_several_folders_is_undone_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = put(tmp_path / "a" / "run.sh", b"1"), put(tmp_path / "b" / "run.sh", b"1")
    before = tree(tmp_path)
    # Two journals and two files are synced, and so are four folders, until the second file takes its place.
    step = 0
    while first.read_bytes() == second.read_bytes():
        undo_all(tmp_path)
        step += 1
        assert killed_at(monkeypatch, [edited(first, b"2"), edited(second, b"2")], step)
    undo([second.parent])
    assert tree(tmp_path) == before


def test_an_interrupted_writing_of_several_folders_is_undone_by_naming_all_whenever_the_kill_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(1, 100):
        first, second = put(tmp_path / "a" / "run.sh", b"1"), put(tmp_path / "b" / "run.sh", b"1")
        before = tree(tmp_path)
        killed = killed_at(monkeypatch, [edited(first, b"2"), edited(second, b"2")], step)
        if any(tmp_path.glob("*/.mldiag/0*.json")):
            undo([first.parent, second.parent])
        else:
            with pytest.raises(FixError, match="nothing to undo"):
                undo([first.parent, second.parent])
        assert tree(tmp_path) == before
        if not killed:
            break


def undo_all(base: Path) -> None:
    for folder in (base / "a", base / "b"):
        with suppress(FixError):
            undo([folder])


def test_while_a_fix_is_left_half_done_nothing_else_is_written_there(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 1
    while interrupted(run) is None:
        undo_or_nothing(run)
        assert killed_at(monkeypatch, two_edits_and_a_copy(run), step)
        step += 1
    now = tree(run)
    other = put(run / "deep" / "other.yaml", b"lr: 1\n")
    with pytest.raises(FixError, match=r"a fix was interrupted while it was written, .*; nothing was written"):
        write([edited(other, b"lr: 2\n")])
    assert other.read_bytes() == b"lr: 1\n"
    other.unlink()
    other.parent.rmdir()
    assert tree(run) == now


def undo_or_nothing(run: Path) -> None:
    with suppress(FixError):
        undo([run])


def test_a_file_that_changed_since_an_interruption_is_kept_and_the_way_out_is_told(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 1
    while interrupted(run) is None:
        undo_or_nothing(run)
        assert killed_at(monkeypatch, two_edits_and_a_copy(run), step)
        step += 1
    (run / "config.yaml").write_bytes(b"lr: mine\n")
    now = tree(run)
    with pytest.raises(FixError, match=r"config\.yaml: changed since .* remove .*unfinished\.json$"):
        recover([run])
    assert tree(run) == now
    for journal_file in (run / ".mldiag").glob("*.json"):
        journal_file.unlink()
    assert interrupted(run) is None
    assert recover([run]) == []


def test_without_being_asked_nothing_outside_of_the_folder_is_taken_back(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = [created(tmp_path / "out" / name, b"x", run) for name in ("a.sh", "b.sh")]
    step = 1
    while interrupted(run) is None:
        undo_or_nothing(run)
        assert killed_at(monkeypatch, planned, step)
        step += 1
    with pytest.raises(FixError, match=r"a fix was interrupted .* \(.*out/a\.sh is outside the checked path\)"):
        recover([run])
    assert [u.action for u in recover([run], tmp_path / "out")] == ["removed"]
    assert not (tmp_path / "out").exists()


def test_two_processes_do_not_write_in_one_folder_at_once(run: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    (run / ".mldiag").mkdir()
    handle = os.open(run / ".mldiag", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = tree(run)
        with pytest.raises(FixError, match="run: another mldiag is writing there now; try again when it is done"):
            write(two_edits_and_a_copy(run))
        assert tree(run) == before
    finally:
        os.close(handle)
    write(two_edits_and_a_copy(run))
    handle = os.open(run / ".mldiag", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(FixError, match="another mldiag is writing there now"):
            undo([run])
    finally:
        os.close(handle)


def test_a_refused_write_leaves_no_journal(run: Path) -> None:
    planned = two_edits_and_a_copy(run)
    (run / "config.yaml").write_bytes(b"lr: mine\n")
    with pytest.raises(FixError):
        write(planned)
    assert not (run / ".mldiag").exists()


def test_copies_are_told_from_runs_in_the_folder_above_and_below(tmp_path: Path) -> None:
    base = tmp_path / "versions"
    original = put(base / "v5" / "run.sh", b"x")
    write([created(base / "v5" / "run_fixed.sh", b"y", base, original)])
    assert copies_in(base) == ("v5/run_fixed.sh",)
    assert copies_in(base / "v5") == ("run_fixed.sh",)
    assert copies_in(tmp_path, ["versions/v5/run.sh", "versions/v5/run_fixed.sh"]) == ("versions/v5/run_fixed.sh",)


def test_edited_files_are_no_copies(run: Path) -> None:
    write([edited(run / "run.sh", b"new")])
    assert copies_in(run) == ()


def test_a_copy_that_is_gone_or_taken_back_is_none(run: Path) -> None:
    write([created(run / "run_fixed.sh", b"y", run)])
    assert copies_in(run) == ("run_fixed.sh",)
    undo([run])
    assert copies_in(run) == ()


def test_a_folder_of_copies_that_is_named_itself_is_checked(run: Path) -> None:
    write([created(run / "fixed" / "run.sh", b"y", run)])
    assert copies_in(run) == ("fixed/run.sh",)
    assert copies_in(run / "fixed") == ()
    assert copies_in(run / "fixed", named=run) == ("run.sh",)


def test_a_damaged_journal_hides_nothing_from_an_audit(run: Path) -> None:
    put(run / ".mldiag" / "000001-x.json", b"{")
    assert copies_in(run) == ()


def test_what_mldiag_wrote_is_known_by_place_and_content(run: Path) -> None:
    write([created(run / "run_fixed.sh", b"y", run)])
    assert written(run / "run_fixed.sh", run, b"y")
    assert not written(run / "run_fixed.sh", run, b"z")
    assert not written(run / "other.sh", run, b"y")


files = st.dictionaries(
    st.sampled_from(["run.sh", "a/config.yaml", "a/b/train.py", "naïve.json"]),
    st.tuples(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from([0o600, 0o644, 0o755, 0o777])),
    min_size=1,
)


@given(files, st.integers(1, 12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_batch_killed_anywhere_is_taken_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    contents: dict[str, tuple[bytes, bytes, int]],
    step: int,
) -> None:
    root = tmp_path_factory.mktemp("run")
    for name, (before, _, mode) in contents.items():
        put(root / name, before, mode)
    state = tree(root)
    planned = [edited(root / n, after, root) for n, (before, after, _) in contents.items() if after != before]
    planned.append(created(root / "copy" / "run.sh", b"copy", root))
    with ending(monkeypatch, step, Killed()):
        try:
            write(planned)
        except Killed:
            pass
        else:
            assert all(w.path.read_bytes() == w.after for w in planned)
    if any((root / journal.FOLDER).glob("0*.json")):
        undo([root])
    else:
        with pytest.raises(FixError, match="nothing to undo"):
            undo([root])
    assert tree(root) == state


cuts = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4), st.text("xyz\n", max_size=4)), max_size=5)


@given(st.text("abc\n", min_size=1, max_size=40), cuts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_fixes_that_were_applied_and_undone_leave_no_trace(
    tmp_path_factory: pytest.TempPathFactory, text: str, cuts: list[tuple[int, int, str]]
) -> None:
    root = tmp_path_factory.mktemp("run").resolve()
    put(root / "run.sh", text.encode(), 0o755)
    before = tree(root)
    edits = {Edit("run.sh", s, s + n, text[s : s + n], new) for s, n, new in cuts if s + n <= len(text)}

    def audit(overlay: Any) -> Report:
        found = [] if overlay else [Finding("", fix=Fix.safe("", e), code="CFG001") for e in sorted(edits, key=str)]
        return Report((RunReport(str(root), "run", tuple(found), clean=("X",)),))

    changes = settle(audit).changes
    write(in_place(changes, [root]))
    for change in changes:
        assert change.path.read_bytes() == change.after != change.before
    if changes:
        undo([root])
    assert tree(root) == before
