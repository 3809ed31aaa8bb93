"""Texts that a program generated while it trained and printed into its log, a line each."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Sample
from mldiag.files import Block, File
from mldiag.patterns import lazily

_NEEDLES = (b"ample", b"enerat", b"mostra", b"erado")
"""What every line that is meant holds, to be looked for first: `sample 0:`, `Generated:`, `amostra 1:`."""

_LABEL = 24
"""Bytes from there within which the label ends."""

_LINE = lazily(
    rb"(?i)(?:[^:]{0,60}?[\s|\]:>-])?(?:samples?|sample(?:d)? text|generated(?: text| sample| output)?|generation|"
    rb"amostra|texto gerado|gerado)[ \t]*#?\d{0,4}[ \t]*[:>][ \t]*(?P<text>\S.*)"
)
_WORDS = lazily(rb"[^\W\d_]{2,}|[\x80-\xff]{3,}")
_NO_TEXT = lazily(
    rb"(?i)\b(?:loss|lr|acc(?:uracy)?|epoch|step|it/s|s/it|time|seconds|shape|tokens?)\b\s*[:=]|[\\/]\S+\.\w+$"
)
_FEWEST = 4
"""Words of a text; a count or the path of a file that was generated has fewer."""
_APART = 40
"""Lines between two texts of one evaluation; those of the one before are further away."""
_MOST = 1_000
"""Texts that are kept."""
_IN_VAIN = 2_000
"""Lines with a needle and no text, without one of a text before: the log counts samples, and writes none."""


class Generations:
    """Takes a log block by block; keeps the texts of the last time that any were printed."""

    def __init__(self) -> None:
        self._found: list[tuple[int, bytes]] = []
        self._in_vain = 0

    def read(self, block: Block) -> None:
        """Takes the next lines."""
        data = block.data
        counted, line = 0, block.line
        for begin, end in self._lines(data):
            text = self._text(data[begin:end])
            if not text:
                self._in_vain += not self._found
                continue
            line += data.count(b"\n", counted, begin)
            counted = begin
            if self._found and line - self._found[-1][0] > _APART:
                self._found.clear()
            if len(self._found) < _MOST:
                self._found.append((line, text))

    def _lines(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where the lines with a needle and the end of a label behind it are."""
        places = {needle: data.find(needle) for needle in _NEEDLES}
        while self._in_vain < _IN_VAIN:
            at, needle = min(((at, n) for n, at in places.items() if at >= 0), default=(-1, b""))
            if at < 0:
                return
            if b":" in (label := data[at : at + _LABEL]) or b">" in label:
                begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
                end = len(data) if end < 0 else end
                yield begin, end
                for other, place in places.items():
                    if 0 <= place < end:
                        places[other] = data.find(other, end)
            else:
                self._in_vain += not self._found
                places[needle] = data.find(needle, at + 1)

    @staticmethod
    def _text(line: bytes) -> bytes:
        """The text that a line gives; empty where it gives none."""
        found = _LINE.match(line)
        text = found["text"].strip() if found else b""
        return text if len(_WORDS.findall(text)) >= _FEWEST and not _NO_TEXT.search(text) else b""

    def finish(self, file: File) -> Iterator[Sample]:
        """The texts, in the order of their lines."""
        for line, text in self._found:
            yield Sample(text.decode("utf-8", "replace"), file.at(line))
