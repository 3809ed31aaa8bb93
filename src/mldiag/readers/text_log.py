"""Training logs of free text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mldiag.artifacts import Artifact, LogRows, Source
from mldiag.errors import ReadError
from mldiag.files import Block, File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._cut_numbers import TAIL

IN_BULK = 2 * 2**20
"""Bytes from which on known templates are read with numpy. Its import costs a tenth of a second, so that the two ways
meet between 1 and 2 MiB (`benchmarks/text_log.py`)."""

_LOOKED_AT = 2**20
"""Bytes that are searched for a first row: dumps of a configuration or of compiled code can come before it."""
_UNDATED = 2**17
"""Bytes of them if no line has a date either, as those of loggers have."""
_UNKNOWN = 1_500
"""Kinds of lines with numbers but nothing of a log that may come before its first row. Dumps and notices before the
first row of real logs are up to 800 kinds (246 runs); a book has more, and each costs a tenth of a millisecond."""
_HOLE = bytes(16)
"""NUL bytes that no program writes between words; what stands beside them is the rest of two different lines."""
_SENTENCES = 250
"""Of them that are prose, of which the same logs have up to 60; such lines take longest."""
_DOCUMENTS = lazily(
    r"(readme|license|licence|notice|changelog|requirements|authors|contributing|todo)\b.*", re.IGNORECASE
)
_PATTERNS = (
    "*.log", "*.txt", "*.out", "*.err", "log*", "*.stdout", "*.stderr", "nohup.out", "slurm-*", "std*", "*.log.*",
    "*_log", "console*",
)  # fmt: skip


def _is_log(file: File) -> bool:
    """Whether a row of a training log is among the first lines, or the text tells of a failure before the first."""
    if _DOCUMENTS.match(file.name) or not file.size or file.is_binary:
        return False
    if _has_rows(file):
        return True
    from mldiag.readers._text.failures import tells_of_a_failure

    try:
        return tells_of_a_failure(file)
    except ReadError:
        return False


def _has_rows(file: File) -> bool:
    """Whether a row of a training log is among the first lines."""
    from mldiag.readers._text.series import Log
    from mldiag.readers._text.templates import Learner

    learner = Learner()
    looked = 0
    try:
        for block in file.blocks(2**14):
            learner.read(block)
            looked += len(block.data)
            if learner.templates and Log(learner, file.path).accepted:
                return True
            hopeless = looked >= _UNDATED and not (learner.templates or learner.dated)
            foreign = learner.unknown > _UNKNOWN or learner.sentences > _SENTENCES
            if looked > _LOOKED_AT or foreign or hopeless:
                break
    except ReadError:
        return False  # one endless line
    return False


@reader(*_PATTERNS, matches=_is_log, priority=5, post=True)
def text_log(file: File) -> Iterator[Artifact]:
    """Logs that a program printed for people: of frameworks and of hand-written loops, in any language.

    Lines that differ only in their numbers are one template; what its numbers mean is learnt from the words before
    them (`loss: 0.5`, `val_loss=0.4`, `lr 1e-4`), or behind them (`109,765 tok/sec`). A split stands in the label,
    before it in the line, or in a header above (`Validation:`); a line without an epoch or step has those of the last
    line that names one. Counters that begin again with each epoch become steps where the length of an epoch is logged
    (`[100/500]`). Of a value and its average in parentheses (`0.85 (0.83)`) the value is taken; per cent are fractions;
    `N/M` of an epoch or step gives the plan as a record.

    Colours, prefixes of loggers and the drawing of progress bars are no text; each state of a bar counts, but of one
    that runs through an epoch by itself (Keras) only the last. What was printed behind a bar of tqdm, or over it, is a
    line of its own if the bar has values or it is an evaluation, else the bar counts for it. Lines that were printed
    without their ends are cut where their counter returns (`... 0.5step 15 / 4000 ...`). Dicts in dicts keep the names
    they stand in. A line is a row if it names a quantity that training logs, beside an epoch or step or more than once;
    other quantities are taken along from such rows. What is logged in two ways (per step and as a mean per epoch) is
    one series of the longer; of evaluations the summaries count.
    Dumps of arguments and lines of `key: value` before the first row are records of settings. A last line without its
    end is taken unless a number seems cut. Lines with a hole of NUL bytes are left out and counted.

    Tracebacks, and what systems and runtimes say of a failure at the end, are failures, also of a log without a row.
    Texts that were generated meanwhile, a line each behind `sample 1:` or `Generated:`, are samples; those that were
    printed last.
    """
    from mldiag.readers._text.failures import Failures
    from mldiag.readers._text.generations import Generations
    from mldiag.readers._text.series import Log
    from mldiag.readers._text.templates import Learner
    from mldiag.vocabulary import split_of

    learner, failures, generations = Learner(), Failures(file.path), Generations()
    take, finish = learner.read, None
    if file.size >= IN_BULK:
        from mldiag.readers._text.bulk import BulkLearner

        bulk = BulkLearner(learner, file.size)
        take, finish = bulk.read, bulk.finish
    trouble: ReadError | None = None
    cut = redrawn = False
    above = b""
    holes: list[int] = []
    try:
        for block in _without_holes(file, holes):
            failures.read(block)
            generations.read(block)
            if not block.data.endswith((b"\n", b"\r")):
                # Only the file's last block can end without a line end.
                whole, _, last = block.data.rpartition(b"\n")
                take(Block(whole, block.line, block.ends))
                states, drawn, last = last.rpartition(b"\r")
                line = block.line + block.ends
                if drawn:
                    take(Block(states + drawn, line, 0))
                learner.read_last(Block(last, line, 0), (above + block.data[: len(block.data) - len(last)])[-TAIL:])
                # Of a line that is drawn again and again the next state is nothing that is missing.
                cut = learner.cut and not (drawn or (redrawn and not whole))
            else:
                take(block)
            above = block.data[-TAIL:]
            redrawn = above.endswith(b"\r")
    except ReadError as error:
        trouble = error
    if finish is not None:
        finish()
    log = Log(learner, file.path, split_of(file.name.rsplit(".", 1)[0]))
    failed = list(failures.finish(max((rows.template.at[-1] for rows in log.accepted), default=0)))
    yield from failed
    if failed and not log.accepted and trouble is None:
        return
    yield from log.series()
    yield LogRows(Source(file.path), sum(len(rows.template.at) for rows in log.accepted), cut)
    yield from log.settings()
    if log.accepted:
        yield from generations.finish(file)
    if trouble is not None:
        raise ReadError(trouble.reason, line=trouble.line, partial=bool(log.accepted))
    if not log.accepted:
        raise ReadError("no line is a row of a training log")
    if holes:
        count = "a line" if len(holes) == 1 else f"{len(holes):,} lines"
        reason = f"{count} with a hole of NUL bytes left out, as a crash, a full disk or cutting an open log makes"
        raise ReadError(reason, line=holes[0], partial=True)


def _without_holes(file: File, holes: list[int]) -> Iterator[Block]:
    """Blocks in which the lines with a hole are empty; the numbers of these are added to `holes`."""
    for block in file.blocks():
        if _HOLE not in block.data:
            yield block
            continue
        lines = block.data.split(b"\n")
        damaged = {i for i, line in enumerate(lines) if _HOLE in line}
        holes.extend(block.line + i for i in sorted(damaged))
        kept = b"\n".join(b"" if i in damaged else line for i, line in enumerate(lines))
        yield Block(kept, block.line, block.ends)
