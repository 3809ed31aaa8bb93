"""Early stopping as the run was set up: by a setting, or by a call in its source."""

from __future__ import annotations

from msgspec import Struct

from mldiag.artifacts import Program, Settings, Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact

_CALLS = ("EarlyStopping", "EarlyStoppingCallback", "EarlyStoppingHook", "EarlyStopper", "early_stopping")
_PATIENCE = ("patience", "early_stopping_patience", "stopping_rounds")


class EarlyStopping(Struct, frozen=True):
    """How the run stops by itself.

    Attributes:
        patience: evaluations without improvement after which it stops; None where nothing says.
        source: the setting or the call.
    """

    patience: int | None
    source: Source | None


@fact
def early_stopping(settings: Settings | None, program: Program | None) -> EarlyStopping:
    """From a positive `patience`, an `early_stopping` switch that is on, or a call that sets early stopping up."""
    if settings is not None:
        patience = settings.get("patience", int)
        if patience is not None and patience > 0:
            return EarlyStopping(patience, settings.where("patience"))
        if settings.get("early_stopping", bool):
            return EarlyStopping(None, settings.where("early_stopping"))
    for call in program.calls_to(*_CALLS) if program is not None else ():
        stated = (call.keywords.get(name) for name in _PATIENCE)
        patience = next((v for v in stated if isinstance(v, int) and not isinstance(v, bool)), None)
        return EarlyStopping(patience, call.source)
    raise NotApplicable("no early stopping in the settings or the source")
