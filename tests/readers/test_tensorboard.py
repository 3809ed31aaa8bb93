"""Event files of any layout and size: both ways of reading agree with each other and with what was written."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Series, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import tensorboard
from mldiag.readers._events import record_pieces as _record_pieces
from mldiag.readers._events.columns import read_columns
from mldiag.readers._events.crc32c import crc32c, crcs_of, joined, masked, masked_lengths, unmasked
from mldiag.readers._events.event import Log
from mldiag.readers._events.rows import read_rows
from mldiag.readers._events.tfrecord import Damage

NAME = "events.out.tfevents.1700000000.host.1.0"
Points = dict[str, list[tuple[float, float, float]]]


# A writer of event files, so that every layout can be made at will; `tensorboard.toml` holds files of the real ones.


def varint(value: int) -> bytes:
    value %= 2**64
    digits = b""
    while value > 127:
        digits, value = digits + bytes([value & 127 | 128]), value >> 7
    return digits + bytes([value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


SCALARS = message(9, message(1, message(1, b"scalars")))
ENCODINGS = {
    "simple_value": lambda tag, x: message(1, tag) + b"\x15" + struct.pack("<f", x),
    "tensor_content": lambda tag, x: (
        message(1, tag) + message(8, b"\x08\x01\x12\x00" + message(4, struct.pack("<f", x))) + SCALARS
    ),
    "float_val": lambda tag, x: message(1, tag) + message(8, b"\x08\x01" + message(5, struct.pack("<f", x))) + SCALARS,
    "double_val": lambda tag, x: message(1, tag) + message(8, b"\x08\x02" + message(6, struct.pack("<d", x))) + SCALARS,
    "metadata first": lambda tag, x: SCALARS + message(1, tag) + b"\x15" + struct.pack("<f", x),
    "int_val": lambda tag, x: message(1, tag) + message(8, b"\x08\x03" + message(7, varint(int(x)))) + SCALARS,
}


def event(step: int, wall: float, *values: bytes) -> bytes:
    start = b"\x09" + struct.pack("<d", wall) + (b"\x10" + varint(step) if step else b"")
    return start + message(5, b"".join(message(1, v) for v in values))


def record(data: bytes) -> bytes:
    header = struct.pack("<Q", len(data))
    crcs = (struct.pack("<I", masked(crc32c(part))) for part in (header, data))
    return header + next(crcs) + data + next(crcs)


VERSION = record(b"\x09" + struct.pack("<d", 1.0) + message(3, b"brain.Event:2"))


# The two ways of reading.


def by_rows(data: bytes) -> tuple[Log, Damage]:
    log, damage = Log(), Damage()
    read_rows(data, log, damage)
    return log, damage


def by_columns(data: bytes, piece: int = 4096) -> tuple[Log, Damage]:
    log, damage = Log(), Damage()
    before, _record_pieces.PIECE = _record_pieces.PIECE, piece
    try:
        read_columns(io.BytesIO(data), len(data), log, damage)
    finally:
        _record_pieces.PIECE = before
    return log, damage


def contents(read: tuple[Log, Damage]) -> tuple[Any, ...]:
    """Everything that was read, by the bits of the numbers."""
    log, damage = read
    assert all(len(p.values) == len(p.steps) == len(p.times) for p in log.points.values())
    points = {tag: (p.first, p.values.tobytes(), p.steps.tobytes(), p.times.tobytes()) for tag, p in log.points.items()}
    return points, log.texts, log.hparams, log.unreadable, damage


def points_of(log: Log) -> Points:
    return {tag: list(zip(p.steps, p.times, p.values, strict=True)) for tag, p in log.points.items()}


class Drawn:
    """A file whose records, and the points in each, are known."""

    def __init__(self, drawn: Iterable[tuple[str, str, int, float, float]]) -> None:
        self.records = [VERSION]
        self.points: list[tuple[str, tuple[float, float, float]] | None] = [None]
        for kind, tag, step, wall, value in drawn:
            if kind == "blob":
                self.records.append(record(message(4, bytes(abs(step) % 3000))))
                self.points.append(None)
                continue
            value = float(int(value)) if kind == "int_val" else struct.unpack("<f", struct.pack("<f", value))[0]
            self.records.append(record(event(step, wall, ENCODINGS[kind](tag.encode(), value))))
            self.points.append((tag, (float(step), wall, value)))

    def expected(self, kept: Iterable[int]) -> Points:
        found: Points = {}
        for index in kept:
            point = self.points[index]
            if point is not None:
                found.setdefault(point[0], []).append(point[1])
        return found


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([*ENCODINGS, "simple_value", "simple_value", "blob"]),
        st.sampled_from(["a", "b", "loss", "lr", "val/loss", "é"]),
        st.integers(-3, 2**22) | st.integers(0, 200) | st.integers(0, 2**62),
        st.floats(0, 2e9),
        st.integers(-1000, 1000).map(lambda n: n / 8),
    ),
    max_size=60,
)


@given(EVENTS, st.integers(32, 5000))
@settings(max_examples=60)
def test_every_point_is_read_as_it_was_written(drawn: list[Any], piece: int) -> None:
    made = Drawn(drawn)
    data = b"".join(made.records)
    log, damage = by_rows(data)
    assert points_of(log) == made.expected(range(len(made.records)))
    assert damage == Damage()
    assert contents(by_columns(data, max(piece, 64))) == contents((log, damage))


@given(EVENTS, st.data())
@settings(max_examples=60)
def test_any_beginning_of_a_file_keeps_all_whole_records_in_silence(drawn: list[Any], data: st.DataObject) -> None:
    made = Drawn(drawn)
    ends = list(itertools.accumulate(map(len, made.records)))
    cut = data.draw(st.integers(0, ends[-1]))
    log, damage = by_rows(b"".join(made.records)[:cut])
    assert points_of(log) == made.expected(i for i, end in enumerate(ends) if end <= cut)
    assert damage == Damage()
    assert contents(by_columns(b"".join(made.records)[:cut])) == contents((log, damage))


@given(EVENTS, st.data())
@settings(max_examples=60)
def test_a_changed_byte_costs_its_own_record_alone(drawn: list[Any], data: st.DataObject) -> None:
    made = Drawn(drawn)
    ends = list(itertools.accumulate(map(len, made.records)))
    at = data.draw(st.integers(0, ends[-1] - 1))
    changed = bytearray(b"".join(made.records))
    changed[at] ^= data.draw(st.integers(1, 255))
    (hit,) = (i for i, end in enumerate(ends) if end > at >= end - len(made.records[i]))
    log, damage = by_rows(bytes(changed))
    assert points_of(log) == made.expected(i for i in range(len(ends)) if i != hit)
    assert damage == Damage(1, len(made.records[hit]), ends[hit] - len(made.records[hit]))
    assert contents(by_columns(bytes(changed))) == contents((log, damage))


@given(EVENTS, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 300), st.binary(max_size=300)), max_size=4))
@settings(max_examples=60)
def test_both_ways_read_the_same_of_a_file_with_holes_and_insertions(drawn: list[Any], edits: list[Any]) -> None:
    data = b"".join(Drawn(drawn).records)
    for place, removed, inserted in edits:
        at = int(place * len(data))
        data = data[:at] + inserted + data[at + removed :]
    assert contents(by_columns(data, 600)) == contents(by_rows(data))


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert contents(by_columns(data)) == contents(by_rows(data))
    assert contents(by_columns(record(data))) == contents(by_rows(record(data)))
    file = File(Path(), NAME, VERSION + record(b"\x2a" + varint(len(data)) + data) + data)
    with contextlib.suppress(ReadError):
        list(tensorboard.tensorboard(file))


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if e != "int_val"])
def test_a_long_file_is_read_by_its_forms_to_the_last_bit(encoding: str) -> None:
    tags = [f"{'long/' * (i % 3)}tag{i}".encode() for i in range(7)]
    records = [
        record(event(step, 1.7e9 + step / 7 + i / 1000, ENCODINGS[encoding](tag, math.sin(step * 7 + i))))
        for step in (*range(1, 150), *range(16_300, 16_450))
        for i, tag in enumerate(tags)
    ]
    records.insert(500, record(message(4, bytes(range(256)) * 300)))
    data = b"".join([VERSION, *records])
    log, damage = by_columns(data, 65536)
    assert damage == Damage()
    assert len(log.points) == 7
    assert {len(p.values) for p in log.points.values()} == {299}
    assert contents((log, damage)) == contents(by_rows(data))


def test_a_tag_of_which_there_are_few_at_first_and_many_later_keeps_their_order() -> None:
    records = [
        record(event(i + 1, i / 8, ENCODINGS["simple_value"](b"late" if i % 10 == 9 or i > 1500 else b"b", i)))
        for i in range(2500)
    ]
    data = b"".join(records)
    for piece in (700, 4096, 2**20):
        assert contents(by_columns(data, piece)) == contents(by_rows(data))


def test_steps_of_any_size_and_numbers_that_never_change_are_read_by_their_forms() -> None:
    steps = [(1 << 7 * size - 1) + i * (i % 5) for size in range(1, 10) for i in range(30)]
    data = b"".join(record(event(s, 1.5, ENCODINGS["double_val"](b"loss", 0.25))) for s in steps)
    assert contents(by_columns(data)) == contents(by_rows(data))
    assert list(by_columns(data)[0].points["loss"].steps) == [float(s) for s in steps]


@pytest.mark.parametrize("place", [0, 9, 12, 300, 10_000, 19_000, 20_014])
def test_a_bit_in_a_long_record_costs_this_record_alone(place: int) -> None:
    long = [record(message(4, bytes((i * i + n) % 251 for i in range(20_000 + n)))) for n in range(5)]
    scalars = [record(event(s + 1, 1.0, ENCODINGS["simple_value"](b"loss", s))) for s in range(50)]
    data = bytearray(b"".join([*scalars, *long, *scalars]))
    start = len(b"".join([*scalars, *long[:2]]))
    data[start + place] ^= 4
    for piece in (4096, 2**20):
        log, damage = by_columns(bytes(data), piece)
        assert damage == Damage(1, len(long[2]), start)
        assert list(log.points["loss"].values) == [*range(50), *range(50)]
    cut = start + place
    log, damage = by_columns(b"".join([*scalars, *long])[:cut])
    assert (damage, len(log.points["loss"].values)) == (Damage(), 50)


def test_several_values_of_one_event_are_several_series() -> None:
    records = [
        record(event(s, float(s), *(ENCODINGS[e](t, s / 2) for e, t in (("simple_value", b"a"), ("float_val", b"b")))))
        for s in range(1, 60)
    ]
    log, _ = by_columns(b"".join(records))
    assert points_of(log) == {t: [(float(s), float(s), s / 2) for s in range(1, 60)] for t in ("a", "b")}
    assert points_of(by_rows(b"".join(records))[0]) == points_of(log)


def test_a_tag_for_every_event_is_read_like_any_other() -> None:
    records = [record(event(9, 1.0, ENCODINGS["simple_value"](b"tag%04d" % i, i / 2))) for i in range(3000)]
    log, damage = by_columns(b"".join(records), 2**20)
    assert len(log.points) == 3000
    assert contents((log, damage)) == contents(by_rows(b"".join(records)))


def test_not_a_number_and_infinities_are_kept() -> None:
    values = [1.0, math.nan, math.inf, -math.inf] * 10
    data = b"".join(record(event(s + 1, 1.0, ENCODINGS["simple_value"](b"loss", v))) for s, v in enumerate(values))
    for log, _ in (by_rows(data), by_columns(data)):
        assert [str(v) for v in log.points["loss"].values] == [str(v) for v in values]


def test_a_tag_that_is_no_scalar_by_its_first_metadata_stays_none() -> None:
    other = message(9, message(1, message(1, b"custom")))
    tensor = message(8, b"\x08\x01" + message(5, struct.pack("<f", 1.0)))
    data = b"".join(record(event(s, 1.0, message(1, b"x") + tensor + (other if s == 1 else b""))) for s in range(1, 40))
    assert not by_rows(data)[0].kept()
    assert not by_columns(data)[0].kept()


def test_a_record_larger_than_any_piece_is_passed_over_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_record_pieces, "LARGEST", 20_000)
    scalar = record(event(1, 1.0, ENCODINGS["simple_value"](b"loss", 2.0)))
    large = bytearray(record(message(4, bytes(70_000))))
    assert contents(by_columns(scalar + bytes(large) + scalar)) == contents(by_rows(scalar + bytes(large) + scalar))
    large[5000] ^= 1
    log, damage = by_columns(scalar + bytes(large) + scalar)
    assert (len(log.points["loss"].values), damage) == (2, Damage(1, len(large), len(scalar)))
    del large[100:60_000]
    log, damage = by_columns(scalar + bytes(large) + scalar * 2)
    assert (len(log.points["loss"].values), damage) == (3, Damage(1, len(large), len(scalar)))


def test_texts_are_settings_before_the_first_step_alone() -> None:
    def text(step: int, said: bytes) -> bytes:
        return record(event(step, 1.0, message(1, b"t%d" % step) + message(8, b"\x08\x07" + message(8, said))))

    file = File(Path("/runs/base"), NAME, text(0, b'{"lr": 0.5, "n": [1, 2]}') + text(7, b'{"lr": 0.25}'))
    found = [(s.name, s.value) for s in tensorboard.tensorboard(file) if isinstance(s, SettingValue)]
    assert found == [("lr", 0.5), ("n", (1, 2))]


def test_an_event_file_inside_a_record_is_not_read_as_part_of_the_file() -> None:
    inner = record(event(1, 1.0, ENCODINGS["simple_value"](b"inner", 2.0)))
    data = VERSION + record(message(4, inner * 20)) + inner.replace(b"inner", b"outer")
    for log, damage in (by_rows(data), by_columns(data)):
        assert not log.points
        assert damage.places == 1


def test_what_a_writer_adds_while_the_file_is_read_is_left_for_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / NAME
    one = record(event(1, 1.0, ENCODINGS["simple_value"](b"loss", 2.0)))
    path.write_bytes(VERSION + one)
    file = File(tmp_path, NAME)
    assert file.size
    path.write_bytes(VERSION + one * 2)
    (series,) = tensorboard.tensorboard(file)
    assert isinstance(series, Series)
    assert len(series) in (1, 2)


def test_crcs_of_many_messages_are_those_of_each(  # the vector is from RFC 3720, appendix B.4
) -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"123456789") == 0xE3069283
    # Those of more than 512 bytes are folded.
    lengths = [1, 3, 4, 63, 64, 65, 127, 1000, 9999, *range(508, 524), 832, 836, 1664, 1668, 20_031, 70_000]
    messages = [bytes((i * i + i * 7 + n) % 256 for i in range(n)) for n in lengths]
    crcs = crcs_of([memoryview(m) for m in messages])
    assert crcs.tolist() == [crc32c(m) for m in messages]
    assert joined(crc32c(messages[3]), crc32c(messages[8]), 9999) == crc32c(messages[3] + messages[8])
    assert unmasked(np.array([masked(c) for c in crcs.tolist()], dtype=np.uint32)).tolist() == crcs.tolist()
    some = np.array([0, 1, 300, 2**33], dtype=np.uint64)
    assert masked_lengths(some).tolist() == [masked(crc32c(int(n).to_bytes(8, "little"))) for n in some]


def test_headers_of_every_length_are_found_at_even_and_odd_places() -> None:
    lengths = [*range(1, 700), 4096, 65_535]
    data = b"\1" + b"".join(
        struct.pack("<QI", n, masked(crc32c(struct.pack("<Q", n)))) + b"\1" * (n % 2 + 5) for n in lengths
    )
    _, found = _record_pieces.headers(np.frombuffer(data + b"\1" * 16, dtype=np.uint8))
    # A CRC that begins with two zero bytes hides one in 65,536; the chain of records finds it.
    assert found.tolist() == lengths


def test_folders_name_the_split_where_the_tag_does_not() -> None:
    def name(path: str, tag: str) -> str:
        data = record(event(1, 1.0, ENCODINGS["simple_value"](tag.encode(), 2.0)))
        (series,) = tensorboard.tensorboard(File(Path("/runs/base"), path, data))
        assert isinstance(series, Series)
        return series.raw_name

    assert name(f"validation/{NAME}", "epoch_loss") == "validation/epoch_loss"
    assert name(f"eval_all/{NAME}", "loss") == "eval/loss"
    assert name(f"train/{NAME}", "Loss/val") == "Loss/val"
    assert name("test/events.out.tfevents", "AUC") == "val/AUC"
    assert name(f"test/{NAME}", "AUC") == "test/AUC"
    assert name(f"Loss_train/{NAME}", "Loss") == "train/Loss"
    assert name(f"Loss_D_generator/{NAME}", "Loss/D") == "Loss/D/generator"
    for folder in ("test_run", "my_train", "version_0"):
        assert name(f"{folder}/{NAME}", "loss") == "loss"


def test_a_small_file_is_read_without_numpy(tmp_path: Path) -> None:
    tags = (b"loss", b"lr")
    data = b"".join(record(event(s, 1.0, ENCODINGS["simple_value"](t, 2.0))) for s in range(500) for t in tags)
    (tmp_path / NAME).write_bytes(VERSION + data)
    program = (
        "import sys; from pathlib import Path; from mldiag.files import File; "
        "from mldiag.readers.tensorboard import tensorboard; "
        f"found = list(tensorboard(File(Path({str(tmp_path)!r}), {NAME!r}))); "
        "assert [len(s) for s in found] == [500, 500]; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def series_of(folder: Path, *events: tuple[int, str, float]) -> dict[str, Series]:
    written = (record(event(s, 1.0, ENCODINGS["simple_value"](tag.encode(), v))) for s, tag, v in events)
    (folder / NAME).write_bytes(VERSION + b"".join(written))
    return {s.raw_name: s for s in tensorboard.tensorboard(File(folder, NAME)) if isinstance(s, Series)}


def test_a_tag_epoch_gives_the_epochs_of_the_tags_whose_steps_it_has(tmp_path: Path) -> None:
    found = series_of(
        tmp_path,
        *((4, "loss", 2.0), (4, "epoch", 0.0), (9, "val_loss", 2.5), (9, "epoch", 0.0), (9, "loss", 1.5)),
        *((9, "epoch", 0.0), (14, "loss", 1.0), (14, "epoch", 1.0), (0, "lr", 0.1), (10, "lr", 0.1)),
    )
    assert set(found) == {"loss", "val_loss", "lr"}
    assert found["loss"].epoch_data is not None
    assert (list(found["loss"].step_data or ()), list(found["loss"].epoch_data)) == ([4, 9, 14], [0, 0, 1])
    assert found["lr"].epoch_data is None


def test_a_tag_epoch_with_two_epochs_at_a_step_is_a_series_of_its_own(tmp_path: Path) -> None:
    found = series_of(tmp_path, (4, "loss", 2.0), (4, "epoch", 0.0), (4, "loss", 1.0), (4, "epoch", 1.0))
    assert found["loss"].epoch_data is None
    assert list(found["epoch"].data) == [0, 1]


def test_the_placeholder_of_lightning_is_no_series(tmp_path: Path) -> None:
    assert set(series_of(tmp_path, (0, "hp_metric", -1.0), (1, "loss", 2.0))) == {"loss"}
    assert set(series_of(tmp_path, (0, "hp_metric", -1.0), (1, "hp_metric", 0.9))) == {"hp_metric"}


def test_what_ray_tune_puts_before_its_tags_is_no_part_of_their_names(tmp_path: Path) -> None:
    found = series_of(tmp_path, *((s, f"ray/tune/{t}", s / 2) for s in (1, 2) for t in ("val_loss", "epoch")))
    assert set(found) == {"val_loss"}
    assert list(found["val_loss"].epoch_data or ()) == [0.5, 1.0]
