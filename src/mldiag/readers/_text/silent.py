"""Lines of a long log that say nothing (`saving to out`, dated or not): passed over without a look at each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mldiag.readers._text.layouts import FEWEST, MOST, Layout, Lengths
from mldiag.readers._text.templates import Learner

if TYPE_CHECKING:
    from mldiag.readers._tables.fast_numbers import Ints
    from mldiag.readers._text.scanner import Lines

MOST_TEXTS = 10_000
"""Texts without numbers that are kept."""


class Silent:
    """What the learner is known to pass over."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._texts: set[bytes] = set()
        self._layouts: list[Layout] = []

    def without(self, lines: Lines, left: Ints) -> Ints:
        """Some lines without those that differ from such a line only in the digits of its numbers."""
        if not self._layouts or len(left) < FEWEST:
            return left
        lengths = Lengths(lines, left)
        free = np.zeros(len(lines), bool)
        free[left] = True
        for layout in self._layouts:
            rows = lengths.rows(layout.length)
            if len(rows):
                good, _ = layout.read(lines, rows)
                free[lengths.take(layout.length, good)] = False
        return np.flatnonzero(free)

    def learn(self, texts: list[bytes], numbers: list[int]) -> None:
        """Gives lines to the learner, but for those without numbers that say nothing."""
        silent = self._texts
        new = [i for i, text in enumerate(texts) if text not in silent]
        if not new:
            return
        if len(new) < len(texts):
            texts, numbers = [texts[i] for i in new], [numbers[i] for i in new]
        known = self._learner.plain
        self._learner.take(b"\n".join(texts), numbers)
        if self._learner.plain > known and len(silent) < MOST_TEXTS:
            silent.update(text for text in set(texts) if self._learner.passes_over(text))
        if len(texts) >= FEWEST and len(self._layouts) < MOST:
            self._add_layouts(texts)

    def _add_layouts(self, texts: list[bytes]) -> None:
        lengths = list(map(len, texts))
        for length in set(lengths):
            if lengths.count(length) >= FEWEST:
                text = texts[lengths.index(length)]
                digits = self._learner.open_digits(text)
                if digits:
                    self._layouts.append(Layout(text, [(at, at + 1) for at in digits], {}, ()))
