"""What a run printed, as W&B keeps it in its binary file: looked through for failures, not for rows."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from mldiag.failures import LoggedFailure
from mldiag.files import Block
from mldiag.readers._protobuf import LEN, fields
from mldiag.readers._text.failures import Failures

_LINE = 3
_HELD = 2**16
"""Bytes of text that are handed on together."""


class Console:
    """Takes the records of the output one by one: pieces of text that are no lines.

    Releases write the same text as `output` or as `output_raw`; the kind that comes first is taken.
    """

    def __init__(self, path: str) -> None:
        self._failures = Failures(path)
        self._kind = 0
        self._held: list[bytes] = []
        self._size = self._ends = self._row = 0
        self._line = 1

    def add(self, kind: int, body: bytes) -> None:
        """Takes a record.

        Raises:
            Malformed: bytes that are no such message.
        """
        self._kind = self._kind or kind
        if kind != self._kind:
            return
        for found in fields(body):
            if found.number == _LINE and found.wire == LEN and isinstance(found.value, bytes):
                self._held.append(found.value)
                self._size += len(found.value)
                self._ends += found.value.count(b"\n")
        if self._size > _HELD:
            self._hand_on()

    def pass_row(self) -> None:
        """A row of the history was logged: what was printed before did not end the run."""
        self._row = self._ends

    def finish(self) -> Iterator[LoggedFailure]:
        """The failures. Their places have no line, since the file has none."""
        self._hand_on(last=True)
        for failure in self._failures.finish(self._row):
            yield replace(failure, source=replace(failure.source, line=None, key="console output"))

    def _hand_on(self, *, last: bool = False) -> None:
        text = b"".join(self._held)
        # A bar is one line that is drawn again and again: only its last state is on the screen.
        cut = len(text) if last else text.rfind(b"\n") + 1
        rest = text[cut:]
        rest = rest[rest.rfind(b"\r", 0, -1) + 1 :] if len(rest) > _HELD else rest
        if cut:
            ends = text.count(b"\n", 0, cut)
            self._failures.read(Block(text[:cut], self._line, ends))
            self._line += ends
        self._held, self._size = [rest], len(rest)
