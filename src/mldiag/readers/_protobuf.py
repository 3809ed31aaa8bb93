"""The wire format of Protocol Buffers, without schemas: what TensorBoard, W&B and ONNX files are made of.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

VARINT, I64, LEN, I32 = 0, 1, 2, 5
_MAX_VARINT = 10


class Malformed(ValueError):
    """Bytes that are no message."""


class Field(NamedTuple):
    """A field of a message: `value` is an int for VARINT, I64 and I32 (raw bits), the bytes for LEN."""

    number: int
    wire: int
    value: int | bytes


def fields(data: bytes | memoryview) -> Iterator[Field]:
    """The fields of a message in their order.

    Raises:
        Malformed: a field that is cut, of an unknown wire type, or numbered zero; the fields before it were yielded.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise Malformed("a field with the number 0")
        if wire == VARINT:
            value, at = varint(data, at)
            yield Field(number, wire, value)
        elif wire == LEN:
            size, at = varint(data, at)
            if at + size > end:
                raise Malformed("a field that is cut")
            yield Field(number, wire, bytes(data[at : at + size]))
            at += size
        elif wire in (I64, I32):
            size = 8 if wire == I64 else 4
            if at + size > end:
                raise Malformed("a field that is cut")
            yield Field(number, wire, int.from_bytes(data[at : at + size], "little"))
            at += size
        else:
            raise Malformed(f"wire type {wire}")


def spans(data: bytes | memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Where the fields of the message in `data[at:end]` lie: number, wire type, start and stop of the content.

    Nothing is copied or converted, for messages that are mostly passed over.

    Raises:
        Malformed: as `fields` does.
    """
    while at < end:
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = varint(data, at - 1)
        wire = tag & 7
        if tag < 8:
            raise Malformed("a field with the number 0")
        start = at
        # Nearly all numbers have one byte.
        short = at < end and data[at] < 0x80
        if wire == LEN:
            size, start = (data[at], at + 1) if short else varint(data, at)
            at = start + size
        elif wire == VARINT:
            at = at + 1 if short else varint(data, at)[1]
        elif wire in (I64, I32):
            at += 8 if wire == I64 else 4
        else:
            raise Malformed(f"wire type {wire}")
        if at > end:
            raise Malformed("a field that is cut")
        yield tag >> 3, wire, start, at


def varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The base-128 number at a position, and the position behind it."""
    value = 0
    for shift in range(0, 7 * _MAX_VARINT, 7):
        if at >= len(data):
            raise Malformed("a number that is cut")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Malformed("a number of more than ten bytes")


def signed(value: int) -> int:
    """An `int64` or `int32` as it is meant: negative numbers are written as two's complement in 64 bits."""
    return value - 2**64 if value >= 2**63 else value


def double(value: int) -> float:
    """The float64 of an I64 field."""
    return float(struct.unpack("<d", value.to_bytes(8, "little"))[0])


def single(value: int) -> float:
    """The float32 of an I32 field."""
    return float(struct.unpack("<f", value.to_bytes(4, "little"))[0])
