"""From the templates of a training log to its series: which of them are rows of it, and which log the same quantity."""

from __future__ import annotations

import itertools
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from mldiag.artifacts import Role, Series, SettingValue, Source
from mldiag.readers._tables.columns import EXCERPT_LIMIT
from mldiag.readers._text.arrays import (
    count_nan,
    falls,
    full,
    lines,
    order_of,
    ordered,
    picked,
    positions,
    preceding,
    rises,
    scaled,
    shares,
    varies,
)
from mldiag.readers._text.bars import begun, measured
from mldiag.readers._text.headers import WORD
from mldiag.readers._text.labels import scale
from mldiag.readers._text.places import HELD, HELD_OUT, SPLITS, Rows, first_slot, missing, placed
from mldiag.readers._text.reading import Slot
from mldiag.readers._text.templates import Learner, Template
from mldiag.vocabulary import normalized

REPEATED = 3
"""Rows from which on a template without a known quantity, or with settings alone (`lr`), is a part of the log."""
UNKNOWN_WORDS = 4
"""Words of a label that is not known; more are a sentence."""
EARLY = 0.05
"""Share of points before the first epoch or step is named that are taken for a check before training."""


class _Part(Struct):
    """Some rows of one number of a template; all where none are `chosen`."""

    rows: Rows
    slot: Slot
    chosen: array[int] | None = None

    def __len__(self) -> int:
        return len(self.rows.template.at) if self.chosen is None else len(self.chosen)


class _Axes(Struct):
    """Where the points of a series stand; shared by all that are logged on the same lines.

    Attributes:
        order: that of the points of several parts, None of one.
        begin: the points before this one are a check before the training.
    """

    order: array[int] | None
    begin: int
    at: array[float]
    epochs: array[float] | None
    steps: array[float] | None
    times: array[float] | None
    lines: array[int]


class Log:
    """What a learner has found in one file.

    Args:
        path: of the file, for the places.
        split: of the whole file by its name, or None.

    Attributes:
        accepted: the templates whose lines are rows of the log.
    """

    def __init__(self, learner: Learner, path: str, split: str | None = None) -> None:
        self._path = path
        self._split = split if split != "train" else None
        self._preamble = learner.preamble
        self._axes: dict[tuple[int, ...], _Axes] = {}
        found, self._plan = placed([t for t in learner.templates if t.at], learner.sections)
        logged = [r for r in found if _is_logged(r) and any(_is_wanted(r, s) for s in r.template.metrics)]
        self.accepted = _finished(logged)
        _give_splits(self.accepted)

    def settings(self) -> Iterator[SettingValue]:
        """What the log says was used and planned."""
        yield from self._preamble.settings(self._path)
        for name, (value, at) in self._plan.totals.items():
            yield SettingValue(name, int(value), Role.LOG, Source(self._path, int(at), key=name), record=True)

    def series(self) -> Iterator[Series]:
        """One series for each quantity; where it is logged in several ways, by the way that is logged most.

        The columns of the templates are used up by it.
        """
        groups: dict[tuple[str, str, str, bool, str], list[_Part]] = {}
        for rows in self.accepted:
            sections = list(_by_section(rows))
            beginning = _beginning(rows.template)
            beside = next((s.label for s in rows.template.metrics if s.known), "")
            for slot in rows.template.metrics:
                if not _is_wanted(rows, slot):
                    continue
                # A slot that names its split stays whole.
                whole = slot.split is not None or slot.known == 1
                for split, chosen in [(None, rows.kept)] if whole else sections:
                    name = _named(slot, split or slot.split or self._split)
                    # A speed stands on every line, whatever that logs: lines with other quantities say it again.
                    way = beginning if slot.known else f"{beginning} {beside}"
                    key = (name, normalized(slot.label), rows.level, slot.aside, way)
                    groups.setdefault(key, []).append(_Part(rows, slot, chosen))
        best: dict[str, tuple[tuple[bool, int], list[_Part]]] = {}
        for (name, _, level, aside, _), parts in groups.items():
            count = sum(map(len, parts))
            # Of what is held out the summary of an evaluation is meant, not its batches.
            rank = (name.startswith(HELD_OUT) and level != "batch" and not aside and count > 1, count)
            if name not in best or rank > best[name][0]:
                best[name] = (rank, parts)
        uses = Counter(column for _, parts in best.values() for p in parts for column in _columns(p))
        self._drop(uses)
        for name, (_, parts) in best.items():
            joined = self._joined(name, parts)
            uses.subtract(column for p in parts for column in _columns(p))
            self._drop(uses)
            places = [(p.rows.template, p.slot) for p in parts]
            yield measured(joined, places, held_out=name.startswith(HELD_OUT))

    def _drop(self, uses: Mapping[tuple[int, int], int]) -> None:
        """Drops the columns that are of no more use: of a long log they take as much memory as the series."""
        for rows in self.accepted:
            columns = rows.template.columns
            for index in [i for i in columns if not uses.get((id(rows.template), i))]:
                del columns[index]

    def _joined(self, name: str, parts: Sequence[_Part]) -> Series:
        key = tuple(itertools.chain.from_iterable((id(p.rows), id(p.chosen)) for p in parts))
        if key not in self._axes:
            self._axes[key] = _axes_of(parts)
        axes = self._axes[key]
        values = ordered([_values(part) for part in parts], axes.order)
        first = min(parts, key=lambda p: p.rows.template.at[0])
        slot, template = first.slot, first.rows.template
        excerpt = template.first.strip()[: EXCERPT_LIMIT + 1] if template.at[0] == axes.at[0] else None
        if excerpt and len(excerpt) > EXCERPT_LIMIT:
            excerpt = f"{excerpt[:-1]}…"
        return Series(
            name,
            slot.label,
            values[axes.begin :] if axes.begin else values,
            Source(self._path, axes.lines[0], key=slot.label, excerpt=excerpt),
            axes.steps,
            axes.epochs,
            axes.times,
            (),
            axes.lines,
            _TIME_UNITS.get(slot.unit),
        )


def _columns(part: _Part) -> list[tuple[int, int]]:
    """The columns that a part is made of: which template and which of its numbers."""
    slot = part.slot
    indices = [slot.index] if slot.total is None else [slot.index, slot.total]
    return [(id(part.rows.template), index) for index in indices]


_TIME_UNITS = {"ms": "ms", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "us": "us", "µs": "us",
               "min": "min", "mins": "min"}  # fmt: skip


def _is_logged(rows: Rows) -> bool:
    """Whether the lines of a template are rows of the log, by what they name and how often they come."""
    template, metrics = rows.template, rows.template.metrics
    if not metrics or template.table:
        return bool(metrics)
    count = len(template.at)
    known = max(s.known for s in metrics)
    named = any(s.kind in ("epoch", "step", "other") for s in template.slots)
    counted = named or any(s.kind in ("batch", "lead", "pair") for s in template.slots)
    if known == 2 and not counted:
        return any(_is_outcome(rows, s) for s in metrics)
    if known:
        return counted or count >= REPEATED or (count > 1 and varies(rows.epochs))
    moving = any(varies(template.column(s.index)) for s in metrics)
    return named and count >= REPEATED and moving and any(varies(template.column(s.index)) for s in template.axes)


def _is_wanted(rows: Rows, slot: Slot) -> bool:
    """Whether a quantity of a row is taken along: an unknown one has a short name and stands on more than two lines."""
    seen = rows.template.axes or len(rows.template.at) >= REPEATED
    return bool(slot.known or (seen and len(slot.label.split()) <= UNKNOWN_WORDS))


def _is_outcome(rows: Rows, slot: Slot) -> bool:
    """Whether a measure on a line without any counter is one of this run, and not said in passing."""
    if slot.known != 2 or not _is_measured(rows.template, slot):
        return False
    if len(rows.template.at) > 1:
        # A dump of a configuration is the same in each launch; a score that stays the same does so as the run goes on.
        goes_on = any(_goes_on(axis, split=slot.split is not None) for axis in (rows.epochs, rows.steps))
        return goes_on or varies(rows.template.column(slot.index))
    placed_by_others = not math.isnan(rows.epochs[0]) or not math.isnan(rows.steps[0])
    return "best" not in slot.label.lower() and bool(slot.split or (placed_by_others and "loss" in slot.name))


def _goes_on(axis: array[float], *, split: bool) -> bool:
    """Whether an epoch or step rises from row to row; of a `split`, of which an epoch may have several, at times."""
    up, down = rises(axis)
    return len(axis) >= REPEATED and (up > 0.8 * (len(axis) - 1) or (split and up >= REPEATED and not down))


def _is_measured(template: Template, slot: Slot) -> bool:
    """Whether a slot has values that are no mere numbering (`crf_loss/transition:0` is a tensor)."""
    values = template.column(slot.index)
    return slot.unit == "%" or not slot.whole or (len(values) >= REPEATED and varies(values))


def _finished(accepted: list[Rows]) -> list[Rows]:
    """Without the states of Keras' bars that are not full, unless none was ever full, and of tqdm's that are empty."""
    ended: set[str] = set()
    for rows in accepted:
        pair = first_slot(rows.template, "pair")
        if not rows.template.bar or pair is None or pair.total is None:
            continue
        rows.kept = full(rows.template.column(pair.index), rows.template.column(pair.total))
        if rows.kept:
            ended.update(normalized(s.label) for s in rows.template.metrics)
    for rows in accepted:
        if rows.kept is not None and not ended & {normalized(s.label) for s in rows.template.metrics}:
            rows.kept = None
    for rows in accepted:
        pair = first_slot(rows.template, "pair")
        if rows.kept is None and pair is not None:
            rows.kept = begun(rows.template, pair)
    return [r for r in accepted if r.kept is None or r.kept]


def _give_splits(accepted: Sequence[Rows]) -> None:
    """A score without split or counter that stands below the loss of an evaluation is one of that evaluation."""
    outcomes = [r for r in accepted if any(s.known == 2 for s in r.template.metrics)]
    alone = [
        number
        for number, r in enumerate(outcomes)
        if not r.level and r.sections is None and any(map(_is_unsplit, r.template.metrics))
    ]
    if not alone:
        return
    for number, before in preceding([r.template.at for r in outcomes], alone).items():
        found = [_outcome_split(outcomes[n]) for n in before]
        if found and found[0] in HELD_OUT and found.count(found[0]) >= 0.9 * len(found):
            rows = outcomes[number]
            for slot in filter(_is_unsplit, rows.template.metrics):
                slot.split = found[0]


def _is_unsplit(slot: Slot) -> bool:
    return slot.known == 2 and slot.split is None and "loss" not in slot.name


def _outcome_split(rows: Rows) -> str | None:
    return next((s.split for s in reversed(rows.template.metrics) if s.known == 2 and s.split), None)


def _beginning(template: Template) -> str:
    """The words with which the lines of a template begin: two ways to log a quantity mostly differ there.

    The days of a time that is left (`eta: 2 days, 3:00:00`) make no other way.
    """
    first = min(s.index for s in template.slots)
    return " ".join(w for w in WORD.findall(" ".join(template.literals[: first + 1])) if w not in ("day", "days"))


def _by_section(rows: Rows) -> Iterator[tuple[str | None, array[int] | None]]:
    """The rows of a template by the split of the section they stand in."""
    if rows.sections is None:
        yield None, rows.kept
        return
    held: dict[str | None, array[int]] = {}
    for code, chosen in positions(rows.sections, rows.kept).items():
        split = SPLITS[int(code)] if code >= HELD else None
        held[split] = chosen if split not in held else array("q", sorted(held[split] + chosen))
    yield from held.items()


def _named(slot: Slot, split: str | None) -> str:
    if split and slot.name.startswith("train/"):
        return f"{split}{slot.name[5:]}"
    if split in HELD_OUT and "/" not in slot.name and slot.known != 1:
        return f"{split}/{slot.name}"
    return slot.name


def _values(part: _Part) -> array[float]:
    template, slot = part.rows.template, part.slot
    values = template.column(slot.index)
    if (factor := scale(slot.unit)) != 1:
        values = scaled(values, factor)
    elif slot.total is not None and slot.known == 2:
        values = shares(values, template.column(slot.total))
    return values if part.chosen is None else picked(values, part.chosen)


def _axes_of(parts: Sequence[_Part]) -> _Axes:
    columns = []
    for part in parts:
        template, rows = part.rows.template, part.rows
        times = template.times if template.clock is not None else missing(rows)
        own = (template.at, rows.epochs, rows.steps, times)
        columns.append(own if part.chosen is None else tuple(picked(c, part.chosen) for c in own))
    order = order_of([c[0] for c in columns])
    at, epochs, steps, times = (ordered(c, order) for c in zip(*columns, strict=True))
    begin = max(_check_before(epochs), _check_before(steps))
    if begin:
        at, epochs, steps, times = at[begin:], epochs[begin:], steps[begin:], times[begin:]
    return _Axes(order, begin, at, _complete(epochs), _complete(steps), _rising(times), lines(at))


def _check_before(axis: array[float]) -> int:
    """How many points stand before the first epoch or step is named (a check before training), where others follow."""
    count = count_nan(axis)
    few = 0 < count <= max(1, len(axis) * EARLY) and len(axis) > REPEATED
    return count if few and count_nan(axis[:count]) == count else 0


def _complete(values: array[float]) -> array[float] | None:
    return None if count_nan(values) else values


def _rising(times: array[float]) -> array[float] | None:
    """Times of day, if they never fall: a log over midnight without a date has none."""
    return None if count_nan(times) or falls(times) else times
