"""The hooks a plugin can implement. Each is called once, when mldiag loads its plugins, in the guard that lets a broken
plugin cost only itself. A plugin is a module named by an entry point of the group `mldiag`.

pluggy checks the implementations against the specifications. It is imported for plugins that no index lists
(`manager`); the marks are mldiag's own, so that a bundled rule does not bring it along.
"""

# A specification is a signature with a docstring; pluggy never calls it.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    import pluggy

    from mldiag.facts import Fact
    from mldiag.faults import Fault
    from mldiag.readers import Reader
    from mldiag.reporters import Reporter
    from mldiag.rules import Rule

PROJECT = "mldiag"
_F = TypeVar("_F", bound=Callable[..., Any])


@overload
def hookimpl(function: _F) -> _F: ...
@overload
def hookimpl(**options: Any) -> Callable[[_F], _F]: ...
def hookimpl(function: _F | None = None, **options: Any) -> _F | Callable[[_F], _F]:
    """Marks a function of a plugin as the implementation of the hook of its name; options as those of pluggy."""

    def mark(marked: _F) -> _F:
        setattr(marked, f"{PROJECT}_impl", options)
        return marked

    return mark if function is None else mark(function)


def hookspec(function: _F) -> _F:
    """Marks a function of this module as a hook."""
    setattr(function, f"{PROJECT}_spec", {})
    return function


def manager() -> pluggy.PluginManager:
    """A manager that knows the hooks and reads the marks of this module as well as pluggy's own."""
    from inspect import isroutine

    import pluggy

    class Manager(pluggy.PluginManager):
        def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
            value = getattr(plugin, name)
            options = getattr(value, f"{PROJECT}_impl", None) if isroutine(value) else None
            # pluggy's own mark completes them, and refuses what it does not know.
            made = pluggy.HookimplMarker(PROJECT)(**options) if isinstance(options, dict) else None
            return made and getattr(made(lambda: None), f"{PROJECT}_impl")

        def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
            marked = hasattr(getattr(module_or_class, name), f"{PROJECT}_spec")
            return getattr(pluggy.HookspecMarker(PROJECT)(lambda: None), f"{PROJECT}_spec") if marked else None

    made = Manager(PROJECT)
    made.add_hookspecs(sys.modules[__name__])
    return made


@hookspec
def mldiag_rules() -> Iterable[Rule]:
    """Rules to offer. A code or name that another plugin has already taken is refused."""


@hookspec
def mldiag_readers() -> Iterable[Reader]:
    """Readers of further file formats; where several match a file, the one of highest priority reads it."""


@hookspec
def mldiag_facts() -> Iterable[Fact]:
    """Facts for rules to ask for by their type; a type has one fact."""


@hookspec
def mldiag_reporters() -> Iterable[Reporter]:
    """Output formats for `--format`."""


@hookspec
def mldiag_faults() -> Iterable[Fault]:
    """Faults for `mldiag selftest` to plant; asked for by that command alone. A name that is taken is refused."""


@hookspec
def mldiag_vocabulary() -> Mapping[str, Iterable[str]]:
    """Further spellings of settings: canonical name → aliases (lower case, underscores)."""
