"""The index of a TensorFlow checkpoint: what each tensor is and where its values lie.

Source: https://github.com/tensorflow/tensorflow, `tensorflow/core/protobuf/tensor_bundle.proto`,
`framework/types.proto`, `util/tensor_bundle/naming.cc`.
"""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._protobuf import LEN, VARINT, Malformed, fields, signed
from mldiag.readers._weights.binary import MAX_RANK, bytes_of, listed, shape_of, shown, window
from mldiag.readers._weights.sstable import entries

TYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16",
    18: "complex128", 19: "float16", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64", 24: "float8_e5m2",
    25: "float8_e4m3fn", 29: "int4", 30: "uint4",
}  # fmt: skip


def read(file: File) -> Iterator[Artifact]:
    """What an index lists, then what is missing of it."""
    tensors: list[Tensor] = []
    troubles: list[str] = []
    shards = 1
    slices = 0
    needed: dict[int, int] = {}
    rows: list[tuple[str, int, Tensor]] = []
    with window(file) as whole:
        try:
            for key, value in entries(whole):
                if not key:
                    shards = _shards(value)
                elif key[0] == 0:
                    slices += 1  # the parts of a tensor that was saved in slices: the entry of the whole says its shape
                else:
                    name = key.decode("utf-8", "replace")
                    rows.append((name, *_entry(name, value)))
        except Malformed as error:
            raise ReadError(f"no index of TensorFlow: {error}") from error
        except ReadError as error:
            if not rows:
                raise
            troubles.append(error.reason)
    for name, shard, tensor in rows:
        if shard >= shards:
            troubles.append(f"{name} lies in data file {shard} of {shards}")
            tensors.append(Tensor(name, tensor.shape, tensor.dtype))
            continue
        needed[shard] = max(needed.get(shard, 0), (tensor.offset or 0) + (tensor.size or 0))
        sliced = tensor.offset is None
        path = None if sliced else _data_file(file.path, shard, shards)
        tensors.append(Tensor(name, tensor.shape, tensor.dtype, tensor.offset, tensor.size, path))
        expected = bytes_of(tensor.shape, tensor.dtype)
        if expected is not None and tensor.size is not None and expected != tensor.size:
            troubles.append(f"{name}: {tensor.size:,} bytes for shape {list(tensor.shape)} of {tensor.dtype}")
    yield Checkpoint("tensorflow", tuple(tensors), file.at())
    troubles += _missing(file, needed, shards)
    if troubles:
        raise ReadError(listed(troubles), partial=True)


def _data_file(path: str, shard: int, shards: int) -> str:
    return f"{path.removesuffix('.index')}.data-{shard:05}-of-{shards:05}"


def _missing(file: File, needed: dict[int, int], shards: int) -> Iterator[str]:
    """Data files that are missing, or shorter than the index says."""
    for shard, size in sorted(needed.items()):
        path = _data_file(file.path, shard, shards)
        try:
            held = File(file.root, path).size
        except ReadError:
            yield f"{path.rpartition('/')[2]} is missing"
            continue
        if held < size:
            yield f"{path.rpartition('/')[2]} has {held:,} bytes where the index asks for {size:,} (cut file)"


def _shards(header: bytes) -> int:
    """The number of data files, from a `BundleHeaderProto`."""
    found = {f.number: f.value for f in fields(header) if f.wire == VARINT}
    if found.get(2):
        raise ReadError("a checkpoint of the other byte order (big endian), which is not read")
    shards = found.get(1, 1)
    return shards if isinstance(shards, int) and 0 < shards < 10**5 else 1


def _entry(name: str, value: bytes) -> tuple[int, Tensor]:
    """The shard and the tensor of a `BundleEntryProto`; one that lies in slices has no place of its own."""
    kind = shard = offset = size = 0
    shape: list[int] = []
    sliced = False
    for field in fields(value):
        if field.number == 2 and isinstance(field.value, bytes):
            shape = _shape(field.value)
        elif field.number == 7 and field.wire == LEN:
            sliced = True
        elif field.wire == VARINT and isinstance(field.value, int):
            number = field.value
            kind = number if field.number == 1 else kind
            shard = number if field.number == 3 else shard
            offset = number if field.number == 4 else offset
            size = number if field.number == 5 else size
    found = shape_of(shape)
    if found is None:
        raise Malformed(f"{shown(name)} has the shape {shape[:8]}")
    place = (None, None) if sliced else (offset, size)
    return shard, Tensor(name, found, TYPES.get(kind, f"type {kind}"), *place)


def _shape(data: bytes) -> list[int]:
    """The sizes of a `TensorShapeProto`."""
    sizes = []
    for field in fields(data):
        if field.number == 2 and isinstance(field.value, bytes):
            inner = next((f.value for f in fields(field.value) if f.number == 1 and isinstance(f.value, int)), 0)
            sizes.append(signed(inner))
            if len(sizes) > MAX_RANK:
                raise Malformed(f"a shape of more than {MAX_RANK} dimensions")
    return sizes
