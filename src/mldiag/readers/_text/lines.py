"""Lines of a training log as they stood on the screen: without colours, redrawn bars and prefixes; cut at numbers."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache

from mldiag.patterns import lazily
from mldiag.readers._text.messages import TIMES, apart

# What each of the patterns below begins with. They stay within a line: what one holds must not depend on its block.
_ESCAPE = "\x1b"
_BAR_MARKS = ("%|", "[=", "[.", "[>", "[-", "[#")
_BOXES = (b"\xe2\x94", b"\xe2\x95", b"\xe2\x96")
"""The first bytes of U+2500 to U+259F in UTF-8."""
COLOURS = lazily(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[@-Z\\-_=>])")
_BARS = lazily(r"(?<=%)\|[^|\r\n]*\||\[[=>.\-#]{5,}\]|[\u2500-\u259f]{3,}")
STATES = 2**20
"""States of one line that are told apart."""
_REDRAWN = lazily(r"[\r\b]+")

DRAWN = tuple(mark.encode() for mark in (_ESCAPE, "\b", *_BAR_MARKS))
"""What text has that is more than what it says; besides carriage returns and what is not ASCII."""

LONG = 400
"""Characters of a line from which on it is looked for others that were glued to it."""
_COUNTER = lazily(
    r"(?<![A-Za-z_])(epoch|step|iter(?:ation)?|batch|update)[ \t]*[:=#]?[ \t]*(\d+)(?:\.\d+)?([ \t]*/[ \t]*\d)?",
    re.IGNORECASE,
)
_RUN = lazily(r"\d[\d.]{23,}")
"""Numbers without anything between them: one float has 17 digits at most, and one point."""

NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_DATES = (
    r"\d{3}-\d\d-\d\d(?:[T_ ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?)?|"
    r"\d?(?:-\d\d-|/\d\d/|\.\d\d\.)\d{2,4}(?![\d.])|"
    r"\d[-/]\d\d(?=[ T]\d\d:\d\d)|"
    r"\d{0,2}:[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?![\d.:])"
)
_DATE = lazily(r"\d{4}-\d\d-\d\d|\d\d?[-/]\d\d(?:[-/]\d{2,4})?$|\d\d?\.\d\d\.\d{2,4}$|\d{1,3}:[0-5]\d")
# 1,5 where commas are decimal; else 1,234,567. A lone 1.# is how Microsoft's C library begins `1.#INF`.
_COMMA = {True: r"\d*,\d+(?![\d,])", False: r"\d{0,2}(?:,\d{3})+(?![\d,])(?:\.\d+)?"}
_DECIMAL_COMMA = lazily(rb"[:=\s]-?(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))(?=[\s;|)\]%a-z]|$)", re.MULTILINE)
_DECIMAL_POINT = lazily(rb"[:=\s]-?\d+\.\d+(?![\d.])")


@cache
def splitter(*, decimal_comma: bool = False) -> Callable[[str], list[str]]:
    """What cuts a line into texts and numbers, alternating, the first and the last a text.

    Dates, clock times, NaN and infinity are numbers too. Digits inside a word (`top1`, `Prec@5`, `conv2d`) are part of
    the word, and so is a dash behind one, but not behind Chinese, Japanese or Korean, which leave no gap (`第3轮`). The
    pattern begins with a set of characters, since `re` skips to those.
    """
    begin = r"[-+.0-9nNiI](?<![.@0-9A-Z_a-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u1fff].)"
    return re.compile(
        rf"({begin}(?:(?<=[0-9])(?:{_DATES}|{_COMMA[decimal_comma]}|\d*(?:\.(?:#[A-Z]+\d*|\d*))?(?:[eE][-+]?\d+)?)"
        rf"|(?<=[-+.])(?:{NUMBER}|(?:nan|NaN|inf|Inf|INF|NAN)(?:\b|(?=(?:ms|s|z)\b)))"
        r"|(?<=[nN])(?:an|aN|AN)(?:\b|(?=(?:ms|s|z)\b))|(?<=[iI])(?:nf|NF|nfinity)\b))"
    ).split


def unglued(line: str) -> list[str]:
    """The lines that a long line is made of, if a program printed several without their ends.

    It is cut before each return of what its counter says first (`step 15 / 4000`, also right behind a digit): with a
    total at the second, else at the third, if it has counted up. Of numbers in a row nobody can tell which is which.
    """
    if len(line) <= LONG:
        return [line]
    places: dict[tuple[str, bool], list[tuple[int, int]]] = {}
    for found in _COUNTER.finditer(line):
        places.setdefault((found[1].lower(), found[3] is not None), []).append((found.start(), int(found[2][:18])))
    for (_, total), own in places.items():
        if len(own) >= (2 if total else 3) and any(b > a for (_, a), (_, b) in itertools.pairwise(own)):
            cuts = [0, *(at for at, _ in own), len(line)]
            pieces = (line[a:b] for a, b in itertools.pairwise(cuts) if a < b)
            return [_RUN.sub(lambda run: "…" if run[0].count(".") > 1 else run[0], piece) for piece in pieces]
    return [line]


def has_decimal_comma(head: bytes) -> bool:
    """Whether a log writes its fractions with a comma (`perda: 0,5`)."""
    commas = len(_DECIMAL_COMMA.findall(head))
    return commas > 2 and commas > len(_DECIMAL_POINT.findall(head))


def is_date(token: str) -> bool:
    """Whether a number that `splitter` cut out is a date or a time of day."""
    return _DATE.match(token) is not None


def is_drawn(text: str) -> bool:
    """Whether a text may hold colours, bars or what is redrawn: then it is not what a line of a log looks like."""
    return any(m in text for m in (_ESCAPE, "\r", "\b", *_BAR_MARKS)) or any("\u2500" <= c <= "\u259f" for c in text)


class Lines:
    """Hands out the lines of a log, in order.

    Attributes:
        line: the last that was redrawn. `states`: how many of its states were handed out.
    """

    def __init__(self) -> None:
        self.line = 0
        self.states = 0

    def of(self, data: bytes, numbers: Sequence[int]) -> Iterator[tuple[float, str]]:
        """The lines of some text with their 1-based numbers; of one that was redrawn each state but empty ones, and
        each of several that were glued.

        States of one line are told apart by the fraction of their number: all are on line `int(at)`.
        """
        text = data.decode("utf-8", errors="replace")
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if _ESCAPE in text:
            text = COLOURS.sub("", text)
        if "<" in text and TIMES.search(data):
            text = apart(text)
        if any(mark in text for mark in _BAR_MARKS) or (not text.isascii() and any(b in data for b in _BOXES)):
            text = _BARS.sub(" ", text)
        # A block can begin in the middle of a line of which states were handed out before.
        if "\r" in text or "\b" in text or (self.states and self.line == numbers[0]):
            return self._redrawn(text, numbers)
        lines = text.split("\n")
        if len(text) > LONG and len(max(lines, key=len)) > LONG:
            return self._redrawn(text, numbers)
        return zip(numbers, lines, strict=False)

    def _redrawn(self, text: str, numbers: Sequence[int]) -> Iterator[tuple[float, str]]:
        for number, line in zip(numbers, text.split("\n"), strict=False):
            if number != self.line:
                self.line, self.states = number, 0
            for state in itertools.chain.from_iterable(map(unglued, _REDRAWN.split(line))):
                if state and not state.isspace():
                    yield number + min(self.states, STATES - 1) / STATES, state
                    self.states += 1


def seconds(parts: Sequence[str], clock: int) -> float:
    """Seconds since 1970 of a date, of a date without a year since its beginning, of a time of day since midnight."""
    token = parts[2 * clock + 1]
    try:
        if len(token) > 16:
            return _minute(token[:16]) + float(token[17:].replace(",", "."))
        day, time = day_of(token), token
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
def day_of(token: str) -> float | None:
    """Seconds since 1970 until a date, without a year since its beginning; None where a token is none."""
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
