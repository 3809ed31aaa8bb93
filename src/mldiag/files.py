"""Files of a run as readers see them: bytes, decoded text with byte offsets, parsed JSON, each read at most once."""

from __future__ import annotations

import codecs
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec

from mldiag.artifacts import Source
from mldiag.encodings import BOMS, MARKLESS, MARKS, by_zeros, has_nul, without_zeros
from mldiag.errors import ReadError, os_reason
from mldiag.lines import Lines

if TYPE_CHECKING:
    from functools import cached_property

    from mldiag.cut_json import SoFar
else:

    class cached_property:  # noqa: N801
        """Without the lock that Python 3.11 takes, which costs as much as what most of them compute."""

        def __init__(self, compute):
            self._compute = compute
            self._name = compute.__name__
            self.__doc__ = compute.__doc__

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            found = instance.__dict__[self._name] = self._compute(instance)
            return found


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

_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


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

    Attributes:
        damage: what is missing of the content, whatever a reader makes of the rest; None of most files.
    """

    damage: ReadError | None = None

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
        self._encoded = (0, 0)
        self._begun = b""

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @cached_property
    def _place(self) -> str:
        return f"{self.root}/{self.path}"  # a `Path` takes longer, and there are many files

    @property
    def sniffed(self) -> File:
        """A file by whose beginning the format is told: this one, unless more of it costs more."""
        return self

    @cached_property
    def size(self) -> int:
        """Bytes, when it was first asked for: what a growing file gains later is not read.

        Raises:
            ReadError: the file cannot be reached or is none (a pipe, a device).
        """
        return self._stored_size() if self._content is not None else self._looked()

    def _looked(self) -> int:
        """The size; the beginning is kept, so that of a small file the path is looked up once."""
        try:
            # A stream asks for more of the system than this needs. A pipe is not waited for.
            descriptor = os.open(self._place, _READ_ONLY)
            try:
                found = os.fstat(descriptor)
                if stat.S_ISREG(found.st_mode):
                    self._begun = _read(descriptor, min(HEAD, found.st_size))
                    return found.st_size
            finally:
                os.close(descriptor)
        except OSError:  # why is said where its content is asked for
            pass
        return self._stored_size()

    def _stored_size(self) -> int:
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
        if count <= len(self._begun):
            return self._begun[:count]
        try:
            descriptor = os.open(self._place, _READ_ONLY)
            try:
                return _read(descriptor, count)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unreachable(error) from error

    def open(self) -> BinaryIO:
        """The content as a binary stream, for formats that are read piece by piece."""
        if self._content is not None:
            return io.BytesIO(self._content)
        return self._stored()

    def _stored(self) -> BinaryIO:
        _ = self._stored_size()  # refuses what would block or never end
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
        if self.size <= HEAD and head.isascii() and b"\0" not in head:
            return "utf-8"
        for bom, name in BOMS:
            if head.startswith(bom):
                return name
        if b"\0" in head[:4096]:
            return by_zeros(head[:4096])
        whole = self.size <= min(BLOCK, DOCUMENT_LIMIT)
        return without_zeros(self.data if whole else head, cut=not whole)

    @cached_property
    def is_binary(self) -> bool:
        """Whether the beginning is no text; the hole of NUL bytes that a crash leaves in a log does not count."""
        if self.encoding.startswith(("utf-16", "utf-32")):
            return False
        return has_nul(self.head[:4096])

    @property
    def codec(self) -> str:
        """The encoding of a part of the file, which has no byte-order mark of its own."""
        if self.encoding in ("utf-16", "utf-32") and self.head.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
            return f"{self.encoding}-be"
        return MARKLESS.get(self.encoding, self.encoding)

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
    def json_so_far(self) -> SoFar:
        """The parsed JSON document; of one that is cut, what stands whole before the cut, with the error that says so.

        Raises:
            ReadError: as of `json`; nothing is whole.
        """
        from mldiag.cut_json import SoFar, so_far

        try:
            return SoFar(self.json, None, None)
        except ReadError:
            found = so_far(self.lenient_text)
            if found is None:
                raise
            return found

    @cached_property
    def _lines(self) -> Lines:
        return Lines(self.lenient_text)

    def line(self, number: int) -> str:
        """A 1-based line without its end; empty behind the last: some parsers count a lone CR as well."""
        if self._is_streamed:
            block = self._block_with(number)
            lines = block.data.split(b"\n")
            at = number - block.line
            return lines[at].decode(errors="replace").rstrip("\r") if at < len(lines) else ""
        start = self._lines.start(number)
        return "" if start is None else self._lines.beginning(start)

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
        mark = MARKS.get(self.encoding, 0)
        if text.isascii() and self.codec in ("utf-8", "latin-1"):
            return mark + index
        begun, count = self._encoded if self._encoded[0] <= index else (0, 0)
        count += len(text[begun:index].encode(self.codec))
        self._encoded = index, count
        return mark + count

    def source(self, start: int, end: int | None = None, *, key: str | None = None) -> Source:
        """The place of the characters `[start, end)` of `text`, with line, column, byte span and excerpt."""
        number, begun = self._lines.at(start)
        return Source(
            path=self.path,
            line=number,
            column=start - begun + 1,
            key=key,
            start=None if end is None else self.byte_offset(start),
            end=None if end is None else self.byte_offset(end),
            text=None if end is None else self.lenient_text[start:end],
            excerpt=self._lines.beginning(begun),
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
        number, begun = self._lines.at(at)
        return Source(path=self.path, line=number, key=key, excerpt=self._lines.beginning(begun))

    def find_each(self, needles: Iterable[tuple[str, str]], *, but: tuple[int, int] = (0, 0)) -> Iterator[Source]:
        """As `find`, for pairs of key and needle; takes the least time where they stand in this order.

        Args:
            but: characters among which none of them stands.
        """
        if self._is_streamed:
            yield from (self.find(needle, key=key) for key, needle in needles)
            return
        text, (begin, end) = self.lenient_text, but
        found = []
        for key, needle in needles:
            at = text.find(needle, 0, begin) if end else -1
            found.append((key, at if at >= 0 else text.find(needle, end)))
        yield from self.places(found)

    def places(self, found: Iterable[tuple[str, int]]) -> Iterator[Source]:
        """The lines of characters of `text`, each with its key; the file where that is negative.

        Takes the least time where they stand in this order.
        """
        text, path, beginning = self.lenient_text, self.path, self._lines.beginning
        number, begun = 1, 0
        for key, at in found:
            if at < 0:
                yield Source(path, None, None, key)
                continue
            if at < begun:
                number, begun = 1, 0
            start = text.rfind("\n", begun, at) + 1 or begun
            if start != begun:
                number += text.count("\n", begun, start)
                begun = start
            yield Source(path, number, None, key, None, None, None, beginning(start))


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
        if path.endswith((".gz", ".GZ")):
            from mldiag.packed import Unpacked

            return Unpacked(self.root, path, beside=self.paths)
        return File(self.root, path, self.overlay.get(path), self._member, self.paths)


def _read(descriptor: int, count: int) -> bytes:
    data = os.read(descriptor, count)
    while len(data) < count and (more := os.read(descriptor, count - len(data))):
        data += more
    return data


def size_of(root: Path, path: str) -> int | None:
    """Bytes of a regular file; None where there is none: a name that some file gave may be anything."""
    try:
        found = os.stat(os.path.join(root, path))  # noqa: PTH116, PTH118 (called for each of many files)
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


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
