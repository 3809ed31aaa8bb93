"""Values of tensors: as they were written, in every format, and a reason where there are none."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import KERAS, VIEWS, archive, message, npy, safetensors, tensorflow, unpacked, varint
from numpy.typing import NDArray
from test_checkpoint_headers import checkpoint

from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.parts import readers_in
from mldiag.values import Values

CHUNKS = unpacked(  # h5py: gzip and shuffle, a checksum, plain chunks, lzf, never written, and written in part.
    "eNrtmgtwFPUdx7/JHeEIiVwwQCABTo0aIcLmoV5IlAOCBIFwSe6xd1J7KQkGCHpKsEFUFkUalEoUH5GiXtHa+I6KNr5XBQmPauo4ndTXnBUtVa"
    "dNK6ORcWq/t7e3cBsuDL5ox/1OPvP/7n9//98+b+f/y+76ivLz01PHpCIiiwVmWHG4vlH1eUX8cmx9QG2T1LZFbduTY/1JyrostT9Dza+Pc1XP"
    "nBmJ/kan2HYEc7SN3ztDPxVVzJzmjLSiumxX267k+Lhg7cKl9XXA8hXLlkXaYGPt4kvYf9mKxQuXsq1fFmxaybbh0sb65Yfdt7YE201CSjQmKb"
    "acF22Tox2nqHEpaqtfNvHOj0Rm2MbDrG5plAWjVqvrB8GirE82RRMO5ZElKfmj65OV9UlY3rBi0aLGejVHZD+i/XX1ixprmw71W9RfminZ1Dwo"
    "1gVltTn+zH071VTOL4+ckzx1Obts4HhBbSeeO3CcJXYdTAPHxZ4jz40bOC52PU85c+C42PNkdcaPez9HnndJSO33vDv7KOM6hkXbs3T9Zt3yx8"
    "Piz78lQb5s65Hj9PnmqHHFGPg5vCpBnD7fY+qKSbrrqteHatxkXZw+X4Z6/U46yu/ZocaN08Xp89Xq7oc8XZzZeCQbMmTIkCFDhn4kNV+0MBCy"
    "Fgv2nGbZFra2OoXa164dMbhyQee/PhhsulFqWbth3U1rhlz3gslq35p0Oif7+zIyncqotOL8QMAp4M2xaWnZVwhCWfPLsvyyKbOmNtDRURsIBg"
    "OBYFP5jspKSxpuezx1fXSQvbO5r3x77n2Zt7re2rZtRdO8tuL6t7esHDryEfGpRe/dvqz0ihJOlTbePHpENN68VhDq9glCcXGBcOBAgbC3bYfc"
    "UTfa9Oq6eWlpq74oEOwlH+zEP89JT4/G59ib9vXcuXzUpPc6V/zt/U0XT77o6r4DH71zz+q0DfkPN3624N2y5yvFNUU5wPWXZ98fHbPFvkMOfj"
    "TG9Op1s9LSLn2/QPi6b4csb9/Lw9klyzvfkMP71q6/666MLBRfk54bHWOxpA65cf2cit1du3dNPOOh9iUNSxZ/+vfsrM1tm++80PdOz5QTgbqp"
    "6QXR6JaWQqFidpGQl1cotD9QJOzfXyhkjS4SRLFQ6PlLkWAv/XAnXqlI2aWeJPuUkueeWdV8sO/gV/fuWSMVDXfcYUrCqKEpq6MBnZ2FQvPKIs"
    "Fs3rrHIT1ZlLzQhE2FpurvXl5alaHWIZFS8dCEu39ZaYuWlUmHxkXEkrJpYUP95UWF/crHjcMPVQQpiKXXCvAfsiwa1K8sqjvKuJ050bbuKOXO"
    "xLHxcYnKmI26uETlyee6uERlh3fckcuJ2HVMNp5shgwZMmTIkCFDx6okTqJMMHPymILBnAAOQSqnvWlIxwkYxoleBobjRGRiBEZiFCd0ozEG2c"
    "jBWIzDeE7cTsLJnF7n4lSchtM5QTsDEzAR+TgTkzC5wdw3CwIKUIgiFOMsnI1zYEcJpqAUZTgX52EqHJiG6ZiBcszE+ZiFCszGBZiDuZiHSsyH"
    "E1WoRg1ccMMDL6fSPvhxIRbgZ7gIP29IX5mLAGrxCyzkhLIei3AxGrAYS7AUjViGS3ApgrgMl2M5mrACV+CXaMZKXIlVuApX4xqshoQ1uBbXYS"
    "2uxzr8Ci1YjxtwIzbg17gJGxtGHgRacTNuwSbcittwO+5AG+7EZvwGW3AX7sY9COG32Ip7cR9+h/vxe7TjATyIh/AwHsGjeAwdeBxP4Elsw1N4"
    "Gn9AJ57Bs3gOz+MFvIiXGsZf+R5kvIxX8Cq2Ywdew050YRd2Yw/24o94HW+gG3/6Lhd79AlfTYjUCd/Pq7lhWu2UOgip6puTfjXUYbXRnvHRkF"
    "QlTJu+Nx/XH0C0drIcc+1kmhBfw0A7/nhdrItLTZBvT4I4fb7JE+PjMhPk25QgTp/vS11cojeEF+YfOU6f76X8+GV9nFGzGTJkyJAhQ4b+j1XG"
    "2mU66xalapGUukVi5SKxdpHmyqxfHPMk1jCOSqlSZiUjzZdZzdicDqfkDDllZ5iVjaMqUCVVhapk1ji2akd1oFqqlqvDrHdsNY4aVkSqpNkx55"
    "gbc/I8rW9+zAWcMWerirmw5kLVWlyNlrkmVCPXhFlf2VyCy+FyugIuydXqCrk6XLIr7Opl3WV129wOt9MdcAfdkjvk7nDL7m53mPWY1WPzCB6H"
    "J+AJeiRPqyfkkT3dnrCnl5WazSt4HV6nN+C1umJbC2quW3OCO+ZaNderOacn5jo0Z/Vq+TQneVu9IW+HV/aGvb2sEi2iVbSJeaIg2kWH6BRFMS"
    "A2iEFRElvEVrFNDIkdYqcoi11itxgW94u9Yh8rS6svy2fz5fkEn8NX4XP6RF/AF/Q1+yRfi6/V161tLUt7oVOhuWbNtWuuR3MWX8zZNdeguTbN"
    "hXztvg5fp0/2dft6fGHffl8v612L3+rP8tv8gt/ud/gr/E5/wN/gD/qb/ZL/2G/cLm1rfZrL0/KImmvxf/sfx4//CWhe3Ls6XB1Zb0LjlYuUxU"
    "iOQVwnxa7Hobq0aFKsK+6Tz4ofoM7s/+midOgUHVFL1S9P3bp+/ad0n6pxsXyJ3uU5SuLzJfp0US6Jz5fond+IKfH5En26eNuU+HyJ3g1+osuX"
    "6NPFJaXqryn2vEuQ7yU1LlcXp8/3ZWn8svHpoiFDhgwZMmTo+EqaGpm68Y/IJEwwjbMt4iBOEiBB0kraSIi0E5l0kW7SQ3pJH2HtCjOxkkySRX"
    "JIHsknAimezvm4xI2FbCYZZhuHCREHyTYULYrroOtUXJhuvxJn4dA0pc/GvlzF2enKbCZHdLbrYEQ5qSBziUgWkACpI0HSRJrJVWQtWUdayA2k"
    "ldxCbiW3ky3kbhIiW0k7eZA8TB4l28jTpJM8GzkoJ41L2bEG7lijdlDXKm4D3U2Ka6PbrLj76O7XDvkJxT1P96J2UDJzvkK2k9fIXvI66SZvkh"
    "7yNnmXvE/2kY/JfvIJ6SX/JgfIF+Rr8h+CGZwzEzMZRFLIYJJKhpI0kj6DB9XF4N3Kjr3FHfuzdlX+qrjP6P6huD66g8qVSuZQk9JnYd8QxZ1A"
    "N0w7KCsjMshwciIZSUaRLDKa5JCxZBwZT04mp5BccirJI2eQCWQimUQmE4EUkGJyFjmbnEOmkFJSRs6NHFQmzQhlx8Zwx7K12+okxZ1Gd7ri8u"
    "nOVFwhXZF205Uo7jy6qepBMamDSafZTJhOZpDzySxSQWaTuWQeqSTzbabwDHVcOcfNVBJewIRzFOekq2LMnEjM0d6vmhPUFeZjrXuTde9Xk2IV"
    "pUP37Di+71ePdj709aL1256P/u+bS887Yl3/v/C+OemI/wcYSMt1/46wGPWpIUOGDBkyZMjQT+B/AMeP/wL+j0eE"
)
LATEST = unpacked(  # h5py with `libver="latest"`: one chunk alone, and chunks listed by a fixed array.
    "eNrr9HBx4+WS4mLm4GCAgf9QMIsZwjeAirNFrlro7+ESxMRQwSSErBAGuJgYGIHK+BiAFHN+XupmmEYBkAhrWmZFasoLRqigEQMZwCdy2k6wEx"
    "gZGBlVGBiYmBgZoa5kYIHSGHwRBkZBBXsGiAcdGEy4GUz+AxWxAl3LzM3Nw8AINIQBBEE6OGRBMkzMjMwsHIyaSFbvhzm8lWFwgH0VP4Iq4pIT"
    "HNjk3yzkYec4yriUdcEWjinTGi4ZBUQxemk7ZopqrH3GwHDNnWUOdQONAxj9LEwMzIyMLBzMXF+YoJoWMAx60LqScZGbo4cLMKK5YH42gDJ8Hu"
    "btQFX9wR7KcIBQHA5uji5ODAwwHwtAdUZB6SooHXJIyBCqAqpTBEpLQGkZKK0ApZWgtAqUVnMAAKqdT6M="
)
GRID = np.arange(35 * 6, dtype="<f4").reshape(35, 6)
DICE = np.random.default_rng(5)


def joined(values: Values, tensor: Tensor, step: int | None = None) -> NDArray[Any]:
    blocks = [b.copy() for b in values.blocks(tensor, step)]
    return np.concatenate([*blocks, np.empty(0, values.dtype(tensor))]).reshape(tensor.shape)


def values_of(root: Path, name: str, data: bytes) -> Callable[[str], NDArray[Any]]:
    """The values of a tensor of a file by its name."""
    (root / name).write_bytes(data)
    found = checkpoint(root, name)
    values = Values(root, found)

    def of(tensor: str) -> NDArray[Any]:
        once = joined(values, found.by_name[tensor])
        assert np.array_equal(once, joined(values, found.by_name[tensor], 3), equal_nan=once.dtype.kind in "fc")
        return once

    return of


def test_safetensors_of_every_type_and_the_bytes_as_they_are(tmp_path: Path) -> None:
    types = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "u2", "I64": "i8", "I8": "i1", "U16": "u2", "BOOL": "u1",
             "F8_E4M3": "u1", "F8_E5M2": "u1", "C64": "c8"}  # fmt: skip
    entries, body, wanted = {}, b"", {}
    for kind, code in types.items():
        cells = np.frombuffer(DICE.bytes(6 * np.dtype(code).itemsize), code).reshape(2, 3)
        entries[kind] = {"dtype": kind, "shape": [2, 3], "data_offsets": [len(body), len(body) + cells.nbytes]}
        wanted[kind], body = cells, body + cells.tobytes()
    of = values_of(tmp_path, "m.safetensors", safetensors(entries, body))
    found = checkpoint(tmp_path, "m.safetensors")
    for kind, cells in wanted.items():
        assert of(kind).tobytes() == cells.tobytes()
        assert b"".join(map(bytes, Values(tmp_path, found).bytes(found.by_name[kind]))) == cells.tobytes()


def test_each_tensor_of_several_files_is_read_from_its_own(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    for number, (name, shard) in enumerate(index["weight_map"].items()):
        (tmp_path / shard).write_bytes(safetensors({name: entry}, struct.pack("<2f", number, 5)))
    (reader,) = [r for r in readers_in("mldiag.readers") if r.name == "checkpoint_index"]
    (found,) = reader.read(File(tmp_path, "m.safetensors.index.json"))
    assert isinstance(found, Checkpoint)
    values = Values(tmp_path, found)
    assert [joined(values, t).tolist() for t in found.tensors] == [[0, 5], [1, 5]]


class _Call:
    """Pickles as a call of a name, without the module it is in."""

    def __init__(self, name: str, *args: object) -> None:
        self.name, self.args = name, args


class _Pickler(pickle._Pickler):  # type: ignore[misc, name-defined]  # the one in Python lets a name be written
    def persistent_id(self, thing: object) -> object:
        return thing.args if isinstance(thing, _Call) and thing.name == "storage" else None

    def save(self, thing: object, save_persistent_id: bool = True) -> None:
        if isinstance(thing, _Call) and thing.name != "storage":
            module, _, name = thing.name.rpartition(".")
            self.write(f"c{module}\n{name}\n".encode())
            if thing.args != ("itself",):
                super().save(thing.args)
                self.write(b"R")
            return
        super().save(thing, save_persistent_id)


def torch_zip(
    tensors: dict[str, tuple[str, int, tuple[int, ...], tuple[int, ...], str]], storages: dict[str, bytes],
    method: int = zipfile.ZIP_STORED, order: bytes = b"little",
) -> bytes:  # fmt: skip
    """A file of `torch.save`: of each tensor the storage type, first element, shape, strides and key."""
    stream = io.BytesIO()
    _Pickler(stream, 2).dump({
        name: _Call("torch._utils._rebuild_tensor_v2",
                    _Call("storage", "storage", _Call(f"torch.{kind}", "itself"), key, "cpu", 10**6), start, shape,
                    strides, False, ())
        for name, (kind, start, shape, strides, key) in tensors.items()
    })  # fmt: skip
    members = {"m/data.pkl": stream.getvalue(), "m/byteorder": order}
    return archive(members | {f"m/data/{k}": v for k, v in storages.items()}, method)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_views_of_a_storage_of_pytorch(method: int, tmp_path: Path) -> None:
    cells = np.arange(24, dtype="<f4")
    views = {
        "whole": ("FloatStorage", 0, (4, 6), (6, 1), "0"),
        "turned": ("FloatStorage", 0, (6, 4), (1, 6), "0"),
        "part": ("FloatStorage", 7, (2, 3), (6, 2), "0"),
        "scalar": ("FloatStorage", 5, (), (), "0"),
        "repeated": ("FloatStorage", 3, (2, 3), (0, 1), "0"),
        "none": ("FloatStorage", 0, (0, 3), (3, 1), "0"),
        "bits": ("BFloat16Storage", 1, (2, 2), (1, 2), "1"),
    }
    bits = np.arange(8, dtype="<u2")
    of = values_of(tmp_path, "m.pt", torch_zip(views, {"0": cells.tobytes(), "1": bits.tobytes()}, method))
    grid = cells.reshape(4, 6)
    assert np.array_equal(of("whole"), grid)
    assert np.array_equal(of("turned"), grid.T)
    assert np.array_equal(of("part"), [[7, 9, 11], [13, 15, 17]])
    assert of("scalar") == 5
    assert np.array_equal(of("repeated"), [[3, 4, 5]] * 2)
    assert of("none").size == 0
    assert np.array_equal(of("bits"), [[1, 3], [2, 4]])


def test_the_other_byte_order(tmp_path: Path) -> None:
    cells = np.array([1.5, -2, 3e38, 0], ">f4")
    of = values_of(tmp_path, "m.pt", torch_zip({"w": ("FloatStorage", 0, (4,), (1,), "0")}, {"0": cells.tobytes()},
                                               order=b"big"))  # fmt: skip
    assert np.array_equal(of("w"), cells)
    of = values_of(tmp_path, "w.npy", npy("'>f4'", (2, 2), cells.tobytes(), fortran=True))
    assert np.array_equal(of(""), cells.reshape(2, 2).T)


def test_the_older_format_of_pytorch_and_arrays_in_a_pickle(tmp_path: Path) -> None:
    of = values_of(tmp_path, "views.pth", VIEWS)
    assert np.array_equal(of("turned"), of("a").T)
    assert of("row").tolist() == [3, 4, 5]
    held = {"a": np.asfortranarray(GRID[:3]), "b": np.arange(4, dtype=">i2"), "c": np.float64(2.5)}
    of = values_of(tmp_path, "arrays.pth", pickle.dumps(held, 2))
    assert np.array_equal(of("a"), GRID[:3])
    assert np.array_equal(of("b"), np.arange(4))
    of = values_of(tmp_path, "new.pth", pickle.dumps({"a": np.asfortranarray(GRID[:3]), "d": GRID}, 5))
    assert np.array_equal(of("a"), GRID[:3])
    assert np.array_equal(of("d"), GRID)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_of_numpy(method: int, tmp_path: Path) -> None:
    big = DICE.standard_normal((700, 300))
    members = {"a.npy": npy("'<f8'", big.shape, big.tobytes()), "t.npy": npy("'<f8'", big.shape[::-1], big.tobytes(),
               fortran=True), "e.npy": npy("'<i4'", (0,), b""), "o.npy": npy("'|O'", (1,), b"pickled")}  # fmt: skip
    of = values_of(tmp_path, "w.npz", archive(members, method))
    found = checkpoint(tmp_path, "w.npz")
    assert np.array_equal(joined(Values(tmp_path, found), found.by_name["a"]), big)
    assert np.array_equal(joined(Values(tmp_path, found), found.by_name["t"]), big.T)
    assert of("e").size == 0
    with pytest.raises(ReadError, match="Python objects, which are not unpickled"):
        of("o")


def gguf(kinds: list[tuple[str, int, tuple[int, ...], bytes]]) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(kinds), 0)
    body = b""
    for name, kind, shape, data in kinds:
        sizes = struct.pack(f"<{len(shape)}Q", *shape[::-1])
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape)) + sizes
        head += struct.pack("<IQ", kind, len(body))
        body += data + bytes(-len(data) % 32)
    return head + bytes(-len(head) % 32) + body


def test_gguf_gives_plain_numbers_and_of_blocks_their_bytes(tmp_path: Path) -> None:
    half = GRID[:2].astype("<f2")
    data = gguf(
        [("plain", 0, (35, 6), GRID.tobytes()), ("half", 1, (2, 6), half.tobytes()), ("q", 8, (32,), b"x" * 34)]
    )
    of = values_of(tmp_path, "m.gguf", data)
    assert np.array_equal(of("plain"), GRID)
    assert np.array_equal(of("half"), half)
    with pytest.raises(ReadError, match="q8_0 is blocks of quantised numbers"):
        of("q")
    found = checkpoint(tmp_path, "m.gguf")
    assert b"".join(map(bytes, Values(tmp_path, found).bytes(found.by_name["q"]))) == b"x" * 34


def test_hdf5_in_one_piece_in_chunks_and_compressed(tmp_path: Path) -> None:
    assert values_of(tmp_path, "w.h5", KERAS)("dense/vars/0").shape == (3, 2)
    keras = archive({"config.json": b"{}", "model.weights.h5": CHUNKS})
    for name, data in (("c.h5", CHUNKS), ("c.keras", keras)):
        of = values_of(tmp_path, name, data)
        assert np.array_equal(of("packed"), GRID)
        assert np.array_equal(of("summed"), GRID)
        assert np.array_equal(of("plain"), GRID)
        for tensor, reason in (
            ("quick", "compressed by lzf"),
            ("empty", "never written"),
            ("holes", "1 of its 2 chunks"),
        ):
            with pytest.raises(ReadError, match=reason):
                of(tensor)
    of = values_of(tmp_path, "l.h5", LATEST)
    for tensor, reason in (("one", "told in version 5"), ("fixed", "listed by a fixed array")):
        with pytest.raises(ReadError, match=reason):
            of(tensor)


def test_tensorflow_reads_the_data_file(tmp_path: Path) -> None:
    (tmp_path / "v.data-00000-of-00001").write_bytes(struct.pack("<6fq", *range(6), -7))
    of = values_of(tmp_path, "v.index", tensorflow())
    assert of("dense/kernel").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert of("step") == -7


def initializer(name: str, kind: int, shape: list[int], *fields: tuple[int, int | bytes]) -> tuple[int, bytes]:
    return 5, message([*[(1, n) for n in shape], (2, kind), (8, name.encode()), *fields])


def test_onnx_gives_raw_bytes_and_every_kind_of_list(tmp_path: Path) -> None:
    negative = 2**64 - 5
    whole = b"".join(map(varint, [1, 300, negative, 2**63 - 1]))
    many = DICE.integers(0, 2**40, 50_000)
    graph = [
        initializer("raw", 1, [2], (9, struct.pack("<2f", 1, 2))),
        initializer("floats", 1, [3], (4, struct.pack("<2f", 1, 2)), (4, struct.pack("<f", 3))),
        initializer("doubles", 11, [1], (10, struct.pack("<d", 0.1))),
        initializer("complex", 14, [1], (4, struct.pack("<2f", 1, -1))),
        initializer("longs", 7, [4], (7, whole)),
        initializer("alone", 6, [2], (5, 4), (5, negative)),
        initializer("halves", 10, [2], (5, varint(0x3C00) + varint(0xC000))),
        initializer("bits", 16, [1], (5, varint(0x3F80))),
        initializer("truth", 9, [2], (5, b"\x01\x00")),
        initializer("many", 7, [50_000], (7, b"".join(varint(int(n)) for n in many))),
        initializer("few", 7, [5], (7, whole)),
        initializer("cut", 7, [1], (7, b"\xff\xff")),
    ]
    model = message([(1, 8), (2, b"here"), (7, message(graph))])
    (tmp_path / "m.onnx").write_bytes(model)
    found = checkpoint(tmp_path, "m.onnx")
    values = Values(tmp_path, found)

    def of(name: str) -> list[Any]:
        listed: list[Any] = joined(values, found.by_name[name]).tolist()
        return listed

    assert of("raw") == [1, 2]
    assert of("floats") == [1, 2, 3]
    assert of("doubles") == [0.1]
    assert of("complex") == [1 - 1j]
    assert of("longs") == [1, 300, -5, 2**63 - 1]
    assert of("alone") == [4, -5]
    assert of("halves") == [1, -2]
    assert of("bits") == [0x3F80]
    assert of("truth") == [1, 0]
    assert of("many") == many.tolist()
    for name, reason in (("few", "only 4 values"), ("cut", "within a number")):
        with pytest.raises(ReadError, match=reason):
            of(name)


def test_flax_gives_arrays_whole_and_in_chunks(tmp_path: Path) -> None:
    def text(value: str) -> bytes:
        return bytes([0xA0 | len(value)]) + value.encode()

    def array(cells: NDArray[Any]) -> bytes:
        shape = b"".join(bytes([0xCD]) + struct.pack(">H", n) for n in cells.shape)
        inner = b"\x93" + bytes([0x90 | cells.ndim]) + shape + text(str(cells.dtype))
        inner += b"\xc5" + struct.pack(">H", cells.nbytes) + cells.tobytes()
        return b"\xc8" + struct.pack(">H", len(inner)) + b"\x01" + inner

    flat = GRID.reshape(-1)
    chunked = b"\x83" + text("__msgpack_chunked_array__") + b"\xc3" + text("shape") + b"\x82" + text("0") + b"\x23"
    chunked += (
        text("1") + b"\x06" + text("chunks") + b"\x82" + text("0") + array(flat[:100]) + text("1") + array(flat[100:])
    )
    # The key of 25 characters needs no longer length than a short text has.
    data = b"\x82" + text("a") + array(GRID) + text("b") + chunked
    of = values_of(tmp_path, "w.msgpack", data)
    assert np.array_equal(of("a"), GRID)
    assert np.array_equal(of("b"), GRID)


def bomb(shape: tuple[int, ...]) -> bytes:
    return archive({"a.npy": npy("'<f4'", shape, bytes(4000))}, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("w.npz", bomb((2**40,)), "the archive holds"),
        ("w.npy", npy("'<f4'", (2**40,), bytes(4)), "cut file"),
        (
            "m.safetensors",
            safetensors({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
            "cut file",
        ),
        (
            "m.pt",
            torch_zip({"w": ("FloatStorage", 0, (2**30, 2**20), (0, 0), "0")}, {"0": b"four"}),
            "it repeats 4 bytes",
        ),
        ("m.pt", torch_zip({"w": ("FloatStorage", 0, (9,), (2**50,), "0")}, {"0": b"four"}), "values"),
    ],
)
def test_what_a_header_promises_is_held_against_the_file_first(
    name: str, data: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    found = checkpoint(tmp_path, name)
    tracemalloc.start()
    with pytest.raises(ReadError, match=reason):
        list(Values(tmp_path, found).blocks(found.tensors[0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_a_zip_that_says_it_holds_more_than_its_bytes_can(tmp_path: Path) -> None:
    data = bytearray(archive({"a.npy": npy("'<f4'", (2**28,), bytes(4000))}, zipfile.ZIP_DEFLATED))
    at = data.rfind(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<I", 2**31)
    (tmp_path / "w.npz").write_bytes(data)
    found = checkpoint(tmp_path, "w.npz")
    with pytest.raises(ReadError, match="compressed bytes cannot hold"):
        list(Values(tmp_path, found).blocks(found.tensors[0]))


@pytest.mark.parametrize("packed", [False, True])
def test_memory_does_not_grow_with_the_file(packed: bool, tmp_path: Path) -> None:
    size = 96 * 2**20
    path = tmp_path / "w.npz"
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as out, out.open("a.npy", "w") as member:
        member.write(npy("'<f4'", (size // 4,), b""))
        for _ in range(96):
            member.write(bytes(2**20))
    found = checkpoint(tmp_path, "w.npz")
    tracemalloc.start()
    assert sum(len(b) for b in Values(tmp_path, found).blocks(found.tensors[0])) == size // 4
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((3000, 1100), (1, 3000)), ((7, 1100, 600), (1, 7, 7700)), ((4, 1_200_000), (1, 4)), ((600, 2000), (4000, 2)),
     ((1_200_000, 3), (1, 1_200_000)), ((2, 3, 900, 700), (1, 2, 6, 5400))],
)  # fmt: skip
def test_large_views_are_gathered_from_where_they_lie(
    shape: tuple[int, ...], strides: tuple[int, ...], tmp_path: Path
) -> None:
    extent = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    cells = DICE.integers(0, 2**31, extent, dtype="<i4")
    (tmp_path / "m.pt").write_bytes(torch_zip({"w": ("IntStorage", 0, shape, strides, "0")}, {"0": cells.tobytes()}))
    found = checkpoint(tmp_path, "m.pt")
    wanted = np.lib.stride_tricks.as_strided(cells, shape, [4 * s for s in strides]).flatten()
    tracemalloc.start()
    at = 0
    for block in Values(tmp_path, found).blocks(found.tensors[0]):
        assert np.array_equal(block, wanted[at : at + len(block)])
        at += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert at == math.prod(shape)
    assert peak < 24 * 2**20


@pytest.mark.parametrize("name", ["w.npz", "m.pt", "c.h5", "m.onnx", "w.npy"])
def test_damage_gives_a_reason_or_numbers(name: str, tmp_path: Path) -> None:
    whole = {
        "w.npz": archive({"a.npy": npy("'<f4'", (700,), DICE.bytes(2800))}, zipfile.ZIP_DEFLATED),
        "m.pt": torch_zip({"w": ("FloatStorage", 2, (6, 4), (1, 6), "0")}, {"0": bytes(104)}, zipfile.ZIP_DEFLATED),
        "c.h5": CHUNKS,
        "m.onnx": message([(2, b"x"), (7, message([initializer("w", 7, [40], (7, bytes(range(40))))]))]),
        "w.npy": npy("'<f4'", (7, 3), bytes(84), fortran=True),
    }[name]
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(int(DICE.integers(1, 4))):
            at = int(DICE.integers(len(damaged)))
            damaged[at : at + 4] = DICE.bytes(int(DICE.integers(1, 5)))
        (tmp_path / name).write_bytes(damaged)
        try:
            found = checkpoint(tmp_path, name)
        except AssertionError:  # no checkpoint was found in it
            continue
        values = Values(tmp_path, found)
        for tensor in found.tensors:
            try:
                count = sum(len(b) for b in values.blocks(tensor))
            except ReadError:
                continue
            assert count == tensor.count
