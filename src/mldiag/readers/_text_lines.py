"""Lines of a training log as they stood on the screen: without colours, redrawn bars and prefixes; cut at numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache

from mldiag.files import Block

# What each of the patterns below begins with. They stay within a line: what one holds must not depend on its block.
_ESCAPE = "\x1b"
_BAR_MARKS = ("%|", "[=", "[.", "[>", "[-", "[#")
_BOXES = (b"\xe2\x94", b"\xe2\x95", b"\xe2\x96")
"""The first bytes of U+2500 to U+259F in UTF-8."""
_ANSI = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[@-Z\\-_=>])")
_BARS = re.compile(r"(?<=%)\|[^|\r\n]*\||\[[=>.\-#]{5,}\]|[\u2500-\u259f]{3,}")
_STATES = 2**20
"""States of one line that are told apart."""
_REDRAWN = re.compile(r"[\r\b]+")

NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_DATES = (
    r"\d{3}-\d\d-\d\d(?:[T_ ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?)?|"
    r"\d?(?:-\d\d-|/\d\d/|\.\d\d\.)\d{2,4}(?![\d.])|"
    r"\d[-/]\d\d(?=[ T]\d\d:\d\d)|"
    r"\d{0,2}:[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?![\d.:])"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d?[-/]\d\d(?:[-/]\d{2,4})?$|\d\d?\.\d\d\.\d{2,4}$|\d{1,3}:[0-5]\d")
# 1,5 where commas are decimal; else 1,234,567. A lone 1.# is how Microsoft's C library begins `1.#INF`.
_COMMA = {True: r"\d*,\d+(?![\d,])", False: r"\d{0,2}(?:,\d{3})+(?![\d,])(?:\.\d+)?"}
_DECIMAL_COMMA = re.compile(rb"[:=\s]-?(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))(?=[\s;|)\]%a-z]|$)", re.MULTILINE)
_DECIMAL_POINT = re.compile(rb"[:=\s]-?\d+\.\d+(?![\d.])")


@cache
def splitter(*, decimal_comma: bool = False) -> Callable[[str], list[str]]:
    """What cuts a line into texts and numbers, alternating, the first and the last a text.

    Dates, clock times, NaN and infinity are numbers too. Digits inside a word (`top1`, `Prec@5`, `conv2d`) are part of
    the word, and so is a dash behind one. The pattern begins with a set of characters, since `re` skips to those.
    """
    begin = r"[-+.0-9nNiI](?<![\w.@].)"
    return re.compile(
        rf"({begin}(?:(?<=[0-9])(?:{_DATES}|{_COMMA[decimal_comma]}|\d*(?:\.(?:#[A-Z]+\d*|\d*))?(?:[eE][-+]?\d+)?)"
        rf"|(?<=[-+.])(?:{NUMBER}|(?:nan|NaN|inf|Inf|INF|NAN)(?:\b|(?=(?:ms|s|z)\b)))"
        r"|(?<=[nN])(?:an|aN|AN)(?:\b|(?=(?:ms|s|z)\b))|(?<=[iI])(?:nf|NF|nfinity)\b))"
    ).split


def has_decimal_comma(head: bytes) -> bool:
    """Whether a log writes its fractions with a comma (`perda: 0,5`)."""
    commas = len(_DECIMAL_COMMA.findall(head))
    return commas > 2 and commas > len(_DECIMAL_POINT.findall(head))


def is_date(token: str) -> bool:
    """Whether a number that `splitter` cut out is a date or a time of day."""
    return _DATE.match(token) is not None


class Lines:
    """Hands out the lines of a log, block by block in order."""

    def __init__(self) -> None:
        self._line = 0
        self._states = 0

    def of(self, block: Block) -> Iterator[tuple[float, str]]:
        """The lines of a block with their 1-based numbers; of a line that was redrawn, each state but empty ones.

        States of one line are told apart by the fraction of their number: all are on line `int(at)`.
        """
        text = block.data.decode("utf-8", errors="replace")
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if _ESCAPE in text:
            text = _ANSI.sub("", text)
        if any(mark in text for mark in _BAR_MARKS) or (not text.isascii() and any(b in block.data for b in _BOXES)):
            text = _BARS.sub(" ", text)
        # A block can begin in the middle of a line of which states were handed out before.
        if "\r" in text or "\b" in text or (self._line == block.line and self._states):
            return self._redrawn(text, block.line)
        return enumerate(text.split("\n"), block.line)

    def _redrawn(self, text: str, first: int) -> Iterator[tuple[float, str]]:
        for number, line in enumerate(text.split("\n"), first):
            if number != self._line:
                self._line, self._states = number, 0
            for state in _REDRAWN.split(line):
                if state and not state.isspace():
                    yield number + min(self._states, _STATES - 1) / _STATES, state
                    self._states += 1


def seconds(parts: Sequence[str], clock: int) -> float:
    """Seconds since 1970 of a date, of a date without a year since its beginning, of a time of day since midnight."""
    token = parts[2 * clock + 1]
    try:
        if len(token) > 16:
            return _minute(token[:16]) + float(token[17:].replace(",", "."))
        day, time = _day(token), token
        if day is not None:
            time = parts[2 * clock + 3] if len(parts) > 2 * clock + 3 else "0:0:0"
        hours, minutes, rest = time.replace(",", ".").split(":")
        return (day or 0.0) + int(hours) * 3600 + int(minutes) * 60 + float(rest)
    except ValueError:
        return math.nan


@lru_cache(64)
def _minute(text: str) -> float:
    return _days(int(text[:4]), int(text[5:7]), int(text[8:10])) + int(text[11:13]) * 3600 + int(text[14:16]) * 60


@lru_cache(64)
def _days(year: int, month: int, day: int) -> float:
    from datetime import date

    try:
        return (date(year, month, day).toordinal() - 719_163) * 86_400.0
    except ValueError:
        return 0.0


@lru_cache(64)
def _day(token: str) -> float | None:
    if len(token) >= 10 and token[4] == "-":
        return _days(int(token[:4]), int(token[5:7]), int(token[8:10]))
    if ":" in token:
        return None
    numbers = [int(n) for n in re.split(r"[-/.]", token) if n.isdigit()]
    if len(numbers) == 2:
        return _days(1972, *numbers)
    if len(numbers) == 3:
        first, second, third = numbers
        year = third + 2000 if third < 100 else third
        return _days(year, first, second) if first <= 12 else _days(year, second, first)
    return None
