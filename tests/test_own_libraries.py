"""Values of real checkpoints, bit for bit against the library that each format belongs to, where it is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mldiag.checkpoints import Checkpoint
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.parts import readers_in
from mldiag.values import Values

SHARED = Path(__file__).parents[2] / "shared" / "data" / "checkpoints"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no folder of real checkpoints beside the repository")


def listed(*kinds: str) -> list[str]:
    lines = (SHARED / "manifest.jsonl").read_text().splitlines() if SHARED.is_dir() else []
    return [e["file"] for e in map(json.loads, lines) if e["format"] in kinds]


def compared(file: str, wanted: Mapping[str, bytes]) -> int:
    """How many tensors of a file were the same; fails for one that is not, or is missing."""
    reader = next(
        r for r in sorted(readers_in("mldiag.readers"), key=lambda r: -r.priority)
        if r.takes(file) and r.matches(File(SHARED, file))
    )  # fmt: skip
    (found,) = [a for a in reader.read(File(SHARED, file)) if isinstance(a, Checkpoint)]
    values = Values(SHARED, found)
    same = 0
    for tensor in found.tensors:
        if tensor.dtype in ("string", "object", "q8_0"):
            with pytest.raises(ReadError):
                list(values.blocks(tensor))
            continue
        assert b"".join(b.tobytes() for b in values.blocks(tensor)) == wanted[tensor.name], tensor.name
        same += 1
    return same


def native(cells: Any) -> bytes:
    found = np.asarray(cells)
    return np.ascontiguousarray(found.astype(found.dtype.newbyteorder("="))).tobytes()


def of_torch(tensor: Any) -> bytes:
    torch = sys.modules["torch"]
    cells = tensor.detach().contiguous()
    flat = cells.reshape(-1).view(torch.uint8) if cells.numel() else cells
    return bytes(flat.numpy().tobytes())


@pytest.mark.parametrize("file", listed("safetensors"))
def test_safetensors(file: str) -> None:
    pytest.importorskip("torch")
    held = pytest.importorskip("safetensors.torch").load_file(SHARED / file)
    assert compared(file, {k: of_torch(v) for k, v in held.items()}) == len(held)


@pytest.mark.parametrize("file", listed("pytorch-zip", "pytorch-legacy"))
def test_pytorch(file: str) -> None:
    torch = pytest.importorskip("torch")
    try:
        held = torch.load(SHARED / file, weights_only=True, map_location="cpu")
    except Exception:
        pytest.skip("torch refuses it")
    wanted: dict[str, bytes] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            wanted[name] = of_torch(value)
        for key, inner in (
            value.items() if isinstance(value, dict) else (enumerate(value) if isinstance(value, list | tuple) else ())
        ):
            walk(inner, f"{name}/{key}" if name else str(key))

    walk(held, "")
    assert compared(file, wanted) == len(wanted)


@pytest.mark.parametrize("file", listed("keras-h5", "keras-v3"))
def test_hdf5(file: str) -> None:
    h5py = pytest.importorskip("h5py")
    import io
    import zipfile

    path: Any = SHARED / file
    if file.endswith(".keras"):
        path = io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5"))
    wanted: dict[str, bytes] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype != object:
            wanted[name] = native(item[()])

    with h5py.File(path) as tree:
        tree.visititems(note)
    assert compared(file, wanted) == len(wanted)


@pytest.mark.parametrize("file", listed("npy", "npz"))
def test_numpy(file: str) -> None:
    held = np.load(SHARED / file)
    if file.endswith(".npy"):
        assert compared(file, {"": native(held)}) == 1
        return
    wanted = {}
    for name in held.files:
        try:
            wanted[name] = native(held[name])
        except ValueError:  # Python objects
            continue
    assert compared(file, wanted) == len(wanted)


@pytest.mark.parametrize("file", listed("onnx"))
def test_onnx(file: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(SHARED / file)
    wanted = {i.name: native(onnx.numpy_helper.to_array(i)) for i in model.graph.initializer}
    assert compared(file, wanted) == len(wanted)


@pytest.mark.parametrize("file", listed("gguf"))
def test_gguf(file: str) -> None:
    gguf = pytest.importorskip("gguf")
    held = gguf.GGUFReader(SHARED / file).tensors
    plain = {t.name: native(t.data) for t in held if t.tensor_type.name != "Q8_0"}
    assert compared(file, plain) == len(plain)


@pytest.mark.parametrize("file", listed("flax-msgpack"))
def test_flax(file: str) -> None:
    msgpack = pytest.importorskip("msgpack")
    wanted: dict[str, bytes] = {}

    def array(code: int, data: bytes) -> Any:
        return msgpack.unpackb(data)[2] if code == 1 else None

    def walk(value: Any, name: str) -> None:
        if isinstance(value, bytes):
            wanted[name] = value
        for key, inner in value.items() if isinstance(value, dict) else ():
            walk(inner, f"{name}/{key}" if name else str(key))

    walk(msgpack.unpackb((SHARED / file).read_bytes(), ext_hook=array, strict_map_key=False), "")
    assert compared(file, wanted) == len(wanted)


@pytest.mark.parametrize("file", listed("tf-checkpoint-index"))
def test_tensorflow(file: str) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    held = tensorflow.train.load_checkpoint(str(SHARED / file.removesuffix(".index")))
    names = [n for n, t in held.get_variable_to_dtype_map().items() if t != tensorflow.string]
    assert compared(file, {n: native(held.get_tensor(n)) for n in names}) == len(names)
