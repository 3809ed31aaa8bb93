"""Finds the parts of mldiag and of plugins by looking into their packages: there is no list to keep."""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from mldiag.facts import Fact, as_fact, is_fact
from mldiag.files import File
from mldiag.index import modules_in
from mldiag.readers import Reader, as_reader, is_reader
from mldiag.reporters import Reporter, as_reporter, is_reporter
from mldiag.rules import Rule, rules_of

if TYPE_CHECKING:
    from mldiag.faults import Fault


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
    for name in modules_in(parent.__path__):
        yield importlib.import_module(f"{package}.{name}")


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


def indexed_readers_in(package: str) -> list[Reader]:
    """Like `readers_in` for a package with an `_index`: a module that it lists is imported when a file needs it.

    Importing forty modules for the three files of a small run took a tenth of its audit. The index is generated
    (`make docs`); a module that it does not list yet is imported at once.
    """
    index = importlib.import_module(f"{package}._index").INDEX
    names = modules_in(importlib.import_module(package).__path__)
    return [
        reader
        for name in names
        for reader in (
            [_deferred(f"{package}.{name}", *index[name])] if name in index else readers_in(f"{package}.{name}")
        )
    ]


def _deferred(module: str, patterns: tuple[str, ...], priority: int, post: bool, several: bool) -> Reader:
    name = module.rpartition(".")[2]

    @cache
    def own() -> Reader:
        found = as_reader(getattr(importlib.import_module(module), name))
        if (found.patterns, found.priority, found.post, found.members is not None) != (
            patterns,
            priority,
            post,
            several,
        ):
            raise RuntimeError("readers/_index.py says something else of it; run `make docs`")
        return found

    def members(file: File) -> Iterable[str]:
        listed = own().members
        return listed(file) if listed is not None else ()

    return Reader(
        name,
        patterns,
        lambda file: own().matches(file),
        lambda file: own().read(file),
        priority,
        post,
        members if several else None,
    )


def facts_in(package: str) -> list[Fact]:
    """The facts that a module, or the modules of a package, define."""
    return [as_fact(p) for p in parts_of(package, is_fact)]


def faults_in(package: str) -> list[Fault]:
    """The faults that a module, or the modules of a package, define."""
    from mldiag.faults import as_fault, is_fault

    return [as_fault(p) for p in parts_of(package, is_fault)]


def reporters_in(package: str) -> list[Reporter]:
    """The reporters that a module, or the modules of a package, define."""
    return [as_reporter(p) for p in parts_of(package, is_reporter)]
