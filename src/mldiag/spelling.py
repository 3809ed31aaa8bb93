"""From names as they are spelled to the words of the grammar of series: other languages, camel case, no gaps."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache

from mldiag import words as w
from mldiag.patterns import lazily
from mldiag.units import is_unit

_SEPARATORS = lazily(r"[\s./\-]+")
CAMEL = lazily(r"(?<=[a-z]{2})(?=[A-Z][a-z]{2})")
_BRACKETED = lazily(r"\s*[(\[]([^()\[\]]*)[)\]]\s*$")
_ELIDED = lazily(r"\b[dl]['’]|['’]s\b", re.IGNORECASE)

# What stands behind a task in Ultralytics' names: boxes, masks, poses.
_TASKS = {"b": "", "m": "mask", "p": "pose"}

PLAIN_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "eval", "evaluation", "dev"})
"""Words for splits that mean nothing else, even within a name or a word."""


@lru_cache(8192)
def normalized(name: str) -> str:
    """Lower case, Latin letters without accents, words joined by single underscores."""
    if not name.isascii():
        name = _without_accents(name)
    return re.sub(r"_+", "_", _SEPARATORS.sub("_", name.strip().lower())).strip("_")


def _without_accents(name: str) -> str:
    """Compatible forms as plain ones (full width, ligatures); marks are dropped from Latin letters only."""
    kept: list[str] = []
    for c in unicodedata.normalize("NFKD", name):
        if not unicodedata.combining(c) or not kept or ord(kept[-1]) >= 0x250:
            kept.append(c)
    return unicodedata.normalize("NFC", "".join(kept))


@lru_cache(4096)
def words_of(raw: str) -> tuple[str, ...]:
    """The words of a name in the English of the grammar, without what says the unit.

    Words of other languages are translated, `valLoss`, `lossval` and `验证损失` are taken apart.
    """
    name = _without_group(raw.strip())
    if bracket := _BRACKETED.search(name):
        inside = normalized(bracket[1])
        if inside in _TASKS:
            name = f"{name[: bracket.start()]}_{_TASKS[inside]}"
        elif is_unit(inside):
            name = name[: bracket.start()]
    words = normalized(CAMEL.sub("_", name)).replace("%", "").split("_")
    found: list[str] = []
    translated = False
    for word in words:
        parts = _translated().get(word) or _glued(word)
        translated |= parts is not None
        found += parts or (word,)
    if len(found) > 1 and found[-1] in ("pct", "percent", "percentage"):
        found.pop()
    fillers = w.FILLERS | w.FOREIGN_FILLERS if translated else w.FILLERS
    return tuple(x for x in found if x and x not in fillers)


def _without_group(name: str) -> str:
    """TensorBoard's group and tag as one where the one repeats the other (`lm-loss/lm loss`), without elisions.

    Nor is `data/train_loss` a part of the loss: so tensorboardX's examples file everything.
    """
    if "'" in name or "’" in name:
        name = _ELIDED.sub("", name)
    group, slash, tag = name.partition("/")
    if slash and tag and "/" not in tag and normalized(group) not in w.SPLITS:
        if normalized(group) == "data" and w.SPLITS.keys() & set(normalized(CAMEL.sub("_", tag)).split("_")):
            return tag
        filed, named = (set(normalized(CAMEL.sub("_", part)).split("_")) for part in (group, tag))
        if filed <= named:
            return tag
        if named <= filed and len(named) > 1:
            return group
    return name


@cache
def _translated() -> Mapping[str, tuple[str, ...]]:
    return {normalized(f): (english,) for english, foreign in w.TRANSLATED.items() for f in foreign}


def _glued(word: str) -> tuple[str, ...] | None:
    """The parts of a word written without a gap, where every part is known: `trainloss`, `验证集准确率`."""
    if not word.isascii():
        return _segments(word)
    if len(word) < 6 or word in w.SPLITS:
        return None
    for cut in range(2, len(word) - 1):
        first, second = ((_translated().get(part) or (part,))[0] for part in (word[:cut], word[cut:]))
        for split, quantity in ((first, second), (second, first)):
            if split in PLAIN_SPLITS and quantity in core_quantities():
                return first, second
    return None


def _segments(word: str) -> tuple[str, ...] | None:
    """A word of another script as the words it is made of, the longest first; None where a part is unknown."""
    table = _translated()
    found: list[str] = []
    at = 0
    while at < len(word):
        if word[at].isascii():
            end = at + 1
            while end < len(word) and word[end].isascii():
                end += 1
            found.append(word[at:end])
        else:
            end = next((e for e in range(len(word), at, -1) if word[at:e] in table), at)
            if end == at:
                return None
            found += table[word[at:end]]
        at = end
    return tuple(found)


@cache
def core_quantities() -> Mapping[str, str]:
    """Spelling → name of the quantities that show by themselves that a table is a log."""
    return by_spelling(w.CORE_QUANTITIES)


def by_spelling(table: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """A table of names with their spellings as one from each spelling to its name."""
    return {normalized(s): name for name, spellings in table.items() for s in (name, *spellings)}
