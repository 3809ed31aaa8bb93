"""RUN006: the text of a log tells of a failure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from mldiag.api import (
    Ending,
    Evidence,
    FailureKind,
    Finding,
    Fix,
    LoggedFailure,
    LoggedFailures,
    Metrics,
    NotApplicable,
    Plan,
    Program,
    Settings,
    Severity,
    Source,
    lazily,
    rule,
)

_ORDER = list(FailureKind)
_FROM_OUTSIDE = (FailureKind.INTERRUPTED, FailureKind.CANCELLED, FailureKind.TIME_LIMIT)
_SEVERITY = {
    FailureKind.INTERRUPTED: Severity.INFO,
    FailureKind.CANCELLED: Severity.INFO,
    FailureKind.TIME_LIMIT: Severity.WARNING,
}
_WHAT = {
    FailureKind.DEVICE_MEMORY: "the device ran out of memory",
    FailureKind.HOST_MEMORY: "the machine ran out of memory",
    FailureKind.DISK: "the disk was full",
    FailureKind.LOADER: "a worker of the data loader died",
    FailureKind.DEVICE: "the device failed",
    FailureKind.EXCEPTION: "the program ended with an exception",
    FailureKind.INTERRUPTED: "a person stopped the program",
    FailureKind.TIME_LIMIT: "the batch system's time limit ended the job",
    FailureKind.KILLED: "the process was killed",
    FailureKind.CANCELLED: "the job was cancelled",
    FailureKind.COLLECTIVE: "a collective operation failed",
    FailureKind.CRASHED: "the process crashed",
    FailureKind.LAUNCHER: "a process that the launcher started failed",
}
_ADVICE = {
    FailureKind.DEVICE_MEMORY: (
        "halve the micro-batch and double the accumulation, which keeps the effective batch; else shorten the sequence "
        "or turn on activation checkpointing"
    ),
    FailureKind.HOST_MEMORY: "use fewer loader workers or load the data in pieces, or ask for more memory",
    FailureKind.DISK: "free space, or keep fewer checkpoints, and check that the last one was written whole",
    FailureKind.LOADER: (
        "use fewer workers or a larger /dev/shm (docker: --shm-size); with num_workers=0 the loader's own error shows"
    ),
    FailureKind.DEVICE: (
        "run a step on the CPU or with CUDA_LAUNCH_BLOCKING=1, which names the operation; a label or token id out of "
        "range is the usual cause of a device-side assert"
    ),
    FailureKind.EXCEPTION: "correct what the exception names; a short run on a few batches shows whether it is gone",
    FailureKind.INTERRUPTED: "resume from the last checkpoint before comparing this run",
    FailureKind.TIME_LIMIT: "ask for more time, or write a checkpoint before the limit and resume from it",
    FailureKind.KILLED: "look into the system's log: a SIGKILL that nobody sent is mostly the lack of host memory",
    FailureKind.CANCELLED: "resume from the last checkpoint before comparing this run",
    FailureKind.COLLECTIVE: (
        "look into the logs of the other ranks, since the one that waits reports it, not the one that is late; "
        "compare how many batches each rank has"
    ),
    FailureKind.CRASHED: "run it with `python -X faulthandler`, which shows the line of Python it crashed in",
    FailureKind.LAUNCHER: "look into the log of the rank that failed first; the launcher only repeats that one did",
}
_NUMBER = lazily(r"0x[0-9a-f]+|\d+(?:\.\d+)?")
_NOT_TRAINING = lazily(
    r"(?i)(?:^|[^a-z])(?:eval|evaluate|evaluation|test|predict|prediction|infer|inference)(?:$|[^a-z])"
)
_SIZE = r"([\d.]+) ?([KMGT]i?B)"
_MEMORY = (
    ("tried to allocate", lazily(rf"[Tt]ried to allocate {_SIZE}")),
    ("capacity", lazily(rf"total capacity of {_SIZE}|(?<=; ){_SIZE} total capacity")),
    ("free", lazily(rf"of which {_SIZE} is free|(?<=; ){_SIZE} free")),
)
_OTHER_PROCESS = lazily(rf"Process \d+ has {_SIZE} memory in use(?=.*[Pp]rocess)")
_MIB = {"K": 2**-10, "M": 1.0, "G": 2.0**10, "T": 2.0**20}
_CUT = 200


@rule("RUN006", severity="error", explains=("SCH002",))
def logged_failure(
    failures: LoggedFailures | None,
    ending: Ending | None,
    plan: Plan | None,
    program: Program | None,
    settings: Settings | None,
    metrics: Metrics | None,
    *,
    min_unannounced: int = 1,
    min_caught: int = 10,
) -> Iterator[Finding]:
    """The log tells that the program failed.

    ## What it checks
    Tracebacks in the text of logs, and what systems and runtimes say at their end: lack of memory, a signal, a
    collective operation that timed out, a dead loader worker, a full disk, an assertion on the device, the batch
    system's limits. Of a traceback its last line is told, the type of the exception and what it says.

    Of several at the end of the logs the cause is told: what says more (lack of memory) before what follows from it (a
    collective that timed out, the launcher's report), the first before later ones, the same of several ranks once.

    - error: nothing of a training stands behind it.
    - warning: the batch system's time limit; a failure after the training was over, or in a log of an evaluation; a
      program that caught `min_caught` exceptions in the midst of its training and was not done.
    - information: a person stopped or cancelled the run; the log goes on after the failure, or another log does.

    ## Why it matters
    A run that failed has no result, and its last numbers are compared with those of finished runs all the same. What
    ended it stands in the log, often thousands of lines above its end, or in the one rank's log that nobody opened.

    ## Inputs
    The text of logs (`.log`, `.out`, `.err`, console output), with or without rows of a training; the plan, to know
    whether the run was completed; the names of the program's files, to know its tracebacks.

    ## Options
    - `min_unannounced` (1 file): how many of the run's own files a traceback must run through to be told where the log
      goes on after it or the training was over, unless the log calls it an error besides (`ERROR`, `failed`) or it
      runs through an installed package. Text of a data set or a generated sample can hold a traceback, too; none of
      the 380 labelled runs has one.
    - `min_caught` (10 tracebacks): from how many on a program that goes on after each of them is warned of. One caught
      exception costs a batch or a picture; each of these costs one.

    ## Fix
    Shown: what helps depends on the failure; the advice names it, with the numbers of the message.

    ## When to ignore
    A failure that was corrected, with the run resumed in another folder. What is raised while the interpreter shuts
    down, in a destructor or in a thread is no failure and is not told.

    ## Source
    The shape of a traceback: Python's `traceback` module. Messages of PyTorch, NCCL, Slurm, PBS and LSF as their
    sources print them. Of 26 labelled real runs whose logs tell of a failure, 25 are told; one was stopped by hand when
    its training was over.
    """
    if failures is None:
        if ending is None:
            raise NotApplicable("no text log was found")
        return
    failures = _once(failures)
    own = [f for f in failures if not f.aside and not _is_no_failure(f)]
    over = any(f.over for f in own)
    finished = (
        over
        or (plan is not None and plan.complete)
        or (
            ending is not None
            and ending.finished
            and not any(f.last and f.source.path == ending.source.path for f in own)
        )
    )
    trusted = [f for f in own if _is_programs(f, program, min_unannounced)]
    last = [f for f in (trusted if finished else own) if f.last]
    if last:
        cause = _cause(last, failures)
        if not (finished and cause.kind in (*_FROM_OUTSIDE, FailureKind.LAUNCHER)):
            resumed = None if finished else _resumed_in(cause, plan, metrics)
            yield _ended(cause, last, settings, finished=finished, resumed=resumed)
    gone_on = [f for f in trusted if not f.last and f.is_traceback and f.kind not in _FROM_OUTSIDE]
    if gone_on:
        caught = 0 if finished else sum(_is_caught(f, metrics) for f in gone_on)
        yield _went_on(gone_on, caught, min_caught)


def _is_no_failure(failure: LoggedFailure) -> bool:
    return failure.message in ("SystemExit", "SystemExit: 0", "SystemExit: None", "StopIteration")


def _is_programs(failure: LoggedFailure, program: Program | None, least: int) -> bool:
    """Whether a traceback is the program's own and no text that it printed."""
    if failure.announced or not failure.is_traceback:
        return True
    known = {s.path.rpartition("/")[2] for s in program.sources} if program is not None else set()
    return len(known.intersection(failure.files)) >= least


def _resumed_in(cause: LoggedFailure, plan: Plan | None, metrics: Metrics | None) -> Source | None:
    """Another log, which goes further than the one that ends with the failure."""
    if plan is None or plan.done_steps is None or plan.done_steps.source is None or metrics is None:
        return None
    furthest, own = plan.done_steps.source, cause.source.path
    of_own = [max(s.step_data) for s in metrics if s.step_data and s.source.path == own]
    other = furthest.path != own and furthest.line is not None
    return furthest if other and of_own and max(of_own) < plan.done_steps.value else None


def _is_caught(failure: LoggedFailure, metrics: Metrics | None) -> bool:
    """Whether the rows of the log around a traceback are of one launch: the steps go on behind it."""
    line = failure.source.line or 0
    for series in metrics or ():
        lines, steps = series.lines, series.step_data
        if series.source.path == failure.source.path and lines is not None and steps is not None:
            at = bisect_left(lines, line)
            if 0 < at < len(lines):
                return steps[at] > steps[at - 1]
    return False


def _cause(last: Sequence[LoggedFailure], failures: LoggedFailures) -> LoggedFailure:
    """What the others follow from."""
    first = min(last, key=lambda f: _ORDER.index(f.kind))
    if first.kind is FailureKind.EXCEPTION:
        # Processes that are interrupted or cancelled raise all kinds of errors afterwards.
        for other in failures.items:
            if other is first:
                break
            if other.kind in _FROM_OUTSIDE and other.last and other.source.path == first.source.path:
                return other
    return first


def _once(failures: LoggedFailures) -> LoggedFailures:
    """Without those of W&B's binary file where the same output was read as text."""
    texts = [f for f in failures.items if not f.source.path.endswith(".wandb")]
    return LoggedFailures(tuple(texts)) if any(not f.aside for f in texts) else failures


def _ended(
    cause: LoggedFailure,
    last: Sequence[LoggedFailure],
    settings: Settings | None,
    *,
    finished: bool,
    resumed: Source | None,
) -> Finding:
    same = [f for f in last if f.kind is cause.kind and _alike(f) == _alike(cause)]
    evidence = [Evidence("last word", _cut(cause.message), at=cause.source)]
    message = f"{_WHAT[cause.kind]}: {_quoted(cause)}"
    if len(same) > 1:
        message += f", {len(same):,} times"
        evidence.append(Evidence("times", len(same), at=same[-1].source))
    if cause.frame:
        message += f", raised at {cause.frame}"
        evidence.append(Evidence("raised at", cause.frame))
    advice = _ADVICE[cause.kind]
    if cause.kind is FailureKind.DEVICE_MEMORY:
        evidence += _memory(cause)
        batch = settings.get("batch_size", int) if settings is not None else None
        if (other := _OTHER_PROCESS.search(cause.message)) is not None:
            evidence.append(Evidence("held by another process", _mib(other), at=cause.source, unit="MiB"))
            advice = "end the other process that holds memory of the device, or use another device; else " + advice
        elif batch is not None and batch > 1 and settings is not None:
            evidence.append(Evidence("batch size", batch, at=settings.where("batch_size")))
            advice = advice.replace("halve the micro-batch", f"halve the micro-batch of {batch:,}")
    if finished:
        message += "; the training was over by then"
    severity = _SEVERITY.get(cause.kind, Severity.ERROR)
    if (finished or _NOT_TRAINING.search(cause.source.path.rpartition("/")[2])) and severity is Severity.ERROR:
        severity = Severity.WARNING
    if resumed is not None:
        message += f"; {resumed.path} goes further"
        evidence.append(Evidence("goes further", resumed.path, at=resumed))
        severity = Severity.INFO
    return Finding(message, at=cause.source, evidence=tuple(evidence), fix=Fix.show(advice), severity=severity)


def _went_on(gone_on: Sequence[LoggedFailure], caught: int, min_caught: int) -> Finding:
    counts = Counter(map(_alike, gone_on))
    total = len(gone_on) + sum(f.more for f in gone_on)
    commonest, count = counts.most_common(1)[0]
    shown = next(f for f in gone_on if _alike(f) == commonest)
    evidence = [
        Evidence("tracebacks", total, at=gone_on[0].source),
        Evidence("of them while training", caught, min_caught),
        Evidence("commonest", _cut(shown.message), at=shown.source),
        Evidence("times", count),
    ]
    what = "a traceback" if len(gone_on) == 1 else f"{total:,} tracebacks"
    message = f"the log goes on after {what}: {_quoted(shown)}"
    if shown.frame:
        message += f", raised at {shown.frame}"
        evidence.append(Evidence("raised at", shown.frame))
    if len(gone_on) > 1:
        message += f", {count:,} times" if count > 1 else ", and others"
    if caught:
        message += f"; after {caught:,} of them the training went on with the next steps"
    advice = "look whether the program caught it on purpose or was started again; what it was doing then is missing"
    severity = Severity.WARNING if caught >= min_caught else Severity.INFO
    # What ended the run explains that it was interrupted; what it went on after does not.
    return Finding(
        message, at=shown.source, evidence=tuple(evidence), fix=Fix.show(advice), severity=severity, explains=()
    )


def _alike(failure: LoggedFailure) -> str:
    """A message without its numbers, which differ between ranks."""
    return _NUMBER.sub("#", failure.message[:_CUT])


def _quoted(failure: LoggedFailure) -> str:
    return f"{_cut(failure.message)!r}"


def _cut(text: str) -> str:
    return text if len(text) <= _CUT else text[: _CUT - 1] + "…"


def _memory(failure: LoggedFailure) -> Iterator[Evidence]:
    """The sizes in a message of lacking memory."""
    for label, expression in _MEMORY:
        if (found := expression.search(failure.message)) is not None:
            yield Evidence(label, _mib(found), at=failure.source, unit="MiB")


def _mib(found: re.Match[str]) -> float:
    number, unit = [g for g in found.groups() if g is not None][:2]
    return round(float(number) * _MIB[unit[0]], 2)
