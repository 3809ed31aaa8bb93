"""Where the rows of a training log stand: at which epoch and step, in whose section; by their own words or others'."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from mldiag.patterns import lazily
from mldiag.readers._text.arrays import (
    Track,
    are_whole,
    below,
    changes,
    count_nan,
    counted_on,
    different,
    falls,
    replaced,
    restarts,
    rises,
    usual_rise,
    varies,
    within,
)
from mldiag.readers._text.bars import is_postfix
from mldiag.readers._text.reading import Slot
from mldiag.readers._text.templates import Template
from mldiag.vocabulary import normalized

HELD_OUT = ("val", "test")
COUNTING = 3
"""Rows from which on an unlabelled number that begins them can be seen to count up."""

SPLITS = (None, "train", *HELD_OUT)
"""What the codes of sections stand for."""
HELD = float(SPLITS.index("val"))
"""The codes of what is held out, and no others, are at least this."""

_SAMPLES = lazily(
    r"(?:im(?:g|age)s?|samples?|examples?|ex|tok(?:en)?s?|seqs?|frames?)/s\b|\bs/(?:im|sample|ex|tok|seq)"
)
"""Units of the speed of a bar that counts something else than batches."""
_COUNTERS = frozenset({"epoch", "step", "batch", "pair"})


class Rows(Struct):
    """A template with what follows from its place among the others.

    Attributes:
        own: the axes that its own lines name: `epoch`, `step`, `batch` (within an epoch or an evaluation); `unknown`
            where a counter begins again and it is not known after how many steps.
        epochs, steps: of each row; NaN where nothing says.
        sections: of each row the index in `SPLITS` by the header above it; None if no row is below one.
        kept: the rows that count, None for all.
    """

    template: Template
    own: set[str] = field(default_factory=set)
    epochs: array[float] = field(default_factory=lambda: array("d"))
    steps: array[float] = field(default_factory=lambda: array("d"))
    sections: array[float] | None = None
    kept: array[int] | None = None

    @property
    def level(self) -> str:
        """How finely its lines count: by `batch`, `step`, `epoch`, or not at all."""
        return next((a for a in ("batch", "step", "epoch") if a in self.own), "")


class Plan(Struct):
    """What counters say is to come (`Epoch 3/20`): name of the setting → value and line."""

    totals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, name: str, rows: Rows, total: int) -> None:
        """Notes the total of a counter where it is the same in all rows of training; the last template counts."""
        template = rows.template
        totals = template.column(total)
        if rows.sections is not None:
            totals = below(totals, rows.sections, HELD)
            if not totals:
                return
        last = totals[-1]
        if last > 0 and not varies(totals) and last == math.floor(last):
            known = self.totals.get(name)
            if known is None or known[1] < template.at[-1]:
                self.totals[name] = (last, template.at[-1])


def placed(templates: Sequence[Template], sections: Sequence[tuple[float, str | None]]) -> tuple[list[Rows], Plan]:
    """Every template with the epochs, steps and sections of its rows, and the plan that the counters tell."""
    found = [Rows(t) for t in templates]
    plan = Plan()
    _settle_leads(templates)
    base = _place_epochs(found)
    _place_sections(found, sections)
    steps: list[tuple[array[float], array[float]]] = []
    boxes = [r.template for r in found if r.template.boxed]
    counted = next((t for t in boxes if _is_global(t.slots[0].label)), boxes[0] if boxes else None)
    for rows in found:
        _place_own_steps(rows, base, plan)
        if rows.template.boxed and rows.template is not counted:
            continue
        if "step" in rows.own and rows.sections is None and (rows.template.metrics or varies(rows.steps)):
            steps.append((rows.template.at, rows.steps))
    track = Track(steps)
    for rows in found:
        if "step" not in rows.own:
            rows.steps = missing(rows) if "unknown" in rows.own else track.inherited(rows.template.at)
        elif rows.sections is not None:
            rows.steps = replaced(rows.steps, track.inherited(rows.template.at), rows.sections, HELD)
    return found, plan


def _place_epochs(found: Iterable[Rows]) -> float:
    """Gives each row its epoch; returns the number of the first epoch, 0 or 1."""
    named: list[tuple[array[float], array[float]]] = []
    for rows in found:
        slot = first_slot(rows.template, "epoch")
        if slot is not None:
            rows.own.add("epoch")
            rows.epochs = rows.template.column(slot.index)
            if rows.template.metrics or slot.total is not None or varies(rows.epochs):
                named.append((rows.template.at, rows.epochs))
    track = Track(named)
    for rows in found:
        if "epoch" not in rows.own:
            rows.epochs = track.inherited(rows.template.at)
    return 0.0 if track.least is not None and track.least < 1 else 1.0


def _place_sections(found: Sequence[Rows], sections: Iterable[tuple[float, str | None]]) -> None:
    """Finds the rows below headers of sections.

    A header is closed by another; batches of an evaluation open a section too, which the next row of training closes.
    """
    axes = [next((s for s in r.template.slots if s.kind in _COUNTERS), None) for r in found]
    named = {split for _, split in sections} | {r.template.opens for r in found} | {a.split for a in axes if a}
    if not named & set(HELD_OUT):
        return
    events = [(array("d", [at]), _code(split, header=True)) for at, split in sections]
    for rows, axis in zip(found, axes, strict=True):
        template = rows.template
        if template.opens:
            events.append((template.at, _code(template.opens if template.opens != "end" else None, header=True)))
        if axis is not None and (template.metrics or axis.kind == "epoch" or axis.split in HELD_OUT):
            header = axis.kind == "epoch" and not template.metrics
            events.append((template.at, _code(axis.split, header=header)))
    track = Track([_opened(changes(events))])
    for rows in found:
        if rows.template.metrics and "epoch" not in rows.own:
            splits = _of_other_totals(rows.template, track.inherited(rows.template.at, 0.0))
            if max(different(splits)) >= HELD:
                rows.sections = splits


def _code(split: str | None, *, header: bool) -> float:
    """One number for a split and whether a header opens it."""
    return float(SPLITS.index(split) * 2 + header)


def _opened(events: Iterable[tuple[float, float]]) -> tuple[array[float], array[float]]:
    """The places where the split of a section changes, and to which."""
    places, splits = array("d"), array("d")
    current, firm = 0.0, False
    for at, code in events:
        split, header = divmod(code, 2)
        if header or split >= HELD or not firm:
            firm = bool(header and split)
            if split != current:
                current = split
                places.append(at)
                splits.append(split)
    return places, splits


def _of_other_totals(template: Template, splits: array[float]) -> array[float]:
    """A row that counts on (`step 300/1000`) is no part of the evaluation above it; one to another end is."""
    slot = next(iter(_step_slots(template)), None)
    if slot is None:
        return splits
    if slot.total is None:
        return array("d", [0.0]) * len(splits)
    totals = template.column(slot.total)
    return within(totals, different(below(totals, splits, HELD)), splits)


def _place_own_steps(rows: Rows, base: float, plan: Plan) -> None:
    """Gives the rows of a template the steps that their own lines count, as far as these are steps of the run."""
    template = rows.template
    epoch = first_slot(template, "epoch")
    if epoch is not None and epoch.total is not None:
        plan.take("epochs", rows, epoch.total)
    for slot in _step_slots(template):
        if slot.kind == "pair" and not template.metrics:
            return
        counted = template.column(slot.index)
        if slot.kind != "lead" and not are_whole(counted):
            continue  # fairseq's `update` is a fraction of an epoch
        if _is_of_evaluation(template, slot):
            rows.own.add("batch")
            return
        within = restarts(counted, rows.epochs)
        if slot.kind == "pair":
            ends = epoch is None and not within and falls(counted)
            if ends or not _counts_batches(template, slot, counted):
                rows.own.update(("batch", "unknown"))
                return
        known_epochs = not count_nan(rows.epochs)
        within = within or (slot.kind in ("batch", "pair") and known_epochs and slot.total is not None)
        if not within:
            rows.own.add("step")
            rows.steps = counted
            if slot.total is not None:
                plan.take("total_steps", rows, slot.total)
            return
        if slot.total is not None and are_whole(rows.epochs):
            lengths = template.column(slot.total)
            rows.own.update(("step", "batch"))
            rows.steps = counted_on(counted, rows.epochs, lengths, base)
            plan.take("steps_per_epoch", rows, slot.total)
            return
        rows.own.update(("batch", "unknown"))


def _is_of_evaluation(template: Template, slot: Slot) -> bool:
    """Whether a counter runs through an evaluation (`Test: [20/98]`), not through the training."""
    if slot.kind in ("batch", "pair"):
        # A bar of training shows the scores of the last evaluation as well.
        return any(s.split in HELD_OUT and not is_postfix(template, s) for s in template.slots)
    return slot.split in HELD_OUT and (slot.total is not None or not template.metrics)


def _counts_batches(template: Template, slot: Slot, counted: array[float]) -> bool:
    """Whether an unlabelled `30/100` counts batches and not samples: one by one, or at a regular round interval."""
    if slot.percent or template.bar or any(map(_SAMPLES.search, template.literals)):
        return False
    if any(unit in text for text in template.literals for unit in ("it/s", "s/it", "batch/s", "s/batch")):
        return True
    usual = usual_rise(counted)
    if usual is None or usual[0] == 1:
        return usual is not None or counted[0] == 1
    return usual[1] > 0.8 and str(int(usual[0])).rstrip("0") in ("1", "2", "5", "25")


def _step_slots(template: Template) -> list[Slot]:
    """The slots that may count steps, the best first."""
    order = {"step": 1, "batch": 2, "pair": 3, "lead": 4}
    found = [s for s in template.slots if s.kind in order]
    return sorted(found, key=lambda s: 0 if s.kind == "step" and _is_global(s.label) else order[s.kind])


def _is_global(label: str) -> bool:
    return bool({"global", "updates", "timesteps"} & set(normalized(label).split("_")))


def _settle_leads(templates: Sequence[Template]) -> None:
    """Keeps the unlabelled integers that begin a line where they count up, and drops them elsewhere.

    Of two unlabelled pairs (`[3/20][100/500]`) the first counts epochs.
    """
    leads: dict[str, list[tuple[array[float], array[float]]]] = {}
    for template in templates:
        pairs = [s for s in template.slots if s.kind == "pair"]
        if len(pairs) > 1 and first_slot(template, "epoch") is None:
            pairs[0].kind = "epoch"
        slot = first_slot(template, "lead")
        if slot is not None and template.metrics:
            leads.setdefault(template.literals[0], []).append((template.at, template.column(slot.index)))
    counting = {text for text, columns in leads.items() if _counts_up(Track(columns).values)}
    for template in templates:
        if first_slot(template, "lead") is not None:
            others = any(s.kind in ("step", "batch", "epoch") for s in template.slots)
            if others or template.literals[0] not in counting:
                template.slots = tuple(s for s in template.slots if s.kind != "lead")


def _counts_up(values: array[float]) -> bool:
    up, down = rises(values)
    return len(values) >= COUNTING and up > 10 * down


def first_slot(template: Template, kind: str) -> Slot | None:
    """The first slot of a kind."""
    return next((s for s in template.slots if s.kind == kind), None)


def missing(rows: Rows) -> array[float]:
    """NaN for each row."""
    return array("d", [math.nan]) * len(rows.template.at)
