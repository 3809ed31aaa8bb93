"""Small checkpoints of every format, made by hand, or by the genuine library where that is no matter of a few lines."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


LIGHTNING = (
    unpacked(  # `torch.save` of a state dict, an optimizer, hyperparameters with a secret, and a number of NumPy.
        "eNqlVV1s21QUdpI2SZ22rKNrOzpG+Rl4a5fmt3W3tqFhpFCLEoKQLKTKcpy72JoT59jX3ToUCQm1Y28ICSQe2AO8jOc9DAlp/L2hAQIJISTe"
        "4GUS2gQvPIA07r1Oi5PSlm5Hcuz4nu+c73z3nOuiFOriuGiU22Z93CHOVB08WVGxGm+cMwv5Ae7VTns92AROkLsJADUsTYeAFJJj5F/VtMqq"
        "qTgYNSAoXZB58s7BKkZKxdAwhDTNMk2kYcOqO/yLdgXZqHKGrPDQdbwE3YIcJoDzyKjqGMIatmxNjysuNkyHV2xUdg2zomBUdyxbWU3xEBEE"
        "OcJSWLZaRRD1IHzBtFT8sveShx45QHwSwMshctcaLsSkMIbelyROCkqhDeiTQlJgA/ov65TFAxgOlGBAJgpxZUN14KBO8uhR3YuThAf1mBTE"
        "MMjw63BICqzDkIcdxjBSgsNuEx6Se4izUkNYpVLCKFs/IlOR4eEmHGXEV5HtEC3gESngOE5ZPkDeWQ1s1IyLyFaYcg6MrcCjTXjM05u9g8eb"
        "8ITENeGYwGgyvZ+UIiwmutBQ1NUqPNVGOwWCzso+vlX2Ca/scY/6BIaTJYi7jtxL3BuqrdaUqm25DQcmVyDRhKQgB8mKaUNqMVcsv/D97x/9"
        "zSiVSY0OpBdzv92k9vVi7s6f3/w0dGl8AzJsQ1kwB7IrMCWQ5AHkqq7KatXXGqROto4w0QKmmyAKui8B7aCyijVdcYgmMCONMWF1t6xg6xyq"
        "wymWwkGajTCcdr1tQw6GWa3u1hprcUWzbBSvuSY2VNtW13hHU03V5mHOc+ArmLDgYZ6Vd1aE3OU3L8HTJVgQSFdT7WYhv7y8vHSXGPuROAzP"
        "lDUSuII0h0d1+sDDGcbMsy/fysGzjJmpYqOehMIGLJbguQ14vgRLbrwoRaJLr4nv5ElL0qu440QOcrPeRMbPWnZNxUqrZwp5cftg/k9L0vTX"
        "7/z8Bq2OXjunH+ZOtdK3hkxRTaNar6E6LuSn7pHBVIYSyJ2HW1Ty4K4E+rm8R6C8hpFFj4xCfv6eK/fMNDA2EeWwPvfLYbpL4V05xLiFf0/F"
        "yUQhP3d/BH641pdbKxrzX9x+f37gg89u3P6x69ObXe/OU0ax9F9HRkjOkT0YTfoYJQv58f0wei/z7Y2FW1c+ofkCf5QbNEF0j3w5X75UIX/6"
        "fhTgdjDKZ+yrzz/cu/5eLu7x2ZqGE/sglOZppu+uVF/Zu/9GuWxrAFjpDrINMgEXVfoNU4xKIZ/cvxIJMTOTEUUxMz0zlU1kxOl0NpHIJjPZ"
        "THJqJiXOpBLpaTGdFSnLY1fTdwXCQ2AsA5TsFk//CdK3jXnbd7wT6p/+wTbY2yHuPw+czgj+8R1uizDQxe10ZnQG8c9ffzuNzSBbc9+J9U9K"
        "rA071M3557UT6G/5duDVNmCyE+jvzXbgSNgPTHUC/a3W255xE7iDyv7tH21DHoxwuzVmUQqHJ1quR0Mnt2A9HfeJoHf/OLI5g2H29GvLwfs8"
        "dIc9TA/z93z/AaLucPI="
    )
)
VIEWS = unpacked(  # The older format of `torch.save`: tied, transposed and partial views of one storage, and bfloat16.
    "eNp9kUtv00AQx+21k4AhpaW8yrM8SsMlSkqawikVQr2seNRcfEGWsZd60cqbWY+LQKrkSyLKZ+DAka/GR0DiwNguCKSIlXelGc/+f/+ZLdln"
    "T/38svdj/d23l2v9kj377tB5BFYvWLYsa2o06lir8FCYXOoMbCoIuvRHSUQlQpElMsqAfQo8SuKHqQhz+VHk4ByB2wtalMxTbRBanAUORTJD"
    "aHM3cCsNnR1Ah7tF8ZtpUzYCO0Zt4rQfFihV7oVGvCmkSkIUWa5NeLjlAev1gk4lTpXRgQCnueLtKR3hqybpgRssUc3j0dZge2d7ZzAaPxw/"
    "glbtI54W5KP9HKGzzy3OuDOHU9zh9hxOH8fUshIxUse598IkwojkqYzRA++BD2cQzvrQrVtAKRJYSrtBuwoKk1F4LiV3qZMupC+nDXWlojqc"
    "zeE8tyv46nFaiV9AuOjDpdqj0e/h8v/ErpyIre2TlDODq9yewbVG6DrCDR9u1i7TSL2FW43SyaCe1JMajv/Mav1fwHA4Gg3gNgEYAe7UM5rB"
    "3QpwrwFsINz3YbN6u9fV2y24bi8yzUSfWc0qJ+Wkbf29ygkdu/TRLml/3f0FqIar3g=="
)
TRAINING_ARGS = unpacked(  # An object of `transformers.training_args.TrainingArguments`.
    "eNqdlM+L00AUxyfNNk2jggi7y6Ire1ihwrab/tgkBWWxQhSC0oNC8DKk7Wwatk06k8nKLiiK+Ad48ei/sf4Hnjx496QnUfBfcCapJUltrQ6E"
    "4c28953PvPcmXUtcA0CWwdzYABcBJY7ne74LHeKG+wOHOrXJ8cjsyODJdLwo9JmTHx4FZIxIWMtEKI+m1h3iRmPk01DB4OZLLDzDhYp9iR0y"
    "Qg6J3YlDERbvHSral+/X7lbtq2xzgggcoBOvj2AsC3sO7Q9h6J0hvGbJ9mXm40fj6SaaBP1hiIuWaJfZxjDqQRocIx9LtsTsEPUJorgUG9CH"
    "7iTCsiXYCjODiE4iCgcewWVbTBawEnsSFDJyfOFh1Kt1rZJsuvef/2Dr/OsuzN02KOdyV+MJcig8YUnyAt/sFJMU1rno+c/PrwQWJiwV3QH1"
    "vGhIA+K4CDojz/V5gs1OdVaalYbW4gCHT/G3AjuisBRgE7RzAL1TigIyQMTsHPzbub/HyKN0hDjD69tft3jGpaUM60DPMcwy2vwfgqbCz/70"
    "zn389/vvgr18AfiT2A8R8VgFzhzKOKA3MDuVlVHURls1Wpqh6bquNdqNZl1tqapqNA50valqTd1QjXbbMDjljQcfP1QYRyWmFDjsjDPdlxtz"
    "5H9+x3mNdBtuZ+JvCWB5P+el0g21k5F6My8118V5tXRrbGbUrhTAopbMi6RrvJ4ReTsnsuBW6QLsZjlEsFJrdC1J2pvGXBers3gpN58Lyfxe"
    "TGYWV+JzUEzs5E9RlJIYKfZPfH8BDr9XMg=="
)
KERAS = unpacked(  # h5py: a Keras-like file with two datasets in nested groups and a `training_config`.
    "eNrtmM1Kw0AQx3fTD0JRG0GwFj9CTh5Eqt68qGi1B1FRD95q0KjBNpFsEVGKHvUNfAQfwaNHH8G30U12NmRTbf0CD84PyrCz09k0+58pzF1t"
    "ZbW/UC6QEF0nWWKQJK/AqKmu5f4+WAr2FuyDJv3ZaK8EfgPymxmxfgT/7na1Gka/ppDn3OeF1QnyH6lVl7ZCuxfrSPCsqXGHjsechB5rPzx3"
    "EE5K67oPMlMyQIa4Kk+dwGb1cydgru9x/wil0TeN+Fl0pU5yCTFTJZ8R5WsFtuu53nH9wPeO3OOe+fxEPi3yU6Xu5O/g5SjqL/+5unsqY91h"
    "3XXW3WJejTu3A0Z+se52NjZXQgVL3b1k1P+ZtI6R77G2vLlOExer9CfO3HRlugI9Je4znCur4TNmzZtWkznWlGn5Zy236V46AXQsvnVlHTRs"
    "xuqe3XTCyKVDuxmGJgLSWw3HDqK2F9itcIMfXpltt9vx8+4V8c4QBEEQBEEQBEEQ5Kt8NCecBEcN5n+95oSlMWENfKX/kvScUOrppKzGVcDO"
    "xPoTLH7z3PScUB4s86Z1jHzUB3LinVG5nhRWEw4Yv8ZzwM51KfrqoDkBo1mTDOtk+Br2c/yGwn1NEwl1uKgM5YGKYiQXf/o+hK60WFf6aPd4"
    "2ff2x1FL3XUl7plSquinU0dF8BmkkCOFYk8dlUBH2dQT3OIldOVm4f0PIW9rvZp9"
)
NEW_GROUPS = unpacked(  # h5py with `libver="latest"`: twelve links of the root in a fractal heap.
    "eNrr9HBx4+WS4mLm4GCAgf9QoCMN4RtAxR2LVh/193AJYlJYEsqQjYwruJgYGBkYmIRAylSEIcrns0P1RTDQDBjd6A0CO4mRgZGRBegCoBiz"
    "CAOjoII8AwtYhQKDOAeDeD2QxQp0IzMXB9CNLIwMUN+ywAw6wDDkgf+GjjBywoJlGIZFi4zoL3LCgmMYhgVb/RFzcsKCZxiGhbYwXx05YSEw"
    "DMNCqSjf2i042JVhG7TAZhRkZHgPYsj3yR7GU86QEX4iwzD8dEXPMdPaDqcQDxcGVlAwcwN5KRocIhBxHiCEgG+L+XIotqbBHkg4ABEQNwDx"
    "AiA+AMQPHEDVPgODABArALGBI8MoGAWjYBSMglEwCoZ+p5GMxpzEMGzMZSlKSpMTFjLDMCyO3eoIJycsFIZhWGgoz33kFuQRwAAazGJiEEDI"
    "wEbJgJ0mMID1osDBhUwzwJrsxAEWJJ2M0NBmZNCRhKdUviVqbsHAbgEDzGZGBlQaYVIAQwVQN0zmPytEXIoBlS68trzJKcTHjYFVLt9cisES"
    "KCTE0LKzWZPBG8x8LrJCj6ERzGRXDvdimAxmTmDeH8GgDmb+qFUoYLgDZAozPJFkqGZYChbVCfzVwCAKZvZx87Uw5IOZU84ELmE4CVYb7LDw"
    "AkMsWPT61l3/GbaDmUWyvAtGy+WhUA+oDMP8bvJ76x9ywkJjGIZF+fbNSeSEhc4wDIvjfLrObh4uTvDZDRCY9z1Pl5GBPSexMrUo3uAwvBiG"
    "ihieZ0QTMbrNhCZi/JwZTcTkMwuaiKkxG5qIGawigouY8wiiiVhICKGJWHKIwUQ4oC40EBFHFzJUkBgtDrECALZHvgY="
)


def safetensors(entries: Mapping[str, object], data: bytes = b"", metadata: Mapping[str, str] | None = None) -> bytes:
    document = dict(entries) | ({"__metadata__": metadata} if metadata else {})
    header = json.dumps(document).encode()
    return struct.pack("<Q", len(header)) + header + data


def of_arrays(arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file of arrays of NumPy."""
    codes = {"float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64", "int32": "I32", "uint8": "U8"}
    entries, data = {}, b""
    for name, array in arrays.items():
        offsets = [len(data), len(data) + array.nbytes]
        entries[name] = {"dtype": codes[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    return safetensors(entries, data, metadata)


TWO_TENSORS = safetensors(
    {
        "wte.weight": {"dtype": "BF16", "shape": [4, 3], "data_offsets": [0, 24]},
        "bias": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
    },
    bytes(32),
    {"format": "pt"},
)


def npy(descr: str, shape: tuple[int, ...], data: bytes, *, fortran: bool = False) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def archive(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return stream.getvalue()


def gguf() -> bytes:
    """An embedding in blocks of 8 bits, a vector, three entries of metadata, one of them the vocabulary."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    entries = (
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("llama.context_length") + struct.pack("<II", 4, 2048),
        text("tokenizer.ggml.eos_token_id") + struct.pack("<II", 4, 2),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("b") + text("</s>"),
    )
    tensors = (
        text("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 3, 8, 0),
        text("norm") + struct.pack("<IQIQ", 1, 4, 0, 128),
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) + b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(128 + 16)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def message(fields: Iterable[tuple[int, int | bytes]]) -> bytes:
    """A message of protobuf."""
    return b"".join(
        varint(n << 3) + varint(v) if isinstance(v, int) else varint(n << 3 | 2) + varint(len(v)) + v for n, v in fields
    )


def onnx() -> bytes:
    """Three initializers: raw bytes, a packed list of floats, and one that lies in a file of its own."""
    raw = message([(1, 2), (1, 3), (2, 1), (8, b"fc.weight"), (9, bytes(24))])
    floats = message([(1, b"\x02"), (2, 1), (8, b"fc.bias"), (4, bytes(8))])
    place = [(13, message([(1, b"location"), (2, b"big.data")])), (13, message([(1, b"offset"), (2, b"16")]))]
    outside = message([(1, 4), (2, 10), (8, b"big"), *place, (14, 1)])
    graph = message([(1, message([(4, b"Gemm")])), (2, b"g"), (5, raw), (5, floats), (5, outside)])
    return message([(1, 8), (2, b"pytorch"), (7, graph), (14, message([(1, b"epoch"), (2, b"3")]))])


def table(entries: Mapping[bytes, bytes]) -> bytes:
    """A table of LevelDB with one block, not compressed."""
    from mldiag.readers._events.crc32c import crc32c, masked

    def block(pairs: Mapping[bytes, bytes]) -> bytes:
        body = b"".join(b"\0" + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs.items())
        body += struct.pack("<II", 0, 1)
        return body + b"\0" + struct.pack("<I", masked(crc32c(body + b"\0")))

    data = block(entries)
    index = block({b"~": varint(0) + varint(len(data) - 5)})
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + footer + bytes(40 - len(footer)) + bytes.fromhex("57fb808b247547db")


def tensorflow() -> bytes:
    """An index of two variables; their values are bytes 0 to 32 of the data file."""
    shape = message([(2, message([(1, 2)])), (2, message([(1, 3)]))])
    return table(
        {
            b"": message([(1, 1), (3, message([(1, 1)]))]),
            b"dense/kernel": message([(1, 1), (2, shape), (5, 24)]),
            b"step": message([(1, 9), (2, b""), (4, 24), (5, 8)]),
        }
    )


def flax() -> bytes:
    """A train state: a step, a kernel below two keys, a learning rate as a number of NumPy."""

    def text(value: str) -> bytes:
        return bytes([0xA0 | len(value)]) + value.encode()

    def extension(kind: int, shape: tuple[int, ...], dtype: str, data: bytes) -> bytes:
        inner = b"\x93" + bytes([0x90 | len(shape), *shape]) + text(dtype) + bytes([0xC4, len(data)]) + data
        return bytes([0xC7, len(inner), kind]) + inner

    kernel = extension(1, (2, 3), "float32", bytes(24))
    rate = extension(3, (), "float32", struct.pack("<f", 0.5))
    return (
        b"\x83"
        + text("step")
        + b"\x07"
        + text("params")
        + b"\x81"
        + text("fc")
        + b"\x81"
        + text("kernel")
        + (kernel + text("lr") + rate)
    )


ADAM = {"class_name": "Adam", "config": {"learning_rate": 0.0010000000474974513}}
ARRAY = npy("'<f4'", (2, 3), bytes(24))

# Name of the file, its bytes; name, shape and type of each tensor.
FILES = {
    "safetensors": ("m.safetensors", TWO_TENSORS, [("wte.weight", (4, 3), "bfloat16"), ("bias", (2,), "float32")]),
    "numpy": ("w.npy", ARRAY, [("", (2, 3), "float32")]),
    "numpy archive": (
        "w.npz",
        archive({"a.npy": ARRAY, "b.npy": npy("'|O'", (1,), b"pickled")}),
        [("a", (2, 3), "float32"), ("b", (1,), "object")],
    ),
    "gguf": ("m.gguf", gguf(), [("token_embd.weight", (3, 32), "q8_0"), ("norm", (4,), "float32")]),
    "onnx": (
        "m.onnx",
        onnx(),
        [("fc.weight", (2, 3), "float32"), ("fc.bias", (2,), "float32"), ("big", (4,), "float16")],
    ),
    "tensorflow": ("v.index", tensorflow(), [("dense/kernel", (2, 3), "float32"), ("step", (), "int64")]),
    "flax": ("checkpoint_7", flax(), [("params/fc/kernel", (2, 3), "float32")]),
    "keras": ("w.h5", KERAS, [("dense/vars/0", (3, 2), "float32"), ("dense/vars/1", (2,), "float16")]),
    "keras archive": (
        "m.keras",
        archive({
            "metadata.json": b'{"keras_version": "3.0.0"}',
            "config.json": json.dumps({"compile_config": {"optimizer": ADAM}}).encode(),
            "model.weights.h5": KERAS,
        }),
        [("dense/vars/0", (3, 2), "float32"), ("dense/vars/1", (2,), "float16")],
    ),
    "hdf5 of many links": ("n.h5", NEW_GROUPS, [(f"layer_{i}", (), "float32") for i in (0, 1, 10, 11, *range(2, 10))]),
    "pytorch": (
        "last.ckpt",
        LIGHTNING,
        [
            ("state_dict/weight", (2, 3), "float32"),
            ("state_dict/bias", (2,), "float32"),
            ("optimizer_states/0/state/0/exp_avg", (2, 3), "float32"),
        ],
    ),
    "pytorch before 1.6": (
        "views.pth",
        VIEWS,
        [
            ("a", (2, 3), "float32"),
            ("tied", (2, 3), "float32"),
            ("turned", (3, 2), "float32"),
            ("row", (3,), "float32"),
            ("half", (2,), "bfloat16"),
        ],
    ),
    "training arguments": ("training_args.bin", TRAINING_ARGS, []),
}  # fmt: skip
