"""Event files of ordinary size without numpy, one record after another.

An event of one number differs from the others of its tag in the bytes of its time, step and value alone. The first of a
tag is parsed field by field; for the others the bytes around these are looked up, and the CRC follows from that of the
first by its linearity.
"""

from __future__ import annotations

import struct

from msgspec import Struct, field

from mldiag.readers._events.crc32c import contributions, crc32c, length_offset, linear, masked
from mldiag.readers._events.event import Event, Log, Malformed, Points, parse
from mldiag.readers._events.tfrecord import HEADER, Damage, walk

_TIME_AT, _STEP_AT = 1, 10
"""Where every known writer puts time and step: fields are written in the order of their numbers."""
_TIME_TAG, _STEP_TAG = 0x09, 0x10  # field 1 in eight bytes, field 2 as a varint
_STEP_BYTES = 4
_LONGEST = 256
"""Bytes of a record that is compared with others; the tables for all distances up to here take a few milliseconds."""

_time = struct.Struct("<d")
_value = struct.Struct("<f")
_footer = struct.Struct("<I")


class Form(Struct):
    """Records of one length whose step and value lie in the same places.

    Attributes:
        tables: what each byte of time, step and value adds to the CRC.
        upper, continued: the upper bit of each byte of the step, and which are set: those that another byte follows.
        known: by the bytes around time, step and value the points of the tag, and the CRC with zeros in those places.
    """

    step_end: int
    value_at: int
    tables: tuple[tuple[int, ...], ...]
    upper: int
    continued: int
    known: dict[bytes, tuple[Points, int]] = field(default_factory=dict)


def read_rows(data: bytes, log: Log, damage: Damage) -> None:
    """Reads the events of a file into a log."""
    walk(data, damage, _Rows(data, log).take)


class _Rows:
    def __init__(self, data: bytes, log: Log) -> None:
        self._data = data
        self._log = log
        self._forms: dict[int, list[Form]] = {}

    def take(self, at: int, length: int) -> bool:
        """Reads the record at a place; False where the CRC of its data does not fit."""
        data, start = self._data, at + HEADER
        stop = start + length
        (stored,) = _footer.unpack_from(data, stop)
        for form in self._forms.get(length, ()):
            step_end, value_at = start + form.step_end, start + form.value_at
            digits = int.from_bytes(data[start + _STEP_AT : step_end], "little")
            if digits & form.upper != form.continued or data[start] != _TIME_TAG or data[start + 9] != _STEP_TAG:
                continue
            known = form.known.get(data[step_end:value_at] + data[value_at + 4 : stop])
            if known is None:
                continue
            points, crc = known
            differing = data[start + 1 : start + 9] + data[start + _STEP_AT : step_end] + data[value_at : value_at + 4]
            for table, byte in zip(form.tables, differing, strict=True):
                crc ^= table[byte]
            if masked(crc) != stored:
                return False
            points.values.append(_value.unpack_from(data, value_at)[0])
            points.steps.append(digits & 127 | digits >> 1 & 0x3F80 | digits >> 2 & 0x1FC000 | digits >> 3 & 0xFE00000)
            points.times.append(_time.unpack_from(data, start + _TIME_AT)[0])
            return True
        record = data[start:stop]
        if masked(crc32c(record)) != stored:
            return False
        try:
            event = parse(record)
        except Malformed:
            self._log.unreadable += 1
            return True
        self._log.add(event, at)
        self._learn(event, record)
        return True

    def _learn(self, event: Event, record: bytes) -> None:
        if not event.plain or len(event.scalars) != 1 or not 0 < event.step_size <= _STEP_BYTES:
            return
        (scalar,) = event.scalars
        points = self._log.points.get(scalar.tag)
        usual = event.wall_at == _TIME_AT and event.step_at == _STEP_AT and scalar.code == "f"
        if points is None or not usual:
            return
        step_end, value_at = _STEP_AT + event.step_size, scalar.at
        if value_at < step_end or len(record) > _LONGEST:
            return
        varying = (*range(_TIME_AT, _TIME_AT + 8), *range(_STEP_AT, step_end), *range(value_at, value_at + 4))
        upper = int.from_bytes(b"\x80" * event.step_size, "little")
        tables = tuple(contributions(len(record) - 1 - at) for at in varying)
        forms = self._forms.setdefault(len(record), [])
        form = next((f for f in forms if (f.step_end, f.value_at) == (step_end, value_at)), None)
        if form is None:
            form = Form(step_end, value_at, tables, upper, upper >> 8)
            forms.append(form)
        blank = bytearray(record)
        for at in varying:
            blank[at] = 0
        around = record[step_end:value_at] + record[value_at + 4 :]
        form.known[around] = points, linear(bytes(blank)) ^ length_offset(len(record))
