"""Everything that was read of a run as plain data, for `mldiag inspect`: what, from where, and what was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from enum import Enum
from pathlib import Path
from typing import Any

from msgspec import Struct

from mldiag.artifacts import (
    Disagreement,
    Launch,
    LogRows,
    Metrics,
    PythonSource,
    Samples,
    Series,
    SettingValue,
    Source,
)
from mldiag.checkpoints import Checkpoint
from mldiag.errors import NotApplicable
from mldiag.facts.curves import is_bounded_score, launches
from mldiag.facts.plan import Plan
from mldiag.matrix import matrix
from mldiag.reporters.json import at, unread
from mldiag.run import Run
from mldiag.scores import ScoreTable
from mldiag.secrets import is_secret
from mldiag.stats import count_finite
from mldiag.tokens import TokenFile, Tokenizer
from mldiag.vocabulary import Vocabulary, is_known_quantity

_FEW = 12
"""Members of a fact's sequence that are listed; of a longer one only the length is told."""
_DEEPEST = 3
"""Levels of nested values in a fact that are followed."""
_MAIN = ("train/loss", "val/loss", "test/loss", "val/accuracy", "test/accuracy", "train/accuracy")


def described(run: Run, vocabulary: Vocabulary | None = None) -> dict[str, Any]:
    """Everything that was read of a run.

    Args:
        vocabulary: tells which names of settings are known; None for the core's own.
    """
    known = vocabulary or Vocabulary()
    started = [launch for launch in (run.program.launch, *run.program.other_launches) if launch]
    series = [_series(found) for found in run.metrics]
    refused = {u.path for u in run.unread if u.known and not u.partial}
    files = {path: reader for path, reader in run.files.items() if path not in refused}
    return {
        "path": run.path,
        "name": run.name,
        "summary": {"files": len(files), **_summary(run, series)},
        "files": [{"path": p, "reader": reader, **_rows(run.rows.get(p))} for p, reader in files.items()],
        "unread": [unread(u) for u in run.unread],
        "series": series,
        "passed_over": [_series(found) for found in run.passed_over],
        "disagreements": [_disagreement(found) for found in run.metrics.disagreements],
        "settings": list(_settings(run, known)),
        "settings_matrix": matrix(run, known),
        "launches": [_launch(launch, launch is run.program.launch) for launch in started],
        "sources": [_source(source, source is run.program.main) for source in run.program.sources],
        "samples": {"count": len(run.samples), "prompted": sum(s.prompt is not None for s in run.samples)},
        "checkpoints": [_checkpoint(found) for found in run.artifacts.get(Checkpoint, ())],
        "token_files": [_token_file(found) for found in run.artifacts.get(TokenFile, ())],
        "tokenizers": [_tokenizer(found) for found in run.artifacts.get(Tokenizer, ())],
        "score_tables": [_score_table(found) for found in run.artifacts.get(ScoreTable, ())],
        "others": {kind.__name__: len(found) for kind, found in run.artifacts.items() if kind not in _SHOWN},
        "facts": list(_facts(run)),
    }


_SHOWN = frozenset({Samples.of, Checkpoint, TokenFile, Tokenizer, ScoreTable})


def _rows(rows: LogRows | None) -> dict[str, Any]:
    return {"rows": None, "cut": False} if rows is None else {"rows": rows.count, "cut": rows.cut}


def _summary(run: Run, series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "unread": sum(u.known for u in run.unread),
        "unknown": sum(not u.known for u in run.unread),
        "series": len(series),
        "points": max((s["points"] for s in series), default=0),
        "launches": max((s["launches"] for s in series), default=0),
        "main": _main(series),
        "plan": _plan(run),
    }


def _main(series: Sequence[Mapping[str, Any]]) -> list[str]:
    """The series that tell most: the losses and accuracies, else the longest one."""
    filled = sorted((s for s in series if s["points"]), key=lambda s: -s["points"])
    names = {s["name"] for s in filled}
    parts = (next((s["name"] for s in filled if s["name"].startswith(f"{name}/")), "") for name in _MAIN)
    main = [name for name in _MAIN if name in names] or [name for name in parts if name]
    return main[:2] or [s["name"] for s in filled[:1]]


def _plan(run: Run) -> dict[str, float | None] | None:
    try:
        plan = run.get(Plan)
    except (NotApplicable, TypeError):
        return None
    parts = {"total_steps": plan.total_steps, "epochs": plan.epochs, "done_steps": plan.done_steps}
    parts["done_epochs"] = plan.done_epochs
    return {name: None if part is None else part.value for name, part in parts.items()}


def _series(series: Series) -> dict[str, Any]:
    some = len(series) > 0
    nulls = len(series.nulls)
    return {
        "name": series.name,
        "raw_name": series.raw_name,
        "known": _is_known(series),
        "points": len(series),
        "first": series.data[0] if some else None,
        "last": series.data[-1] if some else None,
        "from": series.place(0) if some else None,
        "to": series.place(-1) if some else None,
        "unit": series.unit,
        "launches": len(launches(series)) if some else 0,
        "nulls": nulls,
        "not_finite": len(series) - count_finite(series.data) - nulls,
        "at": at(series.source),
        "also": [at(place) for place in series.also],
    }


def _is_known(series: Series) -> bool:
    names = (series.raw_name, series.name)
    return any(map(is_known_quantity, names)) or is_bounded_score(series.name) or series.name.startswith("system/")


def _disagreement(found: Disagreement) -> dict[str, Any]:
    return {
        "name": found.name,
        "place": found.place,
        "kept": found.kept,
        "kept_at": at(found.kept_at),
        "other": found.other,
        "other_at": at(found.other_at),
        "points": found.points,
        "common": found.common,
    }


def _checkpoint(found: Checkpoint) -> dict[str, Any]:
    return {
        "path": found.path,
        "format": found.format,
        "tensors": len(found.tensors),
        "elements": found.count,
        "dtypes": dict(Counter(t.dtype for t in found.tensors).most_common()),
        "metadata": {k: v for k, v in found.metadata.items() if not is_secret(k, v)},
    }


def _token_file(found: TokenFile) -> dict[str, Any]:
    return {
        "at": at(found.source),
        "dtype": found.dtype,
        "count": found.count,
        "header": found.header,
        "largest_seen": found.largest_seen,
        "split": found.split,
    }


def _tokenizer(found: Tokenizer) -> dict[str, Any]:
    return {
        "at": at(found.source),
        "kind": found.kind,
        "size": found.size,
        "largest_id": found.largest_id,
        "special": dict(found.special),
    }


def _score_table(found: ScoreTable) -> dict[str, Any]:
    return {
        "at": at(found.source),
        "rows": found.rows,
        "columns": list(found.columns),
        "texts": found.texts,
        "split": found.split,
    }


def _settings(run: Run, vocabulary: Vocabulary) -> Iterator[dict[str, Any]]:
    for name in sorted(run.settings.by_name):
        effective = run.settings.effective(name)
        known = vocabulary.setting(name) is not None
        for value in run.settings.all(name):
            yield {
                "name": name,
                "known": known,
                "value": value.value,
                "role": value.role.value,
                "effective": value is effective,
                "record": value.record,
                "shared_by": value.shared_by,
                "ambiguous": run.settings.ambiguous.get(name),
                "at": at(value.source),
            }


def _launch(launch: Launch, stands: bool) -> dict[str, Any]:
    flags = [{"name": f.name, "value": f.value, "at": at(f.source)} for f in launch.flags]
    return {
        "program": launch.program,
        "launcher": launch.launcher,
        "main": stands,
        "flags": flags,
        "positionals": launch.positionals,
        "at": at(launch.source),
    }


def _source(source: PythonSource, main: bool) -> dict[str, Any]:
    builds = [
        {"name": b.name, "value": b.value, "option": b.option, "uses_default": b.uses_default, "at": at(b.source)}
        for b in source.builds
    ]
    return {
        "path": source.path,
        "main": main,
        "options": len(source.options),
        "closed": source.closed,
        "builds": builds,
    }


def _facts(run: Run) -> Iterator[dict[str, Any]]:
    for kind in sorted(run.facts, key=lambda k: k.__name__):
        try:
            yield {"name": kind.__name__, "missing": None, "value": _plain(run.get(kind))}
        except NotApplicable as reason:
            yield {"name": kind.__name__, "missing": str(reason), "value": None}


def _plain(value: Any, depth: int = 0) -> Any:
    """A fact's value as plain data: places and series by name, long sequences by their length."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Source):
        return str(value)
    if type(value) in _SHOWN:  # told in a part of its own, without what must stay secret
        return str(value.source)
    if isinstance(value, Series | PythonSource):
        return getattr(value, "name", None) or getattr(value, "path", None)
    if isinstance(value, SettingValue):
        return f"{value.name} = {value.value} at {value.source}"
    if isinstance(value, Checkpoint):
        return value.path
    if isinstance(value, Metrics):
        return [series.name for series in value]
    if isinstance(value, Struct):
        if depth == _DEEPEST:
            return type(value).__name__
        # The folder of a run is where this machine keeps it.
        public = [n for n in value.__struct_fields__ if n[0] != "_" and not isinstance(getattr(value, n), Path)]
        return {name: _plain(getattr(value, name), depth + 1) for name in public}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, Sequence | Set):
        return [_plain(inner, depth + 1) for inner in value] if len(value) <= _FEW else f"{len(value):,} values"
    return type(value).__name__
