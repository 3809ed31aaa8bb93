"""Event files of any size with numpy: all records of one form at once.

Records are grouped by length; an example of each form is parsed field by field, and every record whose other bytes are
the same is taken by columns. Records of no such form (blobs, rare events) are parsed one by one. Every record's CRC is
checked, whichever way it is read.
"""

from __future__ import annotations

import itertools
from typing import Any, BinaryIO

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from mldiag.readers._events.crc32c import crc32c, crcs_of, distance_tables, length_offset, linear, masked, unmasked
from mldiag.readers._events.event import Event, Log, Malformed, Points, parse
from mldiag.readers._events.record_pieces import Piece, Pieces
from mldiag.readers._events.tfrecord import FOOTER, FRAME, HEADER, Damage

LONGEST = 1024
"""Bytes of a record that may be one of a form; longer ones are rarely scalars alone."""
USUAL = 128
"""Bytes of most records of scalars; tables for the CRCs of longer ones are made when such a record is found."""
FEWEST = 8
"""Records of one length in a piece, below which looking at each is quicker."""
MOST = 1024
"""Templates of a form; where every event has a tag of its own, comparing gains nothing."""
SAMPLE = 256
"""Records among which other tags of a form are looked for, once an example has shown it."""
TRIALS = 64
"""Examples of one length that are parsed in a piece while they stand for few records, before the rest is taken one by
one: scalars have as many forms as tags, texts and histograms as many as records."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
_Words = NDArray[np.uint64]


class Slot(Struct, frozen=True):
    """A number of a record: its place and numpy's type for it."""

    at: int
    code: str


class Form(Struct):
    """Records of one length whose time, step and values lie in the same places; their tags may differ.

    Attributes:
        mask: the bits that are the same in all records of one template, as words; `columns`: the bytes that differ.
        keys: a hash of each template's masked words, ascending. `same`: those words. `crcs`: the CRC of its data with
            zeros where bytes differ. `tags`: the tag of each slot.
    """

    length: int
    wall_at: int
    step_at: int
    step_size: int
    slots: tuple[Slot, ...]
    mask: _Words
    columns: tuple[int, ...]
    keys: _Words
    same: _Words
    crcs: NDArray[np.uint32]
    tags: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def place(self) -> tuple[object, ...]:
        return self.length, self.wall_at, self.step_at, self.step_size, self.slots


def read_columns(stream: BinaryIO, size: int, log: Log, damage: Damage) -> None:
    """Reads the events of a stream into a log."""
    reading = _Reading(log, damage)
    for piece in Pieces(stream, size, damage):
        reading.take(piece)


class _Reading:
    def __init__(self, log: Log, damage: Damage) -> None:
        self._log = log
        self._damage = damage
        self._forms: dict[int, list[Form]] = {}
        self._found: dict[str, list[tuple[_Ints, _Floats, _Floats, _Floats]]] = {}

    def take(self, piece: Piece) -> None:
        """Reads the records of a piece."""
        order = np.argsort(np.minimum(piece.lengths, 65535).astype(np.uint16), kind="stable")
        by_length = piece.lengths[order]
        bounds = [0, *(np.flatnonzero(np.diff(by_length)) + 1).tolist(), len(order)]
        rest = []
        for start, stop in itertools.pairwise(bounds):
            records, length = order[start:stop], int(by_length[start])
            if stop - start >= FEWEST and length <= LONGEST:
                records = self._alike(piece, records, length)
            rest.append(records)
        self._one_by_one(piece, np.sort(np.concatenate(rest)))
        self._keep(piece)

    def _alike(self, piece: Piece, records: _Ints, length: int) -> _Ints:
        """Takes the records of one length that are of a form; gives the others back."""
        words = (length + FOOTER + 7) // 8
        # The last records' words may reach beyond the data that was read.
        fits = piece.starts[records] + HEADER + 8 * words <= len(piece.data)
        others = [records[~fits]]
        records = records[fits]
        starts = piece.starts[records] + HEADER
        rows = np.ndarray((len(piece.data) - 8 * words + 1,), f"V{8 * words}", piece.data, 0, (1,))[starts]
        matrix = rows.view("<u8").reshape(-1, words)
        forms = self._forms.setdefault(length, [])
        tried = taken = 0
        queue = list(forms)
        while len(records):
            if not queue:
                if tried >= TRIALS and taken < FEWEST * tried:
                    break
                tried += 1
                form = self._learnt(forms, matrix[0].tobytes(), length)
                if form is None:
                    others.append(records[:1])
                    matrix, records = matrix[1:], records[1:]
                    continue
                for index in _unknown(form, matrix[:SAMPLE]):
                    self._learnt(forms, matrix[index].tobytes(), length)
                queue = list(forms)
            fit = self._match(piece, queue.pop(), matrix, records)
            if fit.any():
                left = np.flatnonzero(~fit)
                taken += len(records) - len(left) if tried else 0
                matrix, records = matrix[left], records[left]
        return np.concatenate([*others, records])

    def _learnt(self, forms: list[Form], row: bytes, length: int) -> Form | None:
        """The form of an example, with its template; None where it is damaged or has none."""
        data = row[:length]
        if int.from_bytes(row[length : length + FOOTER], "little") != masked(crc32c(data)):
            return None
        try:
            event = parse(data)
        except Malformed:
            return None
        if not event.plain or event.wall_at < 0 or event.step_size > 9 or not event.scalars:
            return None
        if any(s.at < 0 for s in event.scalars):
            return None
        self._log.note(event)
        made = _form(data, event)
        form = next((f for f in forms if f.place == made.place), None)
        if form is None:
            form = made
            forms.append(form)
        words = np.frombuffer(data.ljust(8 * len(form.mask), b"\0"), "<u8") & form.mask
        key = _key(words[None, :], form.mask)[0]
        at = int(np.searchsorted(form.keys, key))
        if len(form.keys) >= MOST or (at < len(form.keys) and form.keys[at] == key):
            return None
        blank = bytearray(data)
        for column in form.columns:
            blank[column] = 0
        form.keys = np.insert(form.keys, at, key)
        form.same = np.insert(form.same, at, words, axis=0)
        form.crcs = np.insert(form.crcs, at, linear(bytes(blank)) ^ length_offset(length))
        form.tags.insert(at, tuple(s.tag for s in event.scalars))
        return form

    def _match(self, piece: Piece, form: Form, matrix: _Words, records: _Ints) -> NDArray[np.bool_]:
        """Takes the good records that have one of a form's templates, and says which those are."""
        used = [w for w in range(len(form.mask)) if form.mask[w]]
        same = [matrix[:, w] & form.mask[w] for w in used]
        if len(form.keys) == 1:
            which = np.zeros(len(matrix), dtype=np.intp)
            differs = np.zeros(len(matrix), dtype=np.uint64)
            for w, column in zip(used, same, strict=True):
                differs |= column ^ form.same[0, w]
        else:
            keys = np.zeros(len(matrix), dtype=np.uint64)
            for w, column in zip(used, same, strict=True):
                keys += column * _FACTORS[w]
            which = np.minimum(np.searchsorted(form.keys, keys), len(form.keys) - 1)
            differs = form.keys.take(which) ^ keys
            for w, column in zip(used, same, strict=True):
                differs |= column ^ form.same[:, w].take(which)
        fit: NDArray[np.bool_] = differs == 0
        taken = np.flatnonzero(fit)
        if not len(taken):
            return fit
        if len(taken) < len(matrix):
            matrix, records, which = matrix[taken], records[taken], which[taken]
        data = matrix.view(np.uint8)
        crcs = form.crcs.take(which)
        tables = distance_tables(LONGEST if form.length > USUAL else USUAL)
        for column in form.columns:
            crcs ^= tables[form.length - 1 - column].take(data[:, column])
        good = crcs == unmasked(_column(data, form.length, "<u4"))
        if not good.all():
            fit[taken[~good]] = False
            data, records, which = data[good], records[good], which[good]
        if len(data):
            self._take(form, data, records, which)
        return fit

    def _take(self, form: Form, data: NDArray[np.uint8], records: _Ints, which: _Ints) -> None:
        walls = _column(data, form.wall_at, "<f8")
        steps = np.zeros(len(data), dtype=np.int64)
        for byte in range(form.step_size):
            steps |= (data[:, form.step_at + byte] & 127).astype(np.int64) << 7 * byte
        columns = [_column(data, s.at, s.code).astype(np.float64) for s in form.slots]
        times, counts = walls, steps.astype(np.float64)
        bounds = [0, len(data)]
        present = [0]
        if len(form.tags) > 1:
            order = np.argsort(which.astype(np.uint16 if len(form.tags) < 65536 else np.int64), kind="stable")
            which, records, times, counts = which[order], records[order], times[order], counts[order]
            columns = [c[order] for c in columns]
            bounds = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(data)]
            present = which[bounds[:-1]].tolist()
        for template, (start, stop) in zip(present, itertools.pairwise(bounds), strict=True):
            part = slice(start, stop)
            for tag, values in zip(form.tags[template], columns, strict=True):
                self._found.setdefault(tag, []).append((records[part], values[part], counts[part], times[part]))

    def _one_by_one(self, piece: Piece, records: _Ints) -> None:
        if not len(records):
            return
        starts, lengths = piece.starts[records].tolist(), piece.lengths[records].tolist()
        data, footers = [], []
        for start, length in zip(starts, lengths, strict=True):
            stop = start + HEADER + length
            data.append(piece.data[start + HEADER : stop].data)
            footers.append(int.from_bytes(piece.data[stop : stop + FOOTER].data, "little"))
        stored = unmasked(np.array(footers, dtype=np.uint32))
        for i, good in enumerate((crcs_of(data) == stored).tolist()):
            if not good:
                self._damage.lost(piece.offset + starts[i], piece.offset + starts[i] + lengths[i] + FRAME)
                continue
            try:
                event = parse(bytes(data[i]))  # bytes are looked at faster than a view of them
            except Malformed:
                self._log.unreadable += 1
                continue
            self._log.note(event)
            for s in event.scalars:
                value, step, wall = np.array([[s.value], [event.step], [event.wall]], dtype=np.float64)
                self._found.setdefault(s.tag, []).append((records[i : i + 1], value, step, wall))

    def _keep(self, piece: Piece) -> None:
        """Adds the points of a piece to the log, those of each tag in the order of the file."""
        for tag, parts in self._found.items():
            records, *columns = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
            if len(parts) > 1:
                order = np.argsort(records, kind="stable")
                records, *columns = (c[order] for c in (records, *columns))
            points = self._log.points.get(tag)
            if points is None:
                points = self._log.points[tag] = Points(piece.offset + int(piece.starts[records[0]]))
            for kept, column in zip((points.values, points.steps, points.times), columns, strict=True):
                kept.frombytes(np.ascontiguousarray(column).view(np.uint8).data)
        self._found.clear()


# Odd, from the fractions of the golden ratio's multiples: any would do that are far apart.
_FACTORS = (np.arange(1, LONGEST // 8 + 3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


def _key(words: _Words, mask: _Words) -> _Words:
    keys = np.zeros(len(words), dtype=np.uint64)
    for w in range(len(mask)):
        keys += (words[:, w] & mask[w]) * _FACTORS[w]
    return keys


def _unknown(form: Form, words: _Words) -> list[int]:
    """The first rows of templates that a form seems to have besides those that are known."""
    data = words.view(np.uint8)
    digits = data[:, form.step_at : form.step_at + form.step_size] >> 7
    alike = np.flatnonzero((digits == (np.arange(form.step_size) < form.step_size - 1)).all(axis=1))
    keys, first = np.unique(_key(words[alike], form.mask), return_index=True)
    found: list[int] = alike[first[~np.isin(keys, form.keys)]].tolist()
    return found


def _form(data: bytes, event: Event) -> Form:
    """The form that an event's record has, without templates."""
    slots = tuple(Slot(s.at, f"<{s.code}{8 if s.code == 'd' else 4}".replace("d", "f")) for s in event.scalars)
    words = (len(data) + FOOTER + 7) // 8
    mask = np.zeros(8 * words, dtype=np.uint8)
    mask[: len(data)] = 255
    mask[event.wall_at : event.wall_at + 8] = 0
    # The upper bit of each byte of the step says whether another follows: so long, and no longer.
    mask[event.step_at : event.step_at + event.step_size] = 0x80 if event.step_size else 255
    for slot in slots:
        mask[slot.at : slot.at + int(slot.code[2])] = 0
    columns = tuple(np.flatnonzero(mask[: len(data)] != 255).tolist())
    none = np.empty(0, dtype=np.uint64)
    empty = np.empty((0, words), dtype=np.uint64)
    place = (len(data), event.wall_at, event.step_at, event.step_size, slots)
    return Form(*place, mask.view("<u8"), columns, none, empty, np.empty(0, dtype=np.uint32))


def _column(data: NDArray[np.uint8], at: int, code: str) -> NDArray[Any]:
    """The numbers at a place of every row."""
    size = int(code[2])
    return np.ascontiguousarray(data[:, at : at + size]).view(code)[:, 0]
