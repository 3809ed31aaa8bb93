"""Headers of checkpoints: what each format holds is told with its place, and damage of any kind by a reason."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from checkpoint_files import (
    FILES,
    KERAS,
    LIGHTNING,
    TRAINING_ARGS,
    TWO_TENSORS,
    VIEWS,
    archive,
    flax,
    gguf,
    npy,
    onnx,
    safetensors,
    tensorflow,
)
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Artifact, SettingValue
from mldiag.checkpoints import Checkpoint
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.parts import readers_in
from mldiag.readers import Reader
from mldiag.readers._protobuf import Malformed
from mldiag.readers._weights.sstable import unsnapped
from mldiag.tokens import Tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "data" / "checkpoints"
READERS = [r for r in readers_in("mldiag.readers") if r.name in {
    "safetensors", "pytorch", "numpy_arrays", "gguf", "hdf5", "onnx", "tensorflow_checkpoint", "flax_msgpack",
}]  # fmt: skip
CASES = [pytest.param(*found, id=name) for name, found in FILES.items()]


def reader_of(file: File) -> Reader | None:
    fitting = sorted((r for r in READERS if r.takes(file.path)), key=lambda r: -r.priority)
    return next((r for r in fitting if r.matches(file)), None)


def read(root: Path, name: str, data: bytes | None = None) -> tuple[list[Artifact], ReadError | None]:
    """What is read of a file, and the trouble with it."""
    found: list[Artifact] = []
    file = File(root, name, data)
    try:
        reader = reader_of(file)
        for artifact in reader.read(file) if reader else ():
            found.append(artifact)  # noqa: PERF402  what came before a trouble counts
    except ReadError as error:
        return found, error
    return found, None


def checkpoint(root: Path, name: str, data: bytes | None = None) -> Checkpoint:
    found = [a for a in read(root, name, data)[0] if isinstance(a, Checkpoint)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(("name", "data", "tensors"), [c for c in CASES if c.values[2]])
def test_names_shapes_and_types_are_read(
    name: str, data: bytes, tensors: list[tuple[str, tuple[int, ...], str]], tmp_path: Path
) -> None:
    found = checkpoint(tmp_path, name, data)
    assert [(t.name, t.shape, t.dtype) for t in found.tensors] == tensors
    assert found.count == sum(t.count for t in found.tensors)


@pytest.mark.parametrize(("name", "data", "tensors"), CASES)
def test_every_prefix_is_told_or_whole(name: str, data: bytes, tensors: list[tuple[str, ...]], tmp_path: Path) -> None:
    known = {t[0] for t in tensors}
    for size in {*range(min(len(data), 120)), *range(0, len(data), max(1, len(data) // 60)), len(data) - 1}:
        found, error = read(tmp_path, name, data[:size])
        names = {t.name for a in found if isinstance(a, Checkpoint) for t in a.tensors}
        assert names <= known
        # A file that no reader takes is told as unknown, one that is taken as cut; behind the last tensor a format may
        # have more to say, or nothing.
        taken = reader_of(File(tmp_path, name, data[:size])) is not None
        assert error is not None or not taken or names == known


@pytest.mark.parametrize(("name", "data", "tensors"), CASES)
def test_damage_never_breaks_a_reader(name: str, data: bytes, tensors: object, tmp_path: Path) -> None:
    dice = random.Random(name)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 2, 8))):
            at = dice.randrange(len(damaged))
            damaged[at : at + dice.choice((1, 4, 8))] = dice.choice(
                (bytes([dice.randrange(256)]), b"\xff" * 8, b"\0" * 4, struct.pack("<Q", 2**40))
            )
        _, error = read(tmp_path, name, bytes(damaged))
        assert error is None or "\n" not in error.reason


@given(name=st.sampled_from([f[0] for f in FILES.values()]), head=st.sampled_from([f[1][:24] for f in FILES.values()]),
       cut=st.integers(0, 24), tail=st.binary(max_size=300))  # fmt: skip
@settings(deadline=None)
def test_any_bytes_give_a_reason(name: str, head: bytes, cut: int, tail: bytes) -> None:
    read(Path(), name, head[:cut] + tail)


def test_values_lie_where_the_tensors_say() -> None:
    cells = bytes(range(32))
    entries = {"b": ("F32", (2,), (24, 32)), "a": ("BF16", (4, 3), (0, 24))}
    header = {n: {"dtype": d, "shape": s, "data_offsets": o} for n, (d, s, o) in entries.items()}
    data = safetensors(header, cells)
    for tensor in checkpoint(Path(), "m.safetensors", data).tensors:
        assert tensor.offset is not None
        assert tensor.size is not None
        start, end = entries[tensor.name][2]
        assert data[tensor.offset : tensor.offset + tensor.size] == cells[start:end]


def test_views_of_one_storage_share_their_place_and_say_their_strides() -> None:
    found = checkpoint(Path(), "views.pth", VIEWS).by_name
    assert found["a"].offset == found["tied"].offset == found["turned"].offset
    assert found["a"].strides is None
    assert found["turned"].strides == (1, 3)
    assert found["row"].offset == (found["a"].offset or 0) + 12
    values = VIEWS[found["row"].offset : (found["row"].offset or 0) + (found["row"].size or 0)]
    assert struct.unpack("<3f", values) == (3.0, 4.0, 5.0)


def test_an_archive_that_is_compressed_gives_shapes_but_no_places() -> None:
    packed = archive({"a.npy": npy("'<f4'", (100, 10), bytes(4000))}, zipfile.ZIP_DEFLATED)
    (tensor,) = checkpoint(Path(), "w.npz", packed).tensors
    assert tensor.shape == (100, 10)
    assert tensor.offset is None


def test_columns_first_is_told_by_strides_and_the_other_byte_order_by_the_type() -> None:
    (tensor,) = checkpoint(Path(), "w.npy", npy("'>f8'", (2, 3), bytes(48), fortran=True)).tensors
    assert (tensor.dtype, tensor.strides) == (">f8", (1, 2))


def test_scalars_beside_the_tensors_are_metadata_without_secrets() -> None:
    found = checkpoint(Path(), "last.ckpt", LIGHTNING).metadata
    assert (found["epoch"], found["global_step"], found["best"]) == (3, 120, 0.25)
    assert found["optimizer_states.0.param_groups.0.betas"] == (0.9, 0.999)
    assert not [k for k in found if "token" in k or k.endswith("params") or ".state." in k]
    assert checkpoint(Path(), "m.safetensors", TWO_TENSORS).metadata == {"format": "pt"}
    assert checkpoint(Path(), "m.onnx", onnx()).metadata["epoch"] == "3"
    assert checkpoint(Path(), "checkpoint_7", flax()).metadata == {"step": 7, "lr": 0.5}


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("last.ckpt", LIGHTNING, {"hyper_parameters.lr": 1e-3, "hyper_parameters.batch_size": 32}),
        ("w.h5", KERAS, {"optimizer": "Adam", "optimizer.learning_rate": 0.002, "loss": "mse"}),
        ("m.keras", FILES["keras archive"][1], {"optimizer": "Adam", "optimizer.learning_rate": 0.001}),
        (
            "training_args.bin",
            TRAINING_ARGS,
            {"learning_rate": 5e-5, "per_device_train_batch_size": 8, "num_train_epochs": 3, "output_dir": "out"},
        ),
    ],
)
def test_hyperparameters_are_settings_and_counters_are_not(name: str, data: bytes, expected: dict[str, object]) -> None:
    found = [a for a in read(Path(), name, data)[0] if isinstance(a, SettingValue)]
    assert {s.name: s.value for s in found} == expected
    assert all(s.record for s in found)


def test_the_vocabulary_of_a_gguf_file_is_a_tokenizer() -> None:
    (found,) = [a for a in read(Path(), "m.gguf", gguf())[0] if isinstance(a, Tokenizer)]
    assert (found.size, found.special) == (3, {"eos": 2})


def test_a_large_file_costs_no_more_than_its_header(tmp_path: Path) -> None:
    size = 10 * 2**30
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    with (tmp_path / "m.safetensors").open("wb") as stream:
        stream.write(safetensors({"w": entry}))
        stream.truncate(stream.tell() + size)
    tracemalloc.start()
    found = checkpoint(tmp_path, "m.safetensors")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.count == size // 4
    assert peak < 2**20


TROUBLES = [
    ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "4 bytes for shape"),
    ({"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}, "unknown type F99"),
    ({"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}, "unknown type"),
    ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "no proper shape"),
    ({"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}, "no proper shape and offsets"),
    ({"dtype": "F32", "shape": [1], "data_offsets": [28, 32]}, "overlaps"),
    ({"dtype": "F32", "shape": [1], "data_offsets": [40, 44]}, "unused bytes before it"),
    ([], "no object with dtype"),
]


@pytest.mark.parametrize(("entry", "reason"), TROUBLES)
def test_a_wrong_entry_is_named_and_the_others_are_kept(entry: object, reason: str) -> None:
    good = {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}
    found, error = read(Path(), "m.safetensors", safetensors({"good": good, "bad": entry}, bytes(48)))
    assert error is not None
    assert error.partial
    assert reason in error.reason
    assert "good" in {t.name for a in found if isinstance(a, Checkpoint) for t in a.tensors}


def test_files_of_one_checkpoint_are_told_once_by_their_index(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}}
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    for name, shard in index["weight_map"].items():
        (tmp_path / shard).write_bytes(safetensors({name: entry}, bytes(8)))
    (reader,) = [r for r in readers_in("mldiag.readers") if r.name == "checkpoint_index"]
    (found,) = reader.read(File(tmp_path, "m.safetensors.index.json"))
    assert isinstance(found, Checkpoint)
    assert {t.name: t.path for t in found.tensors} == index["weight_map"]
    assert read(tmp_path, "m-00001-of-00002.safetensors") == ([], None)
    (tmp_path / "m-00002-of-00002.safetensors").write_bytes(safetensors({"c": entry}, bytes(8)))
    with pytest.raises(ReadError, match=r"1 tensors are not in the index: c in m-00002") as raised:
        list(reader.read(File(tmp_path, "m.safetensors.index.json")))
    assert "b in m-00002-of-00002.safetensors" in raised.value.reason


def test_what_takes_a_file_apart_is_imported_when_there_is_one() -> None:
    listing = (
        "import sys; from mldiag.parts import readers_in; readers_in('mldiag.readers');"
        "print(*[m for m in sys.modules if m.startswith('mldiag.readers._')])"
    )
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert not {"_hdf5", "_gguf", "_onnx", "_pickle_opcodes", "_zip"} & {
        m.rpartition(".")[2] for m in done.stdout.split()
    }


def test_files_of_pytorch_have_an_index_too(tmp_path: Path) -> None:
    names = ("a", "tied", "turned", "row", "half")
    shard = "pytorch_model-00001-of-00001.bin"
    (tmp_path / shard).write_bytes(VIEWS)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(names, shard)}))
    (reader,) = [r for r in readers_in("mldiag.readers") if r.name == "checkpoint_index"]
    (found,) = reader.read(File(tmp_path, "pytorch_model.bin.index.json"))
    assert isinstance(found, Checkpoint)
    assert (found.format, [t.name for t in found.tensors]) == ("pytorch", list(names))
    assert read(tmp_path, shard) == ([], None)


def test_values_that_lie_in_another_file_say_which_and_whether_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(onnx())
    found, error = read(tmp_path, "m.onnx")
    assert error is not None
    assert "big.data, which is missing" in error.reason
    (tmp_path / "big.data").write_bytes(bytes(24))
    found, error = read(tmp_path, "m.onnx")
    assert error is None
    tensor = next(t for a in found if isinstance(a, Checkpoint) for t in a.tensors if t.name == "big")
    assert (tensor.path, tensor.offset, tensor.size) == ("big.data", 16, 8)


def test_the_data_file_of_an_index_is_missing_or_cut(tmp_path: Path) -> None:
    (tmp_path / "v.index").write_bytes(tensorflow())
    assert "v.data-00000-of-00001 is missing" in str(read(tmp_path, "v.index")[1])
    (tmp_path / "v.data-00000-of-00001").write_bytes(bytes(31))
    assert "has 31 bytes where the index asks for 32" in str(read(tmp_path, "v.index")[1])
    (tmp_path / "v.data-00000-of-00001").write_bytes(bytes(32))
    found, error = read(tmp_path, "v.index")
    assert error is None
    assert [t.path for a in found if isinstance(a, Checkpoint) for t in a.tensors] == ["v.data-00000-of-00001"] * 2


def test_a_block_that_does_not_fit_its_checksum_is_told() -> None:
    data = tensorflow().replace(b"dense", b"dance")
    assert "does not fit its checksum" in str(read(Path(), "v.index", data)[1])


def test_snappy_repeats_what_it_has_written() -> None:
    # "abcd" as a literal, then eight bytes from four back; the second overlaps what it writes.
    assert unsnapped(b"\x0c" + b"\x0cabcd" + b"\x11\x04") == b"abcdabcdabcd"
    assert unsnapped(b"\x05" + b"\x00a" + b"\x01\x01") == b"aaaaa"
    for bad in (b"", b"\x05\x00a", b"\x05\x00a\x01\x09", b"\xff\xff\xff\xff\x7f\x00a", b"\x02\x10a"):
        with pytest.raises(Malformed):
            unsnapped(bad)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no folder of real checkpoints beside the repository")
def test_real_checkpoints_have_as_many_tensors_as_their_own_libraries_count() -> None:
    listed = [json.loads(line) for line in (SHARED / "manifest.jsonl").read_text().splitlines()]
    for entry in listed:
        if entry["n_tensors_if_known"] is None:
            continue
        found, error = read(SHARED, entry["file"])
        assert error is None, entry["file"]
        assert sum(len(a.tensors) for a in found if isinstance(a, Checkpoint)) == entry["n_tensors_if_known"]
