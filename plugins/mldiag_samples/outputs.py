"""What of the outputs is judged: which of many, and without the tokens that steer a model and are no text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mldiag.api import Sample, lazily

SPECIAL = lazily(
    r"<\|[^<>\s]{1,30}\|>|</?s>|<(?:pad|eos|bos|unk|end|eot|unused)\w*>|\[(?:PAD|EOS|BOS|SEP|CLS|UNK|END|MASK)\]|\x00",
    re.IGNORECASE,
)
_SIGNS = "<[\x00"
_LONGEST = 32
"""Characters of a special token."""


def spread(items: Sequence[Sample], most: int) -> list[Sample]:
    """As many samples as hold `most` characters, evenly spread over all of them: ten thousand prove no more."""
    step = max(1.0, sum(len(s.output) for s in items) / most)
    return [items[int(n * step)] for n in range(int(len(items) / step))] or list(items[:1])


def without_padding(text: str) -> str:
    """Without the end and padding tokens at the end, and the blanks around them."""
    kept = end = len(text)
    while end:
        while end and text[end - 1].isspace():
            end -= 1
        start = max(text.rfind(sign, max(0, end - _LONGEST), end) for sign in _SIGNS)
        if start < 0 or not SPECIAL.fullmatch(text, start, end):
            break
        kept = end = start
    return text[:kept]


def says_nothing(text: str) -> bool:
    """Nothing but special tokens and blanks."""
    begun = text.lstrip()
    return not begun or (begun[0] in _SIGNS and not SPECIAL.sub("", begun).strip())
