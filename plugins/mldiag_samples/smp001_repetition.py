"""SMP001 repetition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from mldiag.api import Evidence, Finding, NotApplicable, Sample, Samples, Severity, lazily, rule
from mldiag_samples.language import letter_runs, lower_bound
from mldiag_samples.loops import Loop, covered, loops
from mldiag_samples.outputs import spread, without_padding

_MOST = 200_000
"""Characters judged of a sample, its last ones: a loop that has begun does not end."""

_TOTAL = 2_000_000
"""Characters judged of all samples together; of more, samples spread evenly."""

_CHARACTERS, _WORDS = 24, 6
"""Windows compared at once: longer than what ordinary text repeats by chance within a loop's period."""

_WORD_LOOP = 20
"""Words below which a loop is a figure of speech."""

_WORD = lazily(r"\w+|[^\w\s]")
_PLURAL = {"character": "characters", "word or sign": "words and signs"}
_DOUBLED = lazily(r"(?=([^\W\d_]{2,}?)\1)")
_LONGEST_WORD = 40
"""Letters of a word that are looked at: text without blanks is one word of any length."""

_FRAGMENT_WORDS = 100
"""Different words below which repeated fragments are chance."""


class _Judged(Struct, frozen=True):
    sample: Sample
    text: str
    loop: Loop | None
    unit: str
    coverage: float
    limit: float

    @property
    def over(self) -> bool:
        return self.loop is not None and self.coverage >= self.limit


@rule("SMP001", severity="error")
def repetition(
    samples: Samples,
    *,
    max_coverage: float = 0.5,
    max_blank_coverage: float = 0.7,
    min_repeats: int = 3,
    min_characters: int = 60,
    warn_share: float = 0.1,
    error_share: float = 0.5,
    max_doubled: float = 0.06,
) -> Iterator[Finding]:
    """Samples ran into a loop, or their words repeat a fragment within themselves.

    ## What it checks
    For each sample the stretches that repeat with a constant period, by character and by word, and the share of the
    sample that they cover. Period and coverage decide, never a rate of repetition: lists, verse and templated code
    repeat much and loop little. Apart from that, the share of different words that say one fragment twice in a row
    ("negóciosódód"). Padding and end tokens at the end of a sample do not count.

    ## Why it matters
    A loop is the most frequent way in which a model that is trained too little, on too much of the same, or decoded
    greedily fails. Loss and accuracy do not show it.

    ## Inputs
    Generated samples of at least `min_characters` characters.

    ## Options
    - `max_coverage` (share of a sample, 0.5): loops that hold letters must cover less.
    - `max_blank_coverage` (share, 0.7): loops of blanks, digits and signs must cover less: tables and rulers are drawn
      with them.
    - `min_repeats` (count, 3): times the period must fit into a loop.
    - `min_characters` (characters, 60): shorter samples and shorter loops are not judged.
    - `warn_share`, `error_share` (share of the samples, 0.1 and 0.5): looping samples from which on it is a warning, an
      error.
    - `max_doubled` (share, 0.06): the lower end of the 95 % interval of the share of words that double a fragment must
      stay below; beyond it is a warning.

    ## When to ignore
    Songs, chants and refrains; tables of numbers; languages that double syllables to inflect (Tagalog, Turkish).

    ## Source
    Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration" (loops); Li et al. 2016, "A Diversity-Promoting
    Objective Function for Neural Conversation Models" (distinct-n, in the evidence).
    Measured on groups of three passages of 60 words: no alarm in 13,801 groups of Portuguese and English prose, verse
    and dialogue; 14 in 14,828 of source code (0.1 %), 32 in 12,354 of message lists in 27 other languages (0.3 %).
    The doubled share of 22,638 real passages of 300 words was at most 0.041 (its lower end).
    """
    judged = [
        j
        for s in spread(samples.items, _TOTAL)
        if (j := _judge(s, max_coverage, max_blank_coverage, min_repeats, min_characters))
    ]
    if not judged:
        raise NotApplicable(f"no sample has {min_characters} characters besides padding and end tokens")
    yield from _loops(judged, warn_share, error_share)
    yield from _fragments(judged, max_doubled)


def _judge(sample: Sample, most: float, most_blank: float, repeats: int, least: int) -> _Judged | None:
    text = without_padding(sample.output[-_MOST:])
    if len(text) < least:
        return None
    words = tuple(_WORD.findall(text.casefold()))
    by_character = loops(text, _CHARACTERS, repeats=repeats, least=least)
    spoken = [lo for lo in by_character if any(c.isalpha() for c in text[lo.start : lo.start + lo.period])]
    by_word = loops(words, _WORDS, repeats=repeats, least=_WORD_LOOP)
    by_word = [lo for lo in by_word if any(w[0].isalpha() for w in words[lo.start : lo.start + lo.period])]
    choices = (
        (covered(by_character) / len(text), most_blank, by_character, "character"),
        (covered(spoken) / len(text), most, spoken, "character"),
        (covered(by_word) / len(words) if words else 0.0, most, by_word, "word or sign"),
    )
    coverage, limit, found, unit = max(choices, key=lambda c: (c[0] - c[1], c[0]))
    longest = max(found, key=lambda lo: lo.length, default=None)
    return _Judged(sample, text, longest, unit, coverage, limit)


def _loops(judged: Sequence[_Judged], warn: float, error: float) -> Iterator[Finding]:
    over = [j for j in judged if j.over]
    share = len(over) / len(judged)
    if not over or share < warn:
        return
    worst = max(over, key=lambda j: j.coverage)
    assert worst.loop is not None
    total = len(_items(worst))
    yield Finding(
        f"{len(over):,} of {len(judged):,} samples ran into a loop; the worst repeated {_said(worst)} "
        f"{worst.loop.repeats:,.0f} times, and loops covered {100 * worst.coverage:.0f} % of its "
        f"{total:,} {_PLURAL[worst.unit]}",
        at=worst.sample.source,
        evidence=(
            Evidence("looping samples", len(over), unit="sample"),
            Evidence("samples judged", len(judged), unit="sample"),
            Evidence("share of looping samples", share, warn),
            Evidence("covered by loops", worst.coverage, worst.limit, worst.sample.source),
            Evidence("period", worst.loop.period, at=worst.sample.source, unit=worst.unit),
            Evidence("repeats", worst.loop.repeats, at=worst.sample.source),
            Evidence("length", total, at=worst.sample.source, unit=worst.unit),
            *_variety(worst),
        ),
        severity=Severity.ERROR if share >= error else Severity.WARNING,
        advice="sample with a temperature or a top-p instead of the likeliest token; if it still loops, the model has "
        "learnt too little: see what else is found in this run",
    )


def _items(worst: _Judged) -> Sequence[str]:
    return worst.text if worst.unit == "character" else _WORD.findall(worst.text)


def _said(worst: _Judged) -> str:
    assert worst.loop is not None
    lo = worst.loop
    period = _items(worst)[lo.start : lo.start + lo.period]
    text = period if isinstance(period, str) else " ".join(period)
    import json

    return json.dumps(text if len(text) <= 40 else text[:39] + "…", ensure_ascii=False)


def _variety(worst: _Judged) -> Iterator[Evidence]:
    """How little the worst sample says, in the two usual measures."""
    import zlib

    words = worst.text.casefold().split()
    if len(words) > 1:
        distinct = len(set(pairwise(words))) / (len(words) - 1)
        yield Evidence("distinct-2", distinct, at=worst.sample.source)
    raw = worst.text.encode("utf-8", "replace")
    yield Evidence("compressed / plain size", len(zlib.compress(raw)) / len(raw), at=worst.sample.source)


def _fragments(judged: Sequence[_Judged], most: float) -> Iterator[Finding]:
    """Words that say a fragment twice in a row: pieces of a vocabulary that are drawn again and again."""
    places: dict[str, _Judged] = {}
    for item in judged:
        for word in letter_runs(item.text):
            if len(word) > 3:
                places.setdefault(word[:_LONGEST_WORD].casefold(), item)
    doubled = {w: found for w in places if (found := _doubling(w))}
    if len(places) < _FRAGMENT_WORDS:
        return
    lowest = lower_bound(len(doubled), len(places))
    if lowest <= most:
        return
    fragments = [(f, n) for f, n in Counter(doubled.values()).most_common(3) if n > 1]
    per_sample = Counter(id(places[w]) for w in doubled)
    worst = max(judged, key=lambda j: per_sample[id(j)])
    named = ", ".join(f'"{f}" in {n}' for f, n in fragments)
    yield Finding(
        f"{len(doubled):,} of {len(places):,} different words repeated a fragment within themselves"
        + (f": {named}" if named else ""),
        at=worst.sample.source,
        evidence=(
            Evidence("words that double a fragment", len(doubled), unit="word"),
            Evidence("different words", len(places), _FRAGMENT_WORDS, unit="word"),
            Evidence("lower end of the 95 % interval of their share", lowest, most),
            *(Evidence(f'words that double "{f}"', n, unit="word") for f, n in fragments),
            Evidence("of them in the worst sample", per_sample[id(worst)], at=worst.sample.source, unit="word"),
        ),
        severity=Severity.WARNING,
        advice="the model has learnt which pieces are frequent and not which follow which; see what else is found",
    )


def _doubling(word: str) -> str | None:
    """The fragment that a word says twice in a row; a run of one letter (`xxxx`) is none."""
    return next((f for f in _DOUBLED.findall(word) if len(set(f)) > 1), None)
