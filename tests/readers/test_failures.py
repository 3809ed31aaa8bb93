"""Failures in the text of logs: every shape that tracebacks take, what is none, and what a long log costs."""

from __future__ import annotations

import time

import pytest

from mldiag.failures import FailureKind, LoggedFailure
from mldiag.files import Block
from mldiag.readers._stores.wandb_console import Console
from mldiag.readers._text.failures import MOST, Failures, kind_of

_BEGIN = "Traceback (most recent call last):\n"
_BODY = '  File "/home/a/train.py", line 9, in step\n    loss.backward()\n'


def found(text: str, last_row: int = 0, size: int = 2**20) -> list[LoggedFailure]:
    """The failures of a log that is read in blocks of at most so many bytes of whole lines."""
    failures, data, line, begin = Failures("train.log"), text.encode(), 1, 0
    while begin < len(data):
        end = data.rfind(b"\n", begin, begin + size) + 1 or data.find(b"\n", begin) + 1 or len(data)
        block = Block(data[begin:end], line, data.count(b"\n", begin, end))
        failures.read(block)
        line, begin = line + block.ends, end
    return list(failures.finish(last_row))


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (f"{_BEGIN}{_BODY}ValueError: bad\n", "ValueError: bad", 4),
        (f"python : Traceback (most recent call last):\r\n+ a.py\r\n{_BODY}ValueError: bad\r\n", "ValueError: bad", 5),
        (f"\x1b[31mTraceback (most recent call last):\x1b[0m\n{_BODY}\x1b[1mKeyError\x1b[0m: 1\n", "KeyError: 1", 4),
        (f" 10%|#  | 1/9\r 20%|## | 2/9\r{_BEGIN}{_BODY}KeyError: 1\n", "KeyError: 1", 4),
        (f"{_BEGIN}{_BODY}AssertionError\n", "AssertionError", 4),
        (f"{_BEGIN}{_BODY}queue.Empty\n", "queue.Empty", 4),
        (f"{_BEGIN}{_BODY}hydra.errors.Missing: x\n", "hydra.errors.Missing: x", 4),
        (f"{_BEGIN}{_BODY}RuntimeError:\nno kernel image\n", "RuntimeError: no kernel image", 4),
        (f"{_BEGIN}{_BODY}RuntimeError: a\n\tMissing key\n", "RuntimeError: a", 4),
        (f"{_BEGIN}{_BODY}ValueError: no line end", "ValueError: no line end", 4),
        (
            _BEGIN + '  File "a.py", line 3\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n',
            "SyntaxError: invalid syntax",
            5,
        ),
        (
            "2024-05-01 12:00:00,123 Traceback (most recent call last):\n"
            '2024-05-01 12:00:00,124   File "a.py", line 3, in f\n2024-05-01 12:00:00,125 ValueError: bad\n',
            "ValueError: bad",
            3,
        ),
        (
            "\u256d\u2500\u2500 Traceback (most recent call last) \u2500\u2500\u256e\n"
            "\u2502 /home/a/train.py:63 in <module> \u2502\n\u2570\u2500\u2500\u2500\u256f\nRuntimeError: rich\n",
            "RuntimeError: rich",
            4,
        ),
        (
            "[rank1]: Traceback (most recent call last):\n[rank0]: Traceback (most recent call last):\n"
            '[rank0]:   File "a.py", line 1, in f\n[rank1]:   File "a.py", line 1, in f\n[rank0]: ValueError: zero\n'
            "[rank1]: ValueError: one\n",
            "ValueError: one",
            6,
        ),
        (
            "(Worker pid=17, ip=10.0.0.3) Traceback (most recent call last):\n"
            '(Worker pid=17, ip=10.0.0.3)   File "a.py", line 1, in f\n(Worker pid=17, ip=10.0.0.3) ValueError: ray\n',
            "ValueError: ray",
            3,
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 60, 2**20])
def test_a_traceback_is_told_by_its_last_line(text: str, message: str, line: int, size: int) -> None:
    failures = found(text, size=size)
    assert (message, line) in [(f.message, f.source.line) for f in failures]
    assert all(f.last and f.is_traceback for f in failures)


def test_each_of_two_mixed_tracebacks_is_told() -> None:
    text = "[rank1]: B[rank0]: B[rank0]: F[rank1]: F[rank0]: ValueError: zero\n[rank1]: ValueError: one\n"
    text = text.replace("B", _BEGIN).replace("F", '  File "a.py", line 1, in f\n')
    assert [(f.message, f.source.line) for f in found(text)] == [("ValueError: zero", 5), ("ValueError: one", 6)]


def test_the_innermost_place_outside_of_packages_is_told() -> None:
    inner = '  File "/usr/lib/python3/site-packages/torch/_tensor.py", line 4, in backward\n    engine()\n'
    (only,) = found(f"{_BEGIN}{_BODY}{inner}RuntimeError: x\n")
    assert only.frame == "train.py:9 in step"
    assert only.files == ("train.py", "_tensor.py")
    assert only.announced


def test_of_a_chain_the_more_telling_is_told_once() -> None:
    first = f"{_BEGIN}{_BODY}torch.OutOfMemoryError: CUDA out of memory. x\n"
    second = f"{_BEGIN}{_BODY}RuntimeError: cleaning up failed\n"
    between = "\nDuring handling of the above exception, another exception occurred:\n\n"
    (only,) = found(first + between + second)
    assert only.kind is FailureKind.DEVICE_MEMORY
    (only,) = found(f"{_BEGIN}{_BODY}KeyError: 1\n{between}{second}")
    assert only.message == "RuntimeError: cleaning up failed"


def test_a_worker_of_a_loader_tells_the_original() -> None:
    text = (
        f"{_BEGIN}{_BODY}ValueError: Caught ValueError in DataLoader worker process 0.\n"
        f"Original Traceback (most recent call last):\n{_BODY}ValueError: too many dimensions\n"
    )
    (only,) = found(text)
    assert only.message == "ValueError: too many dimensions"


@pytest.mark.parametrize(
    "text",
    [
        '{"text": "Traceback (most recent call last):\\n  File a"}\n',
        '"Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: x"\n',
        "see the Traceback (most recent call last) above\n",
        "Traceback (most recent call last):\nstep 1 loss 2\nstep 2 loss 1\n",
        "If you run out of memory, CUDA out of memory is what PyTorch says; NCCL and Killed are others.\n",
        "lr: 1e-9 exitcode: 0, no process was Killed\n",
        "processes Aborted: 0, Terminated: 0, Segmentation: train/seg\n",
        "W tensorflow bfc_allocator.cc:290] Allocator ran out of memory trying to allocate 2.2GiB\n",
    ],
)
def test_what_only_holds_the_words_is_no_failure(text: str) -> None:
    assert not found(text)
    assert not found(text, size=1)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (
            "slurmstepd: error: *** JOB 1 ON n CANCELLED AT 2024-01-01T00:00:00 DUE TO TIME LIMIT ***",
            FailureKind.TIME_LIMIT,
        ),
        ("slurmstepd: error: *** STEP 1.0 ON n CANCELLED AT 2024-01-01T00:00:00 ***", FailureKind.CANCELLED),
        ("=>> PBS: job killed: walltime 3622 exceeded limit 3600", FailureKind.TIME_LIMIT),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in step 1.batch", FailureKind.HOST_MEMORY),
        ("[123.4] Out of memory: Killed process 4242 (python) total-vm:1kB", FailureKind.HOST_MEMORY),
        ("/var/spool/job/slurm_script: line 12: 4242 Killed                  python train.py", FailureKind.KILLED),
        ("Killed", FailureKind.KILLED),
        ("E0101 api.py:988] failed (exitcode: -9) local_rank: 0 (pid: 7) of binary: python", FailureKind.KILLED),
        ("[launch.py:315] main: exits with return code = -9", FailureKind.KILLED),
        ("Segmentation fault (core dumped)", FailureKind.CRASHED),
        ("Fatal Python error: Segmentation fault", FailureKind.CRASHED),
        ("RuntimeError: CUDA error: an illegal memory access was encountered", FailureKind.DEVICE),
        ("OSError: [Errno 28] No space left on device", FailureKind.DISK),
        ("Detected KeyboardInterrupt, attempting graceful shutdown ...", FailureKind.INTERRUPTED),
        ("srun: error: n1: task 0: Exited with exit code 1", FailureKind.LAUNCHER),
    ],
)
def test_what_systems_say_at_the_end(line: str, kind: FailureKind) -> None:
    rows = "".join(f"step {i} loss 0.{i}\n" for i in range(10, 20))
    (only,) = found(f"{rows}{line}\n", last_row=10)
    assert (only.kind, only.source.line, only.last) == (kind, 11, True)
    assert not found(f"{line}\n{rows}", last_row=11)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB", FailureKind.DEVICE_MEMORY),
        ("RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; ...)", FailureKind.DEVICE_MEMORY),
        ("jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory", FailureKind.DEVICE_MEMORY),
        ("tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when", FailureKind.DEVICE_MEMORY),
        ("MemoryError", FailureKind.HOST_MEMORY),
        ("numpy.core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB for an array", FailureKind.HOST_MEMORY),
        ("RuntimeError: DataLoader worker (pid(s) 12) exited unexpectedly", FailureKind.LOADER),
        ("RuntimeError: CUDA error: device-side assert triggered", FailureKind.DEVICE),
        ("torch.distributed.DistBackendError: NCCL error in: x.cpp:1", FailureKind.COLLECTIVE),
        ("OSError: [Errno 28] No space left on device", FailureKind.DISK),
        ("KeyboardInterrupt", FailureKind.INTERRUPTED),
        ("torch.distributed.elastic.api.SignalException: Process 1 got signal: 15", FailureKind.CANCELLED),
        ("KeyError: 'memory'", FailureKind.EXCEPTION),
    ],
)  # fmt: skip
def test_the_kind_of_an_exception(raised: str, kind: FailureKind) -> None:
    assert kind_of(raised) is kind


def test_a_log_that_ends_inside_a_traceback_ended_with_it() -> None:
    (only,) = found(f"step 1 loss 2\n{_BEGIN}{_BODY}", last_row=1)
    assert (only.message, only.frame, only.source.line) == (
        "a traceback whose last line is missing", "train.py:9 in step", 4,
    )  # fmt: skip
    assert not found(f"{_BEGIN}{_BODY}saving the model\n")


def test_what_the_program_went_on_after_is_not_last() -> None:
    traceback = f"{_BEGIN}{_BODY}ValueError: bad\n"
    (row,) = found(f"{traceback}step 7 loss 0.1\n", last_row=5)
    (text,) = found(traceback + "Reading the data again\n" * 100)
    (words,) = found(traceback + "wandb: Find logs at: x\n" * 100)
    assert (row.last, text.last, words.last) == (False, False, True)


def test_bars_that_move_show_that_the_program_went_on() -> None:
    traceback = f"ERROR - wandb: network\n{_BEGIN}{_BODY}ConnectionError: gone\n"
    bars = "".join(f"Epoch {i}: 100%|###| 45/45 [00:02<00:00, 15.2it/s]\n" for i in range(6))
    assert [f.last for f in found(traceback + bars)] == [False]
    closed = "  3%|#         | 12/400 [00:12<06:40, 1.03s/it]\n"
    assert [f.last for f in found(traceback + closed)] == [True]


def test_the_console_output_in_a_wandb_file_is_looked_through() -> None:
    def record(text: str) -> bytes:
        data = text.encode()
        return bytes([0x1A, len(data)]) + data

    console = Console("run.wandb")
    for piece in ("\r 10% 1/9", "\r 20% 2/9\n", "Traceback (most recent", " call last):\n", _BODY, "ValueError: bad"):
        console.add(13, record(piece))
        console.add(4, record("the same once more"))
    (only,) = console.finish()
    assert (only.message, only.last, str(only.source)) == ("ValueError: bad", True, "run.wandb")

    console = Console("run.wandb")
    console.add(13, record(f"{_BEGIN}{_BODY}ValueError: bad\n"))
    console.pass_row()
    assert [f.last for f in console.finish()] == [False]


def test_a_destructor_ends_nothing() -> None:
    (only,) = found(f"Exception ignored in: <function f>\nTraceback (most recent call last):\n{_BODY}ValueError: bad\n")
    assert only.aside


def test_secrets_are_masked() -> None:
    token = "hf_" + "a1B2" * 9
    (only,) = found(f"{_BEGIN}{_BODY}ValueError: bad token {token}\n")
    assert token not in only.message
    assert token not in str(only.source.excerpt)


@pytest.mark.parametrize(
    "text",
    [
        f"ERROR x\nTraceback (most recent call last):\n{_BODY}ValueError: bad\nstep 5 loss 0.1\n" * 30_000,
        "Traceback (most recent call last):\n" * 100_000,
        "Traceback (most recent call last)" * 100_000,
        "[rank0]: Traceback (most recent call last):\nfoo\n" * 50_000,
        "Traceback (most recent call last):\n" + '  File "x", line 1, in f\n' * 200_000,
        "\r".join(["Traceback (most recent call last):"] * 100_000),
    ],
    ids=["many", "beginnings", "one line", "labels", "frames", "redrawn"],
)
def test_hostile_logs_cost_little_and_are_bounded(text: str) -> None:
    begun = time.process_time()
    failures = found(text)
    assert time.process_time() - begun < 5
    assert len(failures) <= MOST
    if failures:
        assert len(failures) + failures[0].more == text.count("Traceback")
