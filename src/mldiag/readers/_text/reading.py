"""One line of a training log, read from left to right: which of its numbers mean what."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from mldiag.patterns import lazily
from mldiag.readers._text.labels import (
    UNIT,
    Meaning,
    Words,
    meaning,
    meaning_behind,
    names_a_speed,
    taken_apart,
    words_of,
)
from mldiag.readers._text.lines import is_date
from mldiag.vocabulary import normalized

_LEADS = frozenset({"", "[", "|", "#", "E", "*", "-"})
_SUMMARY = frozenset({"train_runtime", "train_samples_per_second"})
_COUNTS = frozenset({"tp", "fp", "fn", "tn", "support"})
_GLUED = lazily(rf"(?!{UNIT.pattern})[A-Za-z_]|\.\d")
"""What right behind a number shows that it is a part of a word, or of several numbers."""
_SOURCE = lazily(r"[\[(][\w./]+:$")
"""A place in the sources: `[train.py:876]`."""
_LINE_OF_CODE = lazily(r"(?:^|[\s|])[\w.]+:[\w.<>]+:$|\w\.(?:py|ipynb|cc|cpp|cu|c|h|hpp|rs|go|java|scala|jl|lua):$")
"""The same without brackets: `__main__:train:83` of loguru, `train.py:83` of rich."""
_ORDINALS = {"轮": "epoch", "輪": "epoch", "个epoch": "epoch", "epoch": "epoch", "步": "step", "次迭代": "step"}
"""What is counted by `第 3 轮`, the third round."""
_NUMBERED_SET = lazily(r"validation_\d+-(.+)")
_AVERAGES = frozenset({"avg", "avg_loss"})
_NOT_FINITE = frozenset({"nan", "inf", "-inf", "+inf", "-nan"})


_BRACES = lazily(r"(?:[\"']?([A-Za-z][\w.-]*)[\"']?\s*[:=]\s*)?\{|\}")
_SHELVES = frozenset({
    "metric", "metrics", "log", "logs", "result", "results", "score", "scores", "stat", "stats", "value", "values",
    "summary", "data", "info", "history",
})  # fmt: skip
"""Names of dicts that say nothing about what is in them."""


class Slot(Struct):
    """One number of a template that means something.

    Attributes:
        index: which number of the line.
        kind: `metric`, or an axis: `epoch`, `step`, `batch`, `pair` (an unlabelled `30/100`), `lead` (an unlabelled
            integer that begins the line), `other`.
        label: as the line has it.
        total: the number of the line that says how many there are (`30/100`), or None.
        split: of the label, else of the words before it in the line.
        percent: an aside behind a pair in per cent shows that it counts samples, as in PyTorch's MNIST example.
        aside: its average so far stands behind it in parentheses, so it is the value of one batch.
        whole: it is written without decimals in the first line.
    """

    index: int
    kind: str
    label: str = ""
    name: str = ""
    split: str | None = None
    known: int = 0
    unit: str = ""
    total: int | None = None
    percent: bool = False
    aside: bool = False
    whole: bool = False


class Reading:
    """Reads one line from left to right: which of its numbers mean what."""

    def __init__(self, literals: Sequence[str], tokens: Sequence[str]) -> None:
        self.slots: list[Slot] = []
        self.clock: int | None = None
        self._tokens = tokens
        self._literals = literals
        self._split: str | None = None
        self._glued: str | None = None
        self._last: Slot | None = None
        self._loose: int | None = None
        self._listed = ""
        self._unnamed: set[int] = set()
        self._announced = ""
        self._parents: list[tuple[str, str | None]] = []
        for index in range(len(tokens)):
            if not self._number(index):
                break
        else:
            self._close(words_of(literals[-1]), last=True)
        named = {(normalized(s.label), s.split): s for s in reversed(self.slots) if s.kind == "metric"}
        # What a line says twice (icefall's `loss[loss=0.5], tot_loss[loss=0.6]`) is first of this line, then of many.
        self.slots = [s for s in self.slots if s.kind != "metric" or named[normalized(s.label), s.split] is s]
        _give_sets_of_boosting(self.slots)
        labels = {normalized(s.label) for s in self.slots}
        # The closing summary of Hugging Face's Trainer is no point of a curve, nor is a class of a report.
        if labels & _SUMMARY or len(labels & _COUNTS) > 1:
            self.slots = []

    def _number(self, index: int) -> bool:
        literal, token = self._literals[index], self._tokens[index]
        if "{" in literal or "}" in literal:
            self._enter(literal)
        words = words_of(literal, index == 0)
        if words.retold:
            return False
        if self._last is not None and names_a_speed(literal, words, self._last.label):
            words = replace(words, label=words.unit, unit="", joint="")
        loose = self._loose
        self._close(words)
        last, self._last = self._last, None
        self._split = words.split or self._split
        if is_date(token):
            if self.clock is None and not self.slots:
                self.clock = index
            return True
        if words.joint == "/" and last is not None:
            last.total = index
            self._last = last
        elif words.joint == "/" and loose is not None:
            lead = next((s for s in self.slots if s.index == loose), None)
            if self._is_rest_of_bar(loose, index):
                self._split = self._glued = None
            if lead is None:
                lead = Slot(loose, "pair", split=self._split)
                self.slots.append(lead)
            lead.kind, lead.total, self._last = "pair", index, lead
        elif words.joint in ("(", "["):
            if words.joint == "[":
                self._loose = index
            elif last is not None:
                self._aside(last, index)
        elif words.joint == "," and loose is not None and self._is_place(loose, index):
            self._place(loose, index)
        elif words.joint == "," and self._listed and last is not None:
            self._element(last, index)
        elif self._announced and literal.strip(" :=-,>\t") in ("", "is", "was"):
            self._metric(meaning(self._announced), self._announced, index)
            self._announced = ""
        elif words.label:
            behind = self._literals[index + 1]
            odd = words.enclosed or (_SOURCE.search(literal) and behind[:1] in "]):")
            if _LINE_OF_CODE.search(literal) and not meaning(words.label).known:
                return True
            if kind := self._ordinal(index):
                self._last = Slot(index, kind, words.label)
                self.slots.append(self._last)
            elif not _GLUED.match(behind) and not (odd and meaning(words.label).kind == "metric"):
                self._labelled(words.label, index)
        elif words.joint == " " and last is not None and last.kind == "metric" and self._tokens[last.index].isdigit():
            self.slots.remove(last)  # which of two numbers in a row the label means is not to be told
        else:
            self._unlabelled(index, literal)
        return True

    def _enter(self, literal: str) -> None:
        """Follows the braces of nested dicts (`{'val': {'loss': `), behind which the split of before holds again."""
        for found in _BRACES.finditer(literal):
            if found[0] == "{" or found[1]:
                self._parents.append((found[1] or "", self._split))
            elif self._parents:
                self._split, self._glued = self._parents.pop()[1], None

    def _qualified(self, label: str) -> str:
        """A label with the names of the dicts that it stands in, but for those of splits."""
        names = [name for name, _ in self._parents if name and name.lower() not in _SHELVES]
        names = [name for name in names if meaning(name).kind not in ("split", "step", "epoch")]
        whole = "_".join((*names, label))
        return whole if names and meaning(whole).known >= meaning(label).known else label

    def _is_rest_of_bar(self, counter: int, total: int) -> bool:
        """Whether a bar goes on behind a message that was written over its beginning: `val dice: 0.1    | 64/465 [`."""
        bar = self._literals[counter].rstrip().endswith("|") and self._literals[total + 1].startswith(" [")
        return bar and any(s.kind == "metric" for s in self.slots)

    def _close(self, words: Words, *, last: bool = False) -> None:
        """What the text behind a number says about it: its unit, or its name."""
        unit, label = words.unit, words.behind if last or not words.whole else ""
        if self._last is not None and unit and not self._last.unit:
            self._last.unit = unit
        elif (
            self._loose is not None
            and label
            and not any(s.index == self._loose and s.kind == "pair" for s in self.slots)
        ):
            found = meaning_behind(label)
            if found.kind:
                if normalized(label) in _AVERAGES and self._loose - 1 in self._unnamed:
                    self._loose -= 1  # darknet's `715.5, 727.7 avg`: what the average is of
                self.slots = [s for s in self.slots if s.index != self._loose]
                self._metric(found, label, self._loose)
                if unit == "ms" or label == "ms":
                    self.slots[-1].unit = "ms"
                elif unit == "%":
                    self.slots[-1].unit = unit
        self._loose = None

    def _aside(self, last: Slot, index: int) -> None:
        percent = self._literals[index + 1].startswith("%")
        if last.kind != "metric":
            last.percent = percent
        elif percent and last.total is not None:
            last.index, last.total, last.unit = index, None, "%"
        else:
            last.aside = True

    def _element(self, last: Slot, index: int) -> None:
        count = int(last.label.rpartition("_")[2]) if last.label != self._listed else 0
        if last.label == self._listed:
            last.label, last.name = f"{self._listed}_0", last.name and f"{last.name}_0"
        stem = last.name.rpartition("_")[0]
        slot = Slot(
            index, "metric", f"{self._listed}_{count + 1}", stem and f"{stem}_{count + 1}", last.split, last.known
        )
        self.slots.append(slot)
        self._last = slot

    def _is_place(self, first: int, second: int) -> bool:
        """Whether two numbers in brackets begin the line, epoch and batch: `[1,  2000] loss` of PyTorch's tutorial."""
        brackets = self._literals[first].strip() == "[" and self._literals[second + 1].startswith("]")
        return brackets and second == first + 1 and any(s.index == first and s.kind == "lead" for s in self.slots)

    def _place(self, first: int, second: int) -> None:
        self.slots = [Slot(first, "epoch"), Slot(second, "batch")]

    def _ordinal(self, index: int) -> str | None:
        """What `第` before a number counts by the word behind it, or behind its total."""
        if not self._literals[index].rstrip().endswith("第"):
            return None
        behind = self._literals[index + 1].strip()
        if behind == "/" and index + 2 < len(self._literals):
            behind = self._literals[index + 2].strip()
        return next((kind for word, kind in _ORDINALS.items() if behind.lower().startswith(word)), None)

    def _labelled(self, label: str, index: int) -> None:
        if parts := taken_apart(label):
            self._announced, label = parts
        if self._parents:
            label = self._qualified(label)
        found = meaning(label)
        self._listed = ""
        if found.kind == "metric":
            self._metric(found, label, index)
            if self._literals[index].rstrip().endswith(("[", "(")) and found.known == 2:
                self._listed = label
        elif found.kind == "split":
            self._split = found.split
            counted = any(s.kind != "metric" for s in self.slots) and not UNIT.match(self._literals[index + 1])
            if counted and ("." in self._tokens[index] or self._tokens[index].lower() in _NOT_FINITE):
                # Karpathy's build-nanogpt and its descendants log `250 val 3.2874`: the loss.
                self._metric(meaning("loss"), f"{label} loss", index)
            elif self._tokens[index].isdigit() and self._literals[index + 1].strip() == "[":
                self.slots.append(Slot(index, "epoch", label, split=self._split))  # timm's `Train: 3 [  50/1251`
            else:
                self._loose = index
        elif found.kind:
            self._split = found.split or self._split
            if self._tokens[index].lower() not in _NOT_FINITE:
                slot = Slot(index, found.kind, label, split=self._split)
                self.slots.append(slot)
                self._last = slot

    def _metric(self, found: Meaning, label: str, index: int) -> None:
        split = found.split
        if split is not None:
            self._glued = split
        elif found.known != 1:
            split = self._split or (self._glued if found.known == 2 else None)
        slot = Slot(index, "metric", label, found.name, split, found.known, whole=self._tokens[index].isdigit())
        self.slots.append(slot)
        self._last = slot

    def _unlabelled(self, index: int, literal: str) -> None:
        self._listed = ""
        before = "".join(self._literals[: index + 1])
        # Caffe repeats in parentheses how a loss was weighted: `loss = 0.48 (* 1 = 0.48 loss)`.
        self._unnamed.add(index)
        self._loose = None if before.count("(") > before.count(")") else index
        begins = index == 0 or (index == 1 and self.clock == 0)
        if begins and literal.strip(" :-\t") in _LEADS and self._tokens[index].isdigit():
            self.slots.append(Slot(index, "lead"))


def _give_sets_of_boosting(slots: Sequence[Slot]) -> None:
    """Which of the sets that a boosting library evaluates is meant by `val`.

    CatBoost calls the set that it stops early by `test`, and the training set `learn`, as nothing else does. XGBoost's
    wrapper for scikit-learn counts its sets, of which the first often is the training set; it stops early by the last.
    """
    metrics = [s for s in slots if s.kind == "metric"]
    if any(s.label.startswith("learn") for s in metrics):
        for slot in metrics:
            if slot.label.startswith("test"):
                slot.split = "val"
    sets: dict[str, list[Slot]] = {}
    for slot in metrics:
        if found := _NUMBERED_SET.fullmatch(slot.label):
            sets.setdefault(found[1], []).append(slot)
    for quantity, found_slots in sets.items():
        *others, last = found_slots
        for number, slot in enumerate(others):
            slot.name = f"val/set{number}_{normalized(quantity)}"
        last.name = meaning(quantity).name or last.name
