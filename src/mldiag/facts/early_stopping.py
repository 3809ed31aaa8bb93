"""Early stopping, by a setting or a call in the source, and whether the log says that it ended the run."""

from __future__ import annotations

from msgspec import Struct

from mldiag.artifacts import Program, Settings, Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.ending import Ending

EARLY_STOPPING_CALLS = ("EarlyStopping", "EarlyStoppingCallback", "EarlyStoppingHook", "EarlyStopper", "early_stopping")
"""Last parts of the calls that set it up, of Keras and Lightning, Hugging Face, mmengine, LightGBM and by hand."""

_PATIENCE = ("patience", "early_stopping_patience", "stopping_rounds")


class EarlyStopping(Struct, frozen=True):
    """How the run stops by itself.

    Attributes:
        patience: evaluations without improvement after which it stops; None where nothing says.
        source: the setting or the call, otherwise the log.
        ended: the log says that it ended the run.
    """

    patience: int | None
    source: Source | None
    ended: bool = False

    def fired(self, waited: int) -> bool:
        """Whether a run whose last `waited` evaluations were no better was ended by its known patience, or says so.

        One more or less: some count the best evaluation itself, some stop after the next.
        """
        return self.ended or (self.patience is not None and abs(waited - self.patience) <= 1)


@fact
def early_stopping(settings: Settings | None, program: Program | None, ending: Ending | None) -> EarlyStopping:
    """From a positive `patience`, `early_stopping` that is on or a patience, a call, or the end of the log."""
    found = _set_up(settings, program)
    if ending is not None and ending.stopped:
        return EarlyStopping(found.patience, found.source, True) if found else EarlyStopping(None, ending.source, True)
    if found is None:
        raise NotApplicable("no early stopping in the settings, the source or the log")
    return found


def _set_up(settings: Settings | None, program: Program | None) -> EarlyStopping | None:
    if settings is not None:
        patience = settings.get("patience", int)
        if patience is not None and patience > 0:
            return EarlyStopping(patience, settings.where("patience"))
        if settings.get("early_stopping", bool):
            return EarlyStopping(None, settings.where("early_stopping"))
        counted = settings.get("early_stopping", int)  # `early_stop: 10` is its patience
        if counted is not None and counted > 0:
            return EarlyStopping(counted, settings.where("early_stopping"))
    for call in program.calls_to(*EARLY_STOPPING_CALLS) if program is not None else ():
        stated = (call.keywords.get(name) for name in _PATIENCE)
        patience = next((v for v in stated if isinstance(v, int) and not isinstance(v, bool)), None)
        return EarlyStopping(patience, call.source)
    return None
