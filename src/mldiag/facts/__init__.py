"""Derived views of a run: one file per fact, each a function from artifacts and other facts to a frozen struct.

A fact that cannot be derived raises `NotApplicable` with the reason; a rule that needs it is then skipped with that
reason. Formulas live here, with their source, so that two rules never compute the same thing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from mldiag.rules import Input, annotation, inputs_of

Derive = Callable[..., Any]
_MARK = "__mldiag_fact__"


class Fact(Struct, frozen=True):
    """A fact function; `type` is what it returns and what rules ask for."""

    type: type
    derive: Derive

    @property
    def inputs(self) -> tuple[Input, ...]:
        return inputs_of(self.derive)


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


def is_fact(value: object) -> bool:
    """Whether a value is a function marked by `fact`."""
    return hasattr(value, _MARK)
