"""What the readers of logs share: cells to numbers, logged rows to one series per key."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from mldiag.artifacts import LogRows, Series, Source
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers._tables.axes import Axes, never_falls, plain_columns, restarts
from mldiag.vocabulary import axis, is_metric, normalized, split_of

if TYPE_CHECKING:
    from mldiag.readers._tables.axes import Rows as Rows, Values as Values

EXCERPT_LIMIT = 160
"""Characters of a line kept with the place of a series: a JSON history is often one line of many kilobytes."""

_THOUSANDS = lazily(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_DECIMAL_COMMA = lazily(r"[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+([eE][+-]?\d+)?")
_TENSOR = lazily(r"tensor\(\s*([^,)\s]+)")
_CLOCK = lazily(r"(?:(\d+) days?,? )?(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?")
# How Microsoft's C runtime, and so numpy on old Windows, spells what is no number.
_MSVC = {"1.#qnan": math.nan, "1.#ind": math.nan, "1.#inf": math.inf}
_SPLIT_COLUMNS = frozenset({"mode", "split", "phase", "stage", "subset", "set"})
_PER_EXAMPLE = frozenset({
    "id", "example_id", "sample_id", "uid", "guid", "doc_id", "label", "labels", "label_name", "target", "targets",
    "y_true", "y_pred", "y_score", "y_prob", "prediction", "predictions", "pred", "preds", "predicted", "prob",
    "proba", "probability", "ground_truth", "text", "prompt", "question", "answer", "sentence", "filename",
    "image_id", "video_id",
})  # fmt: skip
_NOT_LOGGED = frozenset({
    "eta", "eta_seconds", "remaining", "remaining_time", "percentage",
    # Ray Tune says them in every row, of the process and since its last start.
    "pid", "trial_id", "iterations_since_restore", "timesteps_since_restore",
})  # fmt: skip
_LESSER_STEPS = frozenset({"_step", "batch", "lote", "it", "training_iteration"})
"""Steps only where nothing else counts them."""
_PLANNED = frozenset({"total_steps", "max_steps", "total_epochs", "num_epochs", "max_epochs", "num_train_epochs"})


def number(value: object, *, decimal_comma: bool = False) -> float | None:
    """A cell as a float; None where it is no number.

    Strings count (`"0.5"`, `"NaN"`, `"1,234.5"`, `"93 %"` as 0.93, `"tensor(0.5)"`); booleans do not. An integer too
    large for a float is infinite, as `1e999` is.

    Args:
        decimal_comma: `0,5` is a half, and `1,234` a little more than one.
    """
    if type(value) is float:
        return value
    if isinstance(value, str):
        return _parsed(value.strip(), decimal_comma)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _parsed(text: str, decimal_comma: bool) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    if decimal_comma and _DECIMAL_COMMA.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    if _THOUSANDS.fullmatch(text):
        return float(text.replace(",", ""))
    if text.endswith("%"):
        part = _parsed(text[:-1].rstrip(), decimal_comma)
        return None if part is None else part / 100
    if tensor := _TENSOR.match(text):
        return _parsed(tensor[1], decimal_comma)
    special = _MSVC.get(text.lower().lstrip("+-"))
    return -special if special is not None and text.startswith("-") else special


def has_decimal_comma(cells: Iterator[str]) -> bool:
    """Whether some cell can only be read with a comma as the decimal sign."""
    return any(_DECIMAL_COMMA.fullmatch(c) and not _THOUSANDS.fullmatch(c) for c in map(str.strip, cells))


def with_point(cell: str) -> str:
    """A cell with a comma as the decimal sign as Python writes it; any other as it is."""
    plain = cell.strip()
    return plain.replace(".", "").replace(",", ".") if _DECIMAL_COMMA.fullmatch(plain) else cell


def seconds(value: object) -> float | None:
    """A time as seconds: a number, `1:02:03`, `2 days, 1:02:03` or an ISO date; None where it is none of these."""
    found = number(value)
    if found is not None or not isinstance(value, str):
        return found
    text = value.strip()
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, rest = clock.groups()
        return int(days or 0) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + float(rest or 0)
    try:
        from datetime import datetime

        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def flat(row: Mapping[str, object], *, depth: int = 4) -> Mapping[str, object]:
    """Nested records joined with slashes (`{"val": {"loss": 1}}` → `val/loss`); W&B's media entries are left out."""
    if not any(isinstance(v, dict) for v in row.values()):
        return row
    joined: dict[str, object] = {}
    for key, value in row.items():
        if not isinstance(value, dict):
            joined[key] = value
        elif depth and "_type" not in value:
            joined.update({f"{key}/{k}": v for k, v in flat(value, depth=depth - 1).items()})
    return joined


def is_log_row(row: Mapping[str, object]) -> bool:
    """Whether a record is one of a training log and not of a table of examples.

    It needs a step or epoch with a number beside it, or a quantity that training logs; a record with an id, a label or
    a text is an example.
    """
    counters, metrics, others = _roles(tuple(row))
    if any(is_cell(row[k]) for k in metrics):
        return True
    return any(number(row[k]) is not None for k in counters) and any(is_cell(row[k]) for k in others)


def is_cell(value: object) -> bool:
    """A number, or a null in its place."""
    return value is None or number(value) is not None


@lru_cache(1024)
def _roles(keys: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """Of a record's keys the counters, the quantities that training logs and the others; none for an example's."""
    if {normalized(k) for k in keys} & _PER_EXAMPLE:
        return [], [], []
    counters = [k for k in keys if axis(k) in ("step", "epoch")]
    metrics = [k for k in keys if is_metric(k)]
    return counters, metrics, [k for k in keys if k not in metrics and not axis(k)]


@lru_cache(4096)
def kind_of(key: str) -> str:
    """What a column of this name is: `step`, `epoch`, `time`, `split`, `planned`, `left out` or `metric`."""
    plain = normalized(key)
    known = (("split", _SPLIT_COLUMNS), ("left out", _NOT_LOGGED), ("planned", _PLANNED))
    return axis(key) or next((kind for kind, names in known if plain in names), "metric")


class _Column(Struct):
    """Cells of one key; `texts` counts those that are no number.

    Attributes:
        start: the row of the first cell.
        sparse: the rows of all cells; None as long as they fill every row from `start` on, which needs no array.
    """

    line: int | None
    values: array[float] = field(default_factory=lambda: array("d"))
    start: int = 0
    sparse: array[int] | None = None
    nulls: list[int] = field(default_factory=list)
    texts: int = 0
    first_text: tuple[str, int | None] = ("", None)

    @property
    def rows(self) -> Rows:
        return range(self.start, self.start + len(self.values)) if self.sparse is None else self.sparse

    def append(self, row: int, value: float) -> None:
        if self.sparse is not None:
            self.sparse.append(row)
        elif not self.values:
            self.start = row
        elif row != self.start + len(self.values):
            self.sparse = array("q", self.rows)
            self.sparse.append(row)
        self.values.append(value)

    def extend(self, base: int, rows: Rows, values: Values) -> None:
        """Takes cells of the rows `base + rows`, ascending."""
        count = len(rows)
        if not count:
            return
        first, last = base + rows[0], base + rows[-1]
        if not self.values:
            self.start = first
        if self.sparse is None and (last - first + 1 != count or first != self.start + len(self.values)):
            self.sparse = array("q", self.rows)
        if self.sparse is not None:
            if not base and not isinstance(rows, range):
                _append(self.sparse, rows)
            else:
                self.sparse.extend(range(first, last + 1) if last - first + 1 == count else map(base.__add__, rows))
        _append(self.values, values)


def _shifted(rows: Rows, base: int) -> Rows:
    if not base:
        return rows
    if not isinstance(rows, memoryview):
        return array("q", map(base.__add__, rows))
    import numpy as np  # which the view is from

    return (np.frombuffer(rows, np.int64) + base).data


def _append(target: array[Any], more: array[Any] | memoryview) -> None:
    if isinstance(more, array):
        target.extend(more)
    elif len(more):
        target.frombytes(more.cast("B"))


class Table:
    """Collects logged rows, ragged or not, into one series per key.

    The x axis of a series is a column that has a number in every row of the series: `global_step` before other steps;
    a step that falls back whenever the epoch rises counts within the epoch and is no optimizer step; one that stands
    still gives way to one that moves; a time only if it never falls: trainers also log seconds per step as `time`.
    Series with the same rows share their axes' and lines' arrays.

    Args:
        split: of the whole file, for names that have none of their own (`val.csv` with a column `loss`).

    Attributes:
        cut: the log ends within a row.
        planned: what rows repeat about the plan (LLaMA-Factory's `total_steps`), as last said; no series.
    """

    def __init__(self, file: File, *, split: str | None = None, decimal_comma: bool = False) -> None:
        self._file = file
        self._split = None if split == "train" else split
        self._decimal_comma = decimal_comma
        self._columns: dict[str, _Column] = {}
        self._axes: dict[str, array[float]] = {}
        self._kinds: dict[str, str] = {}
        self._splits: list[str] = []
        self._lines = array("q")
        self._count = 0
        self.cut = False
        self.planned: dict[str, object] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, row: Mapping[str, object], line: int | None = None) -> None:
        """Takes one row: key → cell. None is an explicit null; an absent key is no point."""
        kinds = self._kinds
        for key in row:
            if key not in kinds:
                self._classify(key)
        split = self._split
        for key in self._splits:
            if isinstance(value := row.get(key), str):
                split = split_of(value) or split
        split = None if split == "train" else split
        for key, value in row.items():
            kind = kinds[key]
            if kind == "metric":
                self._cell(self._named(key, split) if split else key, value, line)
            elif kind == "planned":
                self.planned[key] = value
            elif kind in ("step", "epoch", "time"):
                cell = number(value, decimal_comma=self._decimal_comma)
                cell = seconds(value) if cell is None and kind == "time" else cell
                self._axis(key).append(math.nan if cell is None else cell)
        if line is not None:
            self._lines.append(line)
        self._count += 1

    def add_all(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Takes records, nested or not, of which no lines are known; by columns where every cell is a number."""
        columns = plain_columns(rows)
        if columns is None:
            for row in rows:
                self.add(flat(row))
        else:
            self.extend(columns, len(rows), None)

    def extend(
        self,
        columns: Mapping[str, tuple[Rows, Values]],
        count: int,
        lines: Rows | None,
        *,
        nulls: Mapping[str, Sequence[int]] | None = None,
        texts: Mapping[str, tuple[int, str, int]] | None = None,
    ) -> None:
        """Takes many rows at once.

        Args:
            columns: key → positions of its cells among these rows, ascending, and their values; a key without a cell in
                a row is absent there, as with `add`. A range, or a contiguous memoryview of int64 and float64, will do.
            count: rows. `lines`: their 1-based lines, one per row, or None where they are not known.
            nulls: key → which of its cells here are explicit nulls (NaN in their place).
            texts: key → how many of its cells here are no numbers and so left out of `columns`, the first, its line.
        """
        for key, (number_of, first, line) in (texts or {}).items():
            if self.kind(key) == "metric":
                column = self._column(key, line)
                column.first_text = column.first_text if column.texts else (first, line)
                column.texts += number_of
        shifted: dict[int, Rows] = {}
        for key, (rows, values) in columns.items():
            kind = self.kind(key)
            if kind == "metric":
                column = self._column(key, lines[rows[0]] if len(rows) and lines is not None else None)
                column.nulls.extend(map(len(column.values).__add__, (nulls or {}).get(key, ())))
                if not isinstance(rows, range):
                    # Columns with gaps in the same rows come with the same object, and it is shifted once.
                    if id(rows) not in shifted:
                        shifted[id(rows)] = _shifted(rows, self._count)
                    column.extend(0, shifted[id(rows)], values)
                else:
                    column.extend(self._count, rows, values)
            elif kind in ("step", "epoch", "time"):
                axis_of = self._axis(key)
                if len(rows) == count:
                    _append(axis_of, values)
                    continue
                axis_of.extend(itertools.repeat(math.nan, count))
                for row, value in zip(rows, values, strict=True):
                    axis_of[self._count + row] = value
        if isinstance(lines, range):
            self._lines.extend(lines)
        elif lines is not None:
            _append(self._lines, lines)
        self._count += count

    def kind(self, key: str) -> str:
        """`kind_of` a column that is told by its name."""
        return self._kinds.get(key) or self._classify(key)

    def _classify(self, key: str) -> str:
        kind = self._kinds[key] = kind_of(key)
        if kind == "split":
            self._splits.append(key)
        return kind

    def _named(self, key: str, split: str | None) -> str:
        return key if split_of(key) else f"{split}/{key}"

    def _axis(self, key: str) -> array[float]:
        """The cells of an axis, filled up to the next row."""
        column = self._axes.setdefault(key, array("d"))
        if len(column) < self._count:
            column.extend(itertools.repeat(math.nan, self._count - len(column)))
        return column

    def _column(self, key: str, line: int | None) -> _Column:
        """The column of a key, whose first cell here stands in `line`."""
        name = self._named(key, self._split) if self._split else key
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = _Column(line)
        elif column.line is None or (line is not None and line < column.line):
            column.line = line
        return column

    def _cell(self, name: str, value: object, line: int | None) -> None:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = _Column(line)
        if value is None:
            column.nulls.append(len(column.values))
            cell: float | None = math.nan
        else:
            cell = number(value, decimal_comma=self._decimal_comma)
        if cell is not None:
            column.append(self._count, cell)
        elif isinstance(value, str):
            column.texts += 1
            column.first_text = column.first_text if column.texts > 1 else (value, line)

    def artifacts(self) -> Iterator[Series | LogRows]:
        """The series, and how many rows they are from."""
        yield from self.series()
        yield self.extent

    @property
    def extent(self) -> LogRows:
        return LogRows(Source(self._file.path), self._count, self.cut)

    def series(self) -> Iterator[Series]:
        """One series per numeric column, without a canonical name (the vocabulary gives it)."""
        for name in self._axes:
            self._axis(name)
        axes = Axes(self._x_axes(), self._lines if len(self._lines) == self._count else None, self._count)
        for name, column in self._columns.items():
            if not self._is_quantity(name, column):
                continue
            steps, epochs, times, lines = axes.at(column.rows)
            column.sparse = array("q") if column.sparse else None
            yield Series(
                "",
                name,
                column.values,
                self._place(name, column.line),
                steps,
                epochs,
                times,
                tuple(column.nulls),
                lines,
            )
        # A job that logs its progress alone (LLaMA-Factory's predictions) shows how long that took.
        alone = not any(self._is_quantity(n, c) for n, c in self._columns.items())
        for name, values in self._axes.items():
            if self._kinds[name] == "time" and (alone or not never_falls(values)):
                rows = array("q", (i for i, v in enumerate(values) if not math.isnan(v)))
                own = array("d", map(values.__getitem__, rows))
                steps, epochs, _, _ = axes.at(rows)
                yield Series("", name, own, self._place(name, None), steps, epochs, None)

    def texts(self) -> tuple[str, int, str, int | None] | None:
        """Of the numeric column that first has a cell that is no number: its name, how many, the first, its line."""
        named = [(n, c) for n, c in self._columns.items() if c.texts and self._is_quantity(n, c)]
        if not named:
            return None
        name, column = min(named, key=lambda found: (found[1].first_text[1] or 0, found[0]))
        return name, column.texts, *column.first_text

    def _is_quantity(self, name: str, column: _Column) -> bool:
        numbers = len(column.values) - len(column.nulls)
        if not numbers:
            return bool(column.nulls) and not column.texts and is_metric(name)
        return column.texts < numbers

    def _x_axes(self) -> tuple[list[array[float]], list[array[float]], list[array[float]]]:
        by_kind: dict[str, list[str]] = {"step": [], "epoch": [], "time": []}
        for name in self._axes:
            by_kind[self._kinds[name]].append(name)
        epochs = [self._axes[n] for n in by_kind["epoch"]]
        by_kind["step"].sort(
            key=lambda n: ("global" not in n.lower(), n in ("_step", "batch", "lote", "it", "training_iteration"))
        )
        steps = [self._axes[n] for n in by_kind["step"]]
        steps = [s for s in steps if not any(restarts(s, e) for e in epochs)]
        return steps, epochs, [self._axes[n] for n in by_kind["time"] if never_falls(self._axes[n])]

    def _place(self, name: str, line: int | None) -> Source:
        key = name if name in self._kinds else name.split("/", 1)[-1]
        return shortened(self._file.at(line, key=key) if line else self._file.find(quoted(key), key=key))


def quoted(key: str) -> str:
    """The last part of a key as it stands in JSON."""
    return f'"{key.rsplit("/", 1)[-1]}"'


def shortened(source: Source) -> Source:
    """The place with an excerpt of at most `EXCERPT_LIMIT` characters."""
    if source.excerpt is None or len(source.excerpt) <= EXCERPT_LIMIT:
        return source
    return replace(source, excerpt=source.excerpt[:EXCERPT_LIMIT] + "…")
