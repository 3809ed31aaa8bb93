"""SMP006 verbatim-copy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from mldiag.api import (
    Evidence,
    Finding,
    NotApplicable,
    Samples,
    TrainingText,
    TrainingTexts,
    lazily,
    rule,
)
from mldiag_samples.outputs import spread

_WINDOW, _STRIDE = 40, 64
"""Characters that are looked up, and from one look-up to the next: a copy of some 110 characters holds one."""

_JUDGED = 2_000_000
"""Characters of all samples together that are looked for; of more, samples spread evenly."""

_LONG_WORD = 24
"""Characters without a blank from which on text is taken to have none, as Chinese and Japanese."""

_KEPT = 4_000
"""Characters at the end of a piece of training text that are searched again with the next, and of a prompt."""

_REACH = 4_000
"""Characters to both sides of a hit that are compared."""

_WORDS = lazily(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]+|\d+")
_LEGAL = lazily(
    r"licen[cs]|copyright|all rights reserved|warrant|without limitation|permission is hereby|direitos reservados"
)
_TOLD = 8
"""Words by which the place of a copy is found again."""

_VARIED = 0.4
"""Different words / words, below which a stretch is a list, a refrain or a loop."""

_NUMBERS = 0.2
"""Numbers / words, above which a stretch is a table of contents or of figures."""

_LETTERS = 0.6
"""Share of letters, below which a stretch is a table or a drawing."""


class _Copy(Struct):
    """Characters `[start, end)` of the `sample`th text, as they are compared, stand in a training text.

    Attributes:
        line: where the piece of the text begins in which they were found first.
        hits: how many look-ups fell into them, wherever they stand.
    """

    sample: int
    start: int
    end: int
    text: TrainingText
    line: int
    hits: int = 0

    @property
    def occurrences(self) -> float:
        """About how often the training text holds them."""
        return self.hits * _STRIDE / (self.end - self.start)


@rule("SMP006", severity="warning")
def verbatim_copy(
    samples: Samples,
    texts: TrainingTexts,
    *,
    min_words: int = 50,
    max_share: float = 0.05,
    min_words_alone: int = 100,
    max_occurrences: float = 5.0,
    min_training_characters: int = 20_000,
    max_training_characters: int = 64_000_000,
) -> Iterator[Finding]:
    """Samples held long passages of the training text, word for word.

    ## What it checks
    The stretches of the samples that stand in a training text of the run in the same words, whatever the case, blanks
    and line ends, for at least `min_words` words, and the share of all samples that they cover. What the prompts hold
    does not count, nor do licences, lists, refrains, tables and what the training text itself says again and again.
    Memory stays bounded: the samples are indexed, and the training text goes by in pieces.

    ## Why it matters
    A model that repeats its training text has learnt it by heart: it tells little of what it can do with other text,
    and it may give away what nobody wanted published. Samples that are judged for their fluency seem better than they
    are.

    ## Inputs
    Generated samples and training text among the run's files (`input.txt`, `train.txt`, `corpus.txt`, `train.jsonl`).

    ## Options
    - `min_words` (words, 50; a Chinese, Japanese or Korean character is one): shorter copies are idioms and quotations.
    - `max_share` (share of the samples' characters, 0.05): copies must cover more.
    - `min_words_alone` (words, 100): the same as `min_words` where only one sample holds a copy.
    - `max_occurrences` (times, 5): what the training text holds more often is a form or a notice.
    - `min_training_characters` (characters, 20,000): a shorter text is a list of prompts and no training text.
    - `max_training_characters` (characters, 64 million): of longer texts the beginning is searched.

    ## When to ignore
    Models that are meant to quote (retrieval, sacred or legal texts); prompts taken out of the training text and texts
    that have no other continuation (poems, forms).

    ## Source
    Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better": 50 tokens in common are a copy, and
    more than 1 % of what models write unprompted is one if the training text held duplicates. Carlini et al. 2021,
    "Extracting Training Data from Large Language Models". Words are longer than tokens, so that this is the stricter.
    Measured: real documents (news, novels, help, handbooks) repeat passages of other documents of their kind, forms and
    quotations, in up to 4 % of their characters, so that the 1 % of Lee et al. raised alarms; 5 % raised none in 528
    groups of 3 to 32 samples, held against other documents of their kind. All 112 groups of samples taken out of the
    training text were found.
    """
    long = [t for t in texts if t.source.path and t.size >= min_training_characters]
    if not long:
        raise NotApplicable(f"no training text has {min_training_characters:,} bytes")
    judged = spread(samples.items, _JUDGED)
    plain = [_plain(s.output) for s in judged]
    known = {w for p in {s.prompt for s in judged if s.prompt} for w in _windows(_plain(p[-_KEPT:]))}
    index: dict[str, list[tuple[int, int]]] = {}
    for number, text in enumerate(plain):
        for at, window in _placed_windows(text):
            if window not in known:
                index.setdefault(window, []).append((number, at))
    if not index:
        raise NotApplicable(f"no sample is longer than {_WINDOW} characters")
    found = [
        c
        for c in _copies(plain, index, long, max_training_characters)
        if c.occurrences <= max_occurrences and _counts(plain[c.sample][c.start : c.end], min_words)
    ]
    covered, length = _covered(found), sum(map(len, plain))
    touched = len({c.sample for c in found})
    if touched == 1:  # one person's words that another text quotes as well
        found = [c for c in found if len(_WORDS.findall(plain[c.sample][c.start : c.end])) >= min_words_alone]
    if not found or covered <= max_share * length:
        return
    worst = max(found, key=lambda c: c.end - c.start)
    passage = plain[worst.sample][worst.start : worst.end]
    words = len(_WORDS.findall(passage))
    place = worst.text.file.at(_line_of(worst, passage))
    yield Finding(
        f"{touched:,} of {len(judged):,} samples copied {min_words} words or more of the training text; the longest "
        f"copy has {words:,} words ({_quoted(passage)}), and copies cover {100 * covered / length:.0f} % of all",
        at=judged[worst.sample].source,
        evidence=(
            Evidence("samples with copies", touched, at=judged[worst.sample].source, unit="sample"),
            Evidence("samples judged", len(judged), unit="sample"),
            Evidence("words of the longest copy", words, min_words if touched > 1 else min_words_alone, place, "word"),
            Evidence("share of the samples that is copied", covered / length, max_share),
            Evidence("training text", sum(t.size for t in long), at=long[0].source, unit="byte"),
        ),
        advice="train for less long or on more text, take duplicates out of the training text, and judge samples by "
        "prompts that are not in it",
    )


def _line_of(copy: _Copy, passage: str) -> int:
    """The line of the training text in which a copy begins, as far as its first words tell."""
    words = passage.split(" ")[1 : 1 + _TOLD]  # the first may be cut
    wanted = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE)
    for line, piece in copy.text.pieces():
        if line >= copy.line:
            found = None if copy.text.rows else wanted.search(piece)
            return line + piece.count("\n", 0, found.start()) if found else line
    return copy.line


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _starts(text: str) -> Iterator[int]:
    """Where a window may begin: at words, and anywhere within what has no blanks."""
    at, end = 0, len(text) - _WINDOW
    while at <= end:
        yield at
        blank = text.find(" ", at, at + _LONG_WORD)
        at = blank + 1 if blank >= 0 else at + 1


def _placed_windows(text: str) -> Iterator[tuple[int, str]]:
    for at in _starts(text):
        yield at, text[at : at + _WINDOW]


def _windows(text: str) -> Iterator[str]:
    return (window for _, window in _placed_windows(text))


def _copies(
    plain: Sequence[str], index: dict[str, list[tuple[int, int]]], texts: Sequence[TrainingText], most: int
) -> list[_Copy]:
    found: dict[int, list[_Copy]] = {}
    left = most
    for text in texts:
        held = ""
        for line, piece in text.pieces():
            if left <= 0:
                break
            left -= len(piece)
            searched = _plain(held + piece)
            for at in _anchors(searched):
                for number, start in index.get(searched[at : at + _WINDOW], ()):
                    here = next((c for c in found.get(number, ()) if c.start <= start < c.end), None)
                    if here is None:
                        here = _Copy(number, *_grown(plain[number], start, searched, at), text, line)
                        found.setdefault(number, []).append(here)
                    here.hits += 1
            # A copy over the border of two pieces is seen in parts by each; with this much of the one before, whole.
            held = piece[-_KEPT:]
    return [c for copies in found.values() for c in copies]


def _anchors(text: str) -> Iterator[int]:
    for at in range(0, len(text) - _WINDOW + 1, _STRIDE):
        blank = text.find(" ", at, at + _LONG_WORD)
        yield blank + 1 if blank >= 0 else at


def _grown(sample: str, start: int, text: str, at: int) -> tuple[int, int]:
    end, there = start + _WINDOW, at + _WINDOW
    most = min(len(sample), end + _REACH, end + len(text) - there)
    while end < most and sample[end] == text[there]:
        end += 1
        there += 1
    least = max(0, start - _REACH, start - at)
    while start > least and sample[start - 1] == text[at - 1]:
        start -= 1
        at -= 1
    return start, end


def _counts(passage: str, least: int) -> bool:
    words = _WORDS.findall(passage)
    if len(words) < least or len(set(words)) < _VARIED * min(len(words), 2 * least):
        return False
    if sum(map(str.isdigit, words)) > _NUMBERS * len(words):
        return False
    visible = passage.replace(" ", "")
    return sum(map(str.isalpha, visible)) >= _LETTERS * len(visible) and not _LEGAL.search(passage)


def _covered(found: Sequence[_Copy]) -> int:
    total = reached = 0
    sample = -1
    for copy in sorted(found, key=lambda c: (c.sample, c.start)):
        if copy.sample != sample:
            sample, reached = copy.sample, 0
        total += max(0, copy.end - max(copy.start, reached))
        reached = max(reached, copy.end)
    return total


def _quoted(passage: str) -> str:
    return json.dumps(passage if len(passage) <= 60 else passage[:59] + "…", ensure_ascii=False)
