"""The `metrics.json` of Sacred."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from mldiag.artifacts import Artifact, Series
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._tables.columns import is_cell, number, seconds, shortened

_BEGINNING = lazily(rb'\s*\{\s*"[^"\n]*"\s*:\s*\{\s*"(?:steps|timestamps|values)"\s*:\s*\[')


def _metrics(document: object, *, cut: bool) -> Mapping[str, Mapping[str, list[Any]]] | None:
    """Name → lists of steps and values, where the document holds nothing else; the last one may be cut."""
    if not isinstance(document, dict) or not document:
        return None
    last = document[next(reversed(document))]
    if cut and isinstance(last, dict) and not {"steps", "values"} <= last.keys():
        document.popitem()
    for metric in document.values():
        if not isinstance(metric, dict) or not {"steps", "values"} <= metric.keys() <= {
            "steps",
            "values",
            "timestamps",
        }:
            return None
        if not all(isinstance(column, list) for column in metric.values()):
            return None
    return document


def _of(file: File) -> Mapping[str, Mapping[str, list[Any]]] | None:
    document, _, cut = file.json_so_far
    return _metrics(document, cut=cut is not None)


def _is_sacred(file: File) -> bool:
    return _BEGINNING.match(file.head) is not None and _of(file) is not None


@reader("metrics.json", matches=_is_sacred, priority=40, post=True)
def sacred_metrics(file: File) -> Iterator[Artifact]:
    """What Sacred's `FileStorageObserver` keeps of `log_scalar`: for each name its steps, values and times.

    Steps are what the program passed, else Sacred counts the calls. Numbers of numpy, which older versions write as
    objects, are numbers. Lists of several lengths, as of a run that was killed while it wrote, are read as far as all
    reach; a metric without steps or values that are numbers is left out and told. Of a cut file the metrics are read
    whose values have begun, as far as they stand there.
    """
    metrics = _of(file)
    if metrics is None:
        raise ReadError("no lists of steps and values for each name, as Sacred writes them")
    refused = []
    for name, metric in metrics.items():
        count = min(map(len, metric.values()))
        cells = [_plain(v) for v in metric["values"][:count]]
        places = [number(s) for s in metric["steps"][:count]]
        steps = [s for s in places if s is not None]
        if not all(map(is_cell, cells)) or len(steps) < count:
            refused.append(name)
            continue
        values = [number(v) for v in cells]
        times = [t for t in map(seconds, metric.get("timestamps", [])[:count]) if t is not None]
        yield Series(
            "",
            name,
            array("d", (math.nan if v is None else v for v in values)),
            shortened(file.find(f'"{name}"', key=name)),
            array("d", steps),
            None,
            array("d", times) if count and len(times) == count else None,
            tuple(i for i, v in enumerate(values) if v is None),
        )
    if refused:
        raise ReadError(f"{refused[0]} has values or steps that are no numbers", partial=len(refused) < len(metrics))
    if cut := file.json_so_far.cut:
        raise cut


def _plain(value: object) -> object:
    """The number in what jsonpickle makes of numpy's: `{"dtype": "float64", "py/object": …, "value": 0.5}`."""
    return value["value"] if isinstance(value, dict) and "py/object" in value and "value" in value else value
