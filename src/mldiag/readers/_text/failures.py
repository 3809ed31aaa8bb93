"""Failures in the text of a log: tracebacks wherever they stand, what systems and runtimes say at the end.

One literal is looked for in all of a log (a quarter of a millisecond for a MiB); all else is of its last lines only, as
whoever goes on after it has not failed. A traceback has the shape that Python prints: a line with nothing but its
beginning, frames, and an exception at the indentation of the beginning; the same words in a sentence, in quotes or in
a cell of data are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from mldiag.artifacts import Source
from mldiag.failures import FailureKind, LoggedFailure
from mldiag.files import Block, File
from mldiag.patterns import lazily
from mldiag.readers._text.lines import COLOURS
from mldiag.secrets import masked

TAIL = 2**17
"""Bytes at the end of a log in which something else than a traceback is looked for."""
MOST = 200
"""Tracebacks that are kept of one log, besides those at its end."""
LONGEST = 2**19
"""Bytes of a traceback; those of compiled models, with a graph in the message, take some ten thousand."""
_MESSAGE = 600
"""Characters of a message that are kept."""
_LONGEST_LINE = 4_000
"""Bytes of a line that are looked at."""
_CONTEXT = 400
"""Bytes before a traceback that are looked at for what it is said to be."""
_STRAY = 40
"""Lines of other processes between two lines of a traceback."""
_BEHIND = 40
"""Lines behind a failure from which on the program went on: launchers and trackers say their last words in fewer."""
_CUT = "a traceback whose last line is missing"
_LARGEST = 64 * 2**20
"""Bytes of a log without a row that are searched."""

_BEGIN = b"Traceback (most recent call last)"
_BEGUN = _BEGIN.decode()
_REST = lazily(r"[:\s\u2500-\u257f]*")
_QUOTED = ('"', "'", "`", ">", "\\", "*", "#", "=")
_RANK = lazily(r"(?:\[[\w ]+\]:)+|\d+:|\(\w[^()]*\)")
"""What torchrun, srun and Ray write before each line of a process."""
_STAMP = lazily(r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?[ \t|]?")
_FRAME = lazily(r'[>\s]*File "([^"\n]+)"(?:, line (\d+)(?:, in (\S+))?)?')
_BOX_FRAME = lazily(r"[\u2502|]\s+(\S.*?):(\d+) in (\S+)")
_NAME = lazily(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?::(?:\s+(.*))?)?$")
_RAISED = ("Error", "Exception", "Interrupt", "Exit", "Iteration", "Timeout", "Killed", "Warning", "Failure", "Abort")
_LEVELS = frozenset({"INFO", "WARNING", "WARN", "ERROR", "DEBUG", "CRITICAL", "FATAL", "NOTE", "TRACE", "File", "Epoch",
                     "Step", "Loss"})  # fmt: skip
_INSTALLED = lazily(
    r"site-packages|dist-packages|[/\\]lib[/\\]python\d|[/\\]Lib[/\\]|<frozen |[/\\](?:torch|tensorflow|keras|jax)[/\\]"
    r"|torchinductor|torchrun$"
)
_CHAINED = lazily(r"During handling of the above exception|direct cause of the following exception")
_ASIDE = lazily(r"Exception ignored in|Error in sys\.excepthook|Exception in thread|Error in atexit")
_OVER = lazily(
    r"(?i).*\b(?:(?:training|train|fit|optimi[sz]ation|run)\s+(?:is\s+|has\s+)?(?:been\s+)?(?:complete|completed|finished"
    r"|done|ended|over)|(?:finished|completed|done)\s+(?:the\s+)?(?:training|train|fit)|early[\s_-]?stopp(?:ing|ed)"
    r"|max_(?:epochs|steps)=\d+`? reached)\b"
)
_PART = lazily(r"(?i)\b(?:epochs?|batch\w*|steps?|iter\w*|valid\w*|eval\w*|test\w*|fold\w*)\b(?!=)")
"""What is done many times in a training; `max_epochs=3` reached is over."""
_LAST = 60
"""Lines before a failure in which a program says that the training was over."""
_SAYS_ERROR = lazily(r"(?i)\b(?:error|exception|failed|failure|fatal|critical|crash\w*|caught|aborting)\b")

# What of a line says which kind it is; of an exception its type and message, else the whole line of the log.
_KINDS: tuple[tuple[FailureKind, str], ...] = (
    (
        FailureKind.DEVICE_MEMORY,
        r"\bOutOfMemoryError\b|(?:CUDA|HIP|MPS backend|XPU) out of memory|RESOURCE_EXHAUSTED|ResourceExhaustedError"
        r"|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED",
    ),
    (FailureKind.LOADER, r"DataLoader worker .*(?:killed by signal|exited unexpectedly)"),
    (
        FailureKind.HOST_MEMORY,
        r"^MemoryError\b|bad_alloc|DefaultCPUAllocator: (?:can't|not enough)|Cannot allocate memory"
        r"|Unable to allocate .* for an array",
    ),
    (FailureKind.DISK, r"No space left on device|Disk quota exceeded|\[Errno (?:28|122)\]"),
    (
        FailureKind.COLLECTIVE,
        r"\bncc?l(?:Internal|System|UnhandledCuda|Remote|InvalidUsage)Error|NCCL (?:error|timeout)|DistBackendError"
        r"|[Cc]ollective operation timeout|DistStoreError|DistNetworkError|Timed out (?:initializing|waiting)"
        r"|Connection closed by peer",
    ),
    (FailureKind.DEVICE, r"CUDA error|device-side assert|illegal memory access|CUDNN_STATUS|cuDNN error|CUBLAS_STATUS"),
    (FailureKind.INTERRUPTED, r"^KeyboardInterrupt\b"),
    (FailureKind.CANCELLED, r"\bSignalException\b|got signal: \d+"),
    (FailureKind.LAUNCHER, r"\bChildFailedError\b|\bProcessExitedException\b|\bCalledProcessError\b|ProcessRaisedE"),
)

# Lines of systems and runtimes, each of which ends a program; needles of them are looked for first.
_SAID: tuple[tuple[FailureKind, str], ...] = (
    (
        FailureKind.HOST_MEMORY,
        r"slurmstepd: error: .*(?:oom[-_ ]kill|[Ee]xceeded (?:job|step) memory).*|srun: error: .*: Out Of Memory"
        r"|.*\bOut of memory: Kill(?:ed)? process \d+.*|TERM_MEMLIMIT: .*|.*what\(\):\s+std::bad_alloc",
    ),
    (FailureKind.TIME_LIMIT, r".*\bDUE TO TIME LIMIT\b.*|=>> PBS: job killed: walltime .*|TERM_RUNLIMIT: .*"),
    (
        FailureKind.CANCELLED,
        r"(?:slurmstepd|srun): (?:error: )?.*\bCANCELLED AT\b.*|Terminated|.*window-CLOSE event.*|TERM_OWNER: .*",
    ),
    (FailureKind.INTERRUPTED, r".*Detected KeyboardInterrupt\b.*|\^C"),
    (
        FailureKind.KILLED,
        r"Killed|.*: line \d+:\s+\d+ Killed\s.*|.*\bexitcode ?: ?-9\b.*|.*\bSignal 9 \(SIGKILL\).*"
        r"|.*exits with return code = -9\b.*|srun: error: .*: task.*: Killed",
    ),
    (FailureKind.LAUNCHER, r".*\b[Ee]xit(?:ed|s)? with (?:exit |return )?(?:code|status)[ =:]+-?[1-9]\d*\b.*"),
    (
        FailureKind.COLLECTIVE,
        r".*Watchdog caught collective operation timeout.*|.*\bNCCL (?:WARN )?.*unhandled (?:system|cuda) error.*",
    ),
    (
        FailureKind.DEVICE_MEMORY,
        r".*\b(?:torch\.(?:cuda\.)?OutOfMemoryError: |RuntimeError: )?(?:CUDA|HIP) out of memory\. Tried to allocate .*"
        r"|.*\bRESOURCE_EXHAUSTED: (?:Out of memory|OOM)\b.*",
    ),
    (FailureKind.LOADER, r"RuntimeError: DataLoader worker \(pid.*"),
    (FailureKind.DISK, r"(?:OSError|IOError): .*(?:No space left on device|Disk quota exceeded).*"),
    (FailureKind.DEVICE, r".*Assertion `.*` failed\.|(?:RuntimeError|.*c10::Error\w*): CUDA error: .*"),
    (
        FailureKind.CRASHED,
        r".*\bSegmentation fault\b.*|.*\(core dumped\).*|terminate called after throwing .*|Bus error.*"
        r"|(?:.*: )?forrtl: (?:error|severe).*|Aborted|Fatal Python error: .*",
    ),
)
_NEEDLES = (
    b"oom", b"f memory", b"emory limit", b"TERM_", b"bad_alloc", b"TIME LIMIT", b"PBS: job", b"CANCELLED",
    b"Terminated", b"window-CLOSE", b"KeyboardInterrupt", b"^C", b"Killed", b"exitcode", b"return code", b"SIGKILL",
    b"Watchdog", b"NCCL", b"DataLoader worker", b"Out Of Memory", b"RESOURCE_EXHAUSTED", b"No space left",
    b"quota exceeded", b"CUDA error", b"Assertion `", b"Segmentation", b"core dumped", b"terminate called",
    b"Bus error", b"forrtl", b"Aborted", b"Fatal Python", b"xit",
)  # fmt: skip

_NAMED_LOG = lazily(
    r"(?i)(?:.*\.|)(?:log|out|err|stdout|stderr)(?:\.\d+)?|.*log.*\.txt|(?:nohup|slurm|console|stdout|stderr)[\w.-]*"
    r"|output\.txt"
)
_OTHER = lazily(
    r"(?i)(?:.*[^a-z]|)(?:pip|install|setup|build|make|cmake|pytest|tests?|lint|docker|conda|apt|download|debug|"
    r"debug-internal|debug-core|jupyter|notebook)(?:[^a-z].*|)"
)
"""Logs of other programs than a training."""


class _Open(Struct):
    """A traceback that goes on in the next block: its first line, what stood before it, the lines so far."""

    line: int
    before: bytes
    data: bytes


class Failures:
    """Takes a log block by block, beside what reads its rows."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._found: list[_Traceback] = []
        self._passed_over = 0
        self._open: _Open | None = None
        self._before = b""
        self._tail: list[Block] = []

    def read(self, block: Block) -> None:
        """Takes the next lines."""
        data = block.data
        if (opened := self._open) is not None:
            self._open, self._before = None, opened.before
            self._search(opened.data + data, opened.line)
        elif self._found or _BEGIN in data:
            self._search(data, block.line)
        self._tail.append(block)
        while len(self._tail) > 1 and sum(len(b.data) for b in self._tail[1:]) >= TAIL:
            del self._tail[0]
        self._before = data[-_CONTEXT:]

    def finish(self, last_row: float = 0) -> Iterator[LoggedFailure]:
        """The failures, in the order of their lines.

        Args:
            last_row: line of the last row of a training log; 0 where there is none.
        """
        if (opened := self._open) is not None:
            self._open, self._before = None, opened.before
            self._search(opened.data, opened.line, last=True)
        data = b"".join(block.data for block in self._tail)
        begin = data.rfind(b"\n", 0, max(0, len(data) - TAIL)) + 1
        if not self._found and not any(data.find(needle, begin) >= 0 for needle in _NEEDLES):
            return
        first = (self._tail[0].line if self._tail else 1) + data.count(b"\n", 0, begin)
        tail = list(enumerate(map(_shown, data[begin:].decode(errors="replace").split("\n")), first))
        spans = [(t.line, t.end) for t in self._found]
        free = [(n, line) for n, line in tail if n > last_row and line and not any(a <= n <= b for a, b in spans)]
        told = list(self._told(free))
        said = {f.source.line for f in told}
        others = [(n, _goes_on(line)) for n, line in free if n not in said]
        over = [n for n, line in free if _OVER.match(line) and not _PART.search(line)]
        kept = [
            replace(f, last=sum(weight for n, weight in others if n > (f.source.line or 0)) <= _BEHIND) for f in told
        ]
        behind = 0
        for traceback in reversed(self._found):
            # What else is told of failures at the end is no sign of a program that goes on.
            behind += max(0, traceback.after - (len(said) if traceback is self._found[-1] else 0))
            if not traceback.raised and traceback is self._found[-1] and traceback.frames and not traceback.after:
                traceback = replace(traceback, raised=_CUT, at=traceback.end)
            if traceback.raised:
                own = traceback.failure(self._path)
                kept.append(replace(own, last=traceback.at > last_row and behind <= _BEHIND))
        kept.sort(key=lambda f: f.source.line or 0)
        for index, failure in enumerate(kept):
            at = failure.source.line or 0
            begun = next((a for a, b in spans if a <= at <= b), at)
            told_before = failure.last and any(begun - _LAST <= n < begun for n in over)
            yield replace(failure, over=told_before, more=0 if index else self._passed_over)

    def _search(self, data: bytes, line: int, *, last: bool = False) -> None:
        """Takes the tracebacks of some lines, of which the number of the first is given; `last`: none come behind."""
        at = counted = 0
        while True:
            begun, at = at, data.find(_BEGIN, at)
            self._count_others(data, begun, at if at >= 0 else len(data))
            if at < 0:
                return
            if len(self._found) >= MOST:
                self._passed_over += 1
                if at < len(data) - TAIL:
                    self._found[-1] = replace(self._found[-1], after=_BEHIND + 1)
                    at += len(_BEGIN)
                    continue
                del self._found[MOST // 2]
            begin = data.rfind(b"\n", 0, at) + 1
            line += data.count(b"\n", counted, begin)
            counted = begin
            before = (self._before if begin < _CONTEXT else b"") + data[max(0, begin - _CONTEXT) : begin]
            lines = _Lines(data, begin, begin + LONGEST)
            read = _traceback(lines, line)
            if read is None:
                end = data.find(b"\n", at)
                at = end + 1 if end >= 0 else len(data)
            elif not lines.ended or last or len(data) - begin > LONGEST:
                self._add(read, before)
                # Between the lines of one process others may tell theirs.
                at = at + len(_BEGIN) if read.mixed else max(lines.at, at + len(_BEGIN))
            else:
                self._open = _Open(line, before, data[begin:])
                return

    def _count_others(self, data: bytes, begin: int, end: int) -> None:
        """Counts what stands behind the last traceback, as far as it matters."""
        if not self._found or self._found[-1].after > _BEHIND:
            return
        after, lines = self._found[-1].after, _Lines(data, begin, end)
        while after <= _BEHIND and (line := lines.next()) is not None:
            after += _goes_on(line)
        self._found[-1] = replace(self._found[-1], after=after)

    def _add(self, read: _Traceback, context: bytes) -> None:
        before = [line for line in context.decode(errors="replace").split("\n") if line.strip()][-3:]
        said = "\n".join(before)
        own = replace(
            read,
            chained=bool(_CHAINED.search(said)) or read.label.endswith("Original"),
            aside=bool(_ASIDE.search(said)),
            announced=read.announced or bool(_SAYS_ERROR.search(" ".join((*before[-2:], read.label)))),
        )
        if own.chained and self._found and own.raised:
            self._found[-1] = self._found[-1].followed_by(own)
        else:
            self._found.append(own)

    def _told(self, lines: list[tuple[int, str]]) -> Iterator[LoggedFailure]:
        """What other lines than tracebacks say."""
        expressions = [(kind, _said(kind)) for kind, _ in _SAID]
        for number, line in lines:
            text = line.strip()[:_LONGEST_LINE]
            kind = next((kind for kind, matches in expressions if matches(text)), None)
            if kind is not None:
                told = masked(text[:_MESSAGE])
                source = Source(self._path, number, excerpt=told[:200])
                yield LoggedFailure(kind, told, source, announced=True)


def tells_of_a_failure(file: File) -> bool:
    """Whether a log without a row tells of a failure, by its name and its text."""
    name = file.name
    if not _NAMED_LOG.fullmatch(name) or _OTHER.fullmatch(name) or file.size > _LARGEST:
        return False
    failures = Failures(file.path)
    for block in file.blocks():
        failures.read(block)
    return any(f.last and not f.aside for f in failures.finish())


class _Lines:
    """Hands out some lines one by one; `at` is the byte behind the last, `ended` whether there was none left."""

    def __init__(self, data: bytes, at: int, stop: int) -> None:
        self._data = data
        self._stop = min(stop, len(data))
        self.at = at
        self.count = 0
        self.ended = False

    def next(self) -> str | None:
        if self.at >= self._stop:
            self.ended = True
            return None
        end = self._data.find(b"\n", self.at, self._stop)
        end = self._stop if end < 0 else end
        # What is on the screen of a line that was redrawn is its end.
        begin = max(self.at, self._data.rfind(b"\r", self.at, end - 1) + 1)
        line = self._data[begin : min(end, begin + _LONGEST_LINE)].decode(errors="replace")
        self.at = end + 1
        self.count += 1
        return _shown(line)


class _Traceback(Struct, frozen=True):
    """What was read of one.

    Attributes:
        line, end: its first and last line. `label`: what stands before it in the first.
        raised: the exception with its message, on line `at`.
        frames: file, line and function, the outermost first.
        mixed: lines of other processes stand between its own.
        after: lines behind it, up to the next one, that are of a program which goes on.
    """

    line: int
    end: int
    label: str = ""
    raised: str = ""
    at: int = 0
    frames: tuple[tuple[str, str, str], ...] = field(default_factory=tuple)
    announced: bool = False
    chained: bool = False
    aside: bool = False
    kind: FailureKind = FailureKind.EXCEPTION
    mixed: bool = False
    after: int = 0

    def followed_by(self, other: _Traceback) -> _Traceback:
        """As one with what was raised while it was handled; the more telling of both is what is said."""
        ranks = list(FailureKind)
        first, second = ranks.index(self.kind), ranks.index(other.kind)
        base = self if first < second else other
        return replace(
            base,
            line=self.line,
            end=other.end,
            announced=self.announced or other.announced,
            aside=self.aside and other.aside,
        )

    def failure(self, path: str) -> LoggedFailure:
        told = masked(self.raised[:_MESSAGE])
        own = [f for f in self.frames if not _INSTALLED.search(f[0])]
        where, line, function = (own or list(self.frames))[-1]
        frame = _base(where) + (f":{line}" if line else "") + (f" in {function}" if function else "")
        files = tuple(dict.fromkeys(_base(f[0]) for f in self.frames))
        source = Source(path, self.at, excerpt=told[:200])
        return LoggedFailure(self.kind, told, source, frame, files, self.announced, aside=self.aside)


def _traceback(lines: _Lines, first: int) -> _Traceback | None:
    """Reads a traceback whose first line is next; None where this is none. Without `raised` it was not at its end."""
    header = lines.next() or ""
    stamped = _STAMP.match(header)
    if stamped is not None:
        header = header[stamped.end() :]
    label, found, rest = header.partition(_BEGUN)
    if not found or not _REST.fullmatch(rest) or label.rstrip().endswith(_QUOTED):
        return None
    sign = label.rstrip()
    indent = len(header) - len(header.lstrip())
    frames: list[tuple[str, str, str]] = []
    labelled: bool | None = None if sign else False
    inside, stray, end, mixed = False, 0, first, False
    if _RANK.fullmatch(sign):
        labelled, indent = True, len(label) - len(sign)

    def result(raised: str = "", at: int = 0) -> _Traceback:
        installed = any(_INSTALLED.search(f[0]) for f in frames)
        kind = kind_of(raised)
        return _Traceback(
            first, end, sign, raised, at, tuple(frames), installed, kind=kind, mixed=mixed, after=0 if raised else stray
        )

    while (line := lines.next()) is not None:
        if stamped is not None and (stamp := _STAMP.match(line)) is not None:
            line = line[stamp.end() :]
        if labelled is None:
            labelled = line.startswith(sign)
            indent = len(label) - len(sign) if labelled else indent
        if labelled:
            if not line.startswith(sign):
                stray, mixed = stray + 1, True
                if stray > 10 * _STRAY:
                    break
                continue
            line = line[len(sign) :]
        if not (text := line.strip()):
            continue
        if _BEGUN in line and not frames and not _is_wrapped(line):
            break
        if (frame := _FRAME.match(line) or _BOX_FRAME.match(text)) is not None:
            groups = frame.groups(default="")
            frames.append((groups[0], groups[1], groups[2]))
        own = len(line) - len(line.lstrip())
        if own > indent or frame is not None or text[0] in "\u2502\u256d\u2570|":
            inside, stray, end = True, 0, first + lines.count - 1
            continue
        if frames and (name := _NAME.fullmatch(text)) and _is_exception(name[1], inside=inside):
            at = end = first + lines.count - 1
            return result(_with_message(name, text, lines), at)
        inside = False
        stray += 1
        if stray > _STRAY:
            break
    return result() if frames or lines.ended else None


def _is_wrapped(line: str) -> bool:
    """The second place in which PowerShell names the first line of what a program wrote to its error stream."""
    return "CategoryInfo" in line


def _with_message(name: object, text: str, lines: _Lines) -> str:
    """The exception with its message; the first line of that which says something."""
    if not text.endswith(":"):
        return text
    at, count = lines.at, lines.count
    more = (lines.next() or "").strip()
    lines.at, lines.count = at, count
    return f"{text} {more}" if more and _BEGUN not in more and any(map(str.isalpha, more)) else text.rstrip(":")


def _is_exception(name: str, *, inside: bool) -> bool:
    """Whether a word alone, or before a colon, is the type of an exception."""
    last = name.rpartition(".")[2]
    if last.endswith(_RAISED):
        return True
    return inside and last[0].isupper() and last not in _LEVELS


def kind_of(raised: str) -> FailureKind:
    """The kind of an exception, by its type and message."""
    for kind, expression in _KINDS:
        if _compiled(expression)(raised):
            return kind
    return FailureKind.EXCEPTION


_LAST_WORDS = (
    "wandb:", "[rank", "srun:", "slurmstepd:", "frame #", "Exception raised from", "====", "----", "To debug",
    "terminate ", "CUDA kernel", "For debugging", "Compile with", "Device-side", "libc++abi",
)  # fmt: skip
_MOVES = lazily(r"\d%\||\d(?:it/s|s/it)\b")
_BAR = 10
_CLOSING = lazily(r"[WEIF]\d{4} |\[\d+\]:$")
"""What launchers, trackers and runtimes write behind a failure; glog's date begins what torchrun says."""


def _goes_on(line: str) -> int:
    """How much a line behind a failure tells of a program that goes on: 0 for last words, 1 for other text.

    A bar that moves tells more, but a bar is drawn once more when the program ends with it.
    """
    if not line or line[0].isspace() or line.startswith(_LAST_WORDS) or _CLOSING.match(line):
        return _BAR if _MOVES.search(line) else 0
    return _BAR if _MOVES.search(line) else 1


def _shown(line: str) -> str:
    """A line as it stood on the screen in the end."""
    if "\x1b" in line:
        line = COLOURS.sub("", line)
    line = line.rstrip("\r")
    return line.rpartition("\r")[2] if "\r" in line else line


def _base(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _said(kind: FailureKind) -> Callable[[str], object]:
    import re

    return re.compile(next(text for own, text in _SAID if own is kind)).fullmatch


def _compiled(text: str) -> Callable[[str], object]:
    import re

    return re.compile(text).search
