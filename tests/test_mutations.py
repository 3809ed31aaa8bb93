"""Files that were cut, overwritten or glued together at random: no reader and no rule may break on them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mldiag.audit import Request, audit
from mldiag.plugins import Plugins, load
from mldiag.testing import load_cases

ROOT = Path(__file__).parents[1]
SNIPPETS = (
    b"NaN", b"null", b"1e999", b'"', b"{", b"[[", b"\\", b"\0", b"\xff\xfe", b"0", b"-", b"'", b"$(", b"${A:-",
    b"9" * 400, b"\n", b"\r", b"\xe2\x80\xa8", b",", b";", b"\t", b"#", b"\\\n",
)  # fmt: skip
"""What has broken parsers before: ends of values, of lines and of numbers."""


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


@pytest.fixture(scope="module")
def pool() -> list[tuple[str, bytes]]:
    """Files of the examples and of every rule's cases."""
    paths = [p for p in (ROOT / "examples" / "versions").rglob("*.*") if p.is_file()]
    cases = [f for c in load_cases(Path(__file__).parent / "cases") for f in c.files.items()]
    return [
        *((p.name, p.read_bytes()) for p in paths),
        *((name.rsplit("/", 1)[-1], text.encode()) for name, text in cases if not text.startswith("base64:")),
    ]


def mutated(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(0, 6)):
        at, kind = dice.randrange(len(changed) + 1), dice.randrange(5)
        if kind == 0:
            changed[at : at + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            del changed[at : at + dice.randint(1, 200)]
        elif kind == 2:
            changed[at:at] = changed[at : at + dice.randint(1, 300)]
        elif kind == 3:
            changed[at:at] = dice.choice(SNIPPETS)
        elif dice.random() < 0.3:
            del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(8))
def test_no_reader_and_no_rule_breaks_on_damaged_files(
    seed: int, tmp_path: Path, plugins: Plugins, pool: list[tuple[str, bytes]]
) -> None:
    dice = random.Random(seed)
    for number in range(100):
        run = tmp_path / str(number)
        run.mkdir()
        for name, data in dice.sample(pool, dice.randint(1, 5)):
            (run / name).write_bytes(mutated(data, dice))
        for report in audit(Request((run,)), plugins).runs:
            assert not report.failed, sorted(p.name for p in run.iterdir())
            assert not [u for u in report.unread if "its reader broke" in u.reason]
