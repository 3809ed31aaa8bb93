"""Event files of any size with numpy: all records of one form at once.

Records are grouped by length; an example of each form is parsed field by field, and every record whose other bytes are
the same is taken by columns. Records of no such form (blobs, rare events) are parsed one by one. Every record's CRC is
checked, whichever way it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

SPARE = 1.1
"""Times the points that a tag should have in the end, going by the part of the file that was read: room for them."""
AHEAD = 64.0
"""Times the points that a tag has: the most room that is made."""
MANY = 256
"""Points of a tag from which on there is room for more; there may be as many tags as events."""
KEPT = 4 * 2**20
"""Bytes more than what is used for a piece."""

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
        mask: the bits that are the same in all records of one template, as words; `numbers`: places and sizes of the
            bytes that differ, at most eight each: those of the time, of the step, of each slot.
        keys: a hash of each template's masked words, ascending. `same`: those words. `crcs`: the CRC of its data with
            zeros where bytes differ. `tags`: the tag of each slot.
        varying: the words in which templates differ.
    """

    length: int
    wall_at: int
    step_at: int
    step_size: int
    slots: tuple[Slot, ...]
    mask: _Words
    numbers: tuple[tuple[int, int], ...]
    keys: _Words
    same: _Words
    crcs: NDArray[np.uint32]
    tags: list[tuple[str, ...]] = field(default_factory=list)
    varying: list[int] = field(default_factory=list)

    @property
    def place(self) -> tuple[object, ...]:
        return self.length, self.wall_at, self.step_at, self.step_size, self.slots


def read_columns(stream: BinaryIO, size: int, log: Log, damage: Damage) -> None:
    """Reads the events of a stream into a log."""
    # glibc takes new pages for every piece, and clears them, until it has been given back a block as large as this.
    np.empty(KEPT, dtype=np.uint8)
    reading = _Reading(log, damage, size)
    for piece in Pieces(stream, size, damage):
        reading.take(piece)
    reading.finish()


class _Reading:
    def __init__(self, log: Log, damage: Damage, size: int) -> None:
        self._log = log
        self._damage = damage
        self._size = size
        self._forms: dict[int, list[Form]] = {}
        self._found: dict[str, list[tuple[_Ints, _Floats, _Floats, _Floats]]] = {}
        self._rooms: dict[str, _Room] = {}

    def take(self, piece: Piece) -> None:
        """Reads the records of a piece."""
        lengths = np.minimum(piece.lengths, LONGEST + 1)
        alike = np.bincount(lengths, minlength=LONGEST + 2) >= FEWEST
        alike[LONGEST + 1] = False
        rest = [self._alike(piece, np.flatnonzero(lengths == n), n) for n in np.flatnonzero(alike).tolist()]
        rest.append(np.flatnonzero(~alike.take(lengths)))
        self._one_by_one(piece, np.sort(np.concatenate(rest)))
        self._keep(piece)

    def _alike(self, piece: Piece, records: _Ints, length: int) -> _Ints:
        """Takes the records of one length that are of a form; gives the others back."""
        words = (length + FOOTER + 7) // 8
        starts = piece.starts.take(records) + HEADER
        # The last records' words may reach beyond the data that was read.
        within = int(np.searchsorted(starts, len(piece.data) - 8 * words, side="right"))
        others, records, starts = [records[within:]], records[:within], starts[:within]
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
        for number, size in form.numbers:
            blank[number : number + size] = bytes(size)
        form.keys = np.insert(form.keys, at, key)
        form.same = np.insert(form.same, at, words, axis=0)
        form.crcs = np.insert(form.crcs, at, linear(bytes(blank)) ^ length_offset(length))
        form.tags.insert(at, tuple(s.tag for s in event.scalars))
        form.varying = np.flatnonzero((form.same != form.same[0]).any(axis=0)).tolist()
        return form

    def _match(self, piece: Piece, form: Form, matrix: _Words, records: _Ints) -> NDArray[np.bool_]:
        """Takes the good records that have one of a form's templates, and says which those are."""
        which, differs = _nearest(form, matrix)
        fit: NDArray[np.bool_] = differs == 0
        taken = np.flatnonzero(fit)
        if not len(taken):
            return fit
        if len(taken) < len(matrix):
            matrix, records, which = matrix[taken], records[taken], which[taken]
        numbers = [_number(matrix, *place) for place in form.numbers]
        good = _crcs(form, which, numbers) == unmasked(_number(matrix, form.length, FOOTER).astype(np.uint32))
        if not good.all():
            fit[taken[~good]] = False
            records, which, numbers = records[good], which[good], [n[good] for n in numbers]
        if len(records):
            self._take(form, records, which, numbers)
        return fit

    def _take(self, form: Form, records: _Ints, which: _Ints, numbers: list[_Words]) -> None:
        columns: list[NDArray[Any]] = [records, numbers[0].view("<f8"), _steps(form, numbers).astype("<f8")]
        for slot, raw in zip(form.slots, numbers[len(numbers) - len(form.slots) :], strict=True):
            columns.append(raw.view("<f8") if slot.code == "<f8" else raw.astype("<u4").view("<f4").astype("<f8"))
        counts = np.bincount(which, minlength=len(form.tags))
        if len(form.tags) > 1:
            order = np.argsort(which.astype(np.uint8 if len(form.tags) <= 256 else np.uint16), kind="stable")
            columns = [c.take(order) for c in columns]
        stops = np.cumsum(counts)
        for template in np.flatnonzero(counts).tolist():
            part = slice(stops[template] - counts[template], stops[template])
            places, walls, steps, *rest = (c[part] for c in columns)
            for tag, found in zip(form.tags[template], rest, strict=True):
                self._found.setdefault(tag, []).append((places, found, steps, walls))

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
        """Keeps the points of a piece, those of each tag in the order of the file."""
        ahead = SPARE * min(self._size / (piece.offset + len(piece.data)), AHEAD)
        for tag, parts in self._found.items():
            records, *columns = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
            if len(parts) > 1:
                order = np.argsort(records, kind="stable")
                records, *columns = (c.take(order) for c in (records, *columns))
            points = self._log.points.get(tag)
            if points is None:
                points = self._log.points[tag] = Points(piece.offset + int(piece.starts[records[0]]))
            if tag not in self._rooms and len(points.values) + len(records) < MANY:
                _extend(points, columns)
            else:
                self._rooms.setdefault(tag, _Room()).add(columns, ahead)
        self._found.clear()

    def finish(self) -> None:
        """Adds to the log what is not there yet."""
        for tag, room in self._rooms.items():
            _extend(self._log.points[tag], room.taken())


class _Room:
    """Values, steps and times of a tag. Arrays of Python would copy them whenever they are a sixteenth more."""

    def __init__(self) -> None:
        self._count = 0
        self._columns = [np.empty(0)] * 3

    def add(self, columns: list[_Floats], ahead: float) -> None:
        """Adds points; new arrays have room for `ahead` times the points so far, which takes no memory until then."""
        start, self._count = self._count, self._count + len(columns[0])
        for i, column in enumerate(columns):
            if self._count > len(self._columns[i]):
                larger = np.empty(int(ahead * self._count) + 1)
                larger[:start] = self._columns[i][:start]
                self._columns[i] = larger
            self._columns[i][start : self._count] = column

    def taken(self) -> Iterator[_Floats]:
        """Gives the points away, column by column."""
        while self._columns:
            yield self._columns.pop(0)[: self._count]


def _extend(points: Points, columns: Iterable[_Floats]) -> None:
    for kept, column in zip((points.values, points.steps, points.times), columns, strict=True):
        kept.frombytes(np.ascontiguousarray(column).view(np.uint8).data)


# Odd, from the fractions of the golden ratio's multiples: any would do that are far apart.
_FACTORS = (np.arange(1, LONGEST // 8 + 3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


def _key(words: _Words, mask: _Words) -> _Words:
    keys = np.zeros(len(words), dtype=np.uint64)
    for w in range(len(mask)):
        keys += (words[:, w] & mask[w]) * _FACTORS[w]
    return keys


def _nearest(form: Form, matrix: _Words) -> tuple[_Ints, _Words]:
    """The template that each row may have, and the bits, which are all zero where it has it."""
    differs = np.zeros(len(matrix), dtype=np.uint64)
    keys = np.zeros(1, dtype=np.uint64)
    columns = []
    for w, mask in enumerate(form.mask):
        if w in form.varying:
            columns.append(matrix[:, w] & mask)
            keys = keys + columns[-1] * _FACTORS[w]
        elif mask:
            keys = keys + form.same[:1, w] * _FACTORS[w]
            differs |= matrix[:, w] & mask ^ form.same[0, w]
    if len(form.keys) == 1:
        return np.zeros(len(matrix), dtype=np.int64), differs
    which = np.minimum(np.searchsorted(form.keys, keys), len(form.keys) - 1)
    differs |= form.keys.take(which) ^ keys
    if len(form.varying) > 1:  # an odd factor makes the key of one word as good as the word
        for w, column in zip(form.varying, columns, strict=True):
            differs |= column ^ form.same[:, w].take(which)
    return which, differs


def _crcs(form: Form, which: _Ints, numbers: list[_Words]) -> NDArray[np.uint32]:
    """The CRCs of rows with templates and numbers."""
    crcs = form.crcs.take(which)
    tables = distance_tables(LONGEST if form.length > USUAL else USUAL)
    for (at, size), raw in zip(form.numbers, numbers, strict=True):
        first = int(raw[0])
        changing = int(np.bitwise_or.reduce(raw ^ raw[0]))
        digits = raw.view(np.uint8).reshape(-1, 8)
        for byte in range(size):
            table = tables[form.length - 1 - at - byte]
            # Times, steps and values that follow each other have their upper bytes in common.
            if changing >> 8 * byte & 255:
                crcs ^= table.take(digits[:, byte])
            else:
                crcs ^= table[first >> 8 * byte & 255]
    return crcs


def _steps(form: Form, numbers: list[_Words]) -> _Words:
    """The steps, from the seven lower bits of each of their bytes."""
    found = np.zeros(len(numbers[0]), dtype=np.uint64)
    for byte in range(form.step_size):
        raw = numbers[1 + byte // 8]
        found |= (raw >> np.uint64(8 * (byte % 8)) & np.uint64(127)) << np.uint64(7 * byte)
    return found


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
    numbers = [(event.wall_at, 8)]
    numbers += [(event.step_at + i, min(8, event.step_size - i)) for i in range(0, event.step_size, 8)]
    numbers += [(s.at, int(s.code[2])) for s in slots]
    none = np.empty(0, dtype=np.uint64)
    empty = np.empty((0, words), dtype=np.uint64)
    place = (len(data), event.wall_at, event.step_at, event.step_size, slots)
    return Form(*place, mask.view("<u8"), tuple(numbers), none, empty, np.empty(0, dtype=np.uint32))


def _number(matrix: _Words, at: int, size: int) -> _Words:
    """The bytes at a place of every row, at most eight, as the lower ones of a word."""
    word, shift = at // 8, 8 * (at % 8)
    found: _Words = matrix[:, word] >> np.uint64(shift)
    if shift + 8 * size > 64:
        found |= matrix[:, word + 1] << np.uint64(64 - shift)
    return found
