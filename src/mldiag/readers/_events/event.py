"""The `Event` message of TensorBoard: which numbers, texts and hyperparameters one record holds, and where they lie.

Schemas: event.proto, summary.proto, tensor.proto of https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto
and https://github.com/tensorflow/tensorboard/blob/master/tensorboard/plugins/hparams/plugin_data.proto
"""

from __future__ import annotations

import struct
from array import array
from typing import NamedTuple

from msgspec import Struct, field

from mldiag.readers._protobuf import I32, I64, LEN, VARINT, Malformed, signed, spans, varint

TEXT_LIMIT = 256 * 1024
"""Bytes of a text that may hold settings; longer ones are what the run generated."""
TEXTS = 256
"""Tags whose texts are kept."""

_FLOAT, _DOUBLE, _STRING, _BFLOAT16, _HALF = 1, 2, 7, 14, 19
# DataType → struct code of an element of `tensor_content`.
_CODES = {
    _FLOAT: "f", _DOUBLE: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 17: "H", _HALF: "e", 22: "I", 23: "Q",
}  # fmt: skip
# Field of TensorProto → its elements: a struct code, or "" for varints.
_LISTS = {5: "f", 6: "d", 7: "", 10: "", 11: "", 13: "", 16: "", 17: ""}


class Scalar(NamedTuple):
    """One number of an event; `at`: its place in the record, -1 where it has no fixed one; `code`: its struct code."""

    tag: str
    plugin: str
    value: float
    at: int = -1
    code: str = ""


class Event(Struct):
    """What one record holds.

    Attributes:
        wall_at, step_at, step_size: places in the record; -1 where a field is absent, and is zero then.
        plain: it holds scalars with fixed places, a time and perhaps a step, and nothing else.
    """

    wall: float = 0.0
    step: int = 0
    wall_at: int = -1
    step_at: int = -1
    step_size: int = 0
    scalars: list[Scalar] = field(default_factory=list)
    texts: list[tuple[str, bytes]] = field(default_factory=list)
    hparams: list[bytes] = field(default_factory=list)
    plain: bool = True


class Points(Struct):
    """The points of one tag, in the order of the file; `first` is where the first record of it begins."""

    first: int
    values: array[float] = field(default_factory=lambda: array("d"))
    steps: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))


class Log(Struct):
    """What a file of events holds.

    Attributes:
        texts: the first text of each tag at step 0 that may hold settings.
        hparams: messages of the plugin of that name.
        scalars, others: tags whose metadata, which writers may give with the first event alone, names the plugin of
            scalars or another one; `simple_value` is always a scalar.
        unreadable: records with a good CRC that are no event.
    """

    points: dict[str, Points] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    hparams: list[bytes] = field(default_factory=list)
    scalars: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    unreadable: int = 0

    def note(self, event: Event) -> None:
        """Keeps what an event holds besides numbers."""
        for scalar in event.scalars:
            if scalar.plugin:
                (self.scalars if scalar.plugin == "scalars" else self.others).add(scalar.tag)
        self.hparams += event.hparams
        for tag, text in event.texts:
            if not event.step and len(self.texts) < TEXTS:  # later ones are what the model generates
                self.texts.setdefault(tag, text)

    def add(self, event: Event, at: int) -> None:
        """Keeps all that an event holds; its record begins at a byte."""
        self.note(event)
        for scalar in event.scalars:
            points = self.points.get(scalar.tag)
            if points is None:
                points = self.points[scalar.tag] = Points(at)
            points.values.append(scalar.value)
            points.steps.append(event.step)
            points.times.append(event.wall)

    def kept(self) -> list[tuple[str, Points]]:
        """The tags that are scalars, in the order of their first records."""
        left_out = self.others - self.scalars
        return sorted((item for item in self.points.items() if item[0] not in left_out), key=lambda item: item[1].first)


def parse(data: bytes | memoryview) -> Event:
    """The event in a record.

    Raises:
        Malformed: it is none.
    """
    event = Event()
    for number, wire, start, stop in spans(data, 0, len(data)):
        if number == 1 and wire == I64:
            event.plain = event.plain and event.wall_at < 0
            event.wall, event.wall_at = struct.unpack_from("<d", data, start)[0], start
        elif number == 2 and wire == VARINT:
            event.plain = event.plain and event.step_at < 0
            event.step = signed(varint(data, start)[0])
            event.step_at, event.step_size = start, stop - start
        elif number == 5 and wire == LEN:
            for inner, kind, begin, end in spans(data, start, stop):
                if inner == 1 and kind == LEN:
                    _value(event, data, begin, end)
        else:
            event.plain = False
    return event


def _value(event: Event, data: bytes | memoryview, start: int, stop: int) -> None:
    """Takes one `Summary.Value`."""
    tag = node = plugin = ""
    content = b""
    simple = tensor = None
    for number, wire, begin, end in spans(data, start, stop):
        if wire == LEN:
            if number == 1:
                tag = _text(data, begin, end)
            elif number == 8:
                tensor = begin, end
            elif number == 9:
                plugin, content = _plugin(data, begin, end)
            elif number == 7:
                node = _text(data, begin, end)
        elif number == 2 and wire == I32:
            simple = begin
    if simple is not None:
        value = struct.unpack_from("<f", data, simple)[0]
        event.scalars.append(Scalar(tag or node, "scalars", value, simple, "f"))
        return
    if plugin == "hparams":
        event.hparams.append(content)
    elif tensor is not None:
        found = _element(data, *tensor)
        if isinstance(found, tuple):
            event.scalars.append(Scalar(tag or node, plugin, *found))
            event.plain = event.plain and bool(found[2])
            return
        if found is not None and plugin in ("text", "") and _may_hold_settings(found):
            event.texts.append((tag or node, found))
    event.plain = False


def _may_hold_settings(text: bytes) -> bool:
    return len(text) <= TEXT_LIMIT and text.lstrip()[:1] in (b"{", b"|")


def _text(data: bytes | memoryview, start: int, stop: int) -> str:
    return str(data[start:stop], "utf-8", "replace")


def _plugin(data: bytes | memoryview, start: int, stop: int) -> tuple[str, bytes]:
    """Name and content of the plugin in a `SummaryMetadata`."""
    name, content = "", b""
    for number, wire, begin, end in spans(data, start, stop):
        if number == 1 and wire == LEN:
            for inner, kind, at, behind in spans(data, begin, end):
                if inner == 1 and kind == LEN:
                    name = _text(data, at, behind)
                elif inner == 2 and kind == LEN:
                    content = bytes(data[at:behind])
    return name, content


def _element(data: bytes | memoryview, start: int, stop: int) -> tuple[float, int, str] | bytes | None:
    """The only element of a `TensorProto`: a number with its place and code, or the bytes of a string."""
    kind, size = 0, 1
    place: tuple[int, int, int, int] | None = None
    for found in spans(data, start, stop):
        number, wire, begin, end = found
        if number == 1 and wire == VARINT:
            kind = varint(data, begin)[0]
        elif number == 2 and wire == LEN:
            size = _elements(data, begin, end)
        elif number >= 4:
            if place is not None:
                return None  # several elements
            place = found
    if size != 1:
        return None
    if place is None:  # an omitted list of numbers is a zero
        return (0.0, -1, "") if kind in _CODES else None
    number, wire, begin, end = place
    if kind == _STRING:
        return bytes(data[begin:end]) if number == 8 and wire == LEN and end - begin <= TEXT_LIMIT else None
    code = _CODES.get(kind, "H" if kind == _BFLOAT16 else "") if number == 4 else _LISTS.get(number)
    if code is None or (number == 4 and not code):
        return None
    if code and kind != _BFLOAT16:
        if end - begin != struct.calcsize(code):
            return None
        value = struct.unpack_from("<" + code, data, begin)[0]
        return float(value), begin if code in "fd" else -1, code if code in "fd" else ""
    if number == 4:
        return (_half(int.from_bytes(data[begin:end], "little"), kind), -1, "") if end - begin == 2 else None
    raw, behind = varint(data, begin)
    if behind != end:
        return None
    return (_half(raw, kind) if number == 13 else float(raw if kind == 23 else signed(raw))), -1, ""


def _elements(data: bytes | memoryview, start: int, stop: int) -> int:
    """How many elements a `TensorShapeProto` has room for."""
    count = 1
    for number, wire, begin, end in spans(data, start, stop):
        if number == 2 and wire == LEN:
            size = 0
            for inner, kind, at, _ in spans(data, begin, end):
                if inner == 1 and kind == VARINT:
                    size = varint(data, at)[0]
            count *= size
    return count


def _half(raw: int, kind: int) -> float:
    """The number that 16 bits stand for."""
    if kind == _BFLOAT16:
        return float(struct.unpack("<f", struct.pack("<I", (raw & 0xFFFF) << 16))[0])
    return float(struct.unpack("<e", struct.pack("<H", raw & 0xFFFF))[0])


__all__ = ["Event", "Log", "Malformed", "Points", "Scalar", "parse"]
