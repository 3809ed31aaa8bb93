"""How fast event files of TensorBoard are read, against TensorBoard's own readers.

    python benchmarks/tensorboard_events.py [--peers PYTHON] [--events 1000000] [--rounds 5] [--layouts tf1,mixed]

PYTHON is an interpreter with `tensorboard` and `tensorboard-data-server` (and, if it is to take part, `tbparse`).
The inputs are generated: the same bytes that TensorBoard's `EventFileWriter` writes, which is checked by serializing
the events again with TensorBoard's own classes; the peers check every CRC. Each method is a process of its own, the
methods of a layout take turns: mldiag, a peer, mldiag, the next peer; ratios are medians over the rounds of a peer's
time to the median of mldiag's in that round. `op` is the reading alone, without start-up and imports, by the clock and
in processor time; `wall` is the whole process by the clock, `peak` its largest resident size.

- EventAccumulator: every point kept (`scalars` and `tensors` 0), which also checks every CRC.
- rustboard: `tensorboard-data-server --checksum`, every point kept; `op` is its own time for the one load, its
  processor time that of the whole server.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

TAGS = (b"train/loss", b"train/lr", b"train/grad_norm", b"train/accuracy", b"perf/tokens_per_s")
MANY = tuple(b"layer_%d/%s" % (i, n) for i in range(12) for n in (b"grad", b"weight_norm", b"update_ratio"))
LAYOUTS = {
    "tf1": "simple_value, five tags in turn",
    "mixed": "the same with two tags of evaluation and texts of 20 kB",
    "tf2": "tensor_content with metadata, five tags in turn",
    "blocks": "simple_value, 50 events of a tag at a time",
    "torch": "float_val with metadata, five tags in turn",
    "irregular": "simple_value, 36 tags of many lengths, a random choice each step",
}
TARGETS = {"EventAccumulator": 60.0, "rustboard": 4.0}
"""Times faster than the peer (op)."""
PEAK = 70.0
"""MiB of the whole process, at a million events."""

OURS = """
import json, sys, time
from pathlib import Path
from mldiag.files import File
from mldiag.readers.tensorboard import tensorboard
import mldiag.readers._events.columns
path = Path(sys.argv[1])
start, spent = time.perf_counter(), time.process_time()
series = list(tensorboard(File(path.parent, path.name)))
op = time.perf_counter() - start, time.process_time() - spent
points = sum(len(s) for s in series)
report(op, points, sum(sum(s.step_data) for s in series))
"""
WITHOUT_NUMPY = OURS.replace("import mldiag.readers._events.columns\n", "")
ACCUMULATOR = """
import json, sys, time
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
start, spent = time.perf_counter(), time.process_time()
found = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0}, purge_orphaned_data=False)
found.Reload()
tags = found.Tags()
series = [found.Scalars(t) for t in tags["scalars"]] + [found.Tensors(t) for t in tags["tensors"] if "text" not in t]
op = time.perf_counter() - start, time.process_time() - spent
report(op, sum(map(len, series)), sum(e.step for s in series for e in s))
"""
TBPARSE = """
import json, sys, time
from tbparse import SummaryReader
start, spent = time.perf_counter(), time.process_time()
found = SummaryReader(sys.argv[1], event_types={"scalars", "tensors"})
frames = [f for f in (found.scalars, found.tensors) if len(f)]
op = time.perf_counter() - start, time.process_time() - spent
frames = [f[~f["tag"].str.contains("text")] for f in frames]
report(op, sum(map(len, frames)), sum(int(f["step"].sum()) for f in frames))
"""
REPORT = """
def report(op, points, steps):
    status = open("/proc/self/status").read()
    print(json.dumps([*op, points, int(steps), int(status.split("VmHWM:")[1].split()[0]) / 1024]))
"""
SAME_BYTES = """
import struct, sys
from tensorboard.compat.proto.event_pb2 import Event
data, at, count = open(sys.argv[1], "rb").read(4 << 20), 0, 0
while at + 12 <= len(data):
    size, = struct.unpack_from("<Q", data, at)
    record = data[at + 12 : at + 12 + size]
    if len(record) < size:
        break
    assert Event.FromString(record).SerializeToString() == record
    at, count = at + 16 + size, count + 1
print(count)
"""


def varint(value: int) -> bytes:
    """A number in base 128, least digits first."""
    digits = b""
    while value > 127:
        digits, value = digits + bytes([value & 127 | 128]), value >> 7
    return digits + bytes([value])


def message(number: int, content: bytes) -> bytes:
    """A field that holds bytes or another message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def simple(tag: bytes, value: float) -> bytes:
    """TensorFlow 1, Keras 2, CatBoost, detectron2, PyTorch before its `new_style`."""
    return message(1, tag) + b"\x15" + struct.pack("<f", value)


def content(tag: bytes, value: float) -> bytes:
    """`tf.summary.scalar` of TensorFlow 2."""
    metadata = message(1, message(1, b"scalars")) + b"\x20\x01"
    return (
        message(1, tag) + message(8, b"\x08\x01\x12\x00" + message(4, struct.pack("<f", value))) + message(9, metadata)
    )


def listed(tag: bytes, value: float) -> bytes:
    """`add_scalar(..., new_style=True)` of PyTorch."""
    tensor = b"\x08\x01" + message(5, struct.pack("<f", value))
    return message(1, tag) + message(8, tensor) + message(9, message(1, message(1, b"scalars")))


def text(tag: bytes, value: bytes) -> bytes:
    """`add_text` of PyTorch."""
    tensor = b"\x08\x07" + message(2, message(2, b"\x08\x01")) + message(8, value)
    return message(1, tag) + message(8, tensor) + message(9, message(1, message(1, b"text")))


def events(layout: str, count: int) -> Iterator[bytes]:
    """Serialized events of a layout, at least `count` of them with a number."""
    draw, wall, made, step = random.Random(0), 1.7e9, 0, 0
    encode = {"tf2": content, "torch": listed}.get(layout, simple)

    def event(step: int, value: bytes) -> bytes:
        return b"\x09" + struct.pack("<d", wall) + b"\x10" + varint(step) + message(5, message(1, value))

    while made < count:
        step += 1
        if layout == "blocks":
            batch = [(t, 50 * step + i) for t in TAGS for i in range(50)]
        elif layout == "irregular":
            batch = [(t, step) for t in MANY if draw.random() < 0.5]
        else:
            batch = [(t, step) for t in TAGS]
            if layout == "mixed" and step % 100 == 0:
                batch += [(b"val/loss", step), (b"val/accuracy", step)]
        for tag, at in batch:
            wall += draw.random() / 100
            yield event(at, encode(tag, draw.random()))
        made += len(batch)
        if layout == "mixed" and step % 200 == 0:
            yield event(step, text(b"samples/text_summary", draw.randbytes(10_000).hex().encode()))


def write(path: Path, layout: str, count: int) -> None:
    """Writes an event file; the CRCs are mldiag's own, which the peers then check."""
    from mldiag.readers._events.crc32c import crcs_of, masked
    from mldiag.readers._events.tfrecord import length_crc

    batch = [b"\x09" + struct.pack("<d", 1.7e9) + message(3, b"brain.Event:2")]
    with path.open("wb") as stream:

        def flush() -> None:
            for data, crc in zip(batch, crcs_of([memoryview(d) for d in batch]).tolist(), strict=True):
                header = struct.pack("<QI", len(data), length_crc(len(data)))
                stream.write(header + data + struct.pack("<I", masked(crc)))
            batch.clear()

        for data in events(layout, count):
            batch.append(data)
            if len(batch) >= 5_000:
                flush()
        flush()


def child(python: str, program: str, path: Path) -> list[float]:
    """Runs a reading as a process: op, its processor time, points, sum of steps, peak, wall."""
    start = time.perf_counter()
    done = subprocess.run([python, "-c", REPORT + program, str(path)], capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{program.split()[-1]}: {done.stderr.strip()[-400:]}")
    return [*json.loads(done.stdout.splitlines()[-1]), wall]


def rustboard(server: str, path: Path) -> list[float]:
    """One load by TensorBoard's data server; it tells no points."""
    start = time.perf_counter()
    command = [server, "--logdir", str(path.parent), "--reload", "once", "--checksum", "-vv", "--port", "0",
               "--samples-per-plugin", "scalars=all,tensors=all,text=all", "--die-after-stdin"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        for line in process.stderr:
            if found := re.search(r"Finished load for run .* \(([\d.]+)(m?s)\)", line):
                break
            if "WARN" in line:
                raise SystemExit(f"rustboard: {line.strip()}")
        else:
            raise SystemExit("rustboard ended without a load")
        wall = time.perf_counter() - start
        status = Path(f"/proc/{process.pid}/status").read_text()
        times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        process.stdin.close()
        process.stderr.read()
    op = float(found[1]) / (1000 if found[2] == "ms" else 1)
    spent = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    return [op, spent, 0, 0, int(status.split("VmHWM:")[1].split()[0]) / 1024, wall]


def methods(peers: str, tbparse: bool) -> tuple[dict[str, Callable[[Path], list[float]]], dict[str, str]]:
    """What is measured, and the versions of it."""
    found: dict[str, Callable[[Path], list[float]]] = {"mldiag": lambda path: child(sys.executable, OURS, path)}
    program = """
import json
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in ("tensorboard", "tensorboard-data-server", "tbparse", "protobuf", "numpy"):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
try:
    import tensorboard_data_server
    found["server"] = tensorboard_data_server.server_binary() or ""
except ImportError:
    pass
print(json.dumps(found))
"""
    if not os.access(peers, os.X_OK):
        return found, {}
    versions = json.loads(subprocess.run([peers, "-c", program], capture_output=True, text=True, check=True).stdout)
    server = versions.pop("server", "")
    if "tensorboard" in versions:
        found["EventAccumulator"] = lambda path: child(peers, ACCUMULATOR, path)
    if server:
        found["rustboard"] = lambda path: rustboard(server, path)
    if tbparse and "tbparse" in versions:
        found["tbparse"] = lambda path: child(peers, TBPARSE, path)
    return found, versions


def measure(layout: str, path: Path, ways: dict[str, Callable[[Path], list[float]]], rounds: int) -> dict[str, Any]:
    """Rounds of every method in turn; prints medians."""
    results: dict[str, list[list[float]]] = {name: [] for name in ways}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        ours = [ways["mldiag"](path)]
        theirs = {}
        for name, way in ways.items():
            if name != "mldiag":
                theirs[name] = way(path)
                results[name].append(theirs[name])
                ours.append(ways["mldiag"](path))
        results["mldiag"] += ours
        for name, row in {**theirs, "mldiag": ours[0]}.items():
            own = [median(r[i] for r in ours) for i in (0, 1)]
            times[name].append((row[0] / own[0], row[1] / own[1]) if name in theirs else (1.0, 1.0))
    points, steps = results["mldiag"][0][2:4]
    print(f"\n{layout}: {LAYOUTS[layout]}; {points:,.0f} points, {path.stat().st_size / 1e6:.1f} MB; seconds")
    print(
        f"  {'':16} {'op':>7} {'min..max':>15} {'cpu':>7} {'wall':>7} {'peak MiB':>8} {'op ratio':>8} {'cpu ratio':>9}"
    )
    ratios: dict[str, float] = {}
    for name, rows in results.items():
        if name != "rustboard" and any(r[2:4] != [points, steps] for r in rows):
            raise SystemExit(f"{name} read {rows[0][2:4]} points and sum of steps where mldiag read {[points, steps]}")
        ratios[name], in_cpu = (median(t[i] for t in times[name]) for i in (0, 1))
        op, cpu, wall = (median(r[i] for r in rows) for i in (0, 1, 5))
        span = f"{min(r[0] for r in rows):.3f}..{max(r[0] for r in rows):.3f}"
        print(
            f"  {name:16} {op:7.3f} {span:>15} {cpu:7.3f} {wall:7.3f} {max(r[4] for r in rows):8.1f} "
            f"{ratios[name]:8.1f} {in_cpu:9.1f}",
            flush=True,
        )
    return {"ratios": ratios, "peak": max(r[4] for r in results["mldiag"])}


def main() -> int:
    """Generates, measures, prints; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help="a Python interpreter that has the peers installed")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layouts", default=",".join(LAYOUTS))
    parser.add_argument("--tbparse", action="store_true", help="let tbparse take part; it is the slowest")
    parser.add_argument("--write", type=Path, help="only write the inputs into this folder")
    args = parser.parse_args()
    layouts = args.layouts.split(",")
    if args.write:
        for layout in layouts:
            (args.write / layout).mkdir(parents=True, exist_ok=True)
            write(args.write / layout / f"events.out.tfevents.1700000000.{layout}", layout, args.events)
        return 0
    ways, versions = methods(args.peers, args.tbparse)
    described = ", ".join(f"{n} {v}" for n, v in versions.items())
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {described}")
    if missing := [n for n in TARGETS if n not in ways]:
        print(f"not measured, as --peers names no interpreter that has it: {', '.join(missing)}")
    from mldiag.readers.tensorboard import SMALL

    missed = []
    with tempfile.TemporaryDirectory() as folder:
        write_command = [sys.executable, __file__, "--write", folder, "--layouts"]
        subprocess.run([*write_command, "tf1", "--events", "20000"], check=True)
        small = next((Path(folder) / "tf1").iterdir())
        pairs = [[child(sys.executable, p, small)[5] for p in (WITHOUT_NUMPY, OURS)] for _ in range(5)]
        plain, columns = (median(pair[i] for pair in pairs) for i in (0, 1))
        print(
            f"files up to {SMALL / 1024:,.0f} KiB are read without numpy, whose import takes longer; "
            f"whole process for {small.stat().st_size / 1024:,.0f} KiB: {plain:.3f} s without it, {columns:.3f} s with"
        )
        small.unlink()
        for layout in layouts:
            # In a process of its own: the parent's size must not count in its children's peaks.
            subprocess.run([*write_command, layout, "--events", str(args.events)], check=True)
            (path,) = (Path(folder) / layout).iterdir()
            if "tensorboard" in versions:
                same = subprocess.run(
                    [args.peers, "-c", SAME_BYTES, str(path)], capture_output=True, text=True, check=True
                )
                print(f"\n{same.stdout.strip()} events of {layout} are the bytes that TensorBoard writes", end="")
            found = measure(layout, path, ways, args.rounds)
            missed += [
                f"{layout}: {found['ratios'][n]:.1f} times faster than {n}, not {t:g}"
                for n, t in TARGETS.items()
                if found["ratios"].get(n, t) < t
            ]
            if found["peak"] > PEAK:
                missed.append(f"{layout}: peak {found['peak']:.1f} MiB, more than {PEAK:g}")
            path.unlink()
    print("\n" + ("\n".join(f"missed: {m}" for m in missed) if missed else "every target was reached"))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
