"""Faults to plant into a healthy run: which rules catch them, and from which size on.

A fault is a function from a run to the same run with one thing gone wrong. One module holds one fault, or the variants
of one; `mldiag.faults.planting` has what they are made of, `mldiag.faults.healthy` the runs to plant them into. Plugins
bring their own through the hook `mldiag_faults`. `mldiag selftest` plants them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from mldiag.findings import Severity

if TYPE_CHECKING:
    from random import Random

    from mldiag.run import Run

Plant = Callable[["Run", "Random", float], "Run"]
_MARK = "__mldiag_fault__"


class Fault(Struct, frozen=True):
    """A fault with everything that can be said of it without planting it; the fields are those of `fault`."""

    name: str
    caught_by: tuple[str, ...]
    size: float
    unit: str
    sizes: tuple[float, ...]
    least: Severity
    plant: Plant
    origin: str

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.plant) or "").partition("\n")[0]

    def planted(self, run: Run, rng: Random, size: float | None = None) -> Run:
        """A new run with the fault in it, at the stated size unless another is given; `run` stays as it is.

        Raises:
            NotApplicable: the run has nothing that this fault could show in.
        """
        return self.plant(run, rng, self.size if size is None else size)


def fault(
    *, caught_by: Iterable[str], size: float, unit: str, sizes: Iterable[float], least: str = "warning"
) -> Callable[[Plant], Plant]:
    """Marks a function as a fault; its name, with dashes, is the fault's name.

    The function takes a healthy run, a random generator and the size of the effect, and returns a new run. It raises
    `NotApplicable` where the run has nothing that the fault could show in; it never changes the run it was given.

    Args:
        caught_by: names of the rules of which one is to find it.
        size: the stated size: at least this much is promised to be found. `unit`: what sizes are measured in.
        sizes: sizes to try, the stated one among them, from the smallest effect to the largest.
        least: severity from which a finding counts; `info` for what is only told.

    Raises:
        ValueError: no rule, or the stated size is not among `sizes`.
    """
    fields = (tuple(caught_by), float(size), unit, tuple(map(float, sizes)), Severity(least))
    if not fields[0]:
        raise ValueError("a fault names the rules that should catch it")
    if fields[1] not in fields[3]:
        raise ValueError(f"the stated size {size:g} is not among the sizes to try")

    def mark(plant: Plant) -> Plant:
        setattr(plant, _MARK, fields)
        return plant

    return mark


def as_fault(plant: Plant) -> Fault:
    """The `Fault` of a marked function."""
    caught_by, size, unit, sizes, least = getattr(plant, _MARK)
    return Fault(plant.__name__.replace("_", "-"), caught_by, size, unit, sizes, least, plant, plant.__module__)


def is_fault(value: object) -> bool:
    """Whether a value is a function marked by `fault`."""
    return hasattr(value, _MARK)
