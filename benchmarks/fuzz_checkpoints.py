"""Damaged and made-up checkpoints, hundreds of thousands of each format, through the readers of their headers.

    python benchmarks/fuzz_checkpoints.py [--inputs 200000] [--seed 0] [--formats gguf,onnx] [--state FILE] [FILE...]

Each input is made from a small valid file (those of the readers' tests, and the files that are named) by bit flips,
cuts, splices, and numbers at their boundaries, half of the time below the structure that would stop a reader at once:
inside the members of an archive, the header of safetensors, the messages of protobuf, the blocks of a table with their
checksums made right again, and as opcodes of a pickle. It is determined by the valid files, seed, format and number.

Two worker processes read with the readers' own functions, from memory. Expected is an artifact or a `ReadError` of one
line. Counted besides are crashes (any other exception, or the end of the process), hangs (more than 5 seconds of CPU)
and excess of memory (256 MiB above that of the process before the first input). Any of these is printed with the number
of its input and makes the exit code 1; `--show FORMAT:NUMBER` writes that input to standard output. With `--state` a
run that was ended is taken up again.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import platform
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "readers"))

import checkpoint_files as made

from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.parts import readers_in
from mldiag.readers import Reader
from mldiag.readers._events.crc32c import crc32c, masked

WORKERS = 2
BATCH = 1_000
SECONDS = 5
MEMORY = 256 * 2**20
LARGEST = 40_000
"""Bytes of a seed: what is longer is values."""
BAD = ("crash", "hang", "memory")
NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40,
           2**53, 2**60, 2**62, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)  # fmt: skip
DIGITS = (b"0", b"-1", b"1", b"4294967296", b"9223372036854775807", b"18446744073709551616", b"1e999", b"1.5",
          b"9" * 400, b"null", b"[]", b"{}", b'""', b"true")  # fmt: skip
OPCODES = (
    *(bytes([n]) for n in b"(.012NQabdeloRstu)]}\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"),
    *(b"K\1", b"M\1\2", b"J\xff\xff\xff\xff", b"G" + bytes(8), b"I5\n", b"L5L\n", b"F1.5\n", b"S'a'\n", b"Va\n"),
    *(b"h\0", b"h\1", b"h\5", b"q\0", b"q\1", b"q\5", b"j\1\0\0\0", b"r\2\0\0\0", b"g0\n", b"p3\n", b"\x80\2"),
    *(b"\x80\5", b"X\1\0\0\0a", b"\x8c\1a", b"C\1a", b"\x8a\1\5", b"\x8a\x0a" + b"\xff" * 10, b"\x8b\1\0\0\0\1"),
    *(b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\xff", b"\x8e" + b"\xff" * 8, b"\x96" + bytes(8), b"\x95" + b"\xff" * 8),
    *(b"\x82\1", b"Pa\n", b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nSize\n"),
    *(b"ctorch\nFloatStorage\n", b"cos\nsystem\n", b"ctorch._utils\n_rebuild_parameter\n", b"cnumpy\ndtype\n"),
    *(b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ia\nb\n", b"cnumpy.core.multiarray\n_reconstruct\n"),
    *(b"cnumpy.core.multiarray\nscalar\n", b"c_codecs\nencode\n", b"ctorch._tensor\n_rebuild_from_type_v2\n"),
    *(b"cbuiltins\nset\n", b"copy_reg\n_reconstructor\n", b"X\7\0\0\0storage", b"X\1\0\0\0" + b"0", b"X\3\0\0\0cpu"),
)


# How an input comes out of valid ones.


def damaged(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Bytes changed in one to four places, without knowing what they mean."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(changed) + 1)
        kind = dice.randrange(10)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            changed[at : at + 1] = bytes([dice.randrange(256)])
        elif kind in (2, 3):
            width = dice.choice((1, 2, 4, 8))
            number = dice.choice((*NUMBERS, len(data), len(data) - 1, at, dice.randrange(len(data) + 1)))
            changed[at : at + width] = (number % 256**width).to_bytes(width, dice.choice(("little", "little", "big")))
        elif kind == 4:
            del changed[at : at + dice.choice((1, 2, 4, 8, 50, 500))]
        elif kind == 5:
            changed[at:at] = changed[at : at + dice.choice((1, 4, 8, 40, 400))] * dice.choice((1, 1, 2, 20))
        elif kind == 6:
            other = dice.choice(others)
            start = dice.randrange(len(other) + 1)
            changed[at:at] = other[start : start + dice.choice((4, 16, 64, 1_000))]
        elif kind == 7:
            del changed[at:]
        elif kind == 8:
            digits = [i for i in range(at, min(len(changed), at + 200)) if 0x30 <= changed[i] <= 0x39]
            if digits:
                changed[digits[0] : digits[0] + 1] = dice.choice(DIGITS)
        else:
            changed[at : at + 8] = dice.choice((b"\xff" * 8, bytes(8), dice.randbytes(8)))
    return bytes(changed)


def pickled(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Opcodes put into a pickle, taken out of it, or nothing but opcodes."""
    if dice.randrange(8) == 0:
        return b"\x80\2" + b"".join(dice.choices(OPCODES, k=dice.randrange(60))) + b"."
    if dice.randrange(3) == 0:
        return damaged(data, dice, others)
    changed = bytearray(data)
    for _ in range(dice.choice((1, 2, 5))):
        at = dice.randrange(len(changed) + 1)
        changed[at : at + dice.choice((0, 0, 1, 2))] = b"".join(dice.choices(OPCODES, k=dice.choice((1, 2, 8))))
    return bytes(changed)


def zipped(members: dict[str, bytes], dice: Random) -> bytes:
    """An archive, some of whose entries may say something else than is true."""
    out, directory = bytearray(), bytearray()
    for name, data in members.items():
        method = dice.choice((0, 0, 0, 8))
        stored = data
        if method:
            machine = zlib.compressobj(1, zlib.DEFLATED, -15)
            stored = machine.compress(data) + machine.flush()
        packed, size, header, flags = len(stored), len(data), len(out), 0
        if dice.randrange(12) == 0:
            lie = dice.randrange(4)
            number = dice.choice((0, 1, len(out), 2**16, 2**31, 2**32 - 2, 2**32 - 1))
            packed, size, header = (number if lie == k else v for k, v in enumerate((packed, size, header)))
            flags = 1 if lie == 3 else 0
        label = name.encode()
        out += b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, flags, method, 0, 0, 0, packed, size, len(label), 0)
        out += label + stored
        directory += b"PK\1\2" + struct.pack(
            "<HHHHHHIIIHHHHHII", 20, 20, flags, method, 0, 0, 0, packed, size, len(label), 0, 0, 0, 0, 0, header
        )  # fmt: skip
        directory += label
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(out), 0)
    return bytes(out + directory + end)


def unzipped(data: bytes) -> dict[str, bytes]:
    """Members by name."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


Mutate = Callable[[bytes, Random, Sequence[bytes]], bytes]


def in_archive(inner: Callable[[str], Mutate]) -> Mutate:
    """Damage inside a member, and now and then to the archive."""
    known: dict[bytes, dict[str, bytes]] = {}

    def mutate(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
        if dice.randrange(3) == 0:
            return damaged(data, dice, others)
        if data not in known:
            known[data] = unzipped(data)
        members = dict(known[data])
        name = dice.choice([*members] if dice.randrange(3) else [max(members, key=lambda n: n.endswith(("pkl", "h5")))])
        members[name] = inner(name)(members[name], dice, [*members.values()])
        if dice.randrange(10) == 0:
            members.pop(dice.choice([*members]))
        return zipped(members, dice)

    return mutate


def of_safetensors(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Damage to the header, below its right length."""
    if dice.randrange(3) == 0:
        return damaged(data, dice, others)
    length = int.from_bytes(data[:8], "little")
    if dice.randrange(2):
        document = json.loads(data[8 : 8 + length])
        for _ in range(dice.choice((1, 1, 2, 4))):
            entry = document.get(dice.choice([*document]))
            number: Any = dice.choice((0, 1, 2, 3, 8, 24, 32, *NUMBERS, -1, 1.5, None, "2", [], {}))
            kind = dice.randrange(5)
            if kind == 0 or not isinstance(entry, dict) or "shape" not in entry:
                document[dice.choice(("a", "", "\n", "x" * 500, "bias"))] = dice.choice((number, entry))
            elif kind == 1:
                entry["dtype"] = dice.choice(("F64", "I8", "F4", "BOOL", "F6_E2M3", "f32", number))
            elif kind == 2:
                entry["shape"] = dice.choice(([], [number], [number] * 70, [2, number, 3], number))
            else:
                entry["data_offsets"] = dice.choice(([0, number], [number, 32], [number], number, [24, 24], [32, 24]))
        header = json.dumps(document).encode()
        return struct.pack("<Q", len(header)) + header + data[8 + length :]
    header = damaged(data[8 : 8 + length], dice, [o[8:] for o in others])
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def of_protobuf(data: bytes, dice: Random, others: Sequence[bytes], depth: int = 0) -> bytes:
    """Damage to one field, below right lengths."""
    found = [] if depth > 3 or dice.randrange(4) == 0 else _fields(data)
    if not found:
        return damaged(data, dice, others)
    at = dice.randrange(len(found))
    number, wire, value = found[at]
    value = dice.choice(NUMBERS) if isinstance(value, int) else of_protobuf(value, dice, others, depth + 1)
    found[at : at + 1] = [(number, wire, value)] * dice.choice((0, 1, 1, 1, 1, 2, 30))
    if dice.randrange(8) == 0:
        found.append((dice.choice((1, 2, 5, 7, 8, 9, 13, 14, 2**29 - 1)), 0, dice.choice(NUMBERS)))
    return b"".join(
        made.varint(n << 3 | w) + (made.varint(v) if isinstance(v, int) else made.varint(len(v)) + v)
        for n, w, v in found
    )


def _fields(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """The fields of a message of numbers and bytes; none of what is no message."""
    from mldiag.readers._protobuf import Malformed, fields

    try:
        found = [(f.number, f.wire, f.value) for f in fields(data)]
    except Malformed:
        return []
    return found if all(wire in (0, 2) for _, wire, _ in found) else []


def of_table(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Damage to what a block holds, with the right checksum."""
    if dice.randrange(3) == 0:
        return damaged(data, dice, others)
    pairs = {
        b"": made.message([(1, 1), (3, made.message([(1, 1)]))]),
        b"dense/kernel": made.message([(1, 1), (2, made.message([(2, made.message([(1, 2)]))])), (5, 8)]),
        b"step": made.message([(1, 9), (2, b""), (4, 24), (5, 8)]),
    }
    key = dice.choice([*pairs])
    pairs[key] = of_protobuf(pairs[key], dice, [data])
    body = b"".join(b"\0" + made.varint(len(k)) + made.varint(len(v)) + k + v for k, v in pairs.items())
    body += struct.pack("<II", 0, 1)
    if dice.randrange(3) == 0:
        body = damaged(body, dice, [data])
    kind = 0
    if dice.randrange(2):
        kind, pieces = 1, [body[i : i + 60] for i in range(0, len(body), 60)]
        body = made.varint(len(body)) + b"".join(bytes([len(p) - 1 << 2]) + p for p in pieces)
        if dice.randrange(2):
            at = dice.randrange(len(body) + 1)
            body = (
                body[:at]
                + dice.choice((b"\x01\x01", b"\xfe\x08\0", b"\xff\1\0\0\0", b"\xfc\xff\xff\xff\xff"))
                + body[at:]
            )
        if dice.randrange(3) == 0:
            body = damaged(body, dice, [data])
    blocks = []
    for one, compressed in ((body, kind), (b"", 0)):
        if not one:
            place, length = (dice.choice(NUMBERS) if dice.randrange(12) == 0 else n for n in (0, len(body)))
            handle = made.varint(place) + made.varint(length)
            one = (b"\0\1" + made.varint(len(handle)) + b"~" + handle) * dice.choice((1, 1, 1, 3)) + struct.pack(
                "<II", 0, 1
            )
        blocks.append(one + bytes([compressed]) + struct.pack("<I", masked(crc32c(one + bytes([compressed])))))
    footer = made.varint(0) + made.varint(0) + made.varint(len(blocks[0])) + made.varint(len(blocks[1]) - 5)
    return b"".join(blocks) + footer + bytes(40 - len(footer)) + bytes.fromhex("57fb808b247547db")


def of_hdf5(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Damage to numbers and addresses, which stand at even places, and point back into the file."""
    if dice.randrange(3) == 0:
        return damaged(data, dice, others)
    changed = bytearray(data)
    # Where something is: empty space needs no damage.
    used = [i for i in range(0, len(changed) - 8, 2) if any(changed[i : i + 8])]
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.choice(used)
        width = dice.choice((1, 2, 2, 4, 8, 8))
        number = dice.choice((*NUMBERS, *[dice.choice(used) for _ in range(12)], len(data)))
        changed[at : at + width] = (number % 256**width).to_bytes(width, "little")
    return bytes(changed)


def of_legacy(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Opcodes, in half of the inputs behind the magic number."""
    front = 40 if dice.randrange(2) else 0
    return data[:front] + pickled(data[front:], dice, others)


def of_msgpack(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Damage with other types of values."""
    changed = bytearray(damaged(data, dice, others) if dice.randrange(2) else data)
    for _ in range(dice.choice((0, 1, 3))):
        if changed:
            changed[dice.randrange(len(changed))] = dice.choice((*range(0x80, 0xA0), *range(0xC0, 0xE0)))
    return bytes(changed)


def of_index(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Names of tensors and files that an index could have, and that none has."""
    if dice.randrange(2):
        return damaged(data, dice, others)
    names = ["a", "b", "é", "x" * 3_000, "", "a/b", "__metadata__"]
    files = ["one.safetensors", "two.safetensors", "cut.safetensors", "gone.safetensors", "../one.safetensors", "", ".",
             "/etc/passwd", "a\0b", "x" * 300, 3, None, [], {}, "old.bin"]  # fmt: skip
    mapping: Any = {dice.choice(names): dice.choice(files) for _ in range(dice.randrange(6))}
    return json.dumps({"metadata": {"total_size": dice.choice(NUMBERS)}, "weight_map": mapping}).encode()


def random_numpy(data: bytes, dice: Random, others: Sequence[bytes]) -> bytes:
    """Headers that NumPy could have written, and nearly so."""
    if dice.randrange(3) == 0:
        return damaged(data, dice, others)
    shape = "".join(f"{dice.choice((0, 1, 3, *NUMBERS))}, " for _ in range(dice.choice((0, 1, 2, 2, 5, 70))))
    descr = dice.choice(
        ("'<f4'", "'>i8'", "'|O'", "'<U99999'", "[('a', '<f4')]", "'|V8'", "'<M8[ns]'", "'<q'", "'|S0'", "'?'")
    )
    text = f"{{'descr': {descr}, 'fortran_order': {dice.choice(('True', 'False', '1'))}, 'shape': ({shape}), }}\n"
    body = damaged(text.encode(), dice, others) if dice.randrange(2) else text.encode()
    version = dice.choice((1, 1, 2, 3, 4))
    width = 2 if version == 1 else 4
    length = len(body) if dice.randrange(6) else dice.choice(NUMBERS)
    return b"\x93NUMPY" + bytes([version, 0]) + (length % 256**width).to_bytes(width, "little") + body + bytes(24)


class Format:
    """A format: the name files of it have, the reader, valid files, and how these are damaged."""

    def __init__(self, reader: str, file: str, seeds: list[bytes], mutate: Mutate) -> None:
        self.reader = reader
        self.file = file
        self.seeds = seeds
        self.mutate = mutate

    def input(self, seed: int, name: str, number: int) -> bytes:
        dice = Random(f"{seed}:{name}:{number}")
        return self.mutate(dice.choice(self.seeds), dice, self.seeds)


def formats() -> dict[str, Format]:
    """All of them, by the name in the table."""
    array = made.npy("'<f4'", (2, 3), bytes(24))
    npz = made.archive(
        {"a.npy": array, "b.npy": made.npy("'|O'", (1,), b"pickled"), "c.npy": made.npy("'>i8'", (), bytes(8))}
    )
    keras = made.archive({
        "metadata.json": b'{"keras_version": "3.0.0"}',
        "config.json": b'{"compile_config": {"optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.001}}}}',
        "model.weights.h5": made.KERAS,
    })  # fmt: skip
    index = json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}).encode()
    plain = b"\x80\x02}q\0(X\5\0\0\0epochq\1K\3X\2\0\0\0lrq\2G?PbM\xd2\xf1\xa9\xfcu."
    archive = in_archive(lambda name: pickled if name.endswith(".pkl") else damaged)
    return {
        "safetensors": Format("safetensors", "m.safetensors", [made.TWO_TENSORS], of_safetensors),
        "index": Format("checkpoint_index", "m.safetensors.index.json", [index], of_index),
        "torch zip": Format("pytorch", "m.pt", [made.LIGHTNING, made.TRAINING_ARGS], archive),
        "torch legacy": Format("pytorch", "m.pt", [made.VIEWS, plain], of_legacy),
        "npy": Format("numpy_arrays", "m.npy", [array], random_numpy),
        "npz": Format("numpy_arrays", "m.npz", [npz], in_archive(lambda name: random_numpy)),
        "gguf": Format("gguf", "m.gguf", [made.gguf()], damaged),
        "hdf5": Format("hdf5", "m.h5", [made.KERAS, made.NEW_GROUPS], of_hdf5),
        "keras": Format(
            "hdf5", "m.keras", [keras], in_archive(lambda name: of_hdf5 if name.endswith("h5") else damaged)
        ),
        "onnx": Format("onnx", "m.onnx", [made.onnx()], of_protobuf),
        "tensorflow index": Format("tensorflow_checkpoint", "v.index", [made.tensorflow()], of_table),
        "flax msgpack": Format("flax_msgpack", "m.msgpack", [made.flax()], of_msgpack),
    }


def beside(root: Path) -> None:
    """Files that the inputs name."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    one = made.safetensors({"a": entry}, bytes(8))
    for name, data in {
        "one.safetensors": one, "cut.safetensors": one[:40],
        "two.safetensors": made.safetensors({"b": entry}, bytes(8)),
        "old.bin": made.VIEWS, "big.data": bytes(24), "v.data-00000-of-00001": bytes(32),
    }.items():  # fmt: skip
        (root / name).write_bytes(data)


# What becomes of an input.


class Hang(BaseException):
    """An input has taken too much time."""


def _ring(_: int, __: FrameType | None) -> None:
    raise Hang


def tried(reader: Reader, file: File) -> tuple[str, str]:
    """How an input ends, and what was said."""
    found = 0
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        reader.matches(file)
        for _ in reader.read(file):
            found += 1
        outcome, told = ("accepted" if found else "nothing"), ""
    except ReadError as error:
        outcome, told = ("partly" if found else "refused"), error.reason
        if "\n" in told or len(told) > 2_000 or not told:
            outcome = "crash"
    except Hang:
        outcome, told = "hang", f"more than {SECONDS} seconds"
    except MemoryError:
        outcome, told = "memory", f"more than {MEMORY / 2**20:.0f} MiB"
    except Exception:
        outcome, told = "crash", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return outcome, told


def work(pipe: Connection, root: Path, seed: int, known: dict[str, Format], current: Any) -> None:
    """A worker: batches in, counts out."""
    signal.signal(signal.SIGPROF, _ring)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    readers = {r.name: r for r in readers_in("mldiag.readers")}
    for one in known.values():
        for data in one.seeds:
            tried(readers[one.reader], File(root, one.file, data))
    gc.collect()
    base = _pages("/proc/self/statm")
    resource.setrlimit(resource.RLIMIT_AS, (base + MEMORY, base + MEMORY))
    while (batch := pipe.recv()) is not None:
        name, start, stop = batch
        one = known[name]
        reader = readers[one.reader]
        counts: Counter[str] = Counter()
        bad, slowest = [], (0.0, 0)
        for number in range(start, stop):
            current.value = number
            data = one.input(seed, name, number)
            begun = time.process_time()
            outcome, told = tried(reader, File(root, one.file, data))
            slowest = max(slowest, (time.process_time() - begun, number))
            counts[outcome] += 1
            if outcome in BAD:
                bad.append((number, outcome, told))
        pipe.send((name, start, stop, dict(counts), bad, slowest, _peak()))


def _pages(path: str) -> int:
    return int(Path(path).read_text().split()[0]) * resource.getpagesize()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Worker:
    """A process and the batch it is at."""

    def __init__(self, root: Path, seed: int, known: dict[str, Format]) -> None:
        self._given = root, seed, known
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.current = context.Value("q", -1, lock=False)
        self.process = context.Process(target=work, args=(theirs, *self._given, self.current), daemon=True)
        self.process.start()
        theirs.close()
        self.batch: tuple[str, int, int] | None = None
        self.seen, self.since = -1, time.monotonic()

    def give(self, batch: tuple[str, int, int]) -> None:
        self.batch, self.since = batch, time.monotonic()
        self.pipe.send(batch)

    def stuck(self) -> bool:
        """Whether one input has taken a minute: what ends it from inside did not come through."""
        if self.current.value != self.seen:
            self.seen, self.since = self.current.value, time.monotonic()
        return self.batch is not None and time.monotonic() - self.since > 60


def run(names: list[str], inputs: int, seed: int, known: dict[str, Format], state: Path | None) -> dict[str, Any]:
    """Results by format."""
    results: dict[str, Any] = json.loads(state.read_text()) if state and state.exists() else {}
    for name in names:
        results.setdefault(name, {"counts": {}, "bad": [], "slowest": [0.0, 0], "peak": 0, "done": [], "seconds": 0.0})
    left = iter([
        (name, start, min(start + BATCH, inputs))
        for name in names
        for start in range(0, inputs, BATCH)
        if start not in set(results[name]["done"])
    ])  # fmt: skip
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        beside(Path(folder))
        workers = [Worker(Path(folder), seed, known) for _ in range(WORKERS)]
        redo: list[tuple[str, int, int]] = []
        for worker in workers:
            _next(worker, left, redo)
        while any(w.batch for w in workers):
            ready = wait([w.pipe for w in workers if w.batch], timeout=5)
            for worker in workers:
                if worker.batch is None:
                    continue
                if worker.pipe in ready:
                    try:
                        _take(results, worker.pipe.recv(), time.monotonic() - worker.since)
                    except EOFError:
                        _lost(results, worker, "crash", redo)
                    _next(worker, left, redo)
                elif worker.stuck():
                    worker.process.kill()
                    _lost(results, worker, "hang", redo)
                    _next(worker, left, redo)
            if state:
                state.write_text(json.dumps(results))
        for worker in workers:
            worker.pipe.send(None)
            worker.process.join()
    return results


def _next(worker: Worker, left: Iterator[tuple[str, int, int]], redo: list[tuple[str, int, int]]) -> None:
    batch = redo.pop() if redo else next(left, None)
    worker.batch = None
    if batch:
        worker.give(batch)


def _take(results: dict[str, Any], answer: Any, seconds: float) -> None:
    name, start, _, counts, bad, slowest, peak = answer
    found = results[name]
    for outcome, count in counts.items():
        found["counts"][outcome] = found["counts"].get(outcome, 0) + count
    found["bad"] += bad
    found["slowest"] = max(found["slowest"], list(slowest))
    found["peak"] = max(found["peak"], peak)
    found["done"].append(start)
    for number, outcome, told in bad:
        print(f"{name}:{number} {outcome}: {told}", flush=True)


def _lost(results: dict[str, Any], worker: Worker, outcome: str, redo: list[tuple[str, int, int]]) -> None:
    """A process that ended in the middle of a batch: the input is noted, those behind it are done by another."""
    assert worker.batch is not None
    name, start, stop = worker.batch
    number = worker.current.value
    found = results[name]
    found["bad"].append((number, outcome, f"the process ended ({worker.process.exitcode})"))
    found["counts"][outcome] = found["counts"].get(outcome, 0) + 1
    print(f"{name}:{number} {outcome}: the process ended", flush=True)
    redo += [b for b in ((name, start, number), (name, number + 1, stop)) if b[1] < b[2]]
    worker.start()


def table(results: dict[str, Any], names: list[str]) -> None:
    """Prints the counts."""
    print("| format | inputs | accepted | partly | refused | crash | hang | memory | slowest ms | peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        found = results[name]
        counts = Counter(found["counts"])
        counts["accepted"] += counts.pop("nothing", 0)
        cells = [f"{counts[k]:,}" for k in ("accepted", "partly", "refused", *BAD)]
        print(
            f"| {name} | {sum(counts.values()):,} | {' | '.join(cells)} | {1e3 * found['slowest'][0]:.0f} "
            f"| {found['peak'] / 2**20:.0f} |"
        )


def main() -> int:
    """The command; 1 where anything but a result or a reason came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="more valid files, by their names' endings")
    parser.add_argument("--inputs", type=int, default=200_000, help="of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", help="some of them, with commas between")
    parser.add_argument("--state", type=Path, help="where it is noted what was done")
    parser.add_argument("--show", metavar="FORMAT:NUMBER", help="writes one input")
    given = parser.parse_args()
    known = formats()
    for path in given.files:
        data = path.read_bytes()
        for one in known.values():
            zip_or_not = one.seeds[0][:2] == data[:2] or one.reader != "pytorch"
            if len(data) <= LARGEST and path.name.endswith(one.file[one.file.index(".") :]) and zip_or_not:
                one.seeds.append(data)
    if given.show:
        name, _, number = given.show.rpartition(":")
        sys.stdout.buffer.write(known[name].input(given.seed, name, int(number)))
        return 0
    names = given.formats.split(",") if given.formats else [*known]
    begun = time.monotonic()
    results = run(names, given.inputs, given.seed, known, given.state)
    table(results, names)
    took = time.monotonic() - begun
    print(f"\n{took:.0f} s, seed {given.seed}, Python {platform.python_version()}, {platform.machine()}, ", end="")
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    return int(any(results[name]["counts"].get(k) for name in names for k in BAD))


if __name__ == "__main__":
    sys.exit(main())
