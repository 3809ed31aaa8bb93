"""Lines that differ only in their numbers are one template; what these mean is learnt once, from the first line."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from mldiag.files import Block
from mldiag.patterns import lazily
from mldiag.readers._cut_numbers import COMPARED, seems_cut
from mldiag.readers._tables.columns import number
from mldiag.readers._text.headers import NAMES, WORD, cells, header, is_row, section
from mldiag.readers._text.labels import UNIT, meaning
from mldiag.readers._text.lines import LONG, Lines, has_decimal_comma, is_date, is_drawn, seconds, splitter
from mldiag.readers._text.preamble import Preamble
from mldiag.readers._text.reading import Reading, Slot

MOST_SKELETONS = 50_000
"""Skeletons that are remembered; text of another kind has no end of them."""
LONGEST_LINE = 20_000
"""Characters; a longer line is data or a dump, not a row of a log."""
MOST_NUMBERS = 200
"""Numbers of a line; more are a vector."""
MOST_WORDS = 6
"""Words of a line that gives an epoch or step to those below it; longer ones tell of something else."""
LONGEST_HEADER = 400
"""Characters of a line that can be a header."""
LONGEST_KEPT = 4_000
"""Characters of a template's first line that are kept."""

MOST_WORDS_PER_NUMBER = 8
"""Words for each number of a row; prose has more."""

SENTENCE = 6
"""Words of a line, without signs beside them, from which on it is prose."""

_CODE = lazily(
    r"^\s*(?:return|assert\w*|def|import|raise|yield|elif|while|lambda|const|var|let|int|float|double|void|static)\b"
    r"|^\s*(?:>>>|\.\.\.|//|#)|\bself\.|\w ?==? ?\w+\(|;\s*$|\b[Rr]eturns? -?\d|\)\s*==|\bassert_"
)
"""Lines of sources and of stack traces."""
_ZEROED = bytes.maketrans(b"123456789", b"000000000")
_JOINTS = frozenset(":-.,_/")
_BOUND = frozenset(b"|\t%{(")
"""What can be of a table, of a progress bar or of a dump of settings."""
_OPEN_GROUP = lazily(r"(?<=\d),\d{0,2}$")
"""What of `1,234` is written before its last digit."""
_ASIDE = lazily(r"\([^)]*\)")


class Template(Struct):
    """The lines of one skeleton, and what was read from them.

    A faster scanner may extract `needed` from lines that have these `literals` between their numbers; in the end it
    sets `at`, `columns` and, with a `clock`, `times`, with the rows that were read already.

    Attributes:
        literals: the texts between the numbers of the first line; other lines have the same but for blanks.
        needed: the numbers of the line that are kept, ascending.
        slots: what they mean.
        first: the first line.
        clock: the number of the line that holds date or time of day.
        table: its numbers were named by a header above it.
        bar: drawn by Keras, whose states hold averages so far; only the one that is full is of a whole epoch.
        boxed: a line of a table of keys and values (`| time/total_timesteps | 2048 |`) that counts for the whole table.
        opens: the split of the section that such a line opens, `end` where it closes one.
        at: the line of each row, see `Lines`.
        values: row by row, `len(needed)` for each, unless there are columns.
        columns: of each needed number the values over all rows, if they were read at once.
        times: seconds of each row, with a `clock`.
    """

    literals: tuple[str, ...]
    needed: tuple[int, ...]
    slots: tuple[Slot, ...]
    first: str
    clock: int | None = None
    table: bool = False
    bar: bool = False
    boxed: bool = False
    opens: str | None = None
    at: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    columns: dict[int, array[float]] = field(default_factory=dict)
    times: array[float] = field(default_factory=lambda: array("d"))

    def column(self, index: int) -> array[float]:
        """The values of one number of the line over all rows."""
        return self.columns.get(index) or self.values[self.needed.index(index) :: len(self.needed)]

    @property
    def metrics(self) -> list[Slot]:
        return [s for s in self.slots if s.kind == "metric"]

    @property
    def axes(self) -> list[Slot]:
        return [s for s in self.slots if s.kind != "metric"]


class Learner:
    """Takes a log block by block and sorts its lines into templates.

    Attributes:
        templates: all with a quantity or an axis, in the order of their first lines.
        sections: headers that give a split to what follows (`Validation:`): line and split, None where one ends.
        preamble: what the log says it uses. `cut`: the last line was left out, as it may still be written.
        dated: some line holds a date or time, as those of loggers do.
        unknown: how many lines with numbers, each of another kind, had nothing to do with a log; `sentences`: how many
            of them are prose.
    """

    def __init__(self) -> None:
        self.templates: list[Template] = []
        self.sections: list[tuple[float, str | None]] = []
        self.preamble = Preamble()
        self.cut = False
        self.dated = False
        self.unknown = 0
        self.sentences = 0
        self._lines = Lines()
        self._decimal_comma: bool | None = None
        self._cut = splitter()
        self._known: dict[tuple[str, ...], Template | None] = {}
        self._merged: dict[tuple[tuple[str, ...], tuple[str, ...]], Template] = {}
        self._misfits: dict[tuple[tuple[str, ...], tuple[int, ...]], Template | None] = {}
        self._plain: set[str] = set()
        self._foreign: dict[bytes, list[tuple[int, str]]] = {}
        self._box = 0.0
        self._header: tuple[str, ...] = ()
        self._rows_of_header: list[tuple[str, ...]] = []

    def read(self, block: Block) -> None:
        """Takes the lines of a block."""
        self.has_decimal_comma(block.data)
        self.take(block.data, range(block.line, block.line + block.ends + 1))

    def has_decimal_comma(self, data: bytes) -> bool:
        """Whether the log writes its fractions with a comma; the first text that is asked about decides."""
        if self._decimal_comma is None:
            self._decimal_comma = has_decimal_comma(data[:65536])
            self._cut = splitter(decimal_comma=self._decimal_comma)
        return self._decimal_comma

    def take(self, data: bytes, numbers: Sequence[int]) -> None:
        """Takes some lines, after `has_decimal_comma` was told the first of the log.

        Args:
            data: their text. `numbers`: that of each line in the file, ascending.
        """
        cut, known, plain, foreign = self._cut, self._known, self._plain, self._foreign
        for at, line in self._lines.of(data, numbers):
            if line in plain:
                if line.startswith("----"):
                    self._box = at
                continue
            if len(line) > LONGEST_LINE:
                self.preamble.take(line, at)
                continue
            zeroed = line.encode().translate(_ZEROED)  # many times as fast as of a text
            digits = foreign.get(zeroed)
            if digits is not None and all(line[i] == digit for i, digit in digits):
                continue
            parts = cut(line)
            if len(parts) == 1:
                if line.startswith("----"):
                    self._box = at
                self._plain_line(line, at)
                continue
            key = tuple(parts[::2])
            try:
                template = known[key]
            except KeyError:
                template = self._learn(key, parts, line, at)
                if template is None:
                    self.unknown += 1
                    self.sentences += sum(map(str.isalpha, line.split())) >= SENTENCE
                    continue
            if template is not None:
                self._add(template, parts, at)
            elif len(foreign) < MOST_SKELETONS and not any(text.strip() in _JOINTS for text in key[1:-1]):
                # All lines that differ only in the digits of their numbers have these texts too; but numbers that are
                # joined by a sign may be a date or not (`1:30`, `1:75`).
                foreign.setdefault(zeroed, list(_digits_of_texts(parts)))

    def read_last(self, block: Block, above: bytes = b"") -> None:
        """Takes a last line without line end but for what may still be written: the line, or a message behind a bar.

        It may where it breaks off in the words of a known template, or in a number that seems cut.

        Args:
            above: the text before it.
        """
        states = [text for _, text in Lines().of(block.data, [block.line])]
        self.cut = bool(states) and self._may_go_on(states[-1], above)
        if not self.cut:
            self.read(block)
        elif len(states) > 1:
            self.read(Block("\r".join((*states[:-1], "")).encode(), block.line, 0))

    def _may_go_on(self, line: str, above: bytes) -> bool:
        """Whether more may be written behind a line."""
        whole = line if self._decimal_comma else _OPEN_GROUP.sub("", line)
        parts = self._cut(whole)
        key = tuple(parts[::2])
        known = self._template_of(key)
        if known is None:
            unfinished = any(_continues(t.literals, key) for t in self.templates)
            return unfinished or (len(parts) > 1 and not key[-1] and seems_cut(parts[-2], ()))
        if key[-1] or known.needed[-1:] != (len(key) - 2,):
            return False  # the line ends behind the last number that is kept
        if whole != line:
            return True
        lines = (self._cut(text) for _, text in Lines().of(above, range(above.count(b"\n") + 1)))
        last = [p[-2] for p in lines if len(p) == len(parts) and self._template_of(tuple(p[::2])) is known]
        return seems_cut(parts[-2], last[-COMPARED:] or self._cut(known.first)[-2:-1])

    def _template_of(self, key: tuple[str, ...]) -> Template | None:
        """The template of lines with some texts, however these are padded."""
        found = self._known.get(key)
        words = _words(key)
        return found or self._merged.get((words, ())) or self._merged.get((words, self._header))

    def knows(self, parts: Sequence[str], template: Template) -> bool:
        """Whether a line, cut into texts and numbers, is one of a template; another of the kind was read before."""
        return self._known.get(tuple(parts[::2])) is template

    @property
    def plain(self) -> int:
        """How many lines without numbers are known that say nothing."""
        return len(self._plain)

    def passes_over(self, line: bytes) -> bool:
        """Whether a line as it stands in the file is one without numbers that says nothing, wherever it stands."""
        if len(line) > LONG or line.startswith(b"----"):
            return False
        text = line.decode(errors="replace")
        return text in self._plain and not is_drawn(text)

    def open_digits(self, line: bytes) -> list[int] | None:
        """Where the digits of its numbers stand, if a line is one that says nothing, wherever it stands; else None."""
        if not self.preamble.closed or len(line) > LONG or not line.isascii() or not _BOUND.isdisjoint(line):
            return None
        text = line.decode()
        digits = self._foreign.get(line.translate(_ZEROED))
        # With a word in it, it cannot be a row of a table either, whose header stands above it.
        if digits is None or is_drawn(text) or not any(len(w) > 3 and w.isalpha() for w in text.split()):
            return None
        if any(text[i] != digit for i, digit in digits):
            return None
        fixed = {i for i, _ in digits}
        return [i for i, c in enumerate(text) if c.isdigit() and i not in fixed]

    def states(self, line: int) -> int:
        """How many states were taken of a line that is redrawn."""
        return self._lines.states if self._lines.line == line else 0

    def pass_states(self, line: int, states: int) -> None:
        """Notes that so many states of a line were taken by other means."""
        self._lines.line, self._lines.states = line, states

    def is_first(self, template: Template) -> bool:
        """Whether lines with the texts of a template are read as its own before any other's."""
        return self._known.get(template.literals) is template

    def _add(self, template: Template, parts: list[str], at: float) -> None:
        try:
            values = [float(parts[2 * i + 1]) for i in template.needed]
        except ValueError:
            read = [number(parts[2 * i + 1], decimal_comma=bool(self._decimal_comma)) for i in template.needed]
            values = [v for v in read if v is not None]
            if len(values) < len(read):
                self._misfit(parts, [i for i, v in zip(template.needed, read, strict=True) if v is None], at)
                return
        template.values.extend(values)
        template.at.append(self._box if template.boxed else at)
        if template.clock is not None:
            template.times.append(seconds(parts, template.clock))

    def _misfit(self, parts: list[str], others: list[int], at: float) -> None:
        """Takes a line of a template that has something else than a number in some of its places, without these."""
        literals = tuple(parts[::2])
        key = (_words(literals), tuple(others))
        if key not in self._misfits:
            template = self._understood(literals, parts[1::2], "".join(parts), at)
            fits = template is not None and not set(others) & set(template.needed)
            self._misfits[key] = template if fits else None
            if fits and template is not None:
                self.templates.append(template)
        fitting = self._misfits[key]
        if fitting is not None:
            self._add(fitting, parts, at)

    def _learn(self, key: tuple[str, ...], parts: list[str], line: str, at: float) -> Template | None:
        if len(self._known) >= MOST_SKELETONS:
            for foreign in [k for k, t in self._known.items() if t is None]:
                del self._known[foreign]
            if len(self._known) >= MOST_SKELETONS:
                return None
        # The same texts but for their blanks, which pad numbers to a width, are one template.
        words = _words(key)
        template = self._merged.get((words, ())) or self._merged.get((words, self._header))
        if template is None:
            template = self._understood(key, parts[1::2], line, at)
            if template is not None:
                self._merged[words, self._header if template.table else ()] = template
                self.templates.append(template)
                self.preamble.closed = self.preamble.closed or any(s.known == 2 for s in template.metrics)
        if template is None or template.table:
            self._rows_of_header.append(key)  # below another header it may mean something else
        self._known[key] = template
        return template

    def _understood(self, literals: tuple[str, ...], tokens: list[str], line: str, at: float) -> Template | None:
        undated = sum(not is_date(t) for t in tokens)
        self.dated = self.dated or undated < len(tokens)
        if len(tokens) > MOST_NUMBERS or _CODE.search(line):
            return None
        if not undated:
            opening = _opening(literals, line)
            if opening is None:
                self._plain_line(" ".join(literals), at)
            return opening
        if self._header and is_row(line, len(self._header)):
            return self._table_row(literals, tokens, line)
        if self.preamble.take(line, at, alone=undated == 1):
            return None
        reading = Reading(literals, tokens)
        slots = reading.slots
        if not any(s.known or s.kind in ("epoch", "step", "batch", "other") for s in slots):
            return _opening(literals, line)
        last = max(s.index for s in slots)
        # What follows the last number may be anything: a warning of another program on the same line.
        words = len(WORD.findall(NAMES.sub(" ", " ".join(literals[: last + 1]))))
        if words > (MOST_WORDS if all(s.kind != "metric" for s in slots) else MOST_WORDS_PER_NUMBER * (last + 1)):
            return None
        boxed = line.startswith("|") and len(slots) == 1 and slots[0].kind == "step"
        bar = ("ETA:" in line or "/step" in line) and any(s.kind == "pair" for s in slots)
        kept = line[:LONGEST_KEPT]
        return Template(literals, _needed(slots), tuple(slots), kept, reading.clock, bar=bar, boxed=boxed)

    def _plain_line(self, line: str, at: float) -> None:
        """A line without numbers: the header of a table, of a section, a setting, or nothing."""
        if self.preamble.take(line, at):
            return
        short = len(line) <= LONGEST_HEADER
        if short and (split := section(line)):
            self.sections.append((at, split if split != "end" else None))
        elif short and (names := header(line)):
            self._header = names
            for key in self._rows_of_header:
                self._known.pop(key, None)
            self._rows_of_header.clear()
            self._foreign.clear()
        elif len(self._plain) < MOST_SKELETONS:
            self._plain.add(line)

    def _table_row(self, literals: tuple[str, ...], tokens: list[str], line: str) -> Template | None:
        slots: list[Slot] = []
        index = 0
        for name, cell in zip(self._header, cells(line, len(self._header)), strict=True):
            own = self._cut(cell)[1::2]
            found = meaning(name)
            if own and name == "#":
                slots.append(Slot(index, "step", name))
            elif own and not is_date(own[0]) and found.kind not in ("", "split"):
                total = index + 1 if len(own) > 1 and f"{own[0]}/{own[1]}" in cell.replace(" ", "") else None
                unit = UNIT.match(cell[cell.find(own[0]) + len(own[0]) :])
                unit_name = unit[1] if unit else ""
                slots.append(Slot(index, found.kind, name, found.name, found.split, found.known, unit_name, total))
            index += len(own)
        if index > len(tokens) or all(s.kind != "metric" for s in slots):
            return None
        return Template(literals, _needed(slots), tuple(slots), line[:LONGEST_HEADER], table=True)


def _digits_of_texts(parts: list[str]) -> Iterator[tuple[int, str]]:
    """The digits of a line that are part of no number, and where they stand."""
    begin = 0
    for index, part in enumerate(parts):
        if not index % 2:
            yield from ((begin + i, c) for i, c in enumerate(part) if c.isdigit())
        begin += len(part)


def _words(literals: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(text.split()) for text in literals)


def _needed(slots: list[Slot]) -> tuple[int, ...]:
    return tuple(sorted({s.index for s in slots} | {s.total for s in slots if s.total is not None}))


def _opening(literals: tuple[str, ...], line: str) -> Template | None:
    """The template of lines that open or close a section and hold dates or counts besides."""
    split = section(_ASIDE.sub(" ", " ".join(literals))) if len(line) <= LONGEST_HEADER else None
    return Template(literals, (), (), line, opens=split) if split else None


def _continues(whole: tuple[str, ...], cut: tuple[str, ...]) -> bool:
    """Whether a skeleton may be the beginning of another, cut in a text or a number."""
    last = len(cut) - 1
    if len(whole) < len(cut) or _words(whole[:last]) != _words(cut[:last]):
        return False
    return cut[last] in ("e", "e-", "e+", "E", "E-", "E+") or whole[last].startswith(cut[last])
