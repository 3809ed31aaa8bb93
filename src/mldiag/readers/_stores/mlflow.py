"""What MLflow's file store and its database have in common."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

from mldiag.artifacts import Role, Scalar, Series, SettingValue, Source
from mldiag.readers._configs.literals import literal
from mldiag.readers._configs.settings import is_secret
from mldiag.readers._tables.columns import EXCERPT_LIMIT

TEXT_LIMIT = 500
"""Characters of the longest tag that is kept; longer ones are documents (`mlflow.log-model.history`)."""

# `mlflow.entities.RunStatus`
_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_KEPT = {
    "run_id": "run_id", "run_uuid": "run_id", "run_name": "run_name", "name": "run_name", "status": "status",
    "start_time": "start_time", "end_time": "end_time", "experiment_id": "experiment_id",
}  # fmt: skip
# Milliseconds since 1970 are above this from 1973 on, seconds below it until the year 5138; releases before 1.0 logged
# seconds.
_MILLISECONDS = 1e11


def seconds(time: float) -> float:
    """A timestamp as seconds since 1970."""
    return time / 1000 if abs(time) >= _MILLISECONDS else time


def series(
    name: str, values: array[float], steps: array[float], times: array[float], place: Source, lines: array[int] | None
) -> Series:
    """A metric; steps that are all zero, and times that are, were not given by who logged them."""
    for at, time in enumerate(times):
        times[at] = seconds(time)
    return Series(
        "", name, values, place, steps if any(steps) else None, None, times if any(times) else None, (), lines
    )


def parameter(name: str, text: str, path: str, *, line: int | None = None) -> Iterator[SettingValue]:
    """A logged parameter: its text as the number, truth value or None that it spells; secrets are not kept."""
    value = literal(text)
    if not is_secret(name, value):
        yield SettingValue(name, value, Role.LOG, _place(path, name, text, line), record=True)


def tag(name: str, text: str, path: str, *, line: int | None = None) -> Iterator[SettingValue]:
    """A tag that MLflow itself sets (`mlflow.runName`, `mlflow.source.name`), unless it is a document."""
    if name.startswith("mlflow.") and len(text) <= TEXT_LIMIT and not is_secret(name, text):
        yield SettingValue(name, text, Role.LOG, _place(path, name, text, line), record=True)


def about(run: Mapping[str, object], path: str, lines: Mapping[str, int] | None = None) -> Iterator[SettingValue]:
    """What MLflow notes about a run, as `mlflow.status`, `mlflow.start_time` (seconds since 1970) and so on."""
    said: set[str] = set()
    for key, value in run.items():
        name = _KEPT.get(key)
        if name is None or name in said or value is None or value == "" or not isinstance(value, str | int | float):
            continue
        known: Scalar = value
        if name == "status":
            known = _STATUS.get(str(value), str(value))
        elif name.endswith("_time"):
            try:
                known = seconds(float(value))
            except (ValueError, OverflowError):
                continue
        said.add(name)
        line = lines.get(key) if lines else None
        yield SettingValue(f"mlflow.{name}", known, Role.LOG, _place(path, key, f"{key}: {value}", line), record=True)


def _place(path: str, key: str, text: str, line: int | None) -> Source:
    excerpt = text.partition("\n")[0][:EXCERPT_LIMIT]
    return Source(path, line=line, key=key, excerpt=excerpt if line else None)
