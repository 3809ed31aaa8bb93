"""Files of a run as readers see them: bytes, decoded text with byte offsets, parsed JSON, each read at most once."""

from __future__ import annotations

import codecs
import io
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mldiag.artifacts import Source
from mldiag.errors import ReadError, os_reason

DOCUMENT_LIMIT = 128 * 2**20
"""Largest file, in bytes, that is read as one document. The largest `trainer_state.json` of the measured peers' test
sets is 35 MB; a document of this size costs about 1.5 GiB once parsed by Python's json."""

LINE_LIMIT = 16 * 2**20
"""Longest line, in bytes, of a line-oriented file."""

BLOCK = 2**20
"""Bytes of a block: large enough that the work per block does not count, small enough that it stays in the cache."""

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Block(NamedTuple):
    """Whole lines of a file in UTF-8, without byte-order mark; `line` is the 1-based number of the first of them."""

    data: bytes
    line: int


class File:
    """One file below a run's root.

    Args:
        root: the run's root folder.
        path: POSIX path relative to it.
        content: replaces what is on disk (a fix that is being tried).
        member: which run is meant of a file that holds several; empty for others.
    """

    def __init__(self, root: Path, path: str, content: bytes | None = None, member: str = "") -> None:
        self.root = root
        self.path = path
        self.member = member
        self._content = content

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @cached_property
    def size(self) -> int:
        """Bytes. Raises `ReadError` when the file cannot be reached."""
        if self._content is not None:
            return len(self._content)
        try:
            return (self.root / self.path).stat().st_size
        except OSError as error:
            raise _unreachable(error) from error

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB."""
        if self._content is not None:
            return _no_pointer(self._content[:65536])
        try:
            with (self.root / self.path).open("rb") as stream:
                return _no_pointer(stream.read(65536))
        except OSError as error:
            raise _unreachable(error) from error

    @cached_property
    def data(self) -> bytes:
        """The whole content. Raises `ReadError` when it is over `DOCUMENT_LIMIT` or cannot be read."""
        if self.size > DOCUMENT_LIMIT:
            raise ReadError(
                f"{self.size / 1e6:,.0f} MB in one document, more than the {DOCUMENT_LIMIT / 1e6:,.0f} MB that are read"
            )
        if self._content is not None:
            return _no_pointer(self._content)
        try:
            data = _no_pointer((self.root / self.path).read_bytes())
        except OSError as error:
            raise _unreachable(error) from error
        if len(data) > LINE_LIMIT:
            _refuse_long_lines(data)
        return data

    def open(self) -> BinaryIO:
        """The content as a binary stream, for formats that are read piece by piece."""
        if self._content is not None:
            return io.BytesIO(self._content)
        try:
            return (self.root / self.path).open("rb")
        except OSError as error:
            raise _unreachable(error) from error

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """The content in blocks of whole lines, never all at once: for logs of any length.

        Bytes that are no text in the file's encoding are kept as they are where the encoding is UTF-8, else U+FFFD. A
        lone carriage return ends a line only where a block has no other line end; it does not count as a line.

        Raises:
            ReadError: the file cannot be read, or a line is longer than `LINE_LIMIT`.
        """
        _no_pointer(self.head)
        number, rest = 1, b""
        with self.open() as stream:
            for piece in self._pieces(stream, size):
                data = rest + piece
                cut = data.rfind(b"\n") + 1 or data.rfind(b"\r") + 1
                if not cut and len(data) > LINE_LIMIT:
                    raise ReadError(f"a line of more than the {LINE_LIMIT / 1e6:,.0f} MB that are read", line=number)
                block, rest = data[:cut], data[cut:]
                if block:
                    yield Block(block, number)
                    number += block.count(b"\n")
        if rest:
            yield Block(rest, number)

    def _pieces(self, stream: BinaryIO, size: int) -> Iterator[bytes]:
        if self.encoding.startswith("utf-8"):
            first = stream.read(size)
            yield first.removeprefix(codecs.BOM_UTF8)
            while piece := stream.read(size):
                yield piece
            return
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        while piece := stream.read(size):
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()

    @cached_property
    def encoding(self) -> str:
        """The encoding the bytes are in: by byte-order mark, by UTF-16's pattern of zero bytes, else UTF-8."""
        head = self.head[:4096]
        for bom, name in _BOMS:
            if head.startswith(bom):
                return name
        if len(head) >= 4 and b"\0" in head:
            even, odd = head[0::2].count(0), head[1::2].count(0)
            if odd > 0.7 * len(head) / 2 and even < odd / 10:
                return "utf-16-le"
            if even > 0.7 * len(head) / 2 and odd < even / 10:
                return "utf-16-be"
        return "utf-8"

    @cached_property
    def text(self) -> str:
        """The decoded content, line ends untouched.

        Raises:
            ReadError: bytes that are not text in the file's encoding; names the line.
        """
        try:
            return self.data.decode(self.encoding)
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            found = self.data[error.start : error.start + 1].hex()
            raise ReadError(f"byte 0x{found} is not {self.encoding.upper()} text", line=line) from error

    @cached_property
    def lenient_text(self) -> str:
        """The decoded content with undecodable bytes as U+FFFD, for formats that judge line by line."""
        return self.data.decode(self.encoding, errors="replace")

    @cached_property
    def json(self) -> Any:
        """The parsed JSON document; bare NaN and Infinity, as Python's json writes them, are read as such.

        Raises:
            ReadError: not JSON; names the line and whether the file seems cut.
        """
        text = self.text
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ReadError("JSON is nested too deeply to be read") from error
        except ValueError as error:
            body = text.strip()
            if not body:
                raise ReadError("the file is empty") from error
            closing = {"{": "}", "[": "]"}.get(body[0])
            if closing and body[-1] != closing:
                raise ReadError("JSON ends in the middle of a value (cut file)", line=text.count("\n") + 1) from error
            line = getattr(error, "lineno", None)
            raise ReadError(f"not valid JSON: {getattr(error, 'msg', error)}", line=line) from error

    @cached_property
    def _line_starts(self) -> list[int]:
        text = self.lenient_text
        starts, at = [0], text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = text.find("\n", at + 1)
        return starts

    def line(self, number: int) -> str:
        """A 1-based line without its end; empty behind the last: some parsers count a lone CR as well."""
        text, starts = self.lenient_text, self._line_starts
        if number > len(starts):
            return ""
        end = starts[number] if number < len(starts) else len(text)
        return text[starts[number - 1] : end].rstrip("\r\n")

    def byte_offset(self, index: int) -> int:
        """Byte offset in the file of a character index in `text`."""
        text = self.lenient_text
        mark = 3 if self.encoding == "utf-8-sig" else 2 if self.encoding == "utf-16" else 0
        if self.encoding.startswith("utf-8"):
            return mark + (index if text.isascii() else len(text[:index].encode()))
        return mark + len(text[:index].encode("utf-16-le"))

    def source(self, start: int, end: int | None = None, *, key: str | None = None) -> Source:
        """The place of the characters `[start, end)` of `text`, with line, column, byte span and excerpt."""
        number = bisect_right(self._line_starts, start)
        return Source(
            path=self.path,
            line=number,
            column=start - self._line_starts[number - 1] + 1,
            key=key,
            start=None if end is None else self.byte_offset(start),
            end=None if end is None else self.byte_offset(end),
            text=None if end is None else self.lenient_text[start:end],
            excerpt=self.line(number),
        )

    def at(self, line: int | None = None, *, key: str | None = None) -> Source:
        """The place of a whole line, or of the file."""
        excerpt = None if line is None else self.line(line)
        return Source(path=self.path, line=line, key=key, excerpt=excerpt)

    def find(self, needle: str, *, key: str | None = None) -> Source:
        """The place where `needle` first occurs, else the file: a cheap line number for a JSON key."""
        at = self.lenient_text.find(needle)
        if at < 0:
            return self.at(key=key)
        number = bisect_right(self._line_starts, at)
        return Source(path=self.path, line=number, key=key, excerpt=self.line(number))


class Folder:
    """The files of one run root, with replacements for those that a fix has changed in memory."""

    def __init__(
        self, root: Path, paths: tuple[str, ...], overlay: Mapping[str, bytes] | None = None, member: str = ""
    ) -> None:
        self.root = root
        self.overlay = dict(overlay or {})
        self.paths = tuple(sorted({*paths, *self.overlay}))
        self._member = member

    def __getitem__(self, path: str) -> File:
        return File(self.root, path, self.overlay.get(path), self._member)


def _refuse_long_lines(data: bytes) -> None:
    """A single line over `LINE_LIMIT` is no log, script or configuration: refused before anything parses it."""
    start, number = 0, 1
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if end - start > LINE_LIMIT:
            raise ReadError(
                f"a line of {(end - start) / 1e6:,.0f} MB, more than the {LINE_LIMIT / 1e6:,.0f} MB that are read",
                line=number,
            )
        start, number = end + 1, number + 1


def _no_pointer(data: bytes) -> bytes:
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        raise ReadError("a Git LFS pointer, not the file itself; fetch it with `git lfs pull`", line=1)
    return data


def _unreachable(error: OSError) -> ReadError:
    return ReadError(f"cannot be read: {os_reason(error)}")
