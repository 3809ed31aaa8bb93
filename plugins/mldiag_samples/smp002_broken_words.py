"""SMP002 broken-words."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence, Set

from mldiag.api import Evidence, Finding, NotApplicable, Sample, Samples, TrainingTexts, lazily, rule
from mldiag_samples.language import Reading, fold, function_share, languages, letter_runs, likeliest, read, tables
from mldiag_samples.outputs import spread

_MOST = 20_000
"""Characters of a sample that are judged: some 3,000 words, more than any share below needs."""

_TOTAL = 1_000_000
"""Characters judged of all samples together; of more, samples spread evenly."""

_SEARCHED = 8_000_000
"""Characters of training text in which words are looked up, only where a finding hangs on it."""

_LISTED = 3.0
"""Zipf frequency (log10 of occurrences in 10^9 words) from which on a listed word is no slip: one in a million."""

_FLUENT = 0.27
"""99.9 % of 21,000 real passages of 60 words held at least this share of function words; the median is 0.47."""

_FOREIGN_SHARE, _FOREIGN_LEAD = 0.12, 0.03
"""A text is another language's if so many of its words are that one's function words and more than of a known one's."""

_OTHER_SCRIPT, _BEYOND_LATIN = 0.2, "ɐ"
"""A text with more letters than this share behind the Latin blocks of Unicode is in another script."""

_PROMPT_SHARE, _PROMPT_WORDS = 0.2, 3
"""Prompts are prose in a known language if so many of so many words are its function words."""

_SOME = 0.05
"""Without prompts in the same language, a text with fewer function words than this may be in any language."""

_ACCENTED = frozenset("áàâãçéêíóôõúü")
_FOREIGN_LETTERS = 0.01
"""Portuguese and English text has no other accented letters but in names; above this share it is another language."""

_CODE = lazily(r"[{}()\[\];=<>_\\/*#&|+:\"'`@$%^~]")
_GLUED = lazily(r"[^\W\d_][^\w\s'’.\-–/]+[^\W\d_]|\d[^\W\d_]|[^\W\d_]\d|[a-zß-ÿ][A-ZÀ-Þ]")


@rule("SMP002", severity="error")
def broken_words(
    samples: Samples,
    texts: TrainingTexts | None = None,
    *,
    max_broken: float = 0.2,
    max_broken_in_code: float = 0.35,
    code_symbols: float = 0.05,
    min_words: int = 12,
    max_bits: float = 4.0,
    max_bits_unprompted: float = 3.8,
) -> Iterator[Finding]:
    """The model wrote words that no language could have.

    ## What it checks
    The share of words that hold a group of four letters which neither Portuguese nor English words have
    ("parlamvidas"). The whole of the samples is judged, and their later half too, so that early ones do not count. Only
    lower-case words of three letters or more are judged; words of the prompts and of the training text beside the run
    are known, and where the library wordfreq is installed the words that it lists; accents do not matter. Text in
    another language, in another script, or that is no prose at all is skipped with the reason.

    ## Why it matters
    A loss can fall while the model learns which pieces are frequent and not which follow which: the metrics look better
    than those of a fluent model and the text is useless. A wrong position table, a wrong tokenizer or sampling far too
    hot end like this.

    ## Inputs
    Generated samples, with their prompts and the training text where there are any.

    ## Options
    - `max_broken` (share, 0.2): the lower end of the 95 % interval (Wilson 1927) of the broken share must exceed this,
      and twice the lower end of the prompts' own.
    - `max_broken_in_code` (share, 0.35): the same where the text looks like source code, full of abbreviations.
    - `code_symbols` (share of the visible characters, 0.05): brackets, operators and quotes above which it does.
    - `min_words` (words, 12): fewer judged words prove nothing.
    - `max_bits` (bits a letter, 4.0): letters less like a known language's than this are taken for an unknown language,
      unless the prompts are prose in that language and the output has as many of its function words as fluent text, or
      mostly mixes letters with digits and symbols.
    - `max_bits_unprompted` (bits a letter, 3.8): the same without prompts in a known language.

    ## When to ignore
    Text in a language close to Portuguese or English that mldiag does not recognise; text full of terms of a trade;
    output that is not meant to be words (identifiers, molecules, proteins).

    ## Source
    Letter groups of 3.0 million words of Portuguese and 1.6 million of English. Measured on groups of three samples of
    60 words with their prompts: no alarm in 13,801 groups of real Portuguese and English (news, novels, verse, court
    decisions, help, dialogues), 2 in 14,828 of source code, 13 in 12,354 of message lists in 27 other languages, most
    of them after prompts in English. Found, before prompts came to settle the language: 122 of 125 groups by a model of
    letter pairs, all 132 of words glued from two words, 100 of 132 of words glued from pieces (the others are skipped),
    13 of 125 by a model of letter triples: what keeps to the language's letter groups passes. Of real 60-word passages,
    99.9 % had at most 16 % broken words.
    """
    chosen = spread(samples.items, _TOTAL)
    outputs = [s.output[:_MOST] for s in chosen]
    prompted = read(" ".join(dict.fromkeys(s.prompt for s in chosen if s.prompt)))
    known = frozenset(map(fold, prompted.judged))
    readings = [read(t, known) for t in outputs]
    whole, later = _pooled(readings), _pooled(readings[len(readings) // 2 :])
    letters = _can_be_judged(outputs, whole, min_words)
    limit = max(max_broken_in_code if _share_of_symbols(outputs) > code_symbols else max_broken, 2 * prompted.lowest)
    if whole.lowest <= limit or later.lowest <= limit:
        return
    if attested := _attested(set(whole.broken), texts):
        readings = [read(t, known | attested) for t in outputs]
        whole, later = _pooled(readings), _pooled(readings[len(readings) // 2 :])
        if whole.lowest <= limit or later.lowest <= limit:
            return
    home, share = _meant(outputs, letters, whole, prompted, max_bits, max_bits_unprompted)
    worst = max(range(len(readings)), key=lambda i: (readings[i].lowest, -i))
    broken = [r for r in readings if r.share > limit]
    examples = _examples(readings[worst])
    yield Finding(
        f"{len(whole.broken):,} of {len(whole.judged):,} words in {len(chosen):,} samples "
        f"({100 * whole.share:.0f} %) could not be words of {home}, such as {examples}; "
        f"{100 * share:.0f} % were function words (fluent text: {100 * _FLUENT:.0f} % or more)",
        at=chosen[worst].source,
        evidence=(
            Evidence("broken words", len(whole.broken), at=chosen[0].source, unit="word"),
            Evidence("words judged", len(whole.judged), min_words, chosen[0].source, "word"),
            Evidence("share of broken words", whole.share),
            Evidence("lower end of its 95 % interval", whole.lowest, limit),
            Evidence("share of function words", share, _FLUENT),
            Evidence("samples beyond the limit", len(broken), unit="sample"),
            Evidence("samples", len(chosen), unit="sample"),
            *_about_prompts(chosen, prompted),
            Evidence("examples in the worst sample", examples, at=chosen[worst].source),
        ),
        advice="compare what is fed when generating with what was trained on: positions, tokenizer, temperature; "
        "then train on more text or for longer",
    )


def _attested(words: Set[str], texts: TrainingTexts | None) -> frozenset[str]:
    """Those of some words, folded, that stand in the training text, or in wordfreq where it is installed."""
    import importlib

    folded = {fold(w) for w in words}
    found: set[str] = set()
    left = _SEARCHED
    for text in texts or ():
        for _, piece in text.pieces():
            if left > 0:
                found |= folded & {fold(run) for run in set(letter_runs(piece))}
            left -= len(piece)
    try:
        zipf = importlib.import_module("wordfreq").zipf_frequency
    except ImportError:
        return frozenset(found)
    return frozenset(found | {fold(w) for w in words if any(zipf(w, code) >= _LISTED for code in tables())})


def _pooled(readings: Sequence[Reading]) -> Reading:
    return Reading(
        [w for r in readings for w in r.words],
        [w for r in readings for w in r.judged],
        [w for r in readings for w in r.broken],
    )


def _can_be_judged(texts: Sequence[str], whole: Reading, min_words: int) -> Counter[str]:
    """The letters of the texts, lower case.

    Raises:
        NotApplicable: too little text, or text of a script or language without a table.
    """
    letters = Counter(c for t in texts for c in unicodedata.normalize("NFC", t).lower() if c.isalpha())
    if sum(n for c, n in letters.items() if c >= _BEYOND_LATIN) > _OTHER_SCRIPT * letters.total():
        raise NotApplicable("the samples are in a script other than Latin")
    if len(whole.judged) < min_words:
        raise NotApplicable(f"the samples hold {len(whole.judged)} lower-case words; at least {min_words} are needed")
    own = tables().keys()
    _, share = likeliest(whole.words, own)
    foreign, foreign_share = likeliest(whole.words, languages().keys() - own)
    if foreign_share >= max(_FOREIGN_SHARE, share + _FOREIGN_LEAD):
        raise NotApplicable(
            f"the samples have the function words of {foreign.name} ({100 * foreign_share:.0f} %), "
            "for which there is no table of letters"
        )
    return letters


def _meant(
    texts: Sequence[str], letters: Counter[str], whole: Reading, prompted: Reading, max_bits: float, unprompted: float
) -> tuple[str, float]:
    """The known language that broken text tries to be, and its share of function words.

    Raises:
        NotApplicable: it may as well be whole text of a language without a table.
    """
    asked, asked_share = likeliest(prompted.words, tables().keys(), shortest=1)
    natural = asked_share >= _PROMPT_SHARE and len(prompted.words) >= _PROMPT_WORDS
    if natural and _glued(texts):
        return asked.name, function_share(whole.words, asked)
    folded = [fold(w) for w in whole.judged]
    surprise = {code: table.bits_per_letter(folded) for code, table in tables().items()}
    nearest = min(surprise, key=lambda code: surprise[code])
    home, share = likeliest(whole.words, tables().keys())
    as_asked = natural and asked.code == nearest
    if as_asked or share < _SOME:
        home = languages()[nearest]
        share = function_share(whole.words, home)
    outside = sum(n for c, n in letters.items() if not c.isascii() and c not in _ACCENTED) / letters.total()
    strange = surprise[nearest] > (max_bits if as_asked else unprompted) and not (as_asked and share >= _FLUENT)
    unlike = strange or outside > _FOREIGN_LETTERS
    if unlike or (not as_asked and share < _SOME):
        raise NotApplicable(
            f"the samples are not like a known language ({surprise[nearest]:.1f} bits a letter, "
            f"{100 * share:.0f} % function words of {home.name}, {100 * outside:.1f} % letters foreign to it)"
        )
    return home.name, share


def _glued(texts: Sequence[str]) -> bool:
    """Most of the text mixes letters with digits, symbols or capitals without a blank, as random characters do."""
    pieces = [p for t in texts for p in t.split()]
    return sum(len(p) for p in pieces if _GLUED.search(p)) > sum(map(len, pieces)) / 2


def _share_of_symbols(texts: Sequence[str]) -> float:
    visible = sum(not c.isspace() for t in texts for c in t)
    return sum(len(_CODE.findall(t)) for t in texts) / visible if visible else 0.0


def _examples(reading: Reading) -> str:
    words = list(dict.fromkeys(reading.broken))
    # Words that a person sees to be broken: long, but not so long that they fill the line.
    words.sort(key=lambda w: (len(w) > 20, len(w) < 8))
    return ", ".join(f'"{w[:20]}"' for w in words[:3])


def _about_prompts(items: Sequence[Sample], prompted: Reading) -> Iterator[Evidence]:
    if prompted.judged:
        place = next(s.source for s in items if s.prompt)
        yield Evidence("share of broken words in the prompts", prompted.share, at=place)
