"""What the records of a `.wandb` file mean: rows of history, configuration, summary, exit code.

Field numbers are those of `wandb/proto/wandb_internal.proto`; releases 0.12 to 0.31 were looked at. An item of history,
configuration or summary has a `key` or the parts of a `nested_key`, and its value as JSON; the schema of 0.31 has
typed values besides.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from msgspec import Struct, field
from msgspec.structs import replace

from mldiag.artifacts import LogRows, Series, Source
from mldiag.files import File
from mldiag.readers._protobuf import LEN, Malformed, double, fields, signed, varint
from mldiag.readers._tables.columns import Table, flat, number
from mldiag.vocabulary import normalized

HISTORY, SUMMARY, OUTPUT, CONFIG, METRIC, OUTPUT_RAW, RUN, EXIT = 2, 3, 4, 5, 12, 13, 17, 18
_READ = frozenset({HISTORY, SUMMARY, OUTPUT, CONFIG, METRIC, OUTPUT_RAW, RUN, EXIT})
_RUN_CONFIG, _UPDATE, _REMOVE, _EXIT_CODE = 4, 1, 2, 1
_STEP = 2
_NAME, _GLOB_NAME, _STEP_METRIC = 1, 2, 4
_KEY, _NESTED_KEY, _VALUE_JSON = 1, 2, 16
_NONE, _INTEGER, _NUMBER, _TEXT, _JSON = 3, 5, 6, 7, 8
# Tag of the field 16 with a length, as the bytes in the file.
_VALUE_TAG = b"\x82\x01"
_ITEM_TAG = 0x0A
_OWN = frozenset({"_step", "_runtime", "_timestamp"})
_TEXT_KEPT = 40
_DEPTH_LIMIT = 16  # parts of a key that may be media
_PATTERNS_LIMIT = 100  # patterns of keys with an axis of their own

_Appends = tuple[Callable[[int], None], Callable[[float], None]]


def record(data: bytes) -> tuple[int, bytes]:
    """What a `Record` holds, by its field number, as far as it is read here; 0 where it is something else.

    Raises:
        Malformed: bytes that are no such message.
    """
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = varint(data, at - 1)
        wire = tag & 7
        if wire == LEN:
            size, at = varint(data, at)
            if tag >> 3 in _READ:
                if at + size > end:
                    raise Malformed("a field that is cut")
                return tag >> 3, data[at : at + size]
            at += size
        elif wire == 0:
            _, at = varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise Malformed(f"wire type {wire}")
    return 0, b""


class _Column(Struct):
    """Cells of one key: rows they stand in, values; which are nulls; how many are no numbers, and the first of them."""

    rows: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    nulls: list[int] = field(default_factory=list)
    texts: int = 0
    first_text: str = ""


class _Axis:
    """A declared x axis: what its name says it is, and its values."""

    def __init__(self, kind: str, column: _Column) -> None:
        self.kind = kind
        self._column = column

    @cached_property
    def by_row(self) -> Mapping[int, float]:
        return dict(zip(self._column.rows, self._column.values, strict=True))


class History:
    """Rows of history, collected column by column.

    Nearly every cell is a number behind the same bytes of a key as in the row before, so what a key's bytes mean is
    looked up and the number is read where it stands; everything else takes the long way.
    """

    def __init__(self, file: File) -> None:
        self._file = _Placeless(file.root, file.path, member=file.member)
        self._step = _Column()
        self._columns = {"_step": self._step}
        self._known: dict[bytes, _Appends] = {}
        self._media: set[str] = set()
        self._declared: dict[str, str] = {}
        self._patterns: set[str] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, data: bytes) -> None:
        """Takes a `HistoryRecord`.

        Raises:
            Malformed: bytes that are no such message; its cells before them were taken.
        """
        row, step = self._count, b""
        self._count += 1
        known = self._known
        at, end = 0, len(data)
        while at < end:
            if data[at] != _ITEM_TAG:
                tag, at = varint(data, at)
                if tag & 7 != LEN:
                    raise Malformed(f"wire type {tag & 7} in a row of history")
                size, at = varint(data, at)
                if tag >> 3 == _STEP:
                    step = data[at : at + size]
                at += size
                continue
            at += 2
            size = data[at - 1] if at <= end else 0x80
            if size >= 0x80:
                size, at = varint(data, at - 1)
            item = data[at : at + size]
            at += size
            if at > end:
                raise Malformed("a field that is cut")
            head, _, value = item.partition(_VALUE_TAG)
            appends = known.get(head)
            if appends is not None and value and len(value) - 1 == value[0] < 0x80:
                try:
                    cell = float(value[1:])
                except ValueError:
                    pass
                else:
                    appends[0](row)
                    appends[1](cell)
                    continue
            self._take(row, item, head)
        own = self._step
        if not own.rows or own.rows[-1] != row:
            number_of = _step(step)
            own.rows.append(row)
            own.values.append(number_of)

    def declare(self, data: bytes) -> None:
        """Takes a `MetricRecord`: which key is the x axis of others (`wandb.define_metric`)."""
        texts = {f.number: f.value.decode(errors="replace") for f in fields(data) if isinstance(f.value, bytes)}
        name = texts.get(_NAME) or texts.get(_GLOB_NAME)
        if name and _STEP_METRIC in texts:
            self._declared[name] = texts[_STEP_METRIC]
            if name.endswith("*") and len(self._patterns) < _PATTERNS_LIMIT:
                self._patterns.add(name)

    def add_summary(self, update: Mapping[str, object]) -> None:
        """Takes a summary, the last value of every key, as one row."""
        row = self._count
        self._count += 1
        for key, value in update.items():
            if key != "_wandb":
                self._cell(row, key, value)

    def _take(self, row: int, item: bytes, head: bytes) -> None:
        name, value, plain = item_of(item)
        if not name:
            return
        if name[0] == "_wandb":  # bookkeeping
            return
        if name[-1] == "_type" and len(name) <= _DEPTH_LIMIT:
            self._media.add("/".join(name[:-1]))
        key = "/".join(name)
        self._cell(row, key, value)
        # The short way reads the bytes before the value as this key and the rest as JSON.
        if plain and head not in self._known and key in self._columns and isinstance(value, int | float):
            column = self._columns[key]
            self._known[head] = (column.rows.append, column.values.append)

    def _cell(self, row: int, key: str, value: object) -> None:
        if isinstance(value, dict):
            for inner, cell in flat({key: value}).items():
                self._cell(row, inner, cell)
            return
        if isinstance(value, bool | list):
            return
        column = self._columns.setdefault(key, _Column())
        cell = math.nan if value is None else number(value)
        if cell is None:
            column.texts += 1
            column.first_text = column.first_text or str(value)[:_TEXT_KEPT]
            return
        if value is None:
            column.nulls.append(len(column.values))
        column.rows.append(row)
        column.values.append(cell)

    @property
    def extent(self) -> LogRows:
        return LogRows(Source(self._file.path), self._count)

    def series(self) -> Iterator[Series]:
        """One series per numeric key. Times are `_timestamp`s, seconds since 1970; `_runtime` where those fall back."""
        names = [n for n in self._columns if not self._is_media(n)]
        names.sort(key=lambda n: n == "_runtime")
        columns = {n: self._columns[n] for n in names}
        table = Table(self._file)
        table.extend(
            {n: (c.rows, c.values) for n, c in columns.items()},
            self._count,
            array("q", bytes(8 * self._count)),
            nulls={n: c.nulls for n, c in columns.items() if c.nulls},
            texts={n: (c.texts, c.first_text, 0) for n, c in columns.items() if c.texts},
        )
        axes = {n: _Axis(table.kind(n), columns[n]) for n in self._declared.values() if n in columns}
        for found in table.series():
            if found.raw_name not in _OWN and found.raw_name not in axes:
                yield replace(self._placed(found, axes), lines=None)

    def _placed(self, found: Series, axes: Mapping[str, _Axis]) -> Series:
        """A series with the steps or epochs that were declared for it, where it has them in every row."""
        name = self._axis_of(found.raw_name)
        axis = axes.get(name)
        if axis is None or axis.kind not in ("step", "metric"):
            return found  # epochs and times are told by their names
        own = array("d", (axis.by_row.get(row, math.nan) for row in self._columns[found.raw_name].rows))
        # Hugging Face's Trainer declares its step, which stands still where it only evaluates.
        if any(map(math.isnan, own)) or (len(own) > 1 and min(own) == max(own)):
            return found
        if axis.kind == "metric" and "epoch" in normalized(name).split("_"):
            return replace(found, epoch_data=own)
        return replace(found, step_data=own)

    def _axis_of(self, name: str) -> str:
        """The key that was declared as the x axis of another: by name, else by a pattern that ends in a star."""
        patterns = (p for p in self._patterns if name.startswith(p[:-1]))
        return self._declared.get(name) or self._declared.get(max(patterns, key=len, default=""), "")

    def _is_media(self, name: str) -> bool:
        """Whether a key belongs to an image, table or histogram, which a `_type` beside it says."""
        if not self._media:
            return False
        parts = name.split("/", _DEPTH_LIMIT)[:_DEPTH_LIMIT]
        return any("/".join(parts[:n]) in self._media for n in range(1, len(parts)))


class _Placeless(File):
    """A binary file: a place in it is the file and a key."""

    def at(self, line: int | None = None, *, key: str | None = None) -> Source:
        return Source(self.path, key=key)

    def find(self, needle: str, *, key: str | None = None) -> Source:
        return Source(self.path, key=key)


def _step(data: bytes) -> float:
    return float(next((signed(int(f.value)) for f in fields(data) if f.number == 1 and f.wire == 0), 0))


def item_of(data: bytes) -> tuple[tuple[str, ...], object, bool]:
    """Key and value of an item, and whether it is a key followed by JSON and nothing else."""
    key, nested, value, order = "", [], None, []
    for number_of, _, raw in fields(data):
        order.append(number_of)
        if isinstance(raw, bytes):
            if number_of == _KEY:
                key = raw.decode(errors="replace")
            elif number_of == _NESTED_KEY:
                nested.append(raw.decode(errors="replace"))
            elif number_of in (_VALUE_JSON, _JSON):
                value = parsed(raw)
            elif number_of == _TEXT:
                value = raw.decode(errors="replace")
        elif number_of == _NUMBER:
            value = double(raw)
        elif number_of == _INTEGER:
            value = (raw >> 1) ^ -(raw & 1)
        elif number_of == _NONE:
            value = None
        else:
            value = True
    plain = bool(order) and order[-1] == _VALUE_JSON and set(order[:-1]) <= {_KEY, _NESTED_KEY}
    return tuple(nested) or ((key,) if key else ()), value, plain


def parsed(text: bytes) -> object:
    """A value of W&B's JSON, which may be a bare NaN or Infinity; text that is no JSON is itself."""
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode(errors="replace")


def updates(data: bytes, into: dict[str, object]) -> None:
    """Applies a `ConfigRecord` or `SummaryRecord` to a nested mapping.

    Raises:
        Malformed: bytes that are no such message.
    """
    for found in fields(data):
        if found.number not in (_UPDATE, _REMOVE) or not isinstance(found.value, bytes):
            continue
        name, value, _ = item_of(found.value)
        if not name:
            continue
        inner = into
        for part in name[:-1]:
            below = inner.get(part)
            if not isinstance(below, dict):
                below = inner[part] = {}
            inner = below
        if found.number == _UPDATE:
            inner[name[-1]] = value
        else:
            inner.pop(name[-1], None)


def run_config(data: bytes, into: dict[str, object]) -> None:
    """Applies the configuration that a `RunRecord` begins with."""
    for found in fields(data):
        if found.number == _RUN_CONFIG and isinstance(found.value, bytes):
            updates(found.value, into)


def exit_code(data: bytes) -> int:
    """The exit code of a `RunExitRecord`; zero is not written."""
    return next((signed(int(f.value)) for f in fields(data) if f.number == _EXIT_CODE and f.wire == 0), 0)
