"""The hooks a plugin can implement. Each is called once, when mldiag loads its plugins, in the guard that lets a broken
plugin cost only itself. A plugin is a module named by an entry point of the group `mldiag`.
"""

# A specification is a signature with a docstring; pluggy never calls it.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from mldiag.facts import Fact
    from mldiag.faults import Fault
    from mldiag.readers import Reader
    from mldiag.reporters import Reporter
    from mldiag.rules import Rule

PROJECT = "mldiag"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


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
