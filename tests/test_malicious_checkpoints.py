"""Checkpoints made to do harm: nothing of them is executed, and none costs more memory or time than is stated here."""

from __future__ import annotations

import copyreg
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from damage import mutated
from hostile_checkpoints import BOMBS, CANARY, COMMAND, CONTAINERS, LEAVING, MAGIC, OTHERS, TRICKS, tensor, text
from readers.checkpoint_files import FILES, archive

from mldiag.artifacts import Artifact
from mldiag.checkpoints import Checkpoint
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.plugins import load
from mldiag.readers import Choice, Reader

MEMORY = 512 * 2**20
"""Bytes beyond those of the process before, whatever the file says."""
SECONDS = 15
"""Seconds of CPU; the worst case here takes three on an idle core of 2024, and the cores of these tests are shared."""
LONGEST = 600
"""Characters of what is told of a file."""
GOOD = "".join(f'{{"step": {n}, "loss": {3 - n / 100}}}\n' for n in range(100))
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile", "os.putenv",
             "subprocess.Popen", "socket.", "pickle.find_class", "ctypes.", "code.__new__", "pty.spawn", "shutil.",
             "os.remove", "os.rename", "os.mkdir", "os.chmod", "os.link", "os.symlink", "urllib.Request")  # fmt: skip
"""Audit events that the reading of a checkpoint never raises."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a forked process")


class Told(NamedTuple):
    """What became of a file: `reason` why it was not read, `events` what was audited meanwhile."""

    found: list[Artifact]
    reason: str | None
    events: list[str]


choice = Choice(load().readers)


def reader_of(file: File) -> Reader | None:
    return next((r for r in choice(file.path) if r.matches(file)), None)


def read(root: Path, name: str) -> tuple[list[Artifact], str | None]:
    """As a run's files are read; anything but a `ReadError` is a defect."""
    found: list[Artifact] = []
    file = File(root, name)
    try:
        reader = reader_of(file)
        for artifact in reader.read(file) if reader else ():
            found.append(artifact)  # noqa: PERF402  what came before a trouble counts
    except ReadError as error:
        return found, error.reason
    return found, None


class Watch:
    """An audit hook, which cannot be taken away: it listens only while it is asked to."""

    def __init__(self) -> None:
        self.events: list[str] | None = None
        self.root = ""
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.events is None:
            return
        if event == "open":
            path = str(arguments[0])
            if not os.path.realpath(path).startswith(self.root):
                self.events.append(f"open {path}")
        elif event in ("import", "exec", "compile") or event.startswith(FORBIDDEN):
            self.events.append(f"{event} {arguments!r:.200}")


watch = Watch()


def watched(root: Path, name: str) -> Told:
    """Reads a file a second time, when all that reading needs is imported, and listens."""
    read(root, name)
    watch.root, watch.events = str(root.resolve()), []
    try:
        found, reason = read(root, name)
        return Told(found, reason, watch.events)
    finally:
        watch.events = None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run's folder, from which a module of its own could be imported, in a folder with a secret."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.bin").write_bytes(b"secret" * 100)
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "evil_module.py").write_text(f"def run(*_):\n    open('{CANARY}', 'w')\n\nrun()\n")
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(str(run))
    copyreg.add_extension("os", "system", 240)
    yield run
    copyreg.remove_extension("os", "system", 240)
    assert not (run / CANARY).exists()
    assert "evil_module" not in sys.modules


# What would be called


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("trick", TRICKS)
def test_what_a_pickle_would_call_is_told_and_not_called(trick: str, container: str, folder: Path) -> None:
    value, name = TRICKS[trick]
    (folder / container).write_bytes(CONTAINERS[container](value))
    told = watched(folder, container)
    assert told.events == []
    assert told.reason is None
    (checkpoint,) = [a for a in told.found if isinstance(a, Checkpoint)]
    assert name in checkpoint.calls
    assert checkpoint.metadata["epoch"] == 3


@pytest.mark.parametrize("container", OTHERS)
@pytest.mark.parametrize("trick", TRICKS)
def test_a_pickle_elsewhere_is_passed_over(trick: str, container: str, folder: Path) -> None:
    (folder / container).write_bytes(OTHERS[container](TRICKS[trick][0]))
    assert watched(folder, container).events == []


def test_the_tricks_work_where_pickles_are_loaded(folder: Path) -> None:
    """Otherwise nothing would be shown by nothing having happened."""
    made = []
    for trick in ("system", "posix", "eval", "inst", "obj", "stack global", "a key", "extension 1", "getattr chain"):
        command = f"{sys.executable} -c {json.dumps(_loading(trick))}"
        subprocess.run(["sh", "-c", command], cwd=folder, check=False, capture_output=True)
        made.append((trick, (folder / CANARY).exists()))
        (folder / CANARY).unlink(missing_ok=True)
    assert [trick for trick, done in made if not done] == []


def _loading(trick: str) -> str:
    data = (
        b"\x80\x04"
        + TRICKS[trick][0]
        .replace(b"ctorch\n_utils\n", b"cbuiltins\nint\n")
        .replace(b"X\x0c\0\0\0__builtins__", b"X\x07\0\0\0__doc__")
        + b"."
    )
    return (
        "import sys,copyreg,pickle; sys.path.insert(0,'.'); copyreg.add_extension('os','system',240); "
        f"pickle.loads(bytes.fromhex('{data.hex()}'))"
    )


class Calls:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (COMMAND,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_python_itself_pickles_is_told_in_every_protocol(protocol: int, folder: Path) -> None:
    (folder / "model.pt").write_bytes(pickle.dumps({"epoch": 3, "x": [Calls()]}, max(protocol, 2)))
    (folder / "zip.pt").write_bytes(archive({"a/data.pkl": pickle.dumps({"x": Calls()}, protocol), "a/version": b"3"}))
    for name in ("model.pt", "zip.pt"):
        told = watched(folder, name)
        assert told.events == []
        (checkpoint,) = [a for a in told.found if isinstance(a, Checkpoint)]
        assert "posix.system" in checkpoint.calls


@pytest.mark.parametrize("name", LEAVING)
def test_files_outside_of_the_folder_are_not_opened(name: str, folder: Path) -> None:
    (folder / name).write_bytes(LEAVING[name])
    told = watched(folder, name)
    assert told.events == []
    assert told.reason
    assert not any(t.path and (".." in t.path or t.path.startswith("/")) for a in told.found
                   if isinstance(a, Checkpoint) for t in a.tensors)  # fmt: skip


# What would fill the memory or never end


class Spent(NamedTuple):
    """How a forked process ended that read a file under limits."""

    outcome: str
    reason: str
    seconds: float


def limited(root: Path, name: str) -> Spent:
    """Reads a file in a process that is ended when it takes too much."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        outcome, reason, started = "", "", time.process_time()
        try:
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
            used = int(time.process_time()) + SECONDS + 1
            resource.setrlimit(resource.RLIMIT_CPU, (used, used))
            found, told = read(root, name)
            outcome, reason = ("read" if found else "nothing") if told is None else "told", told or ""
        except BaseException as error:
            outcome = type(error).__name__
        finally:
            os.write(writing, json.dumps([outcome, reason[: 2 * LONGEST], time.process_time() - started]).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if not said:
        return Spent(f"ended by {signal.Signals(os.WTERMSIG(status)).name}", "", float(SECONDS))
    return Spent(*json.loads(said))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(name: str, tmp_path: Path) -> None:
    file, data = BOMBS[name]()
    (tmp_path / file).write_bytes(data)
    del data
    spent = limited(tmp_path, file)
    assert spent.outcome in ("read", "told")
    assert spent.seconds < SECONDS
    assert len(spent.reason) <= LONGEST
    assert spent.reason.isprintable()


@pytest.mark.parametrize("left", [0, 1, 5, 12, 20])
def test_a_list_of_storages_behind_the_first_megabyte_is_found(left: int, tmp_path: Path) -> None:
    front = MAGIC + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    root = b"\x80\x02}(" + text("t") + tensor(b"K\1\x85", b"K\1\x85") + text("note")
    # A megabyte is what is read at first; so many bytes of it are left behind the object.
    root += text("n" * (2**20 - left - len(front + root) - 7)) + b"u."
    data = front + root + b"\x80\x02](" + text("0") + b"e." + (1).to_bytes(8, "little") + bytes(4)
    (tmp_path / "m.pt").write_bytes(data)
    found, reason = read(tmp_path, "m.pt")
    assert reason is None
    (checkpoint,) = [a for a in found if isinstance(a, Checkpoint)]
    assert checkpoint.tensors[0].offset == len(data) - 4


def test_the_limits_end_what_takes_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fills(*_: object) -> tuple[list[Artifact], str | None]:
        bytearray(2 * MEMORY)
        return [], None

    def spins(*_: object) -> tuple[list[Artifact], str | None]:
        while True:
            pass

    monkeypatch.setattr(sys.modules[__name__], "read", fills)
    assert limited(tmp_path, "x").outcome == "MemoryError"
    monkeypatch.setattr(sys.modules[__name__], "SECONDS", 0)
    monkeypatch.setattr(sys.modules[__name__], "read", spins)
    assert limited(tmp_path, "x").outcome in ("ended by SIGXCPU", "ended by SIGKILL")


@pytest.mark.parametrize("name", FILES)
def test_damaged_and_cut_checkpoints_execute_nothing(name: str, tmp_path: Path) -> None:
    file, data, _ = FILES[name]
    dice = random.Random(name)
    for number in range(60):
        damaged = mutated(data, dice) if number % 2 else data[: dice.randrange(len(data))]
        (tmp_path / file).write_bytes(damaged)
        told = watched(tmp_path, file)
        assert told.events == []
        assert told.reason is None or (told.reason.isprintable() and len(told.reason) <= LONGEST)


# The whole command

COMMANDED = """\
import os, sys
def hook(event, arguments):
    seen = event.startswith({forbidden!r}) or (event == "import" and arguments[0] == "evil_module")
    # Source is parsed, which is audited as compiling; code that is run is another matter.
    seen = seen or (event == "exec" and {canary!r} in str(arguments[0].co_consts))
    if seen or (event == "open" and str(arguments[0]).endswith(("secret.bin", "/passwd"))):
        os.write(2, ("SEEN " + event + str(arguments)[:200]).encode())
import numpy, mldiag.plugins, mldiag.cli, mldiag.cli.check, mldiag.cli.inspect
mldiag.plugins.load()
sys.addaudithook(hook)
os.write(2, b"LISTENING")
sys.argv = ["mldiag", *{words!r}]
mldiag.cli.main()
"""


@pytest.mark.parametrize("command", ["check", "inspect"])
def test_a_run_full_of_hostile_checkpoints_is_read_to_its_end(command: str, folder: Path) -> None:
    (folder / "log.jsonl").write_text(GOOD)
    for number, (trick, (value, _)) in enumerate(TRICKS.items()):
        container = [*CONTAINERS][number % len(CONTAINERS)]
        (folder / f"{trick.replace(' ', '_')}_{container}").write_bytes(CONTAINERS[container](value))
    for name, made in OTHERS.items():
        (folder / name).write_bytes(made(TRICKS["system"][0]))
    for name, data in LEAVING.items():
        (folder / name).write_bytes(data)
    for name in ("header of 2^60", "2^63 tensors", "a tree in itself", "quoted overlap", "a block of 2^40", "depth",
                 "tuples that laugh", "zip64 of 2^63"):  # fmt: skip
        file, data = BOMBS[name]()
        (folder / f"{name.replace(' ', '_')}_{file}").write_bytes(data)
    code = COMMANDED.format(forbidden=FORBIDDEN, canary=CANARY, words=[command, "."])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert "LISTENING" in done.stderr
    assert "SEEN" not in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert "its reader broke" not in done.stdout
    assert not (folder / CANARY).exists()
    if command == "check":
        assert done.returncode == 2
        assert "quoted_overlap_a.npz" in done.stdout + done.stderr
        assert "a zip archive whose members overlap" in " ".join((done.stdout + done.stderr).split())
    else:
        assert "train/loss" in done.stdout


def test_each_trick_is_a_finding(folder: Path) -> None:
    for trick, (value, _) in TRICKS.items():
        (folder / f"{trick.replace(' ', '_')}.pt").write_bytes(CONTAINERS["zip.pt"](value))
    done = subprocess.run(
        [sys.executable, "-m", "mldiag", "check", ".", "--select", "CKP007", "--format", "json"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    missed = [trick for trick in TRICKS if f'"{trick.replace(" ", "_")}.pt"' not in done.stdout]
    assert missed == []
    assert done.stdout.count('"CKP007"') >= len(TRICKS)
