"""Regular expressions that are compiled when they are first used.

A small audit reads three files and needs a tenth of the expressions that the readers of all formats hold; compiling the
others took a tenth of its time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, AnyStr, cast


class _Later:
    __slots__ = ("__dict__", "_flags", "_text")

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # whoever looks for a mark (`mldiag.parts`) asks for no method of a pattern
        # Asked once for each method: what is found stays in the object's own dictionary.
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)
        return found


class _OfWords(_Later):
    """Compiled for the first text that has one of the words."""

    __slots__ = ("_words",)

    def __init__(self, text: str, words: Sequence[str]) -> None:
        super().__init__(text, 0)
        self._words = words

    def search(self, text: str, *span: int) -> re.Match[str] | None:
        return self._asked("search", text, span)

    def match(self, text: str, *span: int) -> re.Match[str] | None:
        return self._asked("match", text, span)

    def fullmatch(self, text: str, *span: int) -> re.Match[str] | None:
        return self._asked("fullmatch", text, span)

    def _asked(self, method: str, text: str, span: tuple[int, ...]) -> re.Match[str] | None:
        for word in self._words:
            if word in text:
                # From now on the expression's own method is called.
                found = self.__getattr__(method)(text, *span)
                return cast("re.Match[str] | None", found)
        return None


def lazily(text: AnyStr, flags: int = 0, *, words: Sequence[str] = ()) -> re.Pattern[AnyStr]:
    """An expression to be used like that of `re.compile`; a mistake in it shows when it is first used.

    Args:
        words: every match has one of them in it, so that a text without any needs no expression. A log of a loss and
            a learning rate is asked about the names of forty other quantities; half of a thousandth of a second each.

    `re` keeps what it compiled, so that a second method costs a look-up. For what takes a pattern itself (`re.sub`,
    `isinstance`) compile it.
    """
    if words:
        assert isinstance(text, str)
        assert not flags
        return cast(re.Pattern[AnyStr], _OfWords(text, words))
    return cast(re.Pattern[AnyStr], _Later(text, flags))
