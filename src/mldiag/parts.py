"""Finds the parts of mldiag and of plugins by looking into their packages: there is no list to keep."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Callable, Iterator
from typing import Any

from mldiag.facts import Fact, as_fact, is_fact
from mldiag.readers import Reader, as_reader, is_reader
from mldiag.reporters import Reporter, as_reporter, is_reporter
from mldiag.rules import Rule, rules_of


def parts_of(package: str, wanted: Callable[[object], bool]) -> Iterator[Any]:
    """Every marked function that the modules of a package define themselves, in the order of the module names."""
    for module in modules_of(package):
        for value in vars(module).values():
            if wanted(value) and getattr(value, "__module__", None) == module.__name__:
                yield value


def modules_of(package: str) -> Iterator[types.ModuleType]:
    """The direct modules of a package, imported, in the order of their names; a module that is no package itself.

    Private ones (`_x.py`) are left to the modules that need them, when they need them.
    """
    parent = importlib.import_module(package)
    if not hasattr(parent, "__path__"):
        yield parent
        return
    for info in sorted(pkgutil.iter_modules(parent.__path__), key=lambda i: i.name):
        if not info.name.startswith("_"):
            yield importlib.import_module(f"{package}.{info.name}")


def rules_in(package: str, family: str | None = None) -> list[Rule]:
    """The rules of a package, one module each, or of a module: what a family's `mldiag_rules` hook returns.

    Args:
        family: its name in reports; by default the package's name without `mldiag_`.
    """
    name = family or package.removeprefix("mldiag_")
    return [rule for module in modules_of(package) for rule in rules_of(module, name)]


def readers_in(package: str) -> list[Reader]:
    """The readers that a module, or the modules of a package, define."""
    return [as_reader(p) for p in parts_of(package, is_reader)]


def facts_in(package: str) -> list[Fact]:
    """The facts that a module, or the modules of a package, define."""
    return [as_fact(p) for p in parts_of(package, is_fact)]


def reporters_in(package: str) -> list[Reporter]:
    """The reporters that a module, or the modules of a package, define."""
    return [as_reporter(p) for p in parts_of(package, is_reporter)]
