"""MLflow's tracking database, where it is an SQLite file."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mldiag.artifacts import Artifact, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._stores import mlflow

if TYPE_CHECKING:
    from mldiag.readers._stores.sqlite import Database

RUNS_LIMIT = 10_000
"""Runs of one database that are named."""
POINTS_LIMIT = 5_000_000
"""Points of one run that are read."""

_MAGIC = b"SQLite format 3\0"
# How MLflow stores infinities: the largest and smallest of doubles.
_INFINITE = 1.7976931348623157e308
_NAMED = 5


def _is_mlflow(file: File) -> bool:
    if not file.head.startswith(_MAGIC):
        return False
    from mldiag.readers._stores.sqlite import opened

    with opened(file) as database:
        return {"runs", "metrics", "params"} <= database.tables


def _runs(file: File) -> list[str]:
    """Ids of the runs that are not deleted, the first started first."""
    from mldiag.readers._stores.sqlite import opened

    with opened(file) as database:
        return _ids(database)


def _ids(database: Database, only: str = "") -> list[str]:
    found = database.rows(
        "SELECT run_uuid FROM runs WHERE (lifecycle_stage IS NULL OR lifecycle_stage <> 'deleted') "
        "AND (? = '' OR run_uuid = ?) ORDER BY start_time, run_uuid LIMIT ?",
        only,
        only,
        RUNS_LIMIT,
    )
    return [str(run) for (run,) in found if run]


@reader("*.db", "*.sqlite", "*.sqlite3", matches=_is_mlflow, priority=40, post=True, members=_runs)
def mlflow_database(file: File) -> Iterator[Artifact]:
    """An SQLite database of MLflow (`mlflow.db`, `mlruns.db`), each run that is not deleted by itself.

    Metrics are series with steps and times (seconds since 1970) in the order they were logged in; steps that are
    all zero were not given. Not-a-number and the infinities are restored from how MLflow stores them. Parameters, run
    status and MLflow's own tags are records, as in the file store. The file is opened read-only and as it is: what a
    write-ahead log beside it holds is not seen. Nothing but plain tables is read, with a limit on the work.
    """
    from mldiag.readers._stores.sqlite import opened

    with opened(file) as database:
        # To list all the runs for each of thousands would take the square of them.
        ids = _ids(database, file.member)
        run = file.member or (ids[0] if len(ids) == 1 else "")
        if not ids:
            raise ReadError(f"has no run {run}" if run else "a database of MLflow without runs")
        if not run:
            more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
            raise ReadError(f"holds {len(ids):,} runs, to be read one by one: {', '.join(ids[:_NAMED])}{more}")
        yield from mlflow.about(database.row("SELECT * FROM runs WHERE run_uuid = ? LIMIT 1", run), file.path)
        troubles: list[str] = []
        for part in (_parameters, _tags, _metrics):
            try:
                yield from part(database, run, file)
            except ReadError as error:  # of one table, which costs only this
                troubles.append(error.reason)
        if troubles:
            raise ReadError(troubles[0], partial=True)


def _parameters(database: Database, run: str, file: File) -> Iterator[Artifact]:
    for key, value in database.rows("SELECT key, value FROM params WHERE run_uuid = ?", run):
        yield from mlflow.parameter(str(key), str(value), file.path)


def _tags(database: Database, run: str, file: File) -> Iterator[Artifact]:
    if "tags" in database.tables:
        for key, value in database.rows("SELECT key, value FROM tags WHERE run_uuid = ?", run):
            yield from mlflow.tag(str(key), str(value), file.path)


class _Metric:
    def __init__(self) -> None:
        self.values, self.steps, self.times = array("d"), array("d"), array("d")

    def add(self, value: Any, step: Any, time: Any) -> bool:
        """Takes a point; refuses cells that are no numbers, which SQLite takes in any column."""
        try:
            self.values.append(value)
            self.steps.append(step)
            self.times.append(time)
        except TypeError:
            del self.values[len(self.times) :], self.steps[len(self.times) :]
            return False
        return True

    def restore(self) -> None:
        """Puts the infinities back."""
        for at, value in enumerate(self.values):
            if abs(value) == _INFINITE:
                self.values[at] = math.copysign(math.inf, value)


def _metrics(database: Database, run: str, file: File) -> Iterator[Artifact]:
    found: dict[object, _Metric] = {}
    points = wrong = 0
    trouble = ""
    query = "SELECT key, value, step, timestamp, is_nan FROM metrics WHERE run_uuid = ? ORDER BY rowid LIMIT ?"
    try:
        for key, value, step, time, is_nan in database.rows(query, run, POINTS_LIMIT):
            points += 1
            metric = found.get(key)
            if metric is None:
                metric = found[key] = _Metric()
            if not metric.add(math.nan if is_nan else value, step, time):
                wrong += 1
    except ReadError as error:
        trouble = error.reason
    for name, metric in found.items():
        metric.restore()
        place = Source(file.path, key=str(name))
        yield mlflow.series(str(name), metric.values, metric.steps, metric.times, place, None)
    if points == POINTS_LIMIT:
        trouble = f"run {run} has {POINTS_LIMIT:,} points or more; no more are read"
    elif wrong and not trouble:
        trouble = f"{wrong:,} of {points:,} points are no numbers"
    if trouble:
        raise ReadError(trouble)
