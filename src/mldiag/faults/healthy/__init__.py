"""Ordinary runs, simulated: what rules must keep quiet about, and what faults are planted into.

A family is a function from a random generator to a run that has nothing wrong with it; the generator decides how long
it is, how noisy, how well it learns and what it logs. Families are found by looking into this package. They are as
awkward as real ones: noise of single batches, heavy tails, restarts, jumps of a curriculum, losses that change sign,
scores in percent, tables with empty cells.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from mldiag.facts import Fact
    from mldiag.run import Run

Simulate = Callable[[random.Random], "Run"]
_MARK = "__mldiag_family__"


class Family(Struct, frozen=True):
    """A kind of healthy run."""

    name: str
    simulate: Simulate

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.simulate) or "").partition("\n")[0]

    def run(self, seed: int, facts: Mapping[type, Fact]) -> Run:
        """The run of a seed; the same for the same seed, on every machine."""
        return replace(self.simulate(random.Random(f"{self.name} {seed}")), facts=facts)  # noqa: S311 (a simulation)


def family(simulate: Simulate) -> Simulate:
    """Marks a function as a family of healthy runs; its name, with dashes, is the family's name."""
    setattr(simulate, _MARK, True)
    return simulate


@cache
def families() -> tuple[Family, ...]:
    """Every family, in the order of their names."""
    from mldiag.parts import parts_of

    found = parts_of(__name__, lambda value: hasattr(value, _MARK))
    return tuple(sorted((Family(f.__name__.replace("_", "-"), f) for f in found), key=lambda f: f.name))
