"""Files that were cut, overwritten or glued together at random: no reader and no rule may break on them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from damage import mutated

from mldiag.audit import Request, audit
from mldiag.plugins import Plugins, load
from mldiag.testing import load_cases

ROOT = Path(__file__).parents[1]


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


@pytest.mark.parametrize("seed", range(8))
def test_no_reader_and_no_rule_breaks_on_damaged_files(
    seed: int, tmp_path: Path, plugins: Plugins, pool: list[tuple[str, bytes]]
) -> None:
    dice = random.Random(seed)
    for number in range(100):
        run = tmp_path / str(number)
        run.mkdir()
        for name, data in dice.sample(pool, dice.randint(1, 5)):
            (run / name).write_bytes(mutated(data, dice) if dice.randrange(4) else data)
        for report in audit(Request((run,)), plugins).runs:
            assert not report.failed, sorted(p.name for p in run.iterdir())
            assert not [u for u in report.unread if "its reader broke" in u.reason]
