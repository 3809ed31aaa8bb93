"""Regular expressions that are compiled when they are first used.

A small audit reads three files and needs a tenth of the expressions that the readers of all formats hold; compiling the
others took a tenth of its time.
"""

from __future__ import annotations

import re
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


def lazily(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """An expression to be used like that of `re.compile`; a mistake in it shows when it is first used.

    `re` keeps what it compiled, so that a second method costs a look-up. For what takes a pattern itself (`re.sub`,
    `isinstance`) compile it.
    """
    return cast(re.Pattern[AnyStr], _Later(text, flags))
