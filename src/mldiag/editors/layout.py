"""What every editor of text that people write has to keep: the style of a number, and the columns of what follows."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from mldiag.artifacts import Source
from mldiag.findings import Edit
from mldiag.patterns import lazily

_INTEGER = lazily(r"[-+]?[\d_]+")
_DECIMAL = lazily(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_SCIENTIFIC = lazily(r"[-+]?(\d+(?:\.\d*)?|\.\d+)([eE])([-+]?)(\d+)")
_TRUTHS = {"true": "false", "yes": "no", "on": "off", "1": "0"}
_PLAIN_LIMIT = 12  # characters of a decimal fraction that people still write out (0.0000001234)


def number(value: float, old: str) -> str:
    """A number as a person would write it in the place of `old`.

    Integers stay plain, with `_` between thousands where the old text had them. Fractions are in scientific notation
    where the old text was, with its kind of exponent (`3e-4`, `1.0E-05`), and written out otherwise. Reading the
    result gives exactly the value.
    """
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15 and _INTEGER.fullmatch(old.strip())):
        return f"{int(value):_}" if "_" in old.strip("_") else str(int(value))
    if not math.isfinite(value) or value == 0:
        return repr(value)
    style = _SCIENTIFIC.fullmatch(old.strip())
    plain = format(Decimal(repr(value)), "f")
    if style is None and len(plain) <= _PLAIN_LIMIT:
        return plain if "." in plain else f"{plain}.0"
    sign, digits, power = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(power, int)
    power += len(digits) - 1
    rest = "".join(map(str, digits[1:])) or ("0" if style is not None and "." in style[1] else "")
    mantissa = f"{'-' if sign else ''}{digits[0]}" + (f".{rest}" if rest else "")
    width = len(style[4]) if style is not None and style[4].startswith("0") else 1
    plus = "+" if style is not None and style[3] == "+" else ""
    mark = style[2] if style is not None else "e"
    return f"{mantissa}{mark}{'-' if power < 0 else plus}{abs(power):0{width}d}"


def replacement(source: Source, new: str, tail: re.Pattern[str]) -> Edit:
    """The edit that puts `new` in the place of a value, and keeps what follows on the line in its column.

    Where the value is followed by two or more spaces before a comment or a continuation, spaces are added or taken,
    as long as two are left.

    Args:
        tail: matches what stands between the value and what is aligned: its first group closes the value (`),`), the
            second is the spaces.
    """
    assert source.start is not None and source.end is not None and source.text is not None  # noqa: PT018
    old, end = source.text, source.end
    line, column = source.excerpt or "", (source.column or 1) - 1
    wide = _wide(old, end - source.start)
    if wide and "\n" not in old and line[column : column + len(old)] == old:
        found = tail.match(line[column + len(old) :])
        grown = len(new) - len(old)
        if found is not None and grown and len(found[2]) - grown >= 2:
            end += len(found[0]) * wide
            old += found[0]
            new += found[1] + " " * (len(found[2]) - grown)
    return Edit(source.path, source.start, end, old, new)


def _wide(text: str, count: int) -> int:
    """Bytes of a space or bracket in the encoding that gives a text so many; 0 where the text does not tell."""
    widths = [w for codec, w in (("utf-8", 1), ("utf-16-le", 2), ("utf-32-le", 4)) if len(text.encode(codec)) == count]
    return widths[0] if len(widths) == 1 else 0


def exact(source: Source, new: str) -> Edit:
    """The edit that puts `new` in the place of a value, with nothing aligned behind it."""
    assert source.start is not None and source.end is not None and source.text is not None  # noqa: PT018
    return Edit(source.path, source.start, source.end, source.text, new)


def truth(value: bool, old: str) -> str:
    """A truth value in the words and letters of the old one (`yes`, `Off`, `TRUE`); else `true` or `false`."""
    lower = old.strip().lower()
    for yes, no in _TRUTHS.items():
        if lower in (yes, no):
            word = yes if value else no
            return word.upper() if old.isupper() and len(old) > 1 else word.capitalize() if old[:1].isupper() else word
    return "true" if value else "false"


def is_number(text: str) -> bool:
    """Whether a text spells a number."""
    return bool(_INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text))


def in_quotes(old: str) -> tuple[str, str]:
    """The quote that a value stands in, and the value; an empty quote where it stands in none."""
    if len(old) > 1 and old[0] == old[-1] and old[0] in "\"'":
        return old[0], old[1:-1]
    return "", old


def escaped(text: str, old: str, long: str = "") -> str:
    r"""A text for double quotes as JSON, TOML and YAML read them; ASCII unless the old one is not.

    Args:
        long: format of an escape of what does not fit `\uXXXX`; without one it is written as two, as JSON wants it.
    """
    wide = not old.isascii()
    parts = []
    for char in text:
        code = ord(char)
        if char in _SHORT:
            parts.append(_SHORT[char])
        elif 0x20 <= code < 0x7F or (wide and code > 0x7F and char.isprintable()):
            parts.append(char)
        elif code < 0x10000:
            parts.append(f"\\u{code:04x}")
        elif long:
            parts.append(long.format(code))
        else:
            code -= 0x10000
            parts.append(f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}")
    return "".join(parts)
