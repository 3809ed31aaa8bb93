"""Histories in one JSON document: Keras' dict of lists and what people write by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from mldiag.artifacts import Artifact, Series
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._configs.settings import recorded
from mldiag.readers._tables.columns import Table, flat, is_cell, is_log_row
from mldiag.vocabulary import axis, is_known_quantity, is_metric, normalized, series_name, split_of, without_split

_WRAPPERS = frozenset({
    "history", "epochs", "epoch", "log", "logs", "metrics", "log_history", "training_history", "train_history",
    "results", "curves", "records", "steps", "losses", "data", "historico",
})  # fmt: skip
_NUMBERED = lazily(r"(?:(?:epoch|epoca|ep)[ _-]?)?(\d+)", re.IGNORECASE)
_MAX_DEPTH = 4
_Found = tuple[tuple[str, ...], list[dict[str, Any]]]


def _is_history(file: File) -> bool:
    return any(True for _ in _tables(file.json_so_far.document, ()))


@reader("*.json", matches=_is_history, priority=20, post=True)
def json_history(file: File) -> Iterator[Artifact]:
    """Training histories in one JSON document.

    Understood are a dict of lists (Keras' `History.history`), a list of records, a dict of records by epoch, each of
    them below `history`, `epochs`, `log`, `metrics` and the like, and one such part per split (`{"train": {…}, "val":
    {…}}`); numbers may be strings. A list of steps, epochs or times gives the x axis of the lists of its length. Keras'
    history has none: it holds one value per epoch, so lists of one length of which some belong to validation get the
    epochs 1, 2, …; other lists have their positions only. Parts for several models or folds keep the part's name
    before the quantity's and so are no `train/loss`. Scalars beside the lists are records of what the run used. A null
    is kept as such. Of a cut file all values and records that stand whole before the cut are read.
    """
    document, _, cut = file.json_so_far
    tables = list(_tables(document, (), cut=cut is not None))
    in_splits = all(not path or split_of("_".join(path)) for path, _ in tables)
    for path, rows in tables:
        label = [p for p in path if p not in _WRAPPERS]
        split = split_of("_".join(label)) if label else split_of(file.name.rsplit(".", 1)[0])
        table = Table(file, split=split)
        for row in rows:
            table.add(row)
        for series in table.series():
            yield series if in_splits or not label else _labelled(series, "/".join(label))
        yield table.extent
    if isinstance(document, dict):
        yield from recorded(_scalars(document), file)
    if cut is not None:
        raise cut


def _labelled(series: Series, label: str) -> Series:
    raw = f"{label}/{series.raw_name}"
    return replace(series, name=f"{label}/{series_name(series.raw_name)}", raw_name=raw)


def _tables(document: object, path: tuple[str, ...], *, cut: bool = False) -> Iterator[_Found]:
    """Rows of every history in a document, with the keys above it; `cut` where its last value is the file's last."""
    if isinstance(document, list):
        rows = [flat(r) for r in document if isinstance(r, dict)]
        if rows and len(rows) == len(document) and any(map(_is_row, rows)):
            yield path, [dict(r) for r in rows]
    elif isinstance(document, dict):
        by_number = [(_NUMBERED.fullmatch(k), v) for k, v in document.items()]
        if by_number and all(m and isinstance(v, dict) for m, v in by_number):
            rows = [flat({"epoch": int(m[1]), **v}) for m, v in by_number if m]
            if all(any(is_metric(k) for k in r) for r in rows):
                yield path, [dict(r) for r in rows]
            return
        yield from ((path, rows) for rows in _columns(document, cut=cut))
        if len(path) < _MAX_DEPTH:
            last = next(reversed(document), "")
            for key, value in document.items():
                if isinstance(value, dict) or (
                    isinstance(value, list) and normalized(key) in _WRAPPERS | {"train", "val"}
                ):
                    yield from _tables(value, (*path, normalized(key)), cut=cut and key == last)


def _is_row(row: Mapping[str, Any]) -> bool:
    return is_log_row(row) and any(is_metric(k) or isinstance(v, float) for k, v in row.items())


def _columns(document: Mapping[str, Any], *, cut: bool = False) -> Iterator[list[dict[str, Any]]]:
    """Rows from lists side by side, one group per length; a last list that is cut belongs to those before it."""
    lists = {k: v for k, v in _spread(document) if v and all(map(is_cell, v))}
    if not any(_is_logged(k, v) for k, v in lists.items()):
        return
    lengths = {k: len(v) for k, v in lists.items()}
    if cut and len(lengths) > 1:
        *before, last = lengths
        if len({lengths[k] for k in before}) == 1 and lengths[last] < lengths[before[0]]:
            lengths[last] = lengths[before[0]]
            if axis(without_split(last)):
                del lists[last], lengths[last]
    for length in dict.fromkeys(lengths.values()):
        group = _with_axis({k: lists[k] for k, n in lengths.items() if n == length})
        counted = any(axis(k) in ("step", "epoch") for k in group)
        per_epoch = len(set(lengths.values())) == 1 and any(split_of(k) in ("val", "test") for k in group)
        if any(not axis(k) for k in group):
            yield [
                {k: v[i] for k, v in group.items() if i < len(v)}
                | ({"epoch": i + 1} if per_epoch and not counted else {})
                for i in range(length)
            ]


def _with_axis(group: Mapping[str, list[Any]]) -> Mapping[str, list[Any]]:
    """Lists of one length, with the steps or epochs of one split (`val_steps`) as the axis where there is no other."""
    if any(axis(k) in ("step", "epoch") for k in group):
        return group
    renamed: dict[str, list[Any]] = {}
    for key, values in group.items():
        bare = without_split(key)
        renamed.setdefault(bare if axis(bare) in ("step", "epoch") else key, values)
    return renamed


def _spread(document: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """The lists of a document; a list of records of one split (`val_metrics`) as one list per quantity."""
    for key, value in document.items():
        if isinstance(value, list):
            split = split_of(key)
            if split and value and all(isinstance(v, dict) for v in value):
                names = dict.fromkeys(n for v in value for n in v)
                yield from ((f"{split}/{n}", [v.get(n) for v in value]) for n in names)
            else:
                yield key, value


def _is_logged(key: str, values: list[Any]) -> bool:
    """A quantity that training logs; one that only its split names (`val_x`) not of whole numbers, as lists of ids."""
    return is_known_quantity(key) or (is_metric(key) and any(isinstance(v, float | str) or v is None for v in values))


def _scalars(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without its histories."""
    kept = {}
    for key, value in document.items():
        if isinstance(value, dict) and any(True for _ in _tables(value, (key,))):
            continue
        if not isinstance(value, list):
            kept[key] = value
    return kept
