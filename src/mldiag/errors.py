"""What can go wrong, sorted by who can do something about it.

`MldiagError` is for the user: one line that says where, what was found, what was expected and what to do. It ends the
work it stands for with exit code 2. `NotApplicable` is no error at all: a rule or fact lacks an input and is skipped
with that reason. Any other exception is a defect of ours or of a plugin and is reported as `failed`.
"""

from __future__ import annotations

from collections.abc import Iterable

OK, FOUND, BROKEN = 0, 1, 2
"""Exit codes: nothing at or above the gate; findings at or above it; the work could not be done."""


class MldiagError(Exception):
    """The user can act on this; printed as one line without a traceback."""


class ReadError(MldiagError):
    """A file, or a part of it, could not be read.

    Args:
        reason: what was found and what was expected, lower case, without the place.
        line: 1-based line of the first trouble, where it is known.
        partial: the rest of the file was read; only what `reason` names is missing.
    """

    def __init__(self, reason: str, *, line: int | None = None, partial: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.partial = partial


class SettingsError(MldiagError):
    """mldiag's own configuration cannot be used."""


class FixError(MldiagError):
    """An edit was refused; nothing was written."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'ignore'?` for the end of a message about an unknown word; empty where nothing is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def os_reason(error: OSError) -> str:
    """What the operating system says, in lower case and without number and path."""
    return (error.strerror or str(error)).lower()


class NotApplicable(Exception):
    """An input of a rule or fact is absent; the message is the reason shown for the skip."""
