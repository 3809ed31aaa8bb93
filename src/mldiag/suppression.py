"""Comments that silence a rule on their line: `# mldiag: ignore[SCH001]`, by code or name, several with commas.

Behind a backslash that continues a shell command no comment can stand. A comment with a line to itself holds for the
command below it instead: for the next line and those that continue it.

A comment that silenced nothing is told too: what it once excused is repaired, or it never named the right rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from msgspec import Struct

from mldiag.artifacts import Source
from mldiag.errors import ReadError, nearest
from mldiag.files import File
from mldiag.findings import Finding
from mldiag.patterns import lazily
from mldiag.rules import Rule

COMMENTED = (".sh", ".bash", ".slurm", ".sbatch", ".py", ".pyw", ".yaml", ".yml", ".toml", ".ini", ".cfg")
"""Endings of formats in which `#` begins a comment; a log or JSON document that holds such words silences nothing."""

_COMMENT = lazily(r"#\s*mldiag:\s*ignore\[([^\]]*)\]")


class Suppression(Struct, frozen=True):
    """A comment; `rules` are the codes and names in it, as written, `last` the last line it holds for."""

    source: Source
    rules: tuple[str, ...]
    last: int

    def covers(self, finding: Finding) -> str | None:
        """The word of the comment that silences a finding on this line; None where it names another rule."""
        places = (finding.at, *(e.at for e in finding.evidence))
        first, path = self.source.line or self.last, self.source.path
        if not any(at and at.path == path and first <= (at.line or 0) <= self.last for at in places):
            return None
        return next((w for w in self.rules if w.lower() in (finding.code.lower(), finding.name)), None)


class Unused(Struct, frozen=True):
    """A rule in a comment that silenced nothing, and why."""

    rule: str
    reason: str
    at: Source


def suppressions_in(file: File) -> Iterator[Suppression]:
    """The comments of a file that was read; none in formats without comments."""
    if not file.name.lower().endswith(COMMENTED):
        return
    try:
        text = file.lenient_text
    except ReadError:  # told already, by the file's reader
        return
    if "mldiag:" not in text:
        return
    for found in _COMMENT.finditer(text):
        source = file.source(found.start())
        words = tuple(w.strip() for w in found[1].split(",") if w.strip())
        yield Suppression(source, words, _last_line(source, text[found.start() :].splitlines()))


def _last_line(comment: Source, lines: Sequence[str]) -> int:
    """The last line that a comment holds for; `lines` are the file's from the comment on."""
    last = comment.line or 1
    if not (comment.excerpt or "").lstrip().startswith("#") or len(lines) < 2:
        return last
    held = 1 + sum(1 for _ in takewhile(lambda line: line.rstrip().endswith("\\"), lines[1:]))
    return last + min(held, len(lines) - 1)


def unused(
    comments: Sequence[Suppression], used: set[tuple[Suppression, str]], decided: set[str], loaded: Sequence[Rule]
) -> Iterator[Unused]:
    """The rules in comments that silenced nothing.

    Args:
        used: comments with the word of theirs that silenced something.
        decided: codes of the rules that looked at this run; of a skipped or unselected rule nothing can be said.
        loaded: every rule there is.
    """
    by_word = {word: rule for rule in loaded for word in (rule.code.lower(), rule.name)}
    for comment in comments:
        for word in comment.rules:
            rule = by_word.get(word.lower())
            if rule is None:
                yield Unused(word, f"no rule has that code or name{nearest(word, by_word)}", comment.source)
            elif rule.code in decided and (comment, word) not in used:
                yield Unused(word, "it found nothing there", comment.source)
