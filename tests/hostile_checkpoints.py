"""Checkpoints made to do harm: pickles that call, and small files that would become large, slow or endless."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable

from readers.checkpoint_files import KERAS, archive, message, npy, safetensors, varint

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
CANARY = "PWNED"
COMMAND = f"touch {CANARY}"
SOURCE = f"open('{CANARY}', 'w')"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def called(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + b"(" + b"".join(arguments) + b"tR"


# What loading would call, by a trick of pickle each, and a name that has to be told.
TRICKS: dict[str, tuple[bytes, str]] = {
    "system": (called("os", "system", text(COMMAND)), "os.system"),
    "posix": (called("posix", "system", text(COMMAND)), "posix.system"),
    "eval": (called("builtins", "eval", text(SOURCE)), "builtins.eval"),
    "exec of python 2": (called("__builtin__", "exec", text(SOURCE)), "__builtin__.exec"),
    "stack global": (short("builtins") + short("exec") + b"\x93" + short(SOURCE) + b"\x85R", "builtins.exec"),
    "composed name": (
        short("torch._utils") + short("_rebuild_tensor_v2.__globals__.get") + b"\x93" + short("eval") + b"\x85R",
        "torch._utils._rebuild_tensor_v2.__globals__.get",
    ),
    "composed of two halves": (
        short("to") + b"0" + short("torch._utils") + short("_rebuild_parameter.__globals__") + b"\x93",
        "torch._utils._rebuild_parameter.__globals__",
    ),
    "getattr chain": (
        called("builtins", "getattr", name("torch", "_utils"), text("__builtins__")) + b"0"
        + called("builtins", "getattr", name("evil_module", "run"), text("__call__")) + b")R",
        "builtins.getattr",
    ),
    "import of a module beside": (called("evil_module", "run"), "evil_module.run"),
    "inst": (f"(S'{COMMAND}'\nios\nsystem\n".encode(), "os.system"),
    "obj": (b"(" + name("os", "system") + text(COMMAND) + b"o", "os.system"),
    "newobj": (name("os", "system") + text(COMMAND) + b"\x85\x81", "os.system"),
    "newobj ex": (name("subprocess", "Popen") + text(COMMAND) + b"\x85}\x92", "subprocess.Popen"),
    "build": (
        name("collections", "Counter") + b")\x81}" + text("__setstate__") + name("os", "system") + b"sb"
        + text(COMMAND) + b"b",
        "os.system",
    ),
    "build on an import": (
        name("argparse", "Namespace") + b"N}" + text("__init__") + name("argparse", "Namespace") + b"s\x86b",
        "argparse.Namespace.__setstate__",
    ),
    "extension 1": (b"\x82\xf0" + text(COMMAND) + b"\x85R", "extension 240"),
    "extension 2": (b"\x83\xf0\x00" + text(COMMAND) + b"\x85R", "extension 240"),
    "extension 4": (b"\x84\xf0\x00\x00\x00" + text(COMMAND) + b"\x85R", "extension 240"),
    "persistent": (called("os", "system", text(COMMAND)) + b"Q", "os.system"),
    "a key": (b"}" + called("os", "system", text(COMMAND)) + b"Ns", "os.system"),
    "items of a call": (
        called("collections", "deque") + called("os", "system", text(COMMAND)) + b"a", "os.system",
    ),
    "a pickle in a pickle": (
        called("torch.storage", "_load_from_bytes", text(COMMAND)), "torch.storage._load_from_bytes",
    ),
    "code": (called("marshal", "loads", text("code")), "marshal.loads"),
    "function": (called("types", "FunctionType", b"N", b"}"), "types.FunctionType"),
    "run a module": (called("runpy", "run_path", text("evil_module.py")), "runpy.run_path"),
    "a rebuild of what is none": (
        name("torch._utils", "_rebuild_parameter") + b"(" + called("os", "system", text(COMMAND)) + b"\x88}tR",
        "os.system",
    ),
    "a subclass": (
        name("torch._tensor", "_rebuild_from_type_v2") + b"(" + name("os", "system") + name("os", "system")
        + text(COMMAND) + b"\x85}tR",
        "os.system",
    ),
    "a frame that lies": (b"\x95" + struct.pack("<Q", 2**62) + called("os", "system", text(COMMAND)), "os.system"),
    "protocol 255": (b"\x80\xff" + called("os", "system", text(COMMAND)), "os.system"),
}  # fmt: skip


def state(value: bytes) -> bytes:
    """A training state with a value in it."""
    return b"\x80\x04}(" + text("epoch") + b"K\x03" + text("model") + b"}" + text("x") + value + b"u."


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "plain.pt": state,
    "zip.pt": lambda value: archive({"archive/data.pkl": state(value), "archive/version": b"3\n"}),
    "packed.pth": lambda value: archive({"m/data.pkl": state(value), "m/version": b"3\n"}, zipfile.ZIP_DEFLATED),
    "legacy.bin": lambda value: MAGIC + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + state(value) + b"\x80\x02].",
    "last.ckpt": lambda value: archive({"last/data.pkl": state(value), "last/version": b"3\n"}),
}
"""Those of PyTorch, whose pickles are followed and tell what they would call."""

OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "model.pkl": state,
    "model.joblib": state,
    "meta.pkl": state,
    "objects.npy": lambda value: npy("'|O'", (1,), state(value)),
    "objects.npz": lambda value: archive({"a.npy": npy("'|O'", (1,), state(value))}),
    "weights.msgpack": lambda value: b"\x81\xa1x" + bytes([0xC5]) + struct.pack(">H", len(state(value))) + state(value),
    "model.onnx": lambda value: message([(1, 8), (2, b"x"), (7, message([(2, b"g"), (1, message([(4, value)]))]))]),
    "lambda.keras": lambda value: archive({
        "metadata.json": b"{}",
        "config.json": json.dumps({
            "class_name": "Lambda", "module": "evil_module",
            "config": {"function": {"class_name": "__lambda__", "config": {"code": value.hex()}}},
            "compile_config": {"optimizer": {"class_name": "evil_module>run", "config": {"learning_rate": 0.1}},
                               "loss": "evil_module.run()"},
        }).encode(),
        "model.weights.h5": KERAS,
    }),
    "attributes.h5": lambda value: KERAS.replace(b"mse", b"os."),
}  # fmt: skip
"""Those in which a pickle is passed over."""

OUTSIDE = "../../outside/secret.bin"


def external(location: bytes) -> bytes:
    entry = [(13, message([(1, b"location"), (2, location)])), (14, 1)]
    return message([(1, 8), (2, b"p"), (7, message([(5, message([(1, 4), (2, 1), (8, b"w"), *entry]))]))])


LEAVING = {
    "up.onnx": external(OUTSIDE.encode()),
    "absolute.onnx": external(b"/etc/passwd"),
    "hidden.onnx": external(b"data/../../../outside/secret.bin"),
    "windows.onnx": external(b"..\\..\\outside\\secret.bin"),
    "zero.onnx": external(b"data\0/../../secret"),
    "up.safetensors.index.json": json.dumps({"weight_map": {"w": OUTSIDE}}).encode(),
    "absolute.safetensors.index.json": json.dumps({"weight_map": {"w": "/etc/passwd"}}).encode(),
    "folder.bin.index.json": json.dumps({"weight_map": {"w": ".."}}).encode(),
    "number.bin.index.json": json.dumps({"weight_map": {"w": 3}}).encode(),
    "zero.bin.index.json": json.dumps({"weight_map": {"w": "a\0b"}}).encode(),
}
"""Files that name others outside of the folder."""


def deep(count: int, key: int = 1_000) -> bytes:
    """Dictionaries in dictionaries with long keys."""
    return b"".join(b"}" + text("k" * key) for _ in range(count))


def overlapping(data: bytes, packed: int, size: int, count: int, *, method: int = 8, suffix: str = ".npy") -> bytes:
    """A zip archive all of whose members are the same bytes."""
    local = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, 0, packed, size, 1, 0) + b"x" + data
    directory = b"".join(
        b"PK\1\2" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, method, 0, 0, 0, packed, size, len(n), 0, 0, 0, 0, 0, 0)
        + n for n in (f"m{i}{suffix}".encode() for i in range(count))
    )  # fmt: skip
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(directory), len(local), 0)
    return local + directory + end


def packed(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def quoted(count: int) -> bytes:
    """Each member quotes the header of the next as a stored block, so that all share one kernel, as Fifield's do."""
    kernel = npy("'<f4'", (2**18,), bytes(2**20))
    body, headers = b"", []
    squeezed = packed(kernel)
    for index in reversed(range(count)):
        known = body or squeezed
        local = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, 0, len(known), 2**20, 1, 0) + b"x"
        quote = b"\0" + struct.pack("<HH", len(local), 65535 - len(local)) + local
        headers.append((index, len(known)))
        body = quote + known
    front = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, 0, len(body), 2**20, 1, 0) + b"x"
    whole = front + body
    directory = b"".join(
        b"PK\1\2"
        + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 8, 0, 0, 0, size, 2**20, 9, 0, 0, 0, 0, 0, 36 * index)
        + f"{index:05}.npy".encode()
        for index, size in headers
    )
    return whole + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(directory), len(whole), 0)


def zeros(count: int) -> bytes:
    """So many zeros, deflated, without holding them."""
    machine, out = zlib.compressobj(9, zlib.DEFLATED, -15), io.BytesIO()
    for _ in range(count // 2**20):
        out.write(machine.compress(bytes(2**20)))
    out.write(machine.flush())
    return out.getvalue()


def zip64(size: int) -> bytes:
    """An archive of one member that says that it is of this size."""
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    local = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 10, len(extra))
    local += b"a/data.pkl" + extra + b"\x80\x02N."
    entry = b"PK\1\2" + struct.pack(
        "<HHHHHHIIIHHHHHII", 45, 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 10, len(extra), 0, 0, 0, 0, 0
    ) + b"a/data.pkl" + extra  # fmt: skip
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, len(entry), len(local))
    at = len(local) + len(entry)
    end = (
        b"PK\6\7" + struct.pack("<IQI", 0, at, 1) + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, *[2**32 - 1] * 2, 0)
    )
    return local + entry + record + end


def directory64(start: int, size: int) -> bytes:
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, size, start)
    end = (
        b"PK\6\7" + struct.pack("<IQI", 0, 4, 1) + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, *[2**32 - 1] * 2, 0)
    )
    return b"PK\3\4" + record + end


# HDF5


def superblock(size: int, root: int) -> bytes:
    """A superblock of version 2 with addresses of eight bytes."""
    return b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00" + struct.pack("<QQQQI", 0, 2**64 - 1, size, root, 0)


def header(*messages: tuple[int, bytes]) -> bytes:
    """An object header of version 1."""
    body = b"".join(struct.pack("<HHBxxx", kind, len(data), 0) + data for kind, data in messages)
    return struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body


def hdf5(body: bytes, root: int = 48) -> bytes:
    return superblock(48 + len(body), root) + body


def looped_tree() -> bytes:
    """A group whose B-tree is its own child."""
    first = header((17, struct.pack("<QQ", 96, 48 + 40 + 200)))
    tree = b"TREE\0\0" + struct.pack("<HQQ", 1, 0, 0) + struct.pack("<QQQ", 0, 96, 0)
    heap = b"HEAP\0\0\0\0" + struct.pack("<QQQ", 8, 0, 300)
    return hdf5(first.ljust(48, b"\0") + tree.ljust(192, b"\0") + heap + bytes(64))


def nested_trees(count: int) -> bytes:
    """B-trees of 65,535 children each, which lie in each other."""
    first = header((17, struct.pack("<QQ", 48 + 48, 48 + 400)))
    body = bytearray(48 + 8 * 2**20)
    body[: len(first)] = first
    for index in range(count):
        at = 48 + index * 64 + (400 if index else 0)
        body[at : at + 8] = b"TREE\0\0\xff\xff"
        body[at + 32 : at + 40] = struct.pack("<Q", 48 + 48 + (index + 1) * 64 + 400)
    heap = b"HEAP\0\0\0\0" + struct.pack("<QQQ", 8, 0, 300)
    body[400 : 400 + len(heap)] = heap
    return hdf5(bytes(body))


def long_names() -> bytes:
    """A table whose names all end at the end of the same 8 MB."""
    count, size = 30_000, 8 * 2**20
    first = header((17, struct.pack("<QQ", 48 + 48, 48 + 160)))
    table_at = 48 + 256
    body = bytearray(256 + 8 + 40 * count)
    body[: len(first)] = first
    body[48:104] = b"TREE\0\0" + struct.pack("<HQQ", 1, 0, 0) + struct.pack("<QQQQ", 0, table_at, 0, 0)
    body[160:192] = b"HEAP\0\0\0\0" + struct.pack("<QQQ", size, 0, 48 + len(body))
    body[256:264] = b"SNOD\1\0" + struct.pack("<H", count)
    for index in range(count):
        body[264 + 40 * index : 264 + 40 * index + 16] = struct.pack("<QQ", index, 48)
    return hdf5(bytes(body) + b"n" * (size - 1) + b"\0")


def looped_header() -> bytes:
    return hdf5(header((16, struct.pack("<QQ", 48 + 16, 24))))


def wide_header() -> bytes:
    """Thousands of continuations of an object header, all of which are the same 15 MB."""
    size = 15 * 2**20
    first = (
        b"OHDR\2\2"
        + struct.pack("<I", 20 * 5_000)
        + (struct.pack("<BHB", 16, 16, 0) + struct.pack("<QQ", 0, size)) * 5_000
    )
    return hdf5(first + bytes(size))


def texts() -> bytes:
    """Attributes of the root whose texts all lie at the end of one long collection."""
    one = struct.pack("<BxHHH", 1, 8, 16, 8) + b"a\0\0\0\0\0\0\0" + struct.pack("<IIQ", 0x19 | 1 << 8, 16, 0)
    one += struct.pack("<HH4x", 0, 0)[:8]
    body = one + struct.pack("<IQI", 8, 48 + 2**20, 60_000)
    first = header(*[(12, body)] * 3_000)
    items = b"".join(struct.pack("<HHIQ", 1, 0, 0, 0) for _ in range(2**20))
    collection = b"GCOL\1\0\0\0" + struct.pack("<Q", 16 * 2**20) + items
    return hdf5(first.ljust(2**20, b"\0") + collection)


def same_header() -> bytes:
    """A group of many objects that lie at each byte of one long object header."""
    count = 100_000
    links = b""
    for index in range(count):
        label = f"{index:x}".encode()
        links += struct.pack("<BHB", 6, 3 + len(label) + 8, 0) + bytes([1, 0, len(label)]) + label
        links += struct.pack("<Q", 48 + 4 * 2**20 + 16 * (index % 50_000) + (index // 50_000) * 8)
    first = b"OHDR\2\2" + struct.pack("<I", len(links)) + links
    inner = (struct.pack("<BxHII4x", 1, 65535, 1, 2**20 - 16)) * 65_536
    return hdf5(first.ljust(4 * 2**20, b"\0") + inner + bytes(2**20))


# Tables of LevelDB


def block(body: bytes, restarts: int = 1, kind: int = 0) -> bytes:
    from mldiag.readers._events.crc32c import crc32c, masked

    whole = body + (bytes(4 * restarts) + struct.pack("<I", restarts) if not kind else b"")
    whole += bytes([kind])
    return whole + struct.pack("<I", masked(crc32c(whole)))


def sstable(*blocks: bytes) -> bytes:
    data, handles = b"".join(blocks), b""
    at = 0
    for number, one in enumerate(blocks):
        value = varint(at) + varint(len(one) - 5)
        key = struct.pack(">I", number)
        handles += b"\0" + varint(len(key)) + varint(len(value)) + key + value
        at += len(one)
    index = block(handles)
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + footer + bytes(40 - len(footer)) + bytes.fromhex("57fb808b247547db")


def snappy(literal: bytes, copies: int, back: int) -> bytes:
    """A literal, then copies of 64 bytes each from so far back."""
    tag = bytes([61 << 2]) + struct.pack("<H", len(literal) - 1)
    return varint(len(literal) + 64 * copies) + tag + literal + (b"\xfe" + struct.pack("<H", back)) * copies


def many_entries(blocks: int) -> bytes:
    """Blocks of a hundred kilobytes that unpack to four megabytes of entries each."""
    entry = b"\0\1\0k" * 16
    count = (4 * 2**20 - 64 - 8) // 64
    size = 64 * (count + 1) + 8
    body = varint(size) + bytes([60 << 2, 63]) + entry
    body += (b"\xfe" + struct.pack("<H", 64)) * count + bytes([7 << 2]) + struct.pack("<II", 0, 1)
    return sstable(*[block(body, kind=1)] * blocks)


def long_key() -> bytes:
    """A key of a megabyte that each entry behind it shares."""
    key = b"k" * 2**20
    return sstable(block(b"\0" + varint(len(key)) + varint(0) + key + (varint(len(key)) + b"\1\0x") * 100_000))


def brackets(count: int) -> bytes:
    return b"[" + b"[]," * count + b"1]"


def storage(key: bytes, count: bytes) -> bytes:
    return b"(" + text("storage") + name("torch", "FloatStorage") + key + text("cpu") + count + b"tQ"


def tensor(shape: bytes, strides: bytes, start: bytes = b"K\0", key: bytes = b"", count: bytes = b"K\1") -> bytes:
    return (
        name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage(key or text("0"), count) + start + shape + strides
        + b"\x89}tR"
    )  # fmt: skip


HUGE = b"\x8b" + struct.pack("<I", 8 * 2**20) + b"\x7f" * (8 * 2**20)
"""A number of 67 million bits."""
FLAX = b"\xc7\x0d\x01\x93\x90\xa7float32\xc4\x00"


def gguf_of(tensors: int, entries: int, body: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + body


def gguf_text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def onnx(initializers: bytes, front: bytes = b"") -> bytes:
    return message([(1, 8), (2, b"p")]) + front + message([(7, initializers)])


# File name, and what it is.
BOMBS: dict[str, Callable[[], tuple[str, bytes]]] = {
    # pickles
    "stack of marks": lambda: ("a.pt", b"\x80\x02" + b"(" * 3_000_000 + b"."),
    "stack of lists": lambda: ("a.pt", b"\x80\x02" + b"]" * 2_400_000 + b"."),
    "stack of dictionaries": lambda: ("a.pt", b"\x80\x02" + b"}" * 2_400_000 + b"."),
    "stack of calls": lambda: ("a.pt", b"\x80\x02)" + b"2R" * 1_200_000 + b"."),
    "stack of objects": lambda: ("a.pt", b"\x80\x02" + b"(o" * 1_200_000 + b"."),
    "memo of lists": lambda: ("a.pt", b"\x80\x04" + b"]\x94" * 1_200_000 + b"."),
    "memo of dictionaries": lambda: ("a.pt", b"\x80\x04" + b"}\x94" * 1_200_000 + b"."),
    "tuples that laugh": lambda: (
        "a.pt",
        b"\x80\x04N"
        + b"\x85\x94\x30"
        + b"h\0" * 3
        + b"".join(b"\x87\x94" + (b"h" + bytes([n])) * 2 for n in range(1, 200))
        + b".",
    ),
    "deep tuples": lambda: ("a.pt", b"\x80\x02)" + b"\x85" * 2_400_000 + b"."),
    "deep lists": lambda: ("a.pt", b"\x80\x02" + b"]" * 1_200_000 + b"a" * 1_199_999 + b"."),
    "deep calls": lambda: ("a.pt", b"\x80\x02" + name("a", "b") + b")R" * 1_200_000 + b"."),
    "long names of many": lambda: ("a.pt", b"\x80\x02" + deep(60) + b"](" + b"]" * 200_000 + b"e" + b"s" * 60 + b"."),
    "wide names of many": lambda: (
        "a.pt",
        b"\x80\x02}" + text("\U0001f600" + "k" * 999) + b"](" + b"]" * 900_000 + b"es.",
    ),
    "a tensor over and over": lambda: (
        "a.pt",
        b"\x80\x02]("
        + tensor(b"(" + b"K\1" * 64 + b"t", b"(" + b"K\1" * 64 + b"t")
        + b"q\0"
        + b"h\0" * 900_000
        + b"e.",
    ),
    "a huge offset over and over": lambda: (
        "a.pt",
        MAGIC
        + pickle.dumps(1001, 2)
        + pickle.dumps({}, 2)
        + b"\x80\x02]("
        + tensor(b"K\2\x85", b"K\1\x85", HUGE)
        + b"q\0"
        + b"h\0" * 100_000
        + b"e.\x80\x02]("
        + text("0")
        + b"e."
        + bytes(64),
    ),
    "a huge number over and over": lambda: (
        "a.pt",
        b"\x80\x02]("
        + b"\x8b"
        + struct.pack("<I", 8 * 2**20)
        + b"\xff" * (8 * 2**20 - 1)
        + b"\x80"
        + b"q\0"
        + b"".join(b"]h\0a" for _ in range(100_000))
        + b"e.",
    ),
    "a huge key over and over": lambda: (
        "a.pt",
        b"\x80\x02" + HUGE[:-1] + b"\xff" + b"q\0](" + b"}h\0Ns" * 100_000 + b"e.",
    ),
    "long imports": lambda: ("a.pt", b"\x80\x04" + text("m" * 2**20) + b"q\0" + b"(" + b"h\0h\0\x93" * 2_000 + b"t."),
    "many imports": lambda: (
        "a.pt",
        b"\x80\x04("
        + b"".join(text(f"{n:x}" + "m" * 500) + b"q" + bytes([n]) for n in range(250))
        + b"".join(b"h" + bytes([a]) + b"h" + bytes([b]) + b"\x93" for a in range(250) for b in range(250)) * 2
        + b"t.",
    ),
    "sparse tensors of eight": lambda: (
        "a.pt",
        b"\x80\x02N"
        + b"q\0"
        + b"".join(
            name("torch._utils", "_rebuild_sparse_tensor")
            + b"N("
            + (b"h" + bytes([n])) * 8
            + b"t\x86Rq"
            + bytes([n + 1])
            for n in range(20)
        )
        + b".",
    ),
    "storages without end": lambda: (
        "a.pt",
        MAGIC
        + pickle.dumps(1001, 2)
        + pickle.dumps({}, 2)
        + b"\x80\x02"
        + tensor(b"K\0\x85", b"K\1\x85")
        + b".\x80\x02"
        + text("0")
        + b"q\0]("
        + b"h\0" * 1_200_000
        + b"e."
        + bytes(16_000_000),
    ),
    "a number of a megabyte in letters": lambda: ("a.pt", b"F" + b"9" * 2**20 + b"x\n."),
    "a number that is none": lambda: ("a.pt", b"\x80\x02I" + b"x" * 2**20 + b"\n."),
    "a reference of digits": lambda: ("a.pt", b"\x80\x02g" + b"9" * 4_000 + b"\n."),
    "four gigabytes announced": lambda: ("a.pt", b"\x80\x02\x8e" + struct.pack("<Q", 2**32) + b"x."),
    "a long of two gigabytes announced": lambda: ("a.pt", b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x."),
    "a long below zero": lambda: ("a.pt", b"\x80\x02\x8b" + struct.pack("<i", -1) + b"x."),
    "a memo at two billion": lambda: ("a.pt", b"\x80\x02Nr" + struct.pack("<I", 2**31 - 1) + b"p99999999999\n."),
    "wide text": lambda: (
        "a.pt",
        b"\x80\x02X" + struct.pack("<I", 60 * 2**20) + "\U0001f600".encode() + b"k" * (60 * 2**20 - 4) + b".",
    ),
    "secrets": lambda: (
        "a.pt",
        b"\x80\x02}(" + b"".join(text(f"api_key{n}") + text("hunter2") for n in range(90_000)) + b"u.",
    ),
    "all at once": lambda: (
        "a.pt",
        b"\x80\x02](B" + struct.pack("<I", 58 * 2**20) + bytes(58 * 2**20) + b"}" * 2_400_000 + b"e.",
    ),
    # zip
    "overlapping members": lambda: (
        "a.npz",
        overlapping(npy("'<f4'", (16_000,), bytes(64_000)), 64_000, 64_000, 150_000, method=0),
    ),
    "overlapping and packed": lambda: (
        "a.npz",
        overlapping((z := packed(npy("'<f4'", (2**18,), bytes(2**20)))), len(z), 2**20, 200_000),
    ),
    "quoted overlap": lambda: ("a.npz", quoted(1_000)),
    "a million members": lambda: ("a.npz", overlapping(b"", 0, 0, 1_000_000, method=0, suffix="")),
    "ten gigabytes of zeros in a pickle": lambda: ("a.pt", _one("a/data.pkl", zeros(10 * 2**30 // 32), 10 * 2**30)),
    "zeros that lie about their size": lambda: ("a.pt", _one("a/data.pkl", zeros(2**28), 100)),
    "zeros in the configuration": lambda: (
        "a.keras",
        _keras(packed(b'{"a":' + brackets(12 * 2**20) + b"}"), 36 * 2**20 + 9),
    ),
    "brackets in the compilation": lambda: (
        "a.keras",
        _keras(packed(b'{"compile_config":' + brackets(12 * 2**20) + b"}"), 36 * 2**20 + 22),
    ),
    "zip64 of 2^63": lambda: ("a.pt", zip64(2**63)),
    "a directory at 2^64": lambda: ("a.pt", directory64(2**64 - 1, 2**40)),
    "a directory of 2^40": lambda: ("a.npz", directory64(2**40, 2**40)),
    # safetensors
    "header of 2^60": lambda: ("a.safetensors", struct.pack("<Q", 2**60) + b"{}"),
    "header of brackets": lambda: ("a.safetensors", _header(b'{"a":' + brackets(30_000_000) + b"}")),
    "header of names": lambda: (
        "a.safetensors",
        _header(b"{" + b",".join(b'"%x":{}' % n for n in range(5_000_000)) + b"}"),
    ),
    "header of shapes": lambda: (
        "a.safetensors",
        safetensors({f"{n}": {"dtype": "F32", "shape": [2**62] * 60, "data_offsets": [0, 4]} for n in range(5_000)}),
    ),
    "metadata of brackets": lambda: ("a.safetensors", _header(b'{"__metadata__":{"a":' + brackets(20_000_000) + b"}}")),
    "header of depth": lambda: ("a.safetensors", _header(b'{"a":' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"}")),
    "tensors on each other": lambda: (
        "a.safetensors",
        safetensors(
            {f"{n}": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]} for n in range(100_000)}, bytes(32)
        ),
    ),
    "beyond the file": lambda: (
        "a.safetensors",
        safetensors({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    ),
    "a product that overflows": lambda: (
        "a.safetensors",
        safetensors({"w": {"dtype": "F32", "shape": [2**32, 2**32, 0], "data_offsets": [0, 0]}}),
    ),
    "one name twice": lambda: (
        "a.safetensors",
        _header(
            b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
        )
        + bytes(8),
    ),
    "index of brackets": lambda: (
        "a.safetensors.index.json",
        b'{"metadata":' + brackets(5_000_000) + b',"weight_map":{}}',
    ),
    "index of names": lambda: (
        "a.safetensors.index.json",
        b'{"weight_map":{' + b",".join(b'"%x":"s"' % n for n in range(1_300_000)) + b"}}",
    ),
    # NumPy
    "a shape of 2^63": lambda: ("a.npy", npy("'<f4'", (2**62, 2**62, 8), b"")),
    "a header of a megabyte": lambda: (
        "a.npy",
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**20) + b"'shape': (1," * 87_381 + b"    ",
    ),
    "a header of four gigabytes": lambda: ("a.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{}"),
    # GGUF
    "2^63 tensors": lambda: ("a.gguf", gguf_of(2**63, 1)),
    "2^63 entries": lambda: ("a.gguf", gguf_of(1, 2**63)),
    "an array of 2^63": lambda: ("a.gguf", gguf_of(0, 1, gguf_text(b"k") + struct.pack("<IIQ", 9, 8, 2**63))),
    "a text of 2^63": lambda: ("a.gguf", gguf_of(0, 1, struct.pack("<Q", 2**63) + b"k")),
    "arrays in arrays": lambda: (
        "a.gguf",
        gguf_of(
            0, 1, gguf_text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 2_000 + struct.pack("<IQ", 0, 0)
        ),
    ),
    "shapes of 64": lambda: (
        "a.gguf",
        gguf_of(
            100_000, 0, (gguf_text(b"w") + struct.pack("<I", 64) + b"\xff" * 512 + struct.pack("<IQ", 99, 0)) * 100_000
        ),
    ),
    "entries of wide texts": lambda: (
        "a.gguf",
        gguf_of(
            0,
            60_000,
            b"".join(
                gguf_text(f"{n}\U0001f600{'k' * 900}".encode())
                + struct.pack("<I", 8)
                + gguf_text("\U0001f600".encode() + b"v" * 900)
                for n in range(60_000)
            ),
        ),
    ),
    # HDF5
    "a tree in itself": lambda: ("a.h5", looped_tree()),
    "trees in trees": lambda: ("a.h5", nested_trees(20_000)),
    "one long name": lambda: ("a.h5", long_names()),
    "a header in itself": lambda: ("a.h5", looped_header()),
    "a header of continuations": lambda: ("a.h5", wide_header()),
    "texts of one collection": lambda: ("a.h5", texts()),
    "objects on each other": lambda: ("a.h5", same_header()),
    # ONNX
    "fields without end": lambda: ("a.onnx", onnx(b"", b"\x28\x01" * 5_000_000)),
    "nested graphs": lambda: ("a.onnx", onnx(_nested(2_000))),
    "dimensions": lambda: (
        "a.onnx",
        onnx((b"\x2a\xc2\x01\x0a\xbf\x01" + b"\xff\xff\x7f" * 63 + b"\x80\x01") * 150_000),
    ),
    "properties": lambda: (
        "a.onnx",
        onnx(
            b"",
            b"".join(
                message(
                    [
                        (
                            14,
                            message(
                                [
                                    (1, str(n).encode() + b"\xf0\x9f\x98\x80" + b"k" * 3_000),
                                    (2, b"\xf0\x9f\x98\x80" + b"v" * 3_000),
                                ]
                            ),
                        )
                    ]
                )
                for n in range(10_000)
            ),
        ),
    ),
    "places without end": lambda: (
        "a.onnx",
        onnx(
            message(
                [
                    (
                        5,
                        b"".join(
                            message(
                                [
                                    (
                                        13,
                                        message(
                                            [(1, str(n).encode() + b"k" * 500), (2, b"\xf0\x9f\x98\x80" + b"v" * 4_000)]
                                        ),
                                    )
                                ]
                            )
                            for n in range(10_000)
                        ),
                    )
                ]
            )
        ),
    ),
    # TensorFlow
    "entries of Snappy": lambda: ("a.index", many_entries(8)),
    "a key that grows": lambda: ("a.index", long_key()),
    "a block of 2^40": lambda: ("a.index", sstable(block(varint(2**40) + b"\0a", kind=1))),
    "a varint without end": lambda: ("a.index", bytes(48) + b"\xff" * 40 + bytes.fromhex("57fb808b247547db")),
    "restarts of 2^32": lambda: ("a.index", sstable(block(b"\xff" * 8))),
    # flax
    "depth": lambda: ("a.msgpack", b"\x81\xa1k" + b"\x91" * 1_000_000 + b"\xc0"),
    "a map of 2^32": lambda: ("a.msgpack", b"\xdf\xff\xff\xff\xff\xa1k\xc0"),
    "names of arrays": lambda: (
        "a.msgpack",
        (b"\x81\xda\x03\xe8" + b"k" * 1_000)
        + b"\x81\xda\x03\x80"
        + "\U0001f600".encode()
        + b"k" * 892
        + b"\xdc\xff\xff"
        + FLAX * 65_535,
    ),
    "names of many arrays": lambda: (
        "a.msgpack",
        (b"\x81\xda\x03\xe8" + b"k" * 1_000)
        + b"\x81\xda\x03\x80"
        + b"k" * 896
        + b"\xdd"
        + struct.pack(">I", 1_000_000)
        + FLAX * 1_000_000,
    ),
    "shapes of arrays": lambda: (
        "a.msgpack",
        b"\x81\xa1k\xdd"
        + struct.pack(">I", 100_000)
        + (b"\xc8\0\xce\x01\x93\xdc\0\x40" + b"\xcd\0\1" * 64 + b"\xa7float32\xc4\x00") * 100_000,
    ),
}


def _header(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _one(label: str, data: bytes, size: int) -> bytes:
    """An archive of one packed member that says how large it is."""
    return _members({label: (data, size, 8)})


def _keras(config: bytes, size: int) -> bytes:
    return _members({"config.json": (config, size, 8), "model.weights.h5": (KERAS, len(KERAS), 0)})


def _members(members: dict[str, tuple[bytes, int, int]]) -> bytes:
    out, directory = b"", b""
    for label, (data, size, method) in members.items():
        size32 = min(size, 2**32 - 2)
        local = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, 0, len(data), size32, len(label), 0)
        directory += b"PK\1\2" + struct.pack(
            "<HHHHHHIIIHHHHHII", 20, 20, 0, method, 0, 0, 0, len(data), size32, len(label), 0, 0, 0, 0, 0, len(out)
        ) + label.encode()  # fmt: skip
        out += local + label.encode() + data
    count = len(members)
    return out + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(out), 0)


def _nested(depth: int) -> bytes:
    found = b""
    for _ in range(depth):
        found = message([(1, found)])
    return found
