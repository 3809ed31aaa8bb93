"""Records of examples in JSON: objects as rows, documents as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from mldiag.readers._tables.columns import flat, number
from mldiag.readers._tables.example_shape import FEWEST_ROWS, Sample, are_examples, is_named_for_examples
from mldiag.vocabulary import is_metric, normalized, split_of

MAX_COLUMNS = 2048
"""Keys of records that are looked at."""
MAX_PLACES = 32
"""Longest list of numbers in a cell that becomes columns of its own: class probabilities, not embeddings."""
SAMPLED = 200
"""Rows that the shape is told from."""

_BELOW = ("predictions", "scores", "results", "examples", "per_example", "data", "rows", "items", "samples", "losses",
          "details", "instances", "records")  # fmt: skip

_decode = msgspec.json.Decoder().decode


def as_record(line: str) -> Mapping[str, object] | None:
    """The JSON object that a line holds, without nesting; None where it holds something else."""
    try:
        found = _decode(line.strip().removeprefix("\ufeff"))
    except (msgspec.MsgspecError, RecursionError):
        import json

        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
    return _spread(found) if isinstance(found, dict) else None


def _spread(record: Mapping[str, Any]) -> Mapping[str, object]:
    """A record without nesting; a short list of numbers has a column for each place."""
    row = flat(record)
    if not any(isinstance(v, list) for v in row.values()):
        return row
    spread: dict[str, object] = {}
    for key, value in row.items():
        if isinstance(value, list):
            if 0 < len(value) <= MAX_PLACES and all(number(v) is not None for v in value):
                spread.update({f"{key}.{i}": v for i, v in enumerate(value)})
            else:
                spread[key] = "[…]"
        else:
            spread[key] = value
    return spread


def records_of(lines: Iterable[str]) -> Iterator[Mapping[str, object]]:
    """The JSON objects among lines."""
    return (r for t in lines if t.strip() and (r := as_record(t)) is not None)


def sampled(records: Sequence[Mapping[str, object]]) -> Sample:
    """The first rows of a table, of its records."""
    return Sample(columns_of(records), len(records))


def columns_of(records: Sequence[Mapping[str, object]]) -> dict[str, Sequence[object]]:
    """Records as columns; an absent key is None."""
    names = dict.fromkeys(n for r in records for n in r)
    return {n: [r.get(n) for r in records] for n in islice(names, MAX_COLUMNS)}


def in_document(document: object, stem: str, depth: int = 2) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Tables of examples in a JSON document: the split that a key gives, and the columns."""
    found = _columns_in(document, stem)
    if found is not None:
        yield None, found
        return
    if not isinstance(document, dict) or not depth:
        return
    for key, value in document.items():
        plain = normalized(key)
        if not isinstance(value, dict | list) or not (plain in _BELOW or split_of(plain)):
            continue
        inner = stem if plain not in _BELOW else f"{stem}_{plain}"
        for split, columns in in_document(value, inner, depth - 1):
            yield split or split_of(plain), columns


def _columns_in(document: object, stem: str) -> Mapping[str, Any] | None:
    named = is_named_for_examples(stem)
    if isinstance(document, list) and len(document) >= FEWEST_ROWS:
        if all(isinstance(r, dict) for r in document):
            records = [_spread(r) for r in document]
            if are_examples(sampled(records[:SAMPLED]), stem):
                return columns_of(records)
        elif named and all(number(v) is not None or v is None for v in document):
            columns = {stem: document}
            return columns if are_examples(Sample({stem: document[:SAMPLED]}, len(document)), stem) else None
    elif isinstance(document, dict) and len(document) > 0:
        lists = {k: v for k, v in document.items() if isinstance(v, list)}
        if lists and len(lists) > len(document) / 2 and len(set(map(len, lists.values()))) == 1:
            sample = Sample({k: v[:SAMPLED] for k, v in lists.items()}, len(next(iter(lists.values()))))
            scalars = all(not isinstance(c, dict | list) for v in lists.values() for c in v[:SAMPLED])
            return lists if scalars and are_examples(sample, stem) else None
        if len(document) >= 2 * FEWEST_ROWS and all(isinstance(v, int | float) for v in document.values()):
            if any(map(is_metric, document)):
                return None  # final results
            ids = list(document)
            table = {"id": ids, "value": list(document.values())}
            sample = Sample({k: v[:SAMPLED] for k, v in table.items()}, len(ids))
            return table if named and are_examples(sample, stem) else None
        if len(document) >= 2 * FEWEST_ROWS and all(isinstance(v, dict) for v in document.values()):
            records = [{"id": k, **_spread(v)} for k, v in document.items()]
            return columns_of(records) if are_examples(sampled(records[:SAMPLED]), stem) else None
    return None
