"""Derived views of a run: one file per fact, each a function from artifacts and other facts to a frozen struct.

A fact that cannot be derived raises `NotApplicable` with the reason; a rule that needs it is then skipped with that
reason. Formulas live here, with their source, so that two rules never compute the same thing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from mldiag.index import Parameter, at, place_of
from mldiag.rules import Input, annotation, inputs_of, parameters_of

Derive = Callable[..., Any]
_MARK = "__mldiag_fact__"


class Fact(Struct, frozen=True):
    """A fact function; `type` is what it returns and what rules ask for.

    Attributes:
        listed: its inputs as the index has them; None for a fact that was imported when it was loaded.
    """

    type: type
    derive: Derive
    listed: tuple[Parameter, ...] | None = None

    @property
    def inputs(self) -> tuple[Input, ...]:
        return inputs_of(self.derive)


class Facts(Mapping[type, Fact]):
    """Facts by their type; one that the index lists is imported when its type is asked for.

    Args:
        listed: entries of the index (`entry_of`).
    """

    def __init__(self, listed: Iterable[tuple[str, str, tuple[Parameter, ...]]] = ()) -> None:
        self._listed = {kind: (function, inputs) for kind, function, inputs in listed}
        self._known: dict[type, Fact] = {}

    def __getitem__(self, kind: type) -> Fact:
        if kind not in self._known:
            function, inputs = self._listed[place_of(kind)]
            self._known[kind] = Fact(kind, at(function), inputs)
        return self._known[kind]

    def __iter__(self) -> Iterator[type]:
        yield from [at(place) for place in self._listed]
        yield from [kind for kind in self._known if place_of(kind) not in self._listed]

    def __len__(self) -> int:
        return len(self._listed) + sum(place_of(kind) not in self._listed for kind in self._known)

    def add(self, fact: Fact) -> bool:
        """Adds a fact unless there is one of its type; whether it did."""
        if fact.type in self._known or place_of(fact.type) in self._listed:
            return False
        self._known[fact.type] = fact
        return True

    def needs(self, place: str) -> tuple[str, ...]:
        """The places of the types that the fact of a type cannot do without, as far as the index says."""
        _, inputs = self._listed.get(place, ("", ()))
        return tuple(needed for _, needed, optional in inputs if not optional)


def fact(function: Derive) -> Derive:
    """Marks a function as a fact; its return annotation names the fact."""
    setattr(function, _MARK, True)
    return function


def as_fact(function: Derive) -> Fact:
    """The `Fact` of a marked function. Raises `TypeError` without a return type."""
    kind = annotation(function, "return")
    if not isinstance(kind, type):
        raise TypeError(f"fact {function.__module__}.{function.__qualname__} needs a return type")
    return Fact(kind, function)


def entry_of(found: Fact) -> tuple[str, str, tuple[Parameter, ...]]:
    """What the index keeps of a fact: the places of its type and its function, its inputs."""
    function = f"{found.derive.__module__}:{found.derive.__qualname__}"
    return place_of(found.type), function, parameters_of(found.inputs)


def is_fact(value: object) -> bool:
    """Whether a value is a function marked by `fact`."""
    return hasattr(value, _MARK)
