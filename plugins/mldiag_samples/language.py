"""A light check whether text is made of words: function words, and which letters follow which in a language.

No dictionary: a language's table says which groups of four letters occur in its words, so a name or an inflection that
was never seen passes while a word glued from pieces of others does not. Accents are folded away (`ação` = `acao`): text
that was normalised without accents is no less fluent. The data under `languages/` are read when the first sample is
judged; benchmarks/build_language_table.py derives a table from text.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from msgspec import Struct

from mldiag.api import lazily

_DATA = Path(__file__).with_name("languages")

ALPHABET = "^abcdefghijklmnopqrstuvwxyz"
"""`^` stands for the start and the end of a word. 27 symbols, numbered in this order."""

_SYMBOL = {letter: number for number, letter in enumerate(ALPHABET)}
_ROW_BYTES = 4  # one bit for each of 27 letters that may follow three others
GROUPS_SIZE = len(ALPHABET) ** 3 * _ROW_BYTES
NEVER = 255
"""A pair of letters that the table's text never has, in sixteenths of a bit: about 16 bits."""

_LETTERS = lazily(r"[^\W\d_]+")
_NO_ASCII = lazily(r"[^a-z]")
_UNFOLDED = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "ı": "i"})


class Language(Struct, frozen=True):
    """A language by its closed-class words, folded."""

    code: str
    name: str
    function_words: frozenset[str]


class Table(Struct, frozen=True):
    """Which letters follow which in the words of one language.

    Attributes:
        groups: for each three symbols a little-endian 32-bit row whose bit `n` is set where symbol `n` may follow.
        pairs: for each two symbols `-log2 p(second | first)` in sixteenths of a bit, 255 for never.
    """

    groups: bytes
    pairs: bytes

    def knows(self, word: str) -> bool:
        """Every group of four letters of a folded word, its ends included, occurs in the language."""
        if len(word) < 2:
            return True
        if _NO_ASCII.search(word):
            return False
        size = len(ALPHABET)
        three = _SYMBOL[word[0]] * size + _SYMBOL[word[1]]
        for letter in word[2:] + "^":
            fourth = _SYMBOL[letter]
            if not self.groups[three * _ROW_BYTES + (fourth >> 3)] >> (fourth & 7) & 1:
                return False
            three = three % (size * size) * size + fourth
        return True

    def bits_per_letter(self, words: Iterable[str]) -> float:
        """How surprising the letters of folded words are, in bits a letter: about 3.4 in the language itself."""
        total = count = 0
        for word in words:
            previous = 0
            for number in (*(_SYMBOL.get(c, 0) for c in word), 0):
                total += self.pairs[previous * len(ALPHABET) + number]
                previous = number
                count += 1
        return total / 16 / count if count else 0.0


class Reading(Struct, frozen=True):
    """What a text's words say.

    Attributes:
        words: every run of letters, folded. `judged`: the lower-case ones of three letters or more: names and
            acronyms are nobody's error.
        broken: those of `judged`, as written, that no language with a table could have.
    """

    words: Sequence[str]
    judged: Sequence[str]
    broken: Sequence[str]

    @property
    def share(self) -> float:
        return len(self.broken) / len(self.judged) if self.judged else 0.0

    @property
    def lowest(self) -> float:
        """Lower end of the 95 % interval of the share."""
        return lower_bound(len(self.broken), len(self.judged))


def letter_runs(text: str) -> list[str]:
    """The runs of letters of a text, composed (NFC): `it's` gives two, `seq_len` gives two."""
    return _LETTERS.findall(unicodedata.normalize("NFC", text))


@lru_cache(maxsize=8192)
def fold(word: str) -> str:
    """Case and accents away."""
    plain = word.casefold()
    if plain.isascii():
        return plain
    parts = unicodedata.normalize("NFD", plain.translate(_UNFOLDED))
    return "".join(c for c in parts if not unicodedata.combining(c))


def read(text: str, known: Collection[str] = ()) -> Reading:
    """Judges the words of a text against every language that has a table; folded words in `known` are never broken."""
    runs = letter_runs(text)
    judged = [run for run in runs if len(run) > 2 and run.islower()]
    listed = tables().values()
    seen: dict[str, bool] = {}
    for run in judged:
        if run not in seen:
            word = fold(run)
            seen[run] = word not in known and not any(t.knows(word) for t in listed)
    return Reading([fold(r) for r in runs], judged, [r for r in judged if seen[r]])


def lower_bound(count: int, total: int) -> float:
    """Lower end of the 95 % score interval of a share (Wilson 1927): small samples prove less."""
    z, n = 1.96, total
    if not n:
        return 0.0
    p = count / n
    centre = p + z * z / (2 * n)
    return (centre - z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


def function_share(words: Sequence[str], language: Language, shortest: int = 2) -> float:
    """Share of function words of a language among folded words of `shortest` letters or more.

    Single letters count only in text that is known to be whole: broken words leave many behind, and each is a function
    word of some language.
    """
    return _share(Counter(w for w in words if len(w) >= shortest), language)


def _share(counts: Counter[str], language: Language) -> float:
    total = counts.total()
    return sum(counts[w] for w in language.function_words & counts.keys()) / total if total else 0.0


def likeliest(words: Sequence[str], codes: Collection[str] | None = None, shortest: int = 2) -> tuple[Language, float]:
    """The language, of the given ones, with the largest share of function words, and that share."""
    chosen = [lang for code, lang in languages().items() if codes is None or code in codes]
    counts = Counter(w for w in words if len(w) >= shortest)
    shares = [(_share(counts, lang), lang) for lang in chosen]
    share, language = max(shares, key=lambda pair: pair[0])
    return language, share


@cache
def languages() -> Mapping[str, Language]:
    """Every language whose function words are listed, by code."""
    text = (_DATA / "function_words.txt").read_text(encoding="utf-8")
    return {lang.code: lang for lang in _parsed(text)}


def _parsed(text: str) -> Iterator[Language]:
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        if lines:
            code, _, name = lines[0].removeprefix("[").partition("] ")
            yield Language(code, name, frozenset(fold(" ".join(lines[1:])).split()))


@cache
def tables() -> Mapping[str, Table]:
    """The tables there are, by language code."""
    import zlib

    found: dict[str, Table] = {}
    for path in sorted(_DATA.glob("*.table")):
        data = zlib.decompress(path.read_bytes())
        found[path.stem] = Table(data[:GROUPS_SIZE], data[GROUPS_SIZE:])
    return found
