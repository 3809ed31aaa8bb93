"""What ended a program, or nearly did, as its log tells it: tracebacks, lack of memory, signals, the batch system."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from mldiag.artifacts import Collection, Source


class FailureKind(StrEnum):
    """What failed, in the order in which one of several at the end of a log is taken for the cause of the others."""

    DEVICE_MEMORY = "out of device memory"
    HOST_MEMORY = "out of host memory"
    DISK = "no space on the disk"
    LOADER = "a data loader worker died"
    DEVICE = "the device failed"
    EXCEPTION = "an exception"
    INTERRUPTED = "a person stopped it"
    TIME_LIMIT = "the batch system's time limit"
    KILLED = "killed from outside"
    CANCELLED = "the job was cancelled"
    COLLECTIVE = "a collective operation failed"
    CRASHED = "the process crashed"
    LAUNCHER = "a process of the launcher failed"


class LoggedFailure(Struct, frozen=True):
    """One failure in the text of a log.

    Attributes:
        kind: what failed.
        message: the line that says it; of a traceback its last, the type of the exception and what it says. Secrets are
            masked.
        source: that line.
        frame: of a traceback, where it was raised: file, line and function (`train.py:204 in train`); the innermost
            place outside of installed packages where there is one, else the innermost.
        files: names of the files that a traceback runs through, without folders.
        announced: the log calls it an error besides (a level, `Exception occurred`), or it runs through an installed
            package. A sample of text that holds a traceback is hardly either.
        last: no row of a training log, and not much else, stands behind it.
        over: the log says before it that the training was over.
        more: tracebacks of the same log that were passed over, as it has too many.
        aside: raised where it ends nothing: in a destructor, an exit handler or a thread.
    """

    kind: FailureKind
    message: str
    source: Source
    frame: str = ""
    files: tuple[str, ...] = ()
    announced: bool = False
    last: bool = True
    over: bool = False
    more: int = 0
    aside: bool = False

    @property
    def is_traceback(self) -> bool:
        return bool(self.frame)


class LoggedFailures(Collection, frozen=True):
    """The failures that the logs of a run tell of."""

    of = LoggedFailure
    called = "failures in the text of a log"

    items: tuple[LoggedFailure, ...] = ()
