"""CatBoost's `catboost_training.json`."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from mldiag.artifacts import Artifact, Series, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._configs.settings import recorded
from mldiag.readers._tables.columns import number
from mldiag.vocabulary import series_name


@reader("catboost_training.json", priority=40, post=True)
def catboost_training(file: File) -> Iterator[Artifact]:
    """What CatBoost writes of a training: the metrics of every iteration, and the plan.

    `learn` is the training set; the first `test` set is the one that early stopping watches, and so is validation; a
    further one keeps its number. Steps are trees, counted from 0, times are seconds since the start. A metric that was
    not measured in an iteration (`metric_period`) is no point there. CatBoost writes an iteration a line and the
    closing brackets at the end: of a training that still runs, or was killed, all whole iterations are read.
    """
    document, _, cut = file.json_so_far
    if not isinstance(document, dict):
        raise ReadError(f"expected an object with `meta` and `iterations`, found {type(document).__name__}")
    iterations = document.get("iterations")
    meta = document.get("meta")
    if not isinstance(iterations, list) or not isinstance(meta, dict):
        _ = file.json  # says of a cut file that it is
        raise ReadError("no `meta` and list `iterations`, which a training of CatBoost has")
    rows = [i for i in iterations if isinstance(i, dict)]
    for key, split in (("learn", "train"), ("test", "val")):
        names = [m.get("name") for m in meta.get(f"{key}_metrics") or () if isinstance(m, dict)]
        sets = [s for s in meta.get(f"{key}_sets") or (key,) if isinstance(s, str)]
        for number_of_set, name_of_set in enumerate(sets):
            prefix = split if number_of_set == 0 else f"{split}/{number_of_set}"
            for at, metric in enumerate(names):
                if isinstance(metric, str):
                    series = _series(rows, name_of_set, at, f"{name_of_set}/{metric}", f"{prefix}/{metric}", file)
                    if len(series):
                        yield series
    planned = {k: meta[k] for k in ("iteration_count",) if isinstance(meta.get(k), int)}
    yield from recorded(planned, file)
    if cut:
        raise ReadError("the document is not closed: the training still runs, or was killed", partial=True)
    if len(rows) < len(iterations):
        raise ReadError(
            f"{len(iterations) - len(rows):,} of {len(iterations):,} iterations are no objects", partial=True
        )


def _series(rows: list[dict[str, Any]], key: str, at: int, raw: str, spelled: str, file: File) -> Series:
    values, steps, times = array("d"), array("d"), array("d")
    for index, row in enumerate(rows):
        cells = row.get(key)
        value = number(cells[at]) if isinstance(cells, list) and at < len(cells) else None
        if value is not None:
            step, time = number(row.get("iteration")), number(row.get("passed_time"))
            values.append(value)
            steps.append(index if step is None else step)
            times.append(float("nan") if time is None else time)
    timed = times if all(t == t for t in times) else None
    return Series(series_name(spelled), raw, values, Source(path=file.path, key=raw), steps, None, timed)
