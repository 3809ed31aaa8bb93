"""The two containers of `torch.save`: a zip archive, or pickles one after another with the storages behind them.

Source: `torch/serialization.py` of PyTorch 2.13 (`_save`, `_legacy_save`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from mldiag.artifacts import Artifact, Role, Scalar, SettingValue
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers._weights.binary import ITEM_SIZES, Window, listed, window
from mldiag.readers._weights.pickle_contents import Contents, contents, unsafe
from mldiag.readers._weights.pickle_opcodes import Cut, Machine, Malformed
from mldiag.readers._weights.pickled_tensors import Stored, extent
from mldiag.readers._weights.zip import STORED, Archive, Member

PICKLE_LIMIT = 64 * 2**20
"""Bytes of a pickle; that of a model of 70 billion parameters with its optimizer has less than 1 MB."""

MAGIC = 0x1950A86A20F9469CFC6C

_SETTINGS = lazily(
    r"opts?|options|flags|params|([a-z0-9_]+_)?"
    r"(args|arguments|config|configuration|cfg|conf|settings|kwargs|h_?params|hyper_?param(eter)?s)",
    re.IGNORECASE,
)
"""Keys of a checkpoint below which hyperparameters lie."""
_RECORD = lazily(r"(args|arguments|namespace|config|options|settings|params)$", re.IGNORECASE)
"""Classes whose objects are what a run was started with: `TrainingArguments`, `argparse.Namespace`, `SFTConfig`."""

Place = Callable[[Stored], tuple[int | None, int]]
"""Where a storage begins and how many bytes it has; None where its bytes are compressed."""


def artifacts(file: File) -> Iterator[Artifact]:
    """What a file holds, then what is wrong with it."""
    checkpoint, found, trouble = read(file)
    record = not found.tensors and _RECORD.search(found.root) is not None
    if not record:
        yield checkpoint
    yield from _settings(file, found, record)
    if trouble:
        raise ReadError(trouble, partial=True)


def read(file: File) -> tuple[Checkpoint, Contents, str]:
    """What a file holds, and what is wrong with the rest of it; empty where nothing is.

    Raises:
        ReadError: nothing can be read.
    """
    with window(file) as whole:
        try:
            if file.head.startswith(b"PK\x03\x04"):
                return _from_zip(file, whole)
            return _from_pickles(file, whole)
        except Malformed as error:
            raise ReadError(str(error)) from error


class Storages(Struct, frozen=True):
    """Of a zip file what its values need: the tensors as the pickle describes them, by name, and the archive.

    Attributes:
        folder: in which everything of the archive lies.
        big: the values are written with the high byte first.
    """

    tensors: Mapping[str, Stored]
    archive: Archive | None = None
    folder: str = ""
    big: bool = False

    def member(self, stored: Stored) -> Member | None:
        """The storage of a tensor."""
        found = self.archive.members if self.archive else {}
        return found.get(f"{self.folder}data/{stored.key}") or found.get(f"{self.folder}constants/{stored.key}")


def storages(file: File, whole: Window) -> Storages:
    """What the values of a file need.

    Raises:
        ReadError: nothing can be read.
    """
    try:
        if not file.head.startswith(b"PK\x03\x04"):
            _, found, _ = _from_pickles(file, whole)
            return Storages({s.name: s for s in found.tensors})
        archive = Archive(whole)
        main, folder = _main(archive)
        found = contents(Machine(archive.read(main, PICKLE_LIMIT)).run())
        return Storages({s.name: s for s in found.tensors}, archive, folder, _is_big(archive, folder))
    except Malformed as error:
        raise ReadError(str(error)) from error


def is_big(whole: Window) -> bool:
    """Whether the values of a zip file are written with the high byte first."""
    archive = Archive(whole)
    return _is_big(archive, _main(archive)[1])


def _is_big(archive: Archive, folder: str) -> bool:
    order = archive.members.get(f"{folder}byteorder")
    return order is not None and archive.read(order, 64).strip() == b"big"


def _main(archive: Archive) -> tuple[Member, str]:
    """The pickle of an archive, and the folder it lies in."""
    main = next((m for n, m in archive.members.items() if n.count("/") == 1 and n.endswith("/data.pkl")), None)
    if main is None:
        raise ReadError(f"a zip archive without the `data.pkl` of PyTorch; it has {listed(list(archive.members))}")
    return main, main.name.removesuffix("data.pkl")


def _from_zip(file: File, whole: Window) -> tuple[Checkpoint, Contents, str]:
    archive = Archive(whole)
    main, folder = _main(archive)
    machine = Machine(archive.read(main, PICKLE_LIMIT))
    found = contents(machine.run())

    known: dict[str, tuple[int | None, int]] = {}

    def place(stored: Stored) -> tuple[int | None, int]:
        key = stored.key or ""
        if key not in known:
            member = archive.members.get(f"{folder}data/{key}") or archive.members.get(f"{folder}constants/{key}")
            if member is None:
                raise ReadError(f"no storage {key} in the archive")
            at = archive.offset(member) if member.method == STORED and not member.encrypted else None
            known[key] = (at, member.size)
        return known[key]

    tensors, troubles = _placed(found, place, whole.size)
    return _checkpoint(file, machine, found, tensors), found, troubles


def _from_pickles(file: File, whole: Window) -> tuple[Checkpoint, Contents, str]:
    """The older format: magic number, version, machine, object, keys of the storages, storages."""
    if not file.head.startswith(b"\x80"):
        raise ReadError(f"neither a zip archive nor a pickle, as PyTorch writes: it begins with {file.head[:8]!r}")
    size = 2**20
    while True:
        data = whole.some(0, min(size, PICKLE_LIMIT))
        try:
            machine, root, end = _object(data)
            found = contents(root)
            break
        except Cut as error:
            if len(data) == whole.size:
                raise ReadError(f"the pickle is cut: the file ends after {len(data):,} bytes") from error
            if size >= PICKLE_LIMIT:
                raise ReadError(f"a pickle of more than the {PICKLE_LIMIT:,} bytes that are read") from error
            size *= 8
    if end is None:
        tensors, troubles = _placed(found, lambda stored: (None, 2**62), whole.size)
        return _checkpoint(file, machine, found, tensors), found, troubles
    places, trouble = _storages(whole, data, end, found)
    tensors, troubles = _placed(found, lambda stored: places.get(stored.key or "", (None, 2**62)), whole.size)
    return _checkpoint(file, machine, found, tensors), found, trouble or troubles


def _object(data: bytes) -> tuple[Machine, object, int | None]:
    """The pickled object and where the keys of its storages begin; None for a plain pickle, which has none."""
    machine = Machine(data)
    first = machine.run()
    if first != MAGIC or type(first) is not int:
        return machine, first, None
    at = machine.at
    for _ in range(2):
        machine = Machine(data, at)
        machine.run()
        at = machine.at
    machine = Machine(data, at)
    root = machine.run()
    return machine, root, machine.at


def _storages(whole: Window, data: bytes, at: int, found: Contents) -> tuple[dict[str, tuple[int | None, int]], str]:
    """Where each storage lies behind the pickles: eight bytes with its elements, then these."""
    machine = Machine(data, at)
    try:
        try:
            keys = machine.run()
        except Cut:  # the bytes at hand may end within the list, or just before it
            machine = Machine(whole.some(0, PICKLE_LIMIT), at)
            keys = machine.run()
    except Malformed as error:
        return {}, f"the list of storages cannot be read: {error}"
    if not isinstance(keys, list):
        return {}, "no list of storages behind the pickles"
    items = {s.key: ITEM_SIZES.get(s.dtype) for s in found.tensors}
    places: dict[str, tuple[int | None, int]] = {}
    at = machine.at
    for key in keys:
        if not isinstance(key, str) and not (isinstance(key, int) and -(2**64) < key < 2**64):
            return places, "the list of storages is damaged"
        if str(key) in places:
            return places, "the list of storages names one twice"
        if at + 8 > whole.size:
            return places, f"the file ends before {len(keys) - len(places):,} of {len(keys):,} storages (cut file)"
        item = items.get(str(key))
        if item is None:
            return places, ""  # a storage that no tensor shows the type of: those behind it cannot be placed
        count = whole.number(at, 8, "the size of a storage")
        places[str(key)] = (at + 8, count * item)
        at += 8 + count * item
    if at > whole.size:
        return places, f"the file has {whole.size:,} bytes where its storages reach to {at:,} (cut file)"
    return places, ""


def _placed(found: Contents, place: Place, size: int) -> tuple[list[Tensor], str]:
    """The tensors with where their bytes lie, and what does not fit."""
    tensors, beyond, missing = [], [], []
    for stored in found.tensors:
        item = ITEM_SIZES.get(stored.dtype)
        at: int | None = None
        span = None if item is None else extent(stored) * item
        if stored.key is not None and item is not None and span is not None:
            try:
                base, held = place(stored)
            except ReadError as error:
                missing.append(error.reason)
            else:
                if stored.start * item + span > held:
                    beyond.append(stored.name)
                elif base is not None:
                    at = base + stored.start * item
                if at is not None and at + span > size:
                    missing.append(f"{stored.name} is cut")
        tensors.append(
            Tensor(stored.name, stored.shape, stored.dtype, at, None if at is None else span, None, stored.strides)
        )
    told = []
    if beyond:
        told.append(f"{len(beyond):,} of {len(tensors):,} tensors reach beyond their storage: {listed(beyond)}")
    if missing:
        told.append(f"{len(missing):,} of {len(tensors):,} tensors have no bytes: {listed(missing)}")
    return tensors, "; ".join(told)


def _checkpoint(file: File, machine: Machine, found: Contents, tensors: list[Tensor]) -> Checkpoint:
    return Checkpoint("pytorch", tuple(tensors), file.at(), dict(found.scalars), unsafe(machine.globals))


def _settings(file: File, found: Contents, record: bool) -> Iterator[SettingValue]:
    """What the checkpoint says the run was configured with; of a `record`, all of it."""
    role = Role.FILE if record else Role.CHECKPOINT
    for key, value in found.scalars.items():
        if not record and not _SETTINGS.fullmatch(key.partition(".")[0]):
            continue
        if _is_setting(key, value) and (record or "." in key):
            yield SettingValue(key, value, role, file.at(key=key), record=True)


def _is_setting(key: str, value: Scalar | tuple[Scalar, ...]) -> bool:
    return value is not None and not any(part.startswith("_") for part in key.split("."))
