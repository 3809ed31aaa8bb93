"""MLflow's file store: a folder per run with a file for each metric, parameter and tag."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from mldiag.artifacts import Artifact, Source
from mldiag.errors import ReadError, os_reason
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._stores import mlflow
from mldiag.readers._tables.columns import EXCERPT_LIMIT

DOCUMENT_LIMIT = 256 * 2**10
"""Largest `meta.yaml`, parameter or tag, in bytes, that is read; MLflow takes parameters of up to 8,000 characters."""

_WHOLE = 3
"""Cells of a point of a metric: time, value, step. Of two cells without a line end the value may be cut."""
_FOLDERS = frozenset({"metrics", "params", "tags"})
# Time, value, step; the first releases had no step, the latest add a data set's name and digest.
_POINT = lazily(rb"\d{1,17} [-+.\w]+(?: -?\d+(?: \S+ \S+)?)?\r?(?:\n|\Z)")
_POINTS = lazily(rb"(?:\d{1,17} [-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|nan|inf) -?\d+\n)+")  # all that float takes
_ENTRY = lazily(r"^(\w+): *(.*)$", re.MULTILINE)


def _is_mlflow(file: File) -> bool:
    if file.name == "meta.yaml":
        return _describes_run(file.head) or _is_experiment(file)
    run, kind, name = _parted(file)
    if kind == "metrics":
        head = file.head
        if not head:
            return _is_run(file, run)
        return bool(_POINT.match(head)) and (head[:13].isdigit() or _is_run(file, run))
    return bool(name) and file.size <= DOCUMENT_LIMIT and _is_run(file, run)


def _describes_run(head: bytes) -> bool:
    return b"artifact_uri:" in head and (b"run_id:" in head or b"run_uuid:" in head)


def _is_experiment(file: File) -> bool:
    return b"artifact_location:" in file.head and b"experiment_id:" in file.head


def _parted(file: File) -> tuple[str, str, str]:
    """The run's folder, whether the file is of `metrics`, `params` or `tags`, and its name below that; else empty."""
    folders = file.path.split("/")[:-1]
    of = [at for at, folder in enumerate(folders) if folder in _FOLDERS]
    # A metric may be named `params/x`: the folder beside the run's description counts, else the first.
    at = next((i for i in of if _is_file(file.root.joinpath(*folders[:i], "meta.yaml"))), of[0] if of else None)
    if at is None:
        return "", "", ""
    return "/".join(folders[:at]), folders[at], "/".join(file.path.split("/")[at + 1 :])


def _is_run(file: File, folder: str) -> bool:
    """Whether MLflow describes a run in the folder, or has tagged it."""
    if _is_file(file.root / folder / "meta.yaml"):
        return _describes_run(File(file.root, f"{folder}/meta.yaml" if folder else "meta.yaml").head)
    return any((file.root / folder / "tags").glob("mlflow.*"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ReadError(f"cannot be read: {os_reason(error)}") from error


@reader(
    "meta.yaml", "metrics/*", "metrics/*/*", "metrics/*/*/*", "params/*", "params/*/*", "params/*/*/*", "tags/mlflow.*",
    matches=_is_mlflow, priority=45, post=True,
)  # fmt: skip
def mlflow_run(file: File) -> Iterator[Artifact]:
    """A run in MLflow's file store: `meta.yaml`, `metrics/`, `params/` and `tags/`, names with slashes included.

    A metric is a series with its steps and times (seconds since 1970); steps that are all zero were not given. Lines
    that are no point are left out and counted; a last line without its line end is being written and is left out in
    silence, unless it is the only one. Parameters are records: numbers, truth values, None and flat lists as such, all
    else as text. `mlflow.status` and the like come from `meta.yaml`, other `mlflow.*` names from MLflow's own tags;
    the description of an experiment holds nothing about a run and is passed over.
    """
    if file.name == "meta.yaml":
        if _is_experiment(file):
            return
        found = {m[1]: (_unquoted(m[2]), file.text.count("\n", 0, m.start()) + 1) for m in _ENTRY.finditer(file.text)}
        yield from mlflow.about({k: v for k, (v, _) in found.items()}, file.path, {k: n for k, (_, n) in found.items()})
        return
    _, kind, name = _parted(file)
    if kind == "metrics":
        yield from _metric(file, name)
    elif kind == "params":
        yield from mlflow.parameter(name, file.text.rstrip("\r\n"), file.path, line=1)
    else:
        yield from mlflow.tag(name, file.text.rstrip("\r\n"), file.path, line=1)


def _metric(file: File, name: str) -> Iterator[Artifact]:
    points = _Points()
    first, cut = b"", False
    for block in file.blocks():
        data = block.data
        first = first or data.split(b"\n", 1)[0].rstrip(b"\r")
        if not data.endswith(b"\n") and (block.line > 1 or b"\n" in data or len(data.split()) < _WHOLE):
            cut = True
            data = data[: data.rfind(b"\n") + 1]
        if data:
            points.add(data, block.line)
    if points.values:
        place = Source(file.path, line=1, key=name, excerpt=first[:EXCERPT_LIMIT].decode(errors="replace"))
        yield mlflow.series(name, points.values, points.steps, points.times, place, points.lines)
    if points.wrong:
        count = len(points.wrong)
        raise ReadError(
            f"{count:,} of {count + len(points.values):,} lines are no point of a metric (time, value, step)",
            line=points.wrong[0],
            partial=bool(points.values),
        )
    if not points.values:
        raise ReadError("no line is whole: the first is being written" if cut else "the file is empty")


class _Points:
    """Columns of a metric, and the lines that are no point."""

    def __init__(self) -> None:
        self.values, self.steps, self.times = array("d"), array("d"), array("d")
        self.lines = array("q")
        self.wrong: list[int] = []

    def add(self, data: bytes, line: int) -> None:
        if _POINTS.fullmatch(data):
            cells = data.split()
            columns = [array("d", map(float, cells[at::3])) for at in (1, 2, 0)]
            self._extend(columns, array("q", range(line, line + len(columns[0]))))
            return
        rows = [text.split() for text in data.removesuffix(b"\n").split(b"\n")]
        for number, row in enumerate(rows, line):
            if not row:
                continue
            try:
                if len(row) not in (2, 3, 5):
                    raise ValueError
                time, value, step = float(row[0]), float(row[1]), float(row[2]) if len(row) > 2 else 0.0
            except ValueError:
                self.wrong.append(number)
            else:
                self._extend([array("d", [cell]) for cell in (value, step, time)], array("q", [number]))

    def _extend(self, columns: Sequence[array[float]], lines: array[int]) -> None:
        for own, new in zip((self.values, self.steps, self.times), columns, strict=True):
            own.extend(new)
        self.lines.extend(lines)


def _unquoted(text: str) -> str:
    """A plain YAML scalar without its quotes."""
    word = text.strip()
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        return word[1:-1].replace("''", "'") if word[0] == "'" else word[1:-1]
    return "" if word in ("null", "~") else word
