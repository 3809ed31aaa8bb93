"""Places for parsers that count bytes of UTF-8, as tree-sitter and `ast` do, whatever the file is encoded in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property

from mldiag.artifacts import Source
from mldiag.files import File
from mldiag.patterns import lazily

_INNER_BYTE = lazily(rb"[\x80-\xbf]")


class Spans:
    """The text of a file as UTF-8, and places in it.

    Args:
        file: its `text` must be readable.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.data = file.text.encode()
        self._excerpts: dict[int, str] = {}
        self._wide: dict[int, list[int]] = {}

    @cached_property
    def _starts(self) -> list[int]:
        starts, at = [0], self.data.find(b"\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.data.find(b"\n", at + 1)
        return starts

    def line_at(self, start: int) -> int:
        """1-based line of a byte of `data`."""
        return bisect_right(self._starts, start)

    def text(self, start: int, end: int) -> str:
        """The characters of a span of `data`."""
        return self.data[start:end].decode(errors="replace")

    def source(self, start: int, end: int, *, key: str | None = None) -> Source:
        """The place of the bytes `[start, end)` of `data`; its byte span is that of the file as it is on disk."""
        number = bisect_right(self._starts, start)
        first = self._starts[number - 1]
        if number not in self._excerpts:
            last = self._starts[number] if number < len(self._starts) else len(self.data)
            self._excerpts[number] = self.text(first, last).rstrip("\r\n")
        return Source(
            path=self.file.path,
            line=number,
            column=start - first - self._extra_bytes(number, start) + 1,
            key=key,
            start=self.on_disk(start),
            end=self.on_disk(end),
            text=self.text(start, end),
            excerpt=self._excerpts[number],
        )

    def _extra_bytes(self, number: int, start: int) -> int:
        """How many bytes before an offset of a line do not begin a character."""
        if self._is_ascii:
            return 0
        if number not in self._wide:
            first = self._starts[number - 1]
            last = self._starts[number] if number < len(self._starts) else len(self.data)
            self._wide[number] = [m.start() for m in _INNER_BYTE.finditer(self.data, first, last)]
        return bisect_left(self._wide[number], start)

    @cached_property
    def _is_ascii(self) -> bool:
        return self.data.isascii()

    def on_disk(self, offset: int) -> int:
        """Byte offset in the file of one in `data`."""
        if self.file.encoding == "utf-8":
            return offset
        if self.file.encoding == "utf-8-sig":
            return offset + 3
        return self.file.byte_offset(len(self.text(0, offset)))
