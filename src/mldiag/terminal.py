"""Text for people: which characters may be shown, how wide they are, where lines wrap, and in which colours.

Everything that ends up on a `Page` is escaped there, so that no text of a checked file can move the cursor, colour the
screen or hide itself. Nothing here needs rich: importing it would cost as much as a small audit.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from msgspec import Struct

if TYPE_CHECKING:
    from mldiag.artifacts import Source

Part = tuple[str, str]
"""Text and the name of its style (a key of `STYLES`)."""

STYLES = {
    "": "",
    "error": "1;31",
    "warning": "1;33",
    "info": "1;34",
    "strong": "1",
    "dim": "2",
    "place": "36",
    "good": "32",
    "bad": "31",
}
"""Style → parameters of ANSI's SGR sequence (ECMA-48, 8.3.117)."""

DEFAULT_WIDTH = 80
MOST_COLUMNS = 120
"""A terminal may be wider; lines of prose longer than this are hard to follow."""
LEAST_COLUMNS = 30

_PLAIN = {
    "×": "x", "–": "-", "—": "-", "−": "-", "·": "-", "•": "*", "…": "...", "→": "->", "≥": ">=", "≤": "<=", "≈": "~",
    "≠": "!=", "±": "+-", "²": "^2", "³": "^3", "µ": "u", "∞": "inf", "“": '"', "”": '"', "‘": "'", "’": "'",
    "─": "-", "│": "|", "├": "|", "└": "`", "\xa0": " ", "\u202f": " ",
}  # fmt: skip
"""What stands for a character that the output's encoding lacks."""

_JOINERS = "\u200c\u200d"
_SPACES = "\xa0\u202f\u2009\u3000"
_BREAK_AFTER = frozenset("/\\_-.,:;=&?)]}")


def escaped(text: str, encoding: str = "utf-8") -> str:
    r"""`text` without anything that acts on a terminal: control, format and unassigned characters as `\x1b`.

    Characters that `encoding` lacks become their nearest ASCII, or an escape.
    """
    if text.isascii():
        return text if text.isprintable() else "".join(map(_visible, text))
    if not text.isprintable():
        text = "".join(map(_visible, text))
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if _encodes(c, encoding) else _PLAIN.get(c) or _code(c) for c in text)
    return text


def _visible(character: str) -> str:
    return character if character.isprintable() or character in _SPACES or character in _JOINERS else _code(character)


def _code(character: str) -> str:
    known = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(character)
    number = ord(character)
    wide = f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    return known or wide


def _encodes(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def columns_of(text: str) -> int:
    """Display width of escaped text: wide characters take two columns, combining ones and joiners none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0
        if c in _JOINERS or unicodedata.category(c) in ("Mn", "Me")
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def padded(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled with spaces to a display width; `right` aligns it right."""
    fill = " " * (width - columns_of(text))
    return fill + text if right else text + fill


def number(value: object) -> str:
    """A measured value: thousands separators, six significant digits, `NaN` and `inf` by name."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none" if value is None else str(value)
    if isinstance(value, int):
        # Python refuses to write out an int of more than 4,300 digits.
        return f"{value:,}" if value.bit_length() < 1024 else f"about 2^{value.bit_length() - 1:,}"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    size = abs(value)
    if value.is_integer() and size < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.6g}" if 1e-4 <= size < 1e6 else f"{value:,.1f}" if 1e6 <= size < 1e15 else f"{value:.4g}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 run`, `2 runs`, `1,200 searches`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def place(source: Source) -> str:
    """`path:line:column`, as far as they are known: what editors and terminals open."""
    column = "" if source.line is None or source.column is None else f":{source.column}"
    return f"{source}{column}"


class Screen(Struct, frozen=True):
    """What a stream can show.

    Attributes:
        width: columns. `color`: ANSI sequences are understood. `encoding`: of the text it takes.
        terminal: a person looks at it.
    """

    width: int = DEFAULT_WIDTH
    color: bool = False
    encoding: str = "utf-8"
    terminal: bool = False

    @classmethod
    def of(cls, stream: TextIO | None) -> Screen:
        """A stream's own; honours `COLUMNS`, `TERM=dumb`, `FORCE_COLOR` and, before that, `NO_COLOR`."""
        terminal = _is_terminal(stream)
        width = DEFAULT_WIDTH
        if os.environ.get("COLUMNS", "").isdecimal() and int(os.environ["COLUMNS"]) > 0:
            width = int(os.environ["COLUMNS"])
        elif terminal and stream is not None:
            try:
                width = min(os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH, MOST_COLUMNS)
            except OSError:
                width = DEFAULT_WIDTH
        if os.environ.get("NO_COLOR"):
            color = False
        elif os.environ.get("FORCE_COLOR"):
            color = True
        else:
            color = terminal and os.environ.get("TERM") != "dumb"
        return cls(max(width, LEAST_COLUMNS), color, getattr(stream, "encoding", None) or "utf-8", terminal)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def write(text: str) -> None:
    """Writes to stdout and flushes, so that trouble is noticed here; a character the encoding lacks is none.

    Raises:
        BrokenPipeError: whoever read the output has left.
        MldiagError: the output cannot be written; what is written later is lost without further words.
    """
    with _to_stdout() as out:
        encoding = getattr(out, "encoding", None) or "utf-8"
        out.write(text.encode(encoding, "backslashreplace").decode(encoding))
        out.flush()


def write_bytes(content: bytes) -> None:
    """Writes to stdout as it is, for other programs; raises like `write`."""
    with _to_stdout() as out:
        out.flush()
        out.buffer.write(content)
        out.buffer.flush()


@contextlib.contextmanager
def _to_stdout() -> Iterator[TextIO]:
    from mldiag.errors import MldiagError, os_reason

    # Python has no stdout at all where the shell closed it (`>&-`).
    if sys.stdout is None:
        raise MldiagError("stdout is closed; the result cannot be written")
    try:
        yield sys.stdout
    except OSError as error:
        # What is still buffered would fail again when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise MldiagError(f"stdout: cannot be written: {os_reason(error)}") from error


def note(*lines: str) -> None:
    """Lines for stderr, if anybody listens there: wrapped for a terminal, each in one piece for a program."""
    if sys.stderr is None:
        return
    screen = Screen.of(sys.stderr)
    page = Page(screen)
    for line in lines:
        text = line.lstrip(" ")
        indent = " " * (len(line) - len(text))
        if screen.terminal:
            page.flow((text, ""), first=indent, rest=indent + "  ")
        else:
            page.line((line, ""))
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(page.text())
        sys.stderr.flush()


class Page:
    """Lines of text that fit a screen. Every part of every line is escaped on its way in."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._lines: list[str] = []

    @property
    def width(self) -> int:
        return self.screen.width

    def safe(self, text: str) -> str:
        return escaped(text, self.screen.encoding)

    def columns(self, text: str) -> int:
        return columns_of(self.safe(text))

    def line(self, *parts: Part) -> None:
        """One line as it is: the caller has seen to its width."""
        self._lines.append(self._painted([(self.safe(text), style) for text, style in parts]))

    def blank(self) -> None:
        """An empty line, unless there is one already or the page is empty."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def flow(self, *parts: Part, first: str = "", rest: str | None = None) -> None:
        """Parts as running text, wrapped at words; a word that is longer than a line is broken, except a place.

        Args:
            first, rest: what the first and the other lines begin with.
        """
        lead, hanging = self.safe(first), self.safe(first if rest is None else rest)
        words = _words((self.safe(text), style) for text, style in parts)
        for fragments in _lines(words, self.width, columns_of(lead), columns_of(hanging)):
            self._lines.append(self._painted([(lead, "dim" if lead.strip() else ""), *fragments]))
            lead = hanging

    def rule(self, title: str, style: str = "strong") -> None:
        """A heading over the whole width."""
        self.blank()
        label = self.safe(title)
        dash = self.safe("─")
        tail = dash * (self.width - columns_of(label) - 4)
        self._lines.append(self._painted([(dash * 2 + " ", "dim"), (label, style), (" " + tail, "dim")]))

    def table(self, rows: Sequence[Sequence[Part]], indent: int = 0, right: Iterable[int] = ()) -> None:
        """Aligned columns; where they are too wide together, the widest wrap inside themselves.

        Args:
            right: indices of columns that are aligned right.
        """
        if not rows:
            return
        cells = [[(self.safe(text), style) for text, style in row] for row in rows]
        count = max(len(row) for row in cells)
        widths = [max((columns_of(row[i][0]) for row in cells if i < len(row)), default=0) for i in range(count)]
        room = self.width - indent - 2 * (count - 1)
        least = max(room // count, 4)
        while sum(widths) > room:
            widest = max(range(count), key=lambda i: widths[i])
            if widths[widest] <= least:
                break
            widths[widest] -= 1
        aligned = set(right)
        for row in cells:
            columns = [[*_lines(_words([cell]), w, 0, 0)] for cell, w in zip(row, widths, strict=False)]
            for height in range(max(len(c) for c in columns)):
                parts: list[Part] = [(" " * indent, "")]
                for i, column in enumerate(columns):
                    found = column[height] if height < len(column) else []
                    fill = (" " * (widths[i] - sum(columns_of(t) for t, _ in found)), "")
                    parts += [fill, *found] if i in aligned else [*found, fill]
                    parts.append(("  ", ""))
                self._lines.append(self._painted(parts))

    def text(self) -> str:
        """The page, ending in a newline; empty when nothing was written."""
        lines = self._lines[:-1] if self._lines and not self._lines[-1] else self._lines
        return "".join(f"{line}\n" for line in lines)

    def _painted(self, parts: list[Part]) -> str:
        # A no-break space has kept its words together by now; as a plain one it can be searched for.
        parts = [(text.replace("\xa0", " "), style) for text, style in parts]
        while parts and not parts[-1][0].strip(" "):
            parts.pop()
        if parts:
            parts[-1] = (parts[-1][0].rstrip(" "), parts[-1][1])
        if not self.screen.color:
            return "".join(text for text, _ in parts)
        return "".join(f"\x1b[{STYLES[s]}m{t}\x1b[0m" if STYLES[s] and t else t for t, s in _joined(parts))


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Neighbours of one style as one part."""
    text, style = "", ""
    for more, its in parts:
        if its != style and text:
            yield text, style
            text = ""
        text, style = text + more, its
    if text:
        yield text, style


def _words(parts: Iterable[Part]) -> list[list[Part]]:
    """Words between spaces, each as fragments of one style; parts without a space between them share a word."""
    words: list[list[Part]] = [[]]
    for text, style in parts:
        first, *others = text.split(" ")
        if first:
            words[-1].append((first, style))
        words.extend([(other, style)] if other else [] for other in others)
    return [w for w in words if w]


def _lines(words: Iterable[list[Part]], width: int, lead: int, hanging: int) -> Iterator[list[Part]]:
    """Words filled into lines of `width` columns, of which the first `lead` (then `hanging`) are taken."""
    line: list[Part] = []
    used, room = 0, max(width - lead, 1)
    for whole in words:
        word, size = whole, sum(columns_of(t) for t, _ in whole)
        if line and used + 1 + size > room:
            yield line
            line, used, room = [], 0, max(width - hanging, 1)
        while size > room and not any(style == "place" for _, style in word):
            piece, word = _split(word, room)
            yield piece
            room = max(width - hanging, 1)
            size = sum(columns_of(t) for t, _ in word)
        if line:
            # The space takes the style of the words around it where they agree, so that a run of them is one part.
            line.append((" ", word[0][1] if word[0][1] == line[-1][1] else ""))
            used += 1
        line += word
        used += size
    if line:
        yield line


def _split(word: list[Part], room: int) -> tuple[list[Part], list[Part]]:
    """The beginning of a word that fits `room` columns, at a natural break in its second half if there is one."""
    characters = [(c, style) for text, style in word for c in text]
    cut, used = 0, 0
    while cut < len(characters) and used + columns_of(characters[cut][0]) <= room:
        used += columns_of(characters[cut][0])
        cut += 1
    cut = max(cut, 1)
    natural = next((i for i in range(cut, cut // 2, -1) if characters[i - 1][0] in _BREAK_AFTER), cut)
    return [*_joined(characters[:natural])], [*_joined(characters[natural:])]
