"""How text logs end: the telling line and its number, in files of any size and encoding."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mldiag.assembly import read_run
from mldiag.discovery import discover
from mldiag.errors import NotApplicable
from mldiag.facts.ending import TAIL, Ending
from mldiag.failures import FailureKind
from mldiag.files import Folder
from mldiag.plugins import load
from mldiag.run import Run

PLUGINS = load()
TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 9, in <module>\n    step()\n'


def run_at(root: Path) -> Run:
    (found,) = discover(root, PLUGINS.takes)
    return read_run(Folder(found.folder, found.files), found.label, PLUGINS)


def ending_of(root: Path, name: str, content: bytes) -> Ending:
    (root / name).write_bytes(content)
    found = run_at(root).get(Ending)
    assert isinstance(found, Ending)
    return found


def rows(count: int) -> str:
    return "".join(f"step {i + 1} | loss: {3 - i / count:.4f}\n" for i in range(count))


@pytest.mark.parametrize("count", [5, 20_000])
def test_the_error_behind_the_last_value_is_named_with_its_line(count: int, tmp_path: Path) -> None:
    text = rows(count) + TRACEBACK + "torch.OutOfMemoryError: CUDA out of memory.\n"
    assert (len(text) > 2 * TAIL) == (count > 1000)
    found = ending_of(tmp_path, "train.log", text.encode())
    assert found.failure is not None
    assert found.failure.kind is FailureKind.DEVICE_MEMORY
    assert found.said == "torch.OutOfMemoryError: CUDA out of memory."
    assert str(found.source) == f"train.log:{count + 4}"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    text = "loading\n" + TRACEBACK + "KeyError: 'label'\n"
    found = ending_of(tmp_path, "train_log.txt", text.encode(encoding))
    assert (found.failure is not None, found.said, found.source.line) == (True, "KeyError: 'label'", 5)


def test_in_a_packed_log(tmp_path: Path) -> None:
    found = ending_of(tmp_path, "train.log.gz", gzip.compress((rows(5) + TRACEBACK + "KeyboardInterrupt\n").encode()))
    assert (found.said, found.source.line) == ("KeyboardInterrupt", 9)


@pytest.mark.parametrize(
    "said",
    [
        "slurmstepd: error: *** JOB 4711 ON n1 CANCELLED AT 2024-03-01T10:00:00 DUE TO TIME LIMIT ***",
        "Killed",
        "Segmentation fault (core dumped)",
        "forrtl: error (200): program aborting due to window-CLOSE event",
    ],
)
def test_what_the_system_says_ends_a_program(said: str, tmp_path: Path) -> None:
    assert ending_of(tmp_path, "nohup.out", f"{rows(5)}{said}\n".encode()).failure


@pytest.mark.parametrize(
    "last",
    [
        "Training completed",
        "2025-11-03 10:37:17 Training finished.",
        "Epoch 6: Early stopping",
        "`Trainer.fit` stopped: `max_epochs=10` reached.",
        "INFO trainer: done",
    ],
)
def test_a_program_that_says_it_is_done_was_not_interrupted(last: str, tmp_path: Path) -> None:
    found = ending_of(tmp_path, "train.log", f"{rows(5)}{last}\n".encode())
    assert found.finished
    assert found.failure is None


@pytest.mark.parametrize(
    "last",
    [
        "",
        "Total training time: 0:30:05 (0:02:00 on hooks)\n",
        "the error was 0.5\n",
        "Epoch 3 training finished\n",
        "saving done\n",
    ],
)
def test_other_lines_say_neither(last: str, tmp_path: Path) -> None:
    found = ending_of(tmp_path, "train.log", f"{rows(5)}{last}".encode())
    assert not found.finished
    assert found.failure is None


def test_an_error_before_the_last_value_ended_nothing(tmp_path: Path) -> None:
    text = rows(5) + TRACEBACK + "ConnectionError: no route\n" + rows(5)
    assert not ending_of(tmp_path, "train.log", text.encode()).failure


def test_an_exception_at_exit_ended_nothing(tmp_path: Path) -> None:
    text = rows(5) + "Exception ignored in: <function _del at 0x7f>\n" + TRACEBACK + "AttributeError: x\n"
    assert not ending_of(tmp_path, "train.log", text.encode()).failure


def test_one_log_that_finished_outweighs_another_that_did_not(tmp_path: Path) -> None:
    (tmp_path / "first.log").write_text(rows(5) + TRACEBACK + "ValueError: x\n")
    found = ending_of(tmp_path, "second.log", (rows(9) + "Training completed\n").encode())
    assert (found.finished, found.failure) == (True, None)


def test_the_time_left_is_told_in_steps(tmp_path: Path) -> None:
    line = "d2.utils.events INFO:  eta: 1 day, 2:00:00  iter: 400  total_loss: 1.5  time: 0.5000  lr: 0.004\n"
    assert ending_of(tmp_path, "log.txt", (line * 3).encode()).left == (26 * 3600 / 0.5, 400)


def test_without_a_text_log_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n1,2\n2,1\n")
    with pytest.raises(NotApplicable, match="no text log"):
        run_at(tmp_path).get(Ending)


@pytest.mark.parametrize(
    ("last", "stopped"),
    [
        ("Early stopping, best iteration is:\n[63]\ttrain's l2: 0.04\tvalid's l2: 0.18", True),
        ("Epoch 52: early stopping", True),
        ("Early stopping at epoch 52/100", True),
        ("Monitored metric val_loss did not improve in the last 6 records. Signaling Trainer to stop.", True),
        ("Stopped by overfitting detector  (20 iterations wait)", True),
        ("Früher Abbruch nach Epoche 52", True),
        ("验证损失不再下降，早停", True),
        ("EarlyStopping counter: 3 out of 5", False),
        ("early stopping enabled", False),
        ("early_stopping patience=10", False),
    ],
)
def test_whether_early_stopping_ended_it(last: str, stopped: bool, tmp_path: Path) -> None:
    found = ending_of(tmp_path, "train.log", (rows(5) + last + "\n").encode())
    assert found.stopped is stopped
    assert found.finished is stopped
