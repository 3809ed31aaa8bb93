"""SMP005 mojibake."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from mldiag.api import Evidence, Finding, Sample, Samples, lazily, rule

_TOTAL = 8_000_000
"""Characters looked at of all samples together; of more, each sample gives its first ones."""

_PAGES = {"cp1252": "Windows-1252", "mac_roman": "Mac Roman", "cp850": "code page 850", "cp437": "code page 437"}
"""The encodings that UTF-8 is mistaken for, the likeliest first."""

_USUAL = frozenset(
    [chr(c) for c in range(0xC0, 0x180) if chr(c).isalpha()] + list("ªº°²³¹½¼¾«»¿¡§©®±·´–—‘’‚“”„†‡•…‰€™\u00a0\u2212")
)
"""What is in UTF-8 text of European languages: letters with accents and typographic signs."""

_OTHER_SCRIPTS = ((0x370, 0x700), (0x900, 0xE80), (0x3040, 0x3100), (0x4E00, 0xA000), (0xAC00, 0xD7B0))
"""Greek to Arabic, the scripts of India and Thailand, Japanese, Chinese, Korean: real only in runs."""

_RUN = 3
"""Characters of another script in a row, as its words have."""

_REPLACED = "\ufffd"
_PIECE = lazily(r"<0x[0-9A-F]{2}>")
_LAYOUTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("Ġ for a blank, of byte-level BPE", lazily(r"Ġ(?=[^\W_ġĠ])|Ċ")),
    ("▁ for a blank, of SentencePiece", lazily(r"▁(?=[^\W_])")),
    ("## before the rest of a word, of WordPiece", lazily(r"(?<=[a-zà-ÿ] )##(?=[a-zà-ÿ])")),
    ("@@ behind the beginning of a word, of subword-nmt", lazily(r"(?<=[^\W\d_])@@(?= [^\W_])")),
    ("</w> behind a word, of BPE", lazily(r"(?<=\w)</w>(?!:)")),
)
_BLANK = lazily(r"\s+|[Ġ▁]")
_EDGE = 3
"""Characters at the ends of a sample: a character of several tokens may be cut there."""


@rule("SMP005", severity="warning", explains=("SMP002", "SMP003"))
def mojibake(
    samples: Samples,
    *,
    min_characters: int = 5,
    min_share: float = 0.1,
    min_touched: float = 0.1,
    min_replaced: float = 2.0,
    min_pieces: int = 5,
    min_piece_share: float = 0.05,
) -> Iterator[Finding]:
    """Samples held text that was decoded with the wrong encoding, or pieces of tokens that were not joined.

    ## What it checks
    - Groups such as `Ã§` or `â€™` that are UTF-8 read as another encoding: encoded in that encoding (Windows-1252, Mac
      Roman, code pages 850 and 437) they are valid UTF-8 of a letter with an accent, a typographic sign, or a word in
      another script.
    - U+FFFD, which stands where bytes were no text, but not at the ends of a sample, where a character may be cut.
    - Pieces of a tokenizer that stayed as they are in the vocabulary: `<0xC3>`, `Ġ` or `▁` for a blank, `##`, `@@`.

    ## Why it matters
    If the samples were only written or decoded wrongly, they are judged wrongly by people and by scores. If the model
    writes so, its training text was decoded wrongly, and it has learnt a spelling that nobody uses.

    ## Inputs
    Generated samples.

    ## Options
    - `min_characters` (characters, 5): wrong ones in all samples together, and U+FFFD.
    - `min_share` (share, 0.1): of the characters that are not ASCII; below, the samples quote or discuss such text.
    - `min_touched` (share of the samples, 0.1): samples that hold any; U+FFFD must stand in two, if there are two.
    - `min_replaced` (per 1,000 characters, 2.0): U+FFFD; below, a model that writes bytes failed at single characters.
    - `min_pieces` (pieces, 5), `min_piece_share` (pieces per word, 0.05): pieces that were not joined.

    ## When to ignore
    Samples about encodings or tokenizers.

    ## Source
    The Unicode Standard 15, section 3.9 (UTF-8, U+FFFD); Speer 2019, "ftfy" (the round trip). UTF-8 makes two bytes of
    each letter with an accent, and 3 % of Portuguese and 0.1 % of English characters are not ASCII.
    Measured: no alarm in 972 groups of 3 to 500 real texts, but one of dialogues that hold U+FFFD themselves. Of 600
    groups of Portuguese all were found that were read as UTF-8 in place of Latin-1; of 700 of Portuguese, English and
    source code with at least five characters beyond ASCII 95 % that were read as Windows-1252, Mac Roman or a code page
    (the rest had such characters in fewer than a tenth of their samples), and 98 % or more with pieces not joined.
    """
    most = max(1, _TOTAL // max(1, len(samples)))
    texts = [s.output[:most] for s in samples]
    pieces = list(_unjoined(samples.items, texts, min_pieces, min_piece_share))
    yield from pieces
    if any(not t.isascii() for t in texts):
        if not pieces:  # byte-level pieces hold the bytes of each letter as other letters
            yield from _misread(samples.items, texts, min_characters, min_share, min_touched)
        yield from _replaced(samples.items, texts, min_characters, min_share, min_touched, min_replaced)


def _misread(
    items: Sequence[Sample], texts: Sequence[str], least: int, share: float, spread: float
) -> Iterator[Finding]:
    foreign = _beyond_ascii(texts)
    if foreign < 2 * least:
        return
    for codec, name in _PAGES.items():
        groups = [_groups(codec, t) for t in texts]
        wrong = sum(map(len, groups))
        touched = sum(map(bool, groups))
        if wrong < least or touched < spread * len(items):
            continue
        right = foreign - sum(len(shown) - 1 for found in groups for shown, _ in found)
        if wrong < share * right:
            continue
        worst = max(range(len(items)), key=lambda i: len(groups[i]))
        common = Counter(g for found in groups for g in found).most_common(3)
        shown = ", ".join(f'"{group}" for "{meant}"' for (group, meant), _ in common)
        yield Finding(
            f"{touched:,} of {len(items):,} samples held UTF-8 that was read as {name}: {wrong:,} of {right:,} "
            f"characters beyond ASCII, such as {shown}",
            at=items[worst].source,
            evidence=(
                Evidence("characters read wrongly", wrong, least, items[worst].source, "character"),
                Evidence("characters beyond ASCII", right, unit="character"),
                Evidence("share of them", wrong / right, share),
                Evidence("samples with such characters", touched, unit="sample"),
                Evidence("samples", len(items), unit="sample"),
            ),
            advice='state the encoding where text is read and written (`open(path, encoding="utf-8")`); if the '
            "training text holds such groups too, read it again and train on it",
        )
        return


def _beyond_ascii(texts: Sequence[str]) -> int:
    return sum(len(t) - len(t.encode("ascii", "ignore")) for t in texts if not t.isascii())


@cache
def _back(codec: str) -> Mapping[str, int]:
    """The byte of each character above ASCII; bytes without one are read as Latin-1's, as browsers do."""
    return {bytes([b]).decode(codec, "replace").replace(_REPLACED, chr(b)): b for b in range(0x80, 0x100)}


@cache
def _pattern(codec: str) -> re.Pattern[str]:
    """A character for the first byte of UTF-8 and as many as it wants for the others."""
    page = {byte: re.escape(char) for char, byte in _back(codec).items()}
    then = "[" + "".join(page[b] for b in range(0x80, 0xC0)) + "]"
    first = ["".join(page[b] for b in span) for span in (range(0xC2, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF5))]
    return re.compile("|".join(f"[{f}]{then}{{{n}}}" for n, f in enumerate(first, 1)))


def _groups(codec: str, text: str) -> list[tuple[str, str]]:
    """The groups of a text that were one character each, with that character."""
    if text.isascii():
        return []
    back = _back(codec)
    found: list[tuple[str, str]] = []
    run: list[tuple[str, str]] = []
    end = -1
    for match in _pattern(codec).finditer(text):
        group = match[0]
        meant = bytes(back[c] for c in group).decode("utf-8", "replace")
        if len(meant) != 1:
            continue
        if meant in _USUAL or ord(meant) >= 0x1F300:
            found.append((group, meant))
        elif any(low <= ord(meant) < high for low, high in _OTHER_SCRIPTS):
            if match.start() != end:
                if len(run) >= _RUN:
                    found += run
                run = []
            run.append((group, meant))
            end = match.end()
    return found + (run if len(run) >= _RUN else [])


def _replaced(
    items: Sequence[Sample], texts: Sequence[str], least: int, share: float, spread: float, rate: float
) -> Iterator[Finding]:
    counts = [t.strip()[_EDGE:-_EDGE].count(_REPLACED) if _REPLACED in t else 0 for t in texts]
    total, touched = sum(counts), sum(map(bool, counts))
    if total < least or touched < max(spread * len(items), min(2, len(items))):
        return
    length = sum(map(len, texts))
    foreign = _beyond_ascii(texts)
    if total < share * foreign or 1_000 * total < rate * length:
        return
    worst = max(range(len(items)), key=lambda i: counts[i])
    yield Finding(
        f"{touched:,} of {len(items):,} samples held U+FFFD where bytes were no text: {total:,} times in {length:,} "
        f"characters, {1_000 * total / length:.1f} per 1,000",
        at=items[worst].source,
        evidence=(
            Evidence("U+FFFD within the samples", total, least, items[worst].source, "character"),
            Evidence("characters", length, unit="character"),
            Evidence("U+FFFD per 1,000 characters", 1_000 * total / length, rate),
            Evidence("share of the characters beyond ASCII", total / foreign, share),
            Evidence("samples with U+FFFD", touched, unit="sample"),
            Evidence("samples", len(items), unit="sample"),
        ),
        advice="decode all tokens of a text together, not one by one, and read the training text in its own encoding",
    )


def _unjoined(items: Sequence[Sample], texts: Sequence[str], least: int, share: float) -> Iterator[Finding]:
    words = 0
    for what, sign, pattern in (
        ("bytes such as <0xC3>", "<0x", _PIECE),
        *((name, name.split(" ", 1)[0][:2].rstrip(), pattern) for name, pattern in _LAYOUTS),
    ):
        counts = [len(pattern.findall(t)) if sign in t else 0 for t in texts]
        total = sum(counts)
        if total < least:
            continue
        words = words or sum(len(_BLANK.findall(t)) + 1 for t in texts)
        if total < share * words:
            continue
        worst = max(range(len(items)), key=lambda i: counts[i])
        touched = sum(map(bool, counts))
        yield Finding(
            f"{touched:,} of {len(items):,} samples held pieces of tokens that were not joined: {what}, {total:,} "
            f"times in {words:,} words",
            at=items[worst].source,
            evidence=(
                Evidence("pieces", total, least, items[worst].source, "piece"),
                Evidence("words", words, unit="word"),
                Evidence("pieces per word", total / words, share),
                Evidence("samples with pieces", touched, unit="sample"),
                Evidence("samples", len(items), unit="sample"),
            ),
            advice="turn ids into text with the tokenizer's `decode`, not by joining its tokens",
        )
