"""SIGKILL at random moments of `mldiag fix`: what is on disk then, and whether it can always be recovered.

    python benchmarks/kills.py [--kills 1000] [--seed 0]

A run of eight files in eight formats is corrected, each time from the start, in one of four ways in turn: in place, as
copies in another folder, in place in two checked folders at once, or taken back with `--undo`. The process is killed at
a random moment: of three trials in one anywhere between its start and its end, in one within the milliseconds in which
it writes, and in one within those in which it puts the written files in the place of the old ones, where a kill leaves
some of each. After the kill it is noted what the file set is. A mixture
of old and new files must be told by the next `mldiag check` in one line, with exit code 2. Then `mldiag fix --undo`
must give the old set back to the byte and mode, and leave nothing else, or the next `mldiag fix --apply` must give the
new set, which `--undo` takes back; the two take turns. Exit code 1 where any of it does not hold.

Each process is forked from one that has imported mldiag and its rules, since start-up writes nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import stat
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

from click.testing import CliRunner

import mldiag.journal
import mldiag.plugins
from mldiag.cli import main as mldiag_main

FILES = {
    "run.sh": "#!/bin/bash\nWINDOW=320   # tokens\npython train.py --seq_len $WINDOW \\\n  --seed 3\n",
    "config.yaml": "# plan\ndata:\n  seq_len: 320   # windows\n  path: data/train.bin\ntrain: {lr: 3e-4, seed: 3}\n",
    "model_config.json": '{\n  "n_layer": 4,\n  "seq_len": 320,\n  "n_embd": 256\n}\n',
    "config.toml": "[model]\r\nseq_len = 320  # windows\r\nd_model = 256\r\n",
    "train.ini": "[data]\nseq_len = 320 ; windows\n",
    ".env": 'SEQ_LEN="320"\n',
    "args.txt": "--seq_len=320\n--seed=3\n",
    "train.py": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--seq_len', type=int, default=320)\n",
}
RULE = '''
from mldiag.api import Finding, Fix, Settings, edit_setting, rule


@rule("KIL001", severity="error", pre=True)
def long_windows(settings: Settings):
    """Windows are longer than the model has positions, wherever their length stands."""
    long = [s for s in settings if s.name == "seq_len" and s.value == 320]
    if long:
        edits = [edit_setting(s, 256) for s in long]
        yield Finding("too long", long[0].source, fix=Fix.safe("set seq_len to 256", *edits))
'''
REMEMBERED, REFRESHED = 5, 25
"""Last runs that are left to their end by whose time the moments are drawn; trials after which there is another."""
WAYS = ("in place", "copies", "two folders", "undo")

MOMENTS = ("any", "writing", "replacing")

Tree = dict[str, tuple[int, bytes] | None]
Times = dict[str, float]


class Trial(NamedTuple):
    """Two runs in a folder of their own, and the commands that correct them and take that back."""

    base: Path
    way: str
    paths: tuple[str, ...]
    rules: str

    @property
    def apply(self) -> list[str]:
        where = ["--output", str(self.base / "out")] if self.way == "copies" else ["--apply"]
        return ["fix", *self.paths, "--rules", self.rules, "--select", "KIL001", *where]

    @property
    def undo(self) -> list[str]:
        where = ["--output", str(self.base / "out")] if self.way == "copies" else []
        return ["fix", *self.paths, "--undo", *where]

    @property
    def check(self) -> list[str]:
        return ["check", *self.paths, "--rules", self.rules, "--select", "KIL001"]


def tree(folder: Path) -> Tree:
    """Mode and content of every file below a folder; None for folders."""
    return {
        p.relative_to(folder).as_posix(): (stat.S_IMODE(p.stat().st_mode), p.read_bytes()) if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


def shown(found: Tree) -> Tree:
    """The files that a user sees: without the journal and what is hidden beside them while they are written."""
    return {name: held for name, held in found.items() if held is not None and ".mldiag" not in name}


def prepared(base: Path, way: str, rules: Path) -> Trial:
    """Writes the runs of a trial."""
    for name in ("one", "two"):
        folder = base / name
        folder.mkdir(parents=True)
        for file, text in FILES.items():
            (folder / file).write_bytes(text.encode())
        (folder / "run.sh").chmod(0o755)
    folders = ("one", "two") if way == "two folders" else ("one",)
    return Trial(base, way, tuple(str(base / name) for name in folders), str(rules))


def run(words: Sequence[str]) -> tuple[int, str]:
    """Exit code and what was said of a command that is left to its end."""
    done = CliRunner().invoke(mldiag_main, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stderr


def killed(words: Sequence[str], delay: float, moment: str) -> bool:
    """Runs a command in a process of its own and kills it after so many seconds; whether it was still running.

    Args:
        moment: from when on the time is counted.
    """
    reading, sending = os.pipe()
    rung: list[str] = []

    def ring(_: str) -> None:
        if not rung:
            rung.append(moment)
            # Another process would come too late for what takes a fifth of a millisecond.
            if moment != "replacing" or not kill_after(delay):
                os.write(sending, b"x")

    child = os.fork()
    if child == 0:
        os.close(reading)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        try:
            if moment == "any":
                os.write(sending, b"x")
            with watched(lambda reached: ring(reached) if reached == moment else None):
                mldiag_main(list(words), standalone_mode=False)
        finally:
            os._exit(0)
    os.close(sending)
    rings = os.read(reading, 1)  # empty where the command ended, or the system killed it, without ringing
    os.close(reading)
    if not rings:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    until = time.perf_counter() + delay
    if delay > 0.003:
        time.sleep(delay - 0.002)
    while time.perf_counter() < until:
        pass
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill_after(delay: float) -> bool:
    """Has the system kill this process after so many seconds; False where it has no such timers (all but Linux)."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    event = struct.pack("=Qii48x", 0, signal.SIGKILL, 0)  # SIGEV_SIGNAL
    timer = ctypes.c_void_p()
    if library.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(timer)):
        return False
    seconds, nanoseconds = divmod(max(1, int(1e9 * delay)), 10**9)
    return bool(library.timer_settime(timer, 0, struct.pack("=qqqq", 0, 0, seconds, nanoseconds), None) == 0)


@contextmanager
def watched(tell: Callable[[str], object]) -> Iterator[None]:
    """Tells when writing begins and ends, and each time that a file takes the place of another."""
    real = {name: getattr(mldiag.journal, name) for name in ("write", "undo")}
    replace = Path.replace

    def writing(function: Callable[..., object], *args: object) -> object:
        tell("writing")
        try:
            return function(*args)
        finally:
            tell("written")

    def replacing(path: Path, target: Path) -> Path:
        if path.parent.name != mldiag.journal.FOLDER:
            tell("replacing")
        return replace(path, target)

    for name, function in real.items():
        setattr(mldiag.journal, name, partial(writing, function))
    Path.replace = replacing  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(mldiag.journal, name, function)
        Path.replace = replace  # type: ignore[method-assign]


def timed(words: Sequence[str]) -> Times:
    """Seconds of a command, of its writing, and from the first file that takes the place of another to the end."""
    at: dict[str, float] = {}
    begun = time.perf_counter()
    with watched(lambda reached: at.setdefault(reached, time.perf_counter())):
        code, said = run(words)
    whole = time.perf_counter() - begun
    if code:
        raise SystemExit(f"{' '.join(words)}: exit code {code}: {said}")
    return {"any": whole, "writing": at["written"] - at["writing"], "replacing": at["written"] - at["replacing"]}


def main() -> int:
    """Kills, recovers, prints figures; 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = Random(options.seed)
    # Loading plugins writes nothing and is the same each time.
    once = lru_cache(maxsize=None)(mldiag.plugins.load)
    mldiag.plugins.load = lambda folders=(): once(tuple(folders))  # type: ignore[assignment]
    started = time.perf_counter()
    counts: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve()
        rules = base / "rules"
        rules.mkdir()
        (rules / "rule.py").write_text(RULE)
        news: dict[str, Tree] = {}
        times: dict[str, list[Times]] = {way: [] for way in WAYS}
        for way in [w for w in WAYS for _ in range(REMEMBERED)]:
            times[way].append(unkilled(base / "unkilled", way, rules, news))
        edited = sum(news["in place"][f"one/{name}"][1] != text.encode() for name, text in FILES.items())  # type: ignore[index]
        number = done = 0
        while done < options.kills:
            way = WAYS[number % len(WAYS)]
            trial = prepared(base / str(number), way, rules)
            old, new = tree(trial.base), news[way]
            moment = MOMENTS[number // len(WAYS) % len(MOMENTS)]
            number += 1
            if way == "undo":
                run(trial.apply)
            delay = rng.uniform(0, 1.05) * median(spent[moment] for spent in times[way][-REMEMBERED:])
            if killed(trial.undo if way == "undo" else trial.apply, delay, moment):
                done += 1
                again = number // (len(MOMENTS) * len(WAYS)) % 2 == 0
                fault = recovered(trial, old, new, counts, again=again)
                if fault:
                    faults.append(f"{way}, trial {number}, killed after {1000 * delay:.2f} ms: {fault}")
            else:
                counts["too late"] += 1
            shutil.rmtree(trial.base)
            if not number % REFRESHED:  # how long a disk takes changes
                times[way].append(unkilled(base / "unkilled", way, rules, news))
    report(counts, options.kills, times, edited, faults, time.perf_counter() - started)
    return int(bool(faults))


def unkilled(base: Path, way: str, rules: Path, news: dict[str, Tree]) -> Times:
    """Seconds of a command that is left to its end, and of its writing; notes the files that it makes."""
    trial = prepared(base, way, rules)
    spent = timed(trial.apply)
    news[way] = shown(tree(trial.base))
    spent = timed(trial.undo) if way == "undo" else spent
    shutil.rmtree(base)
    return spent


def recovered(trial: Trial, old: Tree, new: Tree, counts: Counter[str], *, again: bool) -> str:
    """Notes what a kill left and recovers it; what is wrong, if anything."""
    found = tree(trial.base)
    now, former = shown(found), shown(old)
    journals = [name for name in found if name.endswith(".json") and "/.mldiag/" in name]
    unfinished = [name for name in journals if ".unfinished." in name]
    state = "old" if now == former else "new" if now == new else "mixture"
    counts[state] += 1
    counts["journal"] += bool(journals)
    counts["unfinished"] += bool(unfinished)
    counts["leftovers"] += any(name.endswith(".mldiag-tmp") for name in found)
    if any(held not in (former.get(name), new.get(name)) for name, held in now.items()) or former.keys() - now.keys():
        return "a file is neither the old nor the new one"
    if state == "mixture":
        code, said = run(trial.check)
        told = [line for line in said.splitlines() if "a fix was interrupted while it was written" in line]
        if code != 2 or len(told) != 1:
            return f"a mixture was not told: exit code {code}: {said}"
        counts["told"] += 1
    if again:
        code, said = run(trial.apply)
        counts["by apply"] += 1
        if code or shown(tree(trial.base)) != new:
            return f"applied again, it is not the new set: exit code {code}: {said}"
        code, said = run(trial.undo)
        if code:
            return f"applied again, it cannot be taken back: {said}"
    else:
        code, said = run(trial.undo)
        counts["by undo"] += 1
        if code and (journals or "nothing to undo" not in said):
            return f"it cannot be taken back: {said}"
    left = tree(trial.base)
    differing = sorted(name for name in left.keys() | old.keys() if left.get(name, 0) != old.get(name, 0))
    return f"taken back, this differs: {', '.join(differing)}" if differing else ""


def report(
    counts: Counter[str],
    kills: int,
    times: dict[str, list[Times]],
    edited: int,
    faults: list[str],
    took: float,
) -> None:
    """The figures."""
    for way, spent in times.items():
        whole, writing, replacing = (1000 * median(s[moment] for s in spent) for moment in MOMENTS)
        print(f"{way:12} {whole:6.1f} ms, of which {writing:5.2f} ms write, the last {replacing:5.2f} ms in place")
    print(f"{kills:,} kills in {took:.0f} s, of commands that change {edited} files in each folder "
          f"({counts['too late']} more came too late)")  # fmt: skip
    print(f"  after the kill: {counts['old']:,} old sets, {counts['mixture']:,} mixtures, {counts['new']:,} new sets")
    print(f"  {counts['journal']:,} left a journal, {counts['unfinished']:,} an unfinished one, "
          f"{counts['leftovers']:,} files that were not yet in place")  # fmt: skip
    print(f"  mixtures told by the next check: {counts['told']:,} of {counts['mixture']:,}")
    print(f"  recovered: {counts['by undo']:,} by --undo, {counts['by apply']:,} by the next --apply; "
          f"not recovered: {len(faults)}")  # fmt: skip
    for fault in faults[:20]:
        print(fault, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
