"""How the text logs of a run end: in an error, by hand, with the program's own last word, or in the middle."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Source
from mldiag.errors import NotApplicable, ReadError
from mldiag.facts import fact
from mldiag.failures import FailureKind, LoggedFailure, LoggedFailures
from mldiag.files import File
from mldiag.packed import Unpacked, unpacked_name
from mldiag.patterns import lazily
from mldiag.run import Run
from mldiag.secrets import masked

TAIL = 2**17
"""Bytes at the end of a log that are looked at."""
_LAST = 30
"""Lines at the end among which a program says that it is done."""
_WIDTH = 160
_ORDER = list(FailureKind)

_COLOUR = lazily(r"\x1b\[[0-9;]*[A-Za-z]")
_ERROR = lazily(r"\b\w*(?:Error|Exception)\b")
_DONE = lazily(r"(?i).*\b(?:done|finished|completed|fertig|terminé|concluído|完成|结束)\W*")
"""The very last line of a program that came to its end."""
_NOT_TRAINING = lazily(
    r"(?i)(?:^|[^a-z])(?:eval|evaluate|evaluation|test|predict|prediction|infer|inference)(?:$|[^a-z])"
)
_LOG = lazily(r"(?i)(?:.*\.|)(?:log|out|err|stdout|stderr)(?:\.\d+)?|.*log.*\.txt|(?:train|nohup|slurm|console).*\.txt")
_HELD_OUT = lazily(r"(?i)(?:val|valid|validation|dev|test)\.txt")
_FINISHED = lazily(
    r"(?i).*\b(?:(?:training(?: pipeline)?|train|fit|optimi[sz]ation|run|job)\s+(?:is\s+|has\s+)?(?:been\s+)?"
    r"(?:complete|completed|finished|done|ended|over)|(?:finished|completed|done)\s+(?:the\s+)?(?:training|train|fit)"
    r"|early[\s_-]?stopp(?:ing|ed)|max_(?:epochs|steps)=\d+`? reached)\b"
)
"""detectron2's `Total training time` is none of these: it is written after an interruption, too."""
_STOPPED = lazily(
    r"(?i).*(?:\bearly[\s_-]?stopp(?:ing|ed)\b|\bstopp(?:ing|ed) early\b|stopped by overfitting detector"
    r"|signaling trainer to stop|früher abbruch|frühzeitig (?:beendet|abgebrochen)|arrêt (?:anticipé|précoce)"
    r"|(?:parada|detención) (?:temprana|anticipada)|parada antecipada|arresto anticipato|早停|提前停止)"
)
_WAITS = lazily(r"(?i)\b(?:counter|out of|patience\s*[=:]|enabled|if|callback|monitor(?:ing|s)?)\b")
"""A line about early stopping that says how long it has waited, or how it is set up."""
_ITSELF = lazily(r"(?i)early[\s_-]?stopp|max_(?:epochs|steps)=")
_PART = lazily(r"(?i)\b(?:epochs?|batch\w*|steps?|iter\w*|valid\w*|eval\w*|test\w*|sav\w+|checkpoint\w*|load\w*)\b")
"""What is done many times in a training."""
_LEFT = lazily(r"\beta[:=]\s*(?:(\d+) days?,? )?((?:\d+:)?\d{1,2}:\d{2})(?![\d:])")
_EACH = lazily(r"\btime(?:_per_iter)?[:=]\s*(\d+\.\d+)(?:\s|,|$|s\b)")
_STEP = lazily(r"\b(?:iter|iteration|step|global_step)[:=]\s*(\d+)(?!\d*[./])")
_ROW = lazily(r"(?i)\bloss\w*\W{0,4}\d|\b(?:epochs?|steps?|iter(?:ation)?s?|batch(?:es)?)\b\W{0,4}(?:[2-9]|\d\d)")
_DATED = lazily(r"[\[(]?\d{2,4}[-/.]\d{2}(?:[-/.]\d{2,4})?[ T]\d{2}:\d{2}")


class Ending(Struct, frozen=True):
    """The end of one log.

    Attributes:
        source: the line that tells most: that of the failure that ended the program, else the last that says anything.
        said: that line, cut to a length for messages.
        failure: what ended the program, after every value of its log; None where nothing did.
        finished: the program says that its training is over.
        left: steps that were left by the log's own estimate (`eta`), and the last step; None where it gives none.
        stopped: one of the last lines says that early stopping ended the training.
        empty: a log of a training, by its name, that has dated lines and none that names a loss, or a step or epoch
            above 1.
    """

    source: Source
    said: str
    failure: LoggedFailure | None = None
    finished: bool = False
    left: tuple[float, float] | None = None
    empty: bool = False
    stopped: bool = False


@fact
def ending(run: Run, failures: LoggedFailures | None) -> Ending:
    """Looks at the last lines of every text log; of several logs the one that failed decides, else the one with rows.

    Where a log with rows says that the training is over, no other one's error ended it.
    """
    found = [e for path in _logs(run) if (e := _ending(run, path)) is not None]
    if not found:
        raise NotApplicable("no text log was found")
    finished = [e for e in found if e.finished and (e.source.path in run.rows or len(found) == 1)]
    if finished:
        return finished[0]
    last = [f for f in failures or () if f.last and not (f.aside or f.over)]
    last = [f for f in last if not _NOT_TRAINING.search(f.source.path.rpartition("/")[2])]
    own = min(found, key=lambda e: e.source.path not in run.rows)
    if not last:
        return own
    cause = min(last, key=lambda f: _ORDER.index(f.kind))
    return replace(own, source=cause.source, said=cause.message[:_WIDTH], failure=cause)


def _logs(run: Run) -> list[str]:
    """Text logs, those without a row as well."""
    if run.pre:
        return []
    read = [path for path, reader in run.files.items() if reader == "text_log"]
    unread = [u.path for u in run.unread if not u.partial]
    names = {path: path.rpartition("/")[2] for path in (*read, *unread)}
    logs = [p for p in unread if _LOG.fullmatch(names[p]) and not _NOT_TRAINING.search(names[p])]
    # `train.txt` beside `val.txt` or `test.txt` is a text to learn from.
    held_out = {p.rpartition("/")[0] for p in unread if _HELD_OUT.fullmatch(names[p])}
    return read + [p for p in logs if names[p].lower() != "train.txt" or p.rpartition("/")[0] not in held_out]


def _ending(run: Run, path: str) -> Ending | None:
    file = Unpacked(run.root, path) if unpacked_name(path) else File(run.root, path)
    try:
        tail, before = _tail(file)
    except (ReadError, OSError):
        return None
    # Of a line that was drawn again and again the last state is what was seen.
    shown = [_COLOUR.sub("", line.rstrip("\r\n \t").rpartition("\r")[2]) for line in tail.split("\n")]
    told = [i for i, line in enumerate(shown) if line.strip(" =-*\t")]
    if not told:
        return None

    stopped = any(_STOPPED.match(shown[i]) and not _WAITS.search(shown[i]) for i in told[-_LAST:])
    finished = stopped or any(_is_over(shown[i]) for i in told[-_LAST:])
    finished = finished or (_DONE.fullmatch(last := shown[told[-1]]) is not None and not _PART.search(last))
    empty = not before and path not in run.rows and not finished and _begins_training(path, shown)
    said = masked(shown[told[-1]].strip())[:_WIDTH]
    left = _left(shown[i] for i in reversed(told[-_LAST:]))
    return Ending(Source(path, before + told[-1] + 1, excerpt=said), said, None, finished, left, empty, stopped)


def _is_over(line: str) -> bool:
    """Whether a line says that the training is over, and not only a part of it."""
    if not _FINISHED.match(line) or _ERROR.search(line) or (_STOPPED.match(line) and _WAITS.search(line)):
        return False
    return _ITSELF.search(line) is not None or _PART.search(line) is None


def _begins_training(path: str, shown: list[str]) -> bool:
    """Whether a log of a training, by its name, has dated lines but names no loss, and no step or epoch above 1."""
    named = "train" in path.rpartition("/")[2].lower()
    return named and any(map(_DATED.match, shown)) and not any(map(_ROW.search, shown))


def _tail(file: File) -> tuple[str, int]:
    """The last lines of a file as text, and how many lines stand before them."""
    if file.is_binary:
        raise ReadError("no text")
    if file.encoding.startswith("utf-8") and type(file) is File and file.size > 2 * TAIL:
        with file.open() as stream:
            before, begin = 0, file.size - TAIL
            while begin - stream.tell() > 0 and (piece := stream.read(min(2**20, begin - stream.tell()))):
                before += piece.count(b"\n")
            data = stream.read(TAIL)
        cut = data.find(b"\n") + 1
        return data[cut:].decode(errors="replace"), before + (1 if cut else 0)
    data = b"".join(block.data for block in file.blocks())
    begin = data.rfind(b"\n", 0, max(0, len(data) - TAIL)) + 1
    return data[begin:].decode(errors="replace"), data.count(b"\n", 0, begin)


def _left(lines: Iterable[str]) -> tuple[float, float] | None:
    """Steps left and last step, from the last line that gives an estimate of the time left and the time of a step."""
    for line in lines:
        left, each, step = _LEFT.search(line), _EACH.search(line), _STEP.search(line)
        if left and each and step and float(each[1]) > 0:
            parts = [float(x) for x in left[2].split(":")]
            seconds = math.fsum(x * 60**k for k, x in enumerate(reversed(parts))) + 86_400 * float(left[1] or 0)
            return seconds / float(each[1]), float(step[1])
    return None
