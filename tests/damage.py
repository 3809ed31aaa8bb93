"""Damage to files, for tests that nothing breaks on it."""

from __future__ import annotations

import random

SNIPPETS = (
    b"NaN", b"null", b"1e999", b'"', b"{", b"[[", b"[[" * 300, b"\\", b"\\\n", b"\0", b"\xff\xfe", b"\xed\xa0\x80",
    b"0", b"-", b"'", b"$(", b"${A:-", b"9" * 400, b"9" * 5000, b"\n", b"\r", b"\t", b"\xe2\x80\xa8", "²".encode(),
    b",", b";", b"#", b"\xff" * 8, b"\0" * 16, b"\x80", b"\x7f" * 8,
)  # fmt: skip
"""What has broken parsers before: ends of values and lines, numbers and lengths beyond all bounds."""


def mutated(content: bytes, dice: random.Random) -> bytes:
    """The content overwritten, glued together and cut in a few places."""
    changed = bytearray(content)
    for _ in range(dice.randint(1, 5)):
        at, kind = dice.randrange(len(changed) + 1), dice.randrange(7)
        if kind == 0:
            changed[at : at + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            del changed[at : at + dice.randint(1, 200)]
        elif kind == 2:
            changed[at:at] = changed[at : at + dice.randint(1, 300)]
        elif kind == 3:
            changed[at:at] = dice.choice(SNIPPETS)
        elif kind == 4:  # a length, a count or a position
            width = dice.choice((1, 2, 4, 8))
            changed[at : at + width] = dice.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little")[:width]
        elif kind == 5:
            changed[at : at + 8] = dice.randbytes(8)
        else:
            del changed[at:]
    return bytes(changed)
