"""Messages that a program printed while a progress bar of tqdm stood on the line, told apart from the bar.

A bar ends no line. What is printed meanwhile stands behind it, or was written over it where the log is what a terminal
showed: `14%|### INFO: val dice: 0.1 ##  | 64/465 [00:01<00:10, 38.85it/s, loss=1.83]`.
"""

from __future__ import annotations

import re

from mldiag.patterns import lazily
from mldiag.words import SPLITS

TIMES = re.compile(rb"\[\d+:\d\d(?::\d\d)?<")
"""What every bar has that knows its total: the time since its beginning, and the time that is left."""

_TAIL = lazily(
    r"\|?(?P<counted>[ \t]{0,4}[\d.]{1,20}[A-Za-z]{0,4}/[\d.]{1,20}[A-Za-z]{0,4} \[\d+:\d\d(?::\d\d)?<[^,\[\]\r\n\b]*"
    r"(?:,[^,\[\]\r\n\b]*(?P<postfix>,(?:[^\[\]\r\n\b]|\[[^\[\]\r\n\b]*\])*)?)?\])"
)
"""`| 64/465 [00:01<00:10, 38.85it/s, loss=1.83]`"""
_ENDS = "\n\r\b"
_DRAWN = lazily(r"[\u2500-\u259f]+|#{3,}\d?|={3,}>?|-{3,}>?")
_REMAINS = lazily(r"(?:[\u2500-\u259f#]| {2})\s*$")
"""With what a bar goes on behind a message that was written over its beginning."""
_BEHIND = lazily(r"[^\S\r\n]*[^\s\b][^\r\n\b]{,200}")
_LETTERS = lazily(r"[A-Za-z]+")
_WORD = lazily(r"[^\W\d_]{2}")


def apart(text: str) -> str:
    """Text in which each message stands behind its bar, as the next state of the line.

    Only a bar without values counts for the message, unless that is of an evaluation; then the two stay one line:
    `5%|# | 50/1000 [...]loss: 0.5`.
    """
    pieces: list[str] = []
    begin = 0
    for tail in _TAIL.finditer(text):
        start = max(begin, *(text.rfind(end, begin, tail.start()) + 1 for end in _ENDS))
        head = text[start : tail.start()]
        description, opened, over = head.partition("%|")
        if not opened and "|" not in head and tail[0].startswith("|") and _REMAINS.search(head):
            description, over = "", head
        messages = [part.strip() for part in _DRAWN.split(over) if _WORD.search(part)]
        if messages:
            pieces += text[begin:start], description, opened[:1] or "|", tail["counted"]
        else:
            pieces.append(text[begin : tail.end()])
        begin = tail.end()
        behind = _BEHIND.match(text, begin)
        printed = [*messages, behind[0]] if behind else messages
        gap = "\r" if tail["postfix"] or any(map(_is_held_out, printed)) else " "
        for message in messages:
            pieces += gap, message
        if behind and (messages or gap == "\r"):
            pieces.append(gap)
    return "".join((*pieces, text[begin:]))


def _is_held_out(message: str) -> bool:
    return any(SPLITS.get(word.lower()) in ("val", "test") for word in _LETTERS.findall(message))
