"""Logs that are packed with gzip, as rotated ones are, read as if they were not."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, BinaryIO

from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily

UNPACKED_LIMIT = 2**29
"""Most bytes that a file is unpacked to: three seconds of work, where a few kilobytes can promise any number."""

_SNIFFED = 2**18
"""Bytes by which the format is told: packed data sets lie beside runs, and are not unpacked whole to be passed over."""
_CHUNK = 2**16
_MAGIC = b"\x1f\x8b"
_LINES = lazily(r".*\.(?:log|out|err|txt|jsonl|ndjson|csv|tsv)(?:\.\d+)?\.gz", re.IGNORECASE)


def unpacked_name(path: str) -> str | None:
    """The path without `.gz` of what may be a packed log of lines; None of other files."""
    return path[: -len(".gz")] if _LINES.fullmatch(path) else None


class Unpacked(File):
    """A file packed with gzip: its bytes, size and name are those of what is packed.

    What stands before damage is read, and `damage` then says so.
    """

    @property
    def name(self) -> str:
        return super().name[: -len(".gz")]

    @cached_property
    def size(self) -> int:
        """Bytes once unpacked, as far as they are whole.

        Raises:
            ReadError: it is no gzip data, holds more than `UNPACKED_LIMIT`, or cannot be read.
        """
        with self._inflated() as stream:
            count = 0
            while piece := stream.read(_CHUNK):
                count += len(piece)
                if count > UNPACKED_LIMIT:
                    raise ReadError(f"more than the {UNPACKED_LIMIT / 1e6:,.0f} MB once unpacked that are read")
        if stream.damage and not count:
            raise ReadError(stream.damage)
        if stream.damage:
            self.damage = ReadError(stream.damage, partial=True)
        return count

    @property
    def sniffed(self) -> File:
        with self._inflated() as stream:
            begin = b""
            while len(begin) < _SNIFFED and (piece := stream.read(_CHUNK)):
                begin += piece
        if stream.damage and not begin:
            raise ReadError(stream.damage)
        return File(self.root, self.path[: -len(".gz")], begin[: begin.rfind(b"\n") + 1] or begin, beside=self.beside)

    def open(self) -> BinaryIO:
        return io.BufferedReader(self._inflated(), _CHUNK)

    def _first(self, count: int) -> bytes:
        with self.open() as stream:
            return stream.read(min(count, self.size))

    def _inflated(self) -> _Inflated:
        stream = self._stored()
        if stream.read(len(_MAGIC)) != _MAGIC:
            stream.close()
            raise ReadError("no gzip data, although its name says so")
        stream.seek(0)
        return _Inflated(stream)


class _Inflated(io.RawIOBase):
    """What is packed in a stream of gzip, up to the first damage.

    Attributes:
        damage: what is wrong; empty while nothing is.
    """

    def __init__(self, packed: BinaryIO) -> None:
        import zlib

        self.damage = ""
        self._zlib = zlib
        self._packed = packed
        self._given = self._found = b""
        self._member = self._new_member()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._packed.close()
        super().close()

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        while True:
            found = self._found or self._next(len(target))
            if found:
                count = min(len(found), len(target))
                target[:count] = found[:count]
                self._found = found[count:]
                return count
            if self.damage:
                return 0
            if self._member.eof:
                # Members may follow one another; zeros behind the last are padding.
                self._given = self._member.unused_data.lstrip(b"\0") or self._packed.read(_CHUNK).lstrip(b"\0")
                if not self._given:
                    return 0
                self._member = self._new_member()
            elif not self._given:
                self._given = self._packed.read(_CHUNK)
                if not self._given:
                    self.damage = "gzip data ends in the middle (cut file)"

    def _next(self, most: int) -> bytes:
        """What comes out of the bytes at hand; of damaged ones what does so before the damage."""
        if self.damage:
            return b""
        before = self._member.copy()
        try:
            found: bytes = self._member.decompress(self._given, most)
        except self._zlib.error:
            self.damage = "damaged gzip data"
            return b"".join(self._one_by_one(before))
        self._given = self._member.unconsumed_tail
        return found

    def _one_by_one(self, member: Any) -> Iterator[bytes]:
        try:
            for at in range(len(self._given)):
                yield member.decompress(self._given[at : at + 1])
        except self._zlib.error:
            return

    def _new_member(self) -> Any:
        return self._zlib.decompressobj(wbits=16 + self._zlib.MAX_WBITS)
