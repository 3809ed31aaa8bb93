"""Files of a run as readers see them: bytes, decoded text with byte offsets, parsed JSON, each read at most once."""

from __future__ import annotations

import codecs
import io
import os
import stat
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from mldiag.artifacts import Source
from mldiag.errors import ReadError, os_reason
from mldiag.patterns import lazily

DOCUMENT_LIMIT = 128 * 2**20
"""Largest file, in bytes, that is read as one document. The largest `trainer_state.json` of the measured peers' test
sets is 35 MB; a document of this size costs about 1.5 GiB once parsed by Python's json."""

LINE_LIMIT = 16 * 2**20
"""Longest line, in bytes, of a line-oriented file."""

BLOCK = 2**20
"""Bytes of a block: large enough that the work per block does not count, small enough that it stays in the cache."""

HEAD = 2**16
"""Bytes of a file's beginning, by which its format is told; a file that is no longer is read once."""

LONG = 8 * 2**20
"""Bytes above which one line is looked up in the file instead of in the decoded whole: 20 ms of scanning at most, where
the text and the starts of its lines would be kept at several times the file's size."""

# UTF-32 before UTF-16, whose mark its own begins with.
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARKS = {"utf-8-sig": 3, "utf-16": 2, "utf-32": 4}
_MARKLESS = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_NOT_ASCII = lazily("[^\\0-\\x7f]")
_HIGH_BYTES = bytes(range(0x80, 0x100))
_CHINESE_WORD = lazily(rb"[\x80-\xff]{4,}")
# Texts' lengths that may be passed over line by line before the starts of all lines are kept: that costs about five
# passes over the text, and most files are asked for a few places only.
_PASSES = 8
# What no text has: control characters but white space, backspace, bell and escape (progress bars, colours), and 0xff,
# which is filling in binary data and in Latin-1 a letter that hardly any word has.
_BINARY = lazily(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\xff]")


class Block(NamedTuple):
    """Whole lines of a file in UTF-8, without byte-order mark.

    `line` is the 1-based number of the first of them, `ends` how many line feeds there are.
    """

    data: bytes
    line: int
    ends: int


class File:
    """One file below a run's root.

    Args:
        root: the run's root folder.
        path: POSIX path relative to it.
        content: replaces what is on disk (a fix that is being tried).
        member: which run is meant of a file that holds several; empty for others.
        beside: paths of all files of the run; None where they are not known.
    """

    def __init__(
        self,
        root: Path,
        path: str,
        content: bytes | None = None,
        member: str = "",
        beside: Sequence[str] | None = None,
    ) -> None:
        self.root = root
        self.path = path
        self.member = member
        self.beside = beside
        self._content = content
        self._kept = Block(b"", 1, 0)
        self._counted = (0, 1)
        self._passed = 0
        self._excerpt = (-1, "")
        self._encoded = (0, 0)

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def _place(self) -> str:
        return os.path.join(self.root, self.path)  # noqa: PTH118 (called for each of many files)

    @cached_property
    def size(self) -> int:
        """Bytes, when it was first asked for: what a growing file gains later is not read.

        Raises:
            ReadError: the file cannot be reached or is none (a pipe, a device).
        """
        if self._content is not None:
            return len(self._content)
        try:
            found = os.stat(self._place)  # noqa: PTH116 (called for each of many files)
        except OSError as error:
            raise _unreachable(error) from error
        if not stat.S_ISREG(found.st_mode):
            raise ReadError(
                f"cannot be read: {'is a directory' if stat.S_ISDIR(found.st_mode) else 'not a regular file'}"
            )
        return found.st_size

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB."""
        return _no_pointer(self._first(HEAD))

    @cached_property
    def data(self) -> bytes:
        """The whole content. Raises `ReadError` when it is over `DOCUMENT_LIMIT` or cannot be read."""
        if self.size > DOCUMENT_LIMIT:
            raise ReadError(
                f"{self.size / 1e6:,.0f} MB in one document, more than the {DOCUMENT_LIMIT / 1e6:,.0f} MB that are read"
            )
        if self._content is not None:
            return _no_pointer(self._content)
        data = self.head if self.size <= HEAD else _no_pointer(self._first(self.size))
        if len(data) > LINE_LIMIT:
            _refuse_long_lines(data)
        return data

    def _first(self, count: int) -> bytes:
        count = min(count, self.size)
        if self._content is not None:
            return self._content[:count]
        try:
            # A buffered file asks for more of the system than reading a small one needs.
            with open(self._place, "rb", 0 if count <= HEAD else -1) as stream:  # noqa: PTH123 (as in `_place`)
                data = stream.read(count)
                while len(data) < count and (more := stream.read(count - len(data))):
                    data += more
                return data
        except OSError as error:
            raise _unreachable(error) from error

    def open(self) -> BinaryIO:
        """The content as a binary stream, for formats that are read piece by piece."""
        if self._content is not None:
            return io.BytesIO(self._content)
        _ = self.size  # refuses what would block or never end
        try:
            return open(self._place, "rb")  # noqa: PTH123 (as in `_place`; the caller closes it)
        except OSError as error:
            raise _unreachable(error) from error

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """The content in blocks of whole lines, never all at once: for logs of any length.

        What stands behind the size at the first look is not read, so a file that is written meanwhile has an end. Bytes
        that are no text in the file's encoding are kept as they are where the encoding is UTF-8, else U+FFFD. A lone
        carriage return ends a line only where a block has no other line end; it does not count as a line.

        Raises:
            ReadError: the file cannot be read, or a line is longer than `LINE_LIMIT`.
        """
        _no_pointer(self.head)
        number, held, length = 1, [b""], 0
        for piece in self._pieces(size):
            # A carriage return at the very end may be the first half of a line end.
            cut = piece.rfind(b"\n") + 1 or piece.rfind(b"\r", 0, -1) + 1
            if not cut:
                held.append(piece)
                length += len(piece)
                if length > LINE_LIMIT:
                    raise ReadError(f"a line of more than the {LINE_LIMIT / 1e6:,.0f} MB that are read", line=number)
                continue
            block = b"".join((*held, memoryview(piece)[:cut]))
            held, length = [piece[cut:]], len(piece) - cut
            ends = line_feeds(block)
            self._kept = Block(block, number, ends)
            yield self._kept
            number += ends
        if rest := b"".join(held):
            yield Block(rest, number, 0)

    def _pieces(self, size: int) -> Iterator[bytes]:
        """The content in UTF-8, up to the size at the first look."""
        plain = self.encoding.startswith("utf-8")
        decoder = None if plain else codecs.getincrementaldecoder(self.encoding)(errors="replace")
        head, left = self.head, self.size
        try:
            with self.open() as stream:
                if plain and head.startswith(codecs.BOM_UTF8):
                    left -= len(stream.read(len(codecs.BOM_UTF8)))
                while left > 0 and (piece := stream.read(min(size, left))):
                    left -= len(piece)
                    yield piece if decoder is None else decoder.decode(piece).encode()
        except OSError as error:
            raise _unreachable(error) from error
        if decoder is not None:
            yield decoder.decode(b"", final=True).encode()

    @cached_property
    def encoding(self) -> str:
        """The encoding the bytes are in, a codec of Python.

        By byte-order mark; by the pattern of zero bytes of UTF-16 and UTF-32; else UTF-8, unless the head is no UTF-8:
        then GB18030 where it decodes and most of what is not ASCII stands in runs of four bytes and more, as Chinese
        words do, or Latin-1, in which every byte is a character. UTF-8 with damage, as of a log that two processes
        write, stays UTF-8: more of its characters are whole than broken. So do bytes that are no text at all.
        """
        head = self.head
        for bom, name in _BOMS:
            if head.startswith(bom):
                return name
        if b"\0" in head[:4096]:
            return _by_zeros(head[:4096])
        whole = self.size <= min(BLOCK, DOCUMENT_LIMIT)
        return _without_zeros(self.data if whole else head, cut=not whole)

    @property
    def codec(self) -> str:
        """The encoding of a part of the file, which has no byte-order mark of its own."""
        if self.encoding in ("utf-16", "utf-32") and self.head.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
            return f"{self.encoding}-be"
        return _MARKLESS.get(self.encoding, self.encoding)

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
        if "text" in self.__dict__:
            return self.text
        return self.data.decode(self.encoding, errors="replace")

    @cached_property
    def json(self) -> Any:
        """The parsed JSON document; bare NaN and Infinity, as Python's json writes them, are read as such.

        Raises:
            ReadError: not JSON; names the line and whether the file seems cut.
        """
        # A quarter of the time; it takes less than Python's json does: no NaN, 1e999 or half of a surrogate pair.
        try:
            return msgspec.json.decode(self.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            text = self.text
        try:
            import json

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
        if self._is_streamed:
            block = self._block_with(number)
            lines = block.data.split(b"\n")
            at = number - block.line
            return lines[at].decode(errors="replace").rstrip("\r") if at < len(lines) else ""
        start = self._start_of(number)
        return "" if start is None else self._line_from(start)

    def _line_from(self, start: int) -> str:
        # All values of a document on one line share the text of that line.
        if self._excerpt[0] != start:
            text = self.lenient_text
            end = text.find("\n", start)
            self._excerpt = start, text[start : len(text) if end < 0 else end].rstrip("\r\n")
        return self._excerpt[1]

    def _start_of(self, number: int) -> int | None:
        """The index in the text at which a line begins; None behind the last."""
        text = self.lenient_text
        if not self._is_indexed:
            start, at = self._counted if self._counted[1] <= number else (0, 1)
            begun = start
            while at < number and (end := text.find("\n", start)) >= 0:
                start, at = end + 1, at + 1
            self._counted = start, at
            self._passed += start - begun
            return start if at == number else None
        return self._line_starts[number - 1] if number <= len(self._line_starts) else None

    def _line_at(self, index: int) -> tuple[int, int]:
        """Number and beginning of the line in which a character of the text stands."""
        if self._is_indexed:
            number = bisect_right(self._line_starts, index)
            return number, self._line_starts[number - 1]
        text = self.lenient_text
        begun, number = self._counted if self._counted[0] <= index else (0, 1)
        start = text.rfind("\n", begun, index) + 1 or begun
        number += text.count("\n", begun, start)
        self._counted = start, number
        self._passed += index - begun
        return number, start

    @property
    def _is_indexed(self) -> bool:
        """Whether the starts of all lines are kept, or so many places were asked for that they should be."""
        return "_line_starts" in self.__dict__ or self._passed > _PASSES * len(self.lenient_text)

    @property
    def _is_streamed(self) -> bool:
        """Whether the file is long and nothing has decoded the whole of it."""
        return self.size > LONG and "lenient_text" not in self.__dict__

    def _block_with(self, number: int) -> Block:
        """The block with a line, else the last. It is kept: the places in a file tend to lie close together."""
        kept = self._kept
        if not kept.line <= number < kept.line + kept.ends:
            for kept in self.blocks():
                if number < kept.line + kept.ends:
                    break
            self._kept = kept
        return kept

    def byte_offset(self, index: int) -> int:
        """Byte offset in the file of a character index in `text`."""
        text = self.lenient_text
        mark = _MARKS.get(self.encoding, 0)
        if text.isascii() and self.codec in ("utf-8", "latin-1"):
            return mark + index
        begun, count = self._encoded if self._encoded[0] <= index else (0, 0)
        count += len(text[begun:index].encode(self.codec))
        self._encoded = index, count
        return mark + count

    def source(self, start: int, end: int | None = None, *, key: str | None = None) -> Source:
        """The place of the characters `[start, end)` of `text`, with line, column, byte span and excerpt."""
        number, begun = self._line_at(start)
        return Source(
            path=self.path,
            line=number,
            column=start - begun + 1,
            key=key,
            start=None if end is None else self.byte_offset(start),
            end=None if end is None else self.byte_offset(end),
            text=None if end is None else self.lenient_text[start:end],
            excerpt=self._line_from(begun),
        )

    def at(self, line: int | None = None, *, key: str | None = None) -> Source:
        """The place of a whole line, or of the file."""
        excerpt = None if line is None else self.line(line)
        return Source(path=self.path, line=line, key=key, excerpt=excerpt)

    def find(self, needle: str, *, key: str | None = None) -> Source:
        """The place where `needle` first occurs, else the file: a cheap line number for a JSON key."""
        if self._is_streamed:
            wanted = needle.encode()
            for block in self.blocks():
                if (at := block.data.find(wanted)) >= 0:
                    self._kept = block
                    return self.at(block.line + block.data.count(b"\n", 0, at), key=key)
            return self.at(key=key)
        at = self.lenient_text.find(needle)
        if at < 0:
            return self.at(key=key)
        number, begun = self._line_at(at)
        return Source(path=self.path, line=number, key=key, excerpt=self._line_from(begun))


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
        return File(self.root, path, self.overlay.get(path), self._member, self.paths)


def size_of(root: Path, path: str) -> int | None:
    """Bytes of a regular file; None where there is none: a name that some file gave may be anything."""
    try:
        found = os.stat(os.path.join(root, path))  # noqa: PTH116, PTH118 (called for each of many files)
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _by_zeros(head: bytes) -> str:
    count = len(head) // 4
    zeros = [head[i::4].count(0) for i in range(4)]
    if count and min(zeros[2:]) > 0.9 * count and zeros[0] < count / 10:
        return "utf-32-le"
    if count and min(zeros[:2]) > 0.9 * count and zeros[3] < count / 10:
        return "utf-32-be"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if count and odd > 0.7 * len(head) / 2 and even < odd / 10:
        return "utf-16-le"
    if count and even > 0.7 * len(head) / 2 and odd < even / 10:
        return "utf-16-be"
    return "utf-8"


def _without_zeros(data: bytes, *, cut: bool) -> str:
    if data.isascii() or _decodes(data, "utf-8", cut=cut):
        return "utf-8"
    text = data.decode(errors="replace")
    broken = text.count("\ufffd")
    whole = sum(1 for _ in _NOT_ASCII.finditer(text)) - broken
    if whole > broken or _BINARY.search(data):
        return "utf-8"
    # Chinese words are several characters of two bytes; an accented letter stands alone or in pairs.
    high = len(data) - len(data.translate(None, _HIGH_BYTES))
    in_words = sum(map(len, _CHINESE_WORD.findall(data)))
    return "gb18030" if 2 * in_words > high and _decodes(data, "gb18030", cut=cut) else "latin-1"


def _decodes(data: bytes, codec: str, *, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def line_feeds(data: bytes) -> int:
    """How many there are."""
    # numpy counts ten times as fast, but is not worth its import for this alone.
    np = sys.modules.get("numpy") if len(data) > BLOCK // 2 else None
    return data.count(b"\n") if np is None else int(np.count_nonzero(np.frombuffer(data, np.uint8) == 10))


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
