"""What `mldiag fix` wrote, so that it can be taken back and its copies are not mistaken for runs."""

from __future__ import annotations

from pathlib import Path

FOLDER = ".mldiag"


def copies_in(root: Path) -> tuple[str, ...]:
    """Paths, relative to `root`, of the corrected copies that were written below it."""
    return ()
