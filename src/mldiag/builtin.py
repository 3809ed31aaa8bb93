"""The core's own readers, facts and reporters, offered through the same hooks as a plugin's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mldiag.facts import Fact
from mldiag.hooks import hookimpl
from mldiag.parts import facts_in, faults_in, indexed_readers_in, reporters_in
from mldiag.readers import Reader
from mldiag.reporters import Reporter

if TYPE_CHECKING:
    from mldiag.faults import Fault


@hookimpl
def mldiag_readers() -> list[Reader]:
    """One per module of `mldiag.readers`."""
    return indexed_readers_in("mldiag.readers")


@hookimpl
def mldiag_facts() -> list[Fact]:
    """One or more per module of `mldiag.facts`."""
    return facts_in("mldiag.facts")


@hookimpl
def mldiag_faults() -> list[Fault]:
    """One or a few per module of `mldiag.faults`."""
    return faults_in("mldiag.faults")


@hookimpl
def mldiag_reporters() -> list[Reporter]:
    """One per module of `mldiag.reporters`."""
    return reporters_in("mldiag.reporters")
