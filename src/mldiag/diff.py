"""The unified diff of a change: byte for byte what `patch -p1` takes, or escaped and coloured for a terminal."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from mldiag.files import File
from mldiag.terminal import STYLES, Screen, escaped

_STYLES = {"@": "place", "-": "bad", "+": "good"}
"""First character of a line below the header → style."""


def unified(before: bytes, after: bytes, name: str) -> list[bytes]:
    """The lines of the diff between `a/name` and `b/name`, ends included; UTF-16 is shown as UTF-8."""
    old, new = (_header(f"{side}/{name.lstrip('/')}") for side in "ab")
    lines = difflib.diff_bytes(difflib.unified_diff, _lines(before), _lines(after), old, new)
    return [line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in lines]


def _header(name: str) -> bytes:
    """A name as `patch` and `git apply` read it: a tab ends one with a space, C quotes hold what else is odd."""
    raw = os.fsencode(name)
    if not any(byte < 0x20 or byte in b'"\\\x7f' for byte in raw):
        return raw + b"\t" if b" " in raw else raw
    plain = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}" for byte in raw)
    return f'"{"".join(plain)}"'.encode()


def painted(lines: Iterable[bytes], screen: Screen) -> str:
    """The diff for people; nothing in it acts on the terminal."""
    return "".join(_painted(line, number < 2, screen) for number, line in enumerate(lines))


def _painted(line: bytes, header: bool, screen: Screen) -> str:
    text = line.decode("utf-8", "replace").removesuffix("\n")
    style = "strong" if header else _STYLES.get(text[:1], "")
    shown = "\t".join(escaped(part, screen.encoding) for part in text.split("\t"))
    return f"\x1b[{STYLES[style]}m{shown}\x1b[0m\n" if screen.color and style else f"{shown}\n"


def _lines(content: bytes) -> list[bytes]:
    encoding = File(Path(), "", content).encoding
    if encoding.startswith(("utf-16", "utf-32")):
        content = content.decode(encoding, "replace").encode()
    # Only a line feed ends a line for patch; bytes.splitlines would also split at a lone carriage return.
    *whole, last = content.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])
