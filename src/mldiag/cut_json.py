"""What stands whole in a JSON document that ends in its middle: of a run that was killed, or is still writing."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from mldiag.errors import ReadError
from mldiag.patterns import lazily

# An object or list without others in it is passed over at once. A quote by itself begins a text that never ends.
_TEXT = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN = rf'[^"{{}}\[\]]*+(?:{_TEXT}[^"{{}}\[\]]*+)*+'
_TOKEN = lazily(rf'\{{{_PLAIN}\}}|\[{_PLAIN}\]|{_TEXT}|[{{}}\[\]]|"', re.DOTALL)
_DEEPEST = 500
"""Levels, about half of what Python's json follows."""
_WORD = lazily(r"[\s:,]*(?:true|false|null|NaN|-?Infinity)(?![\w.])")


class SoFar(NamedTuple):
    """A document as far as it is whole.

    Attributes:
        closed: its text up to the cut, with what is open there closed; None of a whole document.
        cut: says that something is missing; None of a whole document.
    """

    document: Any
    closed: str | None
    cut: ReadError | None


def so_far(text: str) -> SoFar | None:
    """What stands whole in a document that is cut; None where nothing does, or it is no JSON for another reason."""
    found = closed(text)
    if found is None:
        return None
    import json

    try:
        document = json.loads(found)
    except (ValueError, RecursionError):
        return None
    reason = "JSON ends in the middle of a value (cut file)"
    return SoFar(document, found, ReadError(reason, line=text.rstrip().count("\n") + 1, partial=True))


class _Open:
    """An object or list that has not been closed.

    Attributes:
        before: where the text ends without it.
        filled: a list with a whole object in it.
    """

    __slots__ = ("before", "bracket", "filled")

    def __init__(self, bracket: str, before: int) -> None:
        self.bracket = bracket
        self.before = before
        self.filled = False


def closed(text: str) -> str | None:
    """The text up to the last whole value, with what is open there closed; None where it is not cut or none is whole.

    A number at the very end may go on and is left out, and so is a list or object without anything whole in it. Of a
    list of records the last one is left out if it is not whole, since its step may be what is missing; it is kept if it
    holds a list of whole records itself.
    """
    stack: list[_Open] = []
    whole = at = 0  # where the text may end; where the last token did
    limit = len(text)
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word == '"':
            limit = token.start()
            break
        if (comma := text.rfind(",", at, token.start())) >= 0:
            whole = comma
        if word in "{[":
            stack.append(_Open(word, whole))
            if len(stack) > _DEEPEST:
                return None
        elif word[-1] in "}]":
            if len(word) == 1 and (not stack or stack.pop().bracket != ("{" if word == "}" else "[")):
                return None
            if stack and word[-1] == "}" and stack[-1].bracket == "[":
                stack[-1].filled = True
            whole = token.end()
        elif stack and (stack[-1].bracket == "[" or text[at : token.start()].rstrip().endswith(":")):
            whole = token.end()
        at = token.end()
    if not stack:
        return None
    if (comma := text.rfind(",", at, limit)) >= 0:
        whole = comma
    if word_at_end := _WORD.match(text, max(at, comma), limit):
        whole = word_at_end.end()
    whole = _without_record(stack, whole)
    while stack and stack[-1].before >= whole:
        stack.pop()
    return text[:whole] + "".join("}" if o.bracket == "{" else "]" for o in reversed(stack)) if stack else None


def _without_record(stack: list[_Open], whole: int) -> int:
    """Where the text ends without a record of a list that is not whole."""
    for depth in range(len(stack) - 1, 0, -1):
        if stack[depth].bracket == "{" and stack[depth - 1].bracket == "[":
            holds_records = any(inner.filled for inner in stack[depth:])
            return whole if holds_records else min(whole, stack[depth].before)
    return whole
