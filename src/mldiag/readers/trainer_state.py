"""`trainer_state.json` of Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mldiag.artifacts import Artifact, LogRows, Series, Source
from mldiag.errors import ReadError
from mldiag.files import HEAD, LONG, File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._configs.settings import recorded
from mldiag.readers._tables.columns import Table, quoted, shortened
from mldiag.readers._tables.key_lines import KeyLines
from mldiag.readers._tables.layouts import Layouts

if TYPE_CHECKING:
    from mldiag.readers._tables.trainer_history import History

PLACEHOLDER_EPOCHS = 2**62
"""A Trainer that counts by steps over an iterable data set stores 2**63 - 1 as `num_train_epochs`."""

_CHECKPOINT = lazily(r"(?:(.*)/)?checkpoint-(\d+)")
_GLOBAL_STEP = lazily(rb'"global_step"\s*:\s*(\d+)')
_RECORDED = ("max_steps", "num_train_epochs", "train_batch_size", "global_step", "logging_steps", "eval_steps",
             "save_steps", "num_input_tokens_seen", "total_flos", "best_metric", "best_global_step")  # fmt: skip
_LAYOUTS = Layouts(_RECORDED)


@reader("trainer_state.json", priority=40, post=True)
def trainer_state(file: File) -> Iterator[Artifact]:
    """The state that Hugging Face's Trainer saves: `log_history` as series, the plan and the counters as records.

    Every entry of `log_history` carries `step` and `epoch`. The closing summary (`train_runtime`, mean `train_loss`) is
    no point of a curve: its numbers are records. Of several states of one run (one per checkpoint) only the one of
    the largest step is read, since each repeats those before it.
    """
    if _superseded(file):
        return
    if file.size <= LONG and (found := _of_known_layout(file)):
        yield from found
        return
    history, cut = _read_in_pieces(file) if file.size > LONG else None, None
    if history is None:
        try:
            document = file.json
        except ReadError:
            # Of a cut file what is whole can be read where it was written with an indent, as the Trainer does.
            history = _read_in_pieces(file)
            if history is None or not len(history.table):
                history, (document, _, cut) = None, file.json_so_far
    if history is not None:
        yield from _streamed(history, file)
    else:
        yield from _parsed(document, file)
    if cut is not None:
        raise cut


def _read_in_pieces(file: File) -> History | None:
    from mldiag.readers._tables.trainer_history import History

    history = History(file)
    return history if history.read() else None


def _parsed(document: Any, file: File) -> Iterator[Artifact]:
    history = document.get("log_history") if isinstance(document, dict) else None
    if not isinstance(history, list):
        _ = file.json  # says of a cut file that it is
        raise ReadError("no list `log_history`, which a trainer state has")
    entries = history if {*map(type, history)} <= {dict} else [entry for entry in history if isinstance(entry, dict)]
    rows = [entry for entry in entries if "train_runtime" not in entry]
    yield from _series(rows, file)
    yield LogRows(Source(file.path), len(rows))
    closing: dict[str, Any] = next((entry for entry in reversed(entries) if "train_runtime" in entry), {})
    yield from _records(document, {k: v for k, v in closing.items() if k not in ("step", "epoch")}, file)
    _LAYOUTS.learn(rows, closing)
    if bad := len(history) - len(entries):
        raise ReadError(f"{bad:,} of {len(history):,} entries of `log_history` are no objects", partial=True)


def _series(rows: list[dict[str, Any]], file: File) -> Iterator[Series]:
    table = Table(file)
    table.add_all(rows)
    for series in table.series():
        lines = KeyLines(file.text, series.raw_name, len(series), series.source.line)
        yield replace(series, lines=lines if file.size <= HEAD else lines.found())


def _of_known_layout(file: File) -> list[Artifact]:
    """What a state holds whose history has the keys of one before; empty where it has to be looked at."""
    try:
        state = _LAYOUTS.read(file.data, file.text)
    except ReadError:
        return []
    if state is None:
        return []
    found: list[Artifact] = []
    text, few = file.text, file.size <= HEAD
    # Of `rewards/chosen` the place of `chosen` is told, as of names that are nested.
    spots = [(q.key, text.find(quoted(q.key)) if "/" in q.key else q.at) for q in state.quantities]
    for (key, values, steps, epochs, _), place in zip(state.quantities, file.places(spots), strict=True):
        lines = KeyLines(text, key, len(values), place.line)
        known = lines if few else lines.found()
        found.append(Series("", key, values, shortened(place), steps, epochs, None, (), known))
    found.append(LogRows(Source(file.path), state.rows))
    found += _records(state.beside, state.closing, file, but=state.span)
    return found


def _streamed(history: History, file: File) -> Iterator[Artifact]:
    # From the end of the file, which has just been read, to its beginning, where the series are.
    records = list(_records(history.rest, history.summary, file, history.places))
    for series in history.table.series():
        lines = history.lines.get(series.raw_name)
        known = lines if lines is not None and len(lines) == len(series) else None
        place = shortened(file.at(known[0], key=series.raw_name)) if known else series.source
        yield replace(series, lines=known, source=place)
    yield history.table.extent
    yield from records
    if history.cut:
        raise ReadError("JSON ends in the middle of `log_history` (cut file)", partial=True)
    if history.bad:
        reason = f"{history.bad:,} of {history.count:,} entries of `log_history` are no objects"
        raise ReadError(reason, partial=True)


def _records(
    document: Mapping[str, Any],
    summary: Mapping[str, Any],
    file: File,
    places: Mapping[str, int] = {},
    but: tuple[int, int] = (0, 0),
) -> Iterator[Artifact]:
    kept = {k: document[k] for k in _RECORDED if document.get(k) is not None}
    epochs = kept.get("num_train_epochs")
    if isinstance(epochs, int | float) and epochs >= PLACEHOLDER_EPOCHS:
        del kept["num_train_epochs"]
    kept |= summary
    if not places:
        yield from recorded(kept, file, but=but)
        return
    for key, value in sorted(kept.items(), key=lambda item: -places.get(item[0], 0)):
        yield from recorded({key: value}, file, line=places.get(key))


def _superseded(file: File) -> bool:
    """Whether another state of the same run is further: that of a later checkpoint, or the one above them."""
    if file.beside is not None and sum(path.endswith(file.name) for path in file.beside) == 1:
        return False
    folder = file.path.rpartition("/")[0]
    checkpoint = _CHECKPOINT.fullmatch(folder)
    run = (checkpoint[1] or "") if checkpoint else folder
    above = f"{run}/{file.name}" if run else file.name
    steps = _saved(file, run)
    if checkpoint:
        step = int(checkpoint[2])
        there = above in file.beside if file.beside is not None else (file.root / above).is_file()
        return step < max(steps, default=step) or (there and step <= _global_step(File(file.root, above)))
    return bool(steps) and _global_step(file) < max(steps)


def _saved(file: File, run: str) -> list[int]:
    """The steps of the run's checkpoints that have a state."""
    begin, end = f"{run}/checkpoint-" if run else "checkpoint-", f"/{file.name}"
    if file.beside is not None:
        others = (path for path in file.beside if path.startswith(begin) and path.endswith(end))
        names = (path[len(begin) : -len(end)] for path in others)
    else:
        names = (path.parent.name[len("checkpoint-") :] for path in (file.root / run).glob(f"checkpoint-*{end}"))
    return [int(name) for name in names if name.isdecimal()]


def _global_step(file: File) -> int:
    try:
        # Its key stands before the history, which is most of the file, wherever keys are sorted.
        found = _GLOBAL_STEP.search(file.head) or _GLOBAL_STEP.search(file.data)
    except ReadError:
        return -1
    return int(found[1]) if found else -1
