"""Which encoding bytes are in, told by what stands in them."""

from __future__ import annotations

import codecs

from mldiag.patterns import lazily

# UTF-32 before UTF-16, whose mark its own begins with.
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MARKS = {"utf-8-sig": 3, "utf-16": 2, "utf-32": 4}
MARKLESS = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_NOT_ASCII = lazily("[^\\0-\\x7f]")
_HIGH_BYTES = bytes(range(0x80, 0x100))
_CHINESE_WORD = lazily(rb"[\x80-\xff]{4,}")
_HOLE = lazily(rb"\x00{16,}")  # as `text_log` leaves out
# What no text has: control characters but white space, backspace, bell and escape (progress bars, colours), and 0xff,
# which is filling in binary data and in Latin-1 a letter that hardly any word has.
_BINARY = lazily(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\xff]")


def has_nul(head: bytes) -> bool:
    """Whether there are NUL bytes as in binary data: the hole that a crash leaves in a log does not count."""
    return b"\0" in head and b"\0" in _HOLE.sub(b"", head)


def by_zeros(head: bytes) -> str:
    """UTF-16 or UTF-32 by where the zero bytes of its characters stand; else UTF-8."""
    count = len(head) // 4
    zeros = [head[i::4].count(0) for i in range(4)]
    if count and min(zeros[2:]) > 0.9 * count and zeros[0] < count / 10:
        return "utf-32-le"
    if count and min(zeros[:2]) > 0.9 * count and zeros[3] < count / 10:
        return "utf-32-be"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if count and odd > 0.7 * len(head) / 2 and even < odd / 10:
        return "utf-16-le"
    if count and even > 0.7 * len(head) / 2 and odd < even / 10:
        return "utf-16-be"
    return "utf-8"


def without_zeros(data: bytes, *, cut: bool) -> str:
    """UTF-8, GB18030 or Latin-1, as `File.encoding` says; `cut` where the last character may be."""
    if data.isascii() or _decodes(data, "utf-8", cut=cut):
        return "utf-8"
    text = data.decode(errors="replace")
    broken = text.count("\ufffd")
    whole = sum(1 for _ in _NOT_ASCII.finditer(text)) - broken
    if whole > broken or _BINARY.search(data):
        return "utf-8"
    # Chinese words are several characters of two bytes; an accented letter stands alone or in pairs.
    high = len(data) - len(data.translate(None, _HIGH_BYTES))
    in_words = sum(map(len, _CHINESE_WORD.findall(data)))
    return "gb18030" if 2 * in_words > high and _decodes(data, "gb18030", cut=cut) else "latin-1"


def _decodes(data: bytes, codec: str, *, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True
