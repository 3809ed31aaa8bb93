"""Label smoothing, and what it leaves of the loss: the floor that no training goes below."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct

from mldiag.artifacts import Program, Settings, Source, as_number
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.chance import Chance
from mldiag.facts.outputs import Outputs
from mldiag.stats.smoothing import added_smoothing_floor, added_smoothing_mass, smoothing_floor


class Smoothing(Struct, frozen=True, dict=True):
    """Labels smoothed over the classes.

    Attributes:
        value: ε, above 0 and at most 1: the share of the target that is spread over all classes.
        source: where it was read.
        chance: the classes, and the loss of a guess among them.
        by_name: the setting says that it is of labels. `smoothing` alone may be that of a curve or a filter.
    """

    value: float
    source: Source
    chance: Chance
    by_name: bool = True

    @cached_property
    def floor(self) -> float:
        """The least that a loss against these labels can be, in nats."""
        return smoothing_floor(self.value, self.chance.classes)

    @cached_property
    def added_floor(self) -> float:
        """The same where ε was added for every class instead of ε/C."""
        return added_smoothing_floor(self.value, self.chance.classes)

    @cached_property
    def added_start(self) -> float:
        """The loss of a guess where ε was added for every class, which is about the first one."""
        return added_smoothing_mass(self.value, self.chance.classes) * self.chance.loss


@fact
def smoothing(settings: Settings | None, program: Program | None, outputs: Outputs) -> Smoothing:
    """From the setting `label_smoothing`, else the one literal `label_smoothing=` that the source gives its losses."""
    chance = outputs.chance
    found = (settings or Settings()).effective("label_smoothing")
    if found is not None:
        number = as_number(found.value)
        if number is None or not 0 < number <= 1:
            raise NotApplicable(f"the label smoothing is {found.value} at {found.source}")
        # Of a dump in two formats the one that people can read.
        same = (
            [v for v in settings.all("label_smoothing") if v.value == found.value and v.source.line] if settings else []
        )
        return Smoothing(number, (same or [found])[0].source, chance, "label" in found.key)
    calls = [c for c in (program.calls_to(*_SMOOTHED) if program is not None else ()) if c.keywords.get(_KEY)]
    numbers = {as_number(c.keywords[_KEY]) for c in calls}
    number = numbers.pop() if len(numbers) == 1 else None
    if number is None or not 0 < number <= 1:
        raise NotApplicable("no label smoothing is stated")
    return Smoothing(number, calls[0].where.get(_KEY, calls[0].source), chance)


_KEY = "label_smoothing"
_SMOOTHED = (
    "CrossEntropyLoss", "cross_entropy", "CategoricalCrossentropy", "BinaryCrossentropy", "categorical_crossentropy",
    "binary_crossentropy",
)  # fmt: skip
