"""Generated texts in plain text files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from mldiag.artifacts import Artifact, Sample
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader

SIZE_LIMIT = 16 * 2**20
"""Larger files are data sets; what a run generates to be looked at stays far below."""

_NAME = lazily(r"sampl|generat|amostra|complet|gera[cd]|continuation")
_OTHER = lazily(
    r"config|log|sampler|subsampl|downsampl|resampl|data|list|names|ids|metric|loss|stats|requirements|time"
)
_RULE = lazily(
    r"(?:[-=*#~_]{3,}\s*)(?:(?:(?:generated\s+)?(?:sample|text|example|amostra|texto|exemplo))?\s*[#nº°]*\s*\d*\s*:?"
    r"\s*[-=*#~_]{3,})?",
    re.IGNORECASE,
)
_NUMBERED = lazily(
    r"(?:\[?rank\s*\d+\]?:?\s*)?[\[(>#\s]*(?:sample|generated(?:\s+(?:text|sample))?|generation|completion|amostra|"
    r"texto\s+gerado|gera[cç][aã]o)\s*#?\s*\d*\s*[\])]?\s*:\s?",
    re.IGNORECASE,
)
_PROMPT = lazily(
    r"[\[(>#*\s]*(?:prompt|input|context|start(?:ing)?\s+text|seed(?:\s+text)?|entrada|semente|in[ií]cio|prefixo)"
    r"\s*#?\s*\d*\s*[\])*]*\s*:[ *]?",
    re.IGNORECASE,
)
_ANSWER = lazily(
    r"[\[(>#*\s]*(?:completion|continuation|output|generated(?:\s+(?:text|output|sample))?|generation|response|answer|"
    r"sample|model|sa[ií]da|gerado|texto\s+gerado|gera[cç][aã]o|resposta|continua[cç][aã]o)"
    r"\s*#?\s*\d*\s*[\])*]*\s*:[ *]?",
    re.IGNORECASE,
)
_STEP = lazily(
    r"[-=#*\[(\s]*(?:step|iter(?:ation)?|epoch|passo|[eé]poca)\s*[:=#]?\s*(\d+)\b[^.!?]{0,60}", re.IGNORECASE
)
_HEADER = lazily(
    r"(?:Overriding(?: config with|:)|number of parameters:|No meta\.pkl|Loading meta|found vocab|using device|"
    r"# |[a-z_]+ = )"
)
_START = lazily(r"(?:Overriding:\s*)?start\s*=\s*(['\"]?)(.+?)\1\s*$")
_LOSS = lazily(r"\b(?:loss|perplexity)['\"]?\s*[:=]?\s*\d")
_PRINTED = lazily(r"^(?:number of parameters: |No meta\.pkl found|Loading meta from )", re.MULTILINE)
_LONG_RULE = 10
_LINES, _LINE = 3, 60
"""So many lines of so many characters in the median, without a blank one, are a text each."""


class _Text(Struct):
    """A text that is being gathered, with the line it begins in and the step that stood above it."""

    line: int
    step: int | None
    lines: list[str]
    prompt: str | None = None


def _is_samples(file: File) -> bool:
    if file.size > SIZE_LIMIT or not file.size or file.is_binary:
        return False
    stem = file.name.lower().rpartition(".")[0]
    folder = file.path.lower().split("/")[-2:-1]
    head = file.head.decode(file.encoding, "replace")
    if head.lstrip("\ufeff \t\r\n")[:1] in ("{", "[") or _LOSS.search(head):
        return False
    if _NAME.search(stem) or any(_NAME.match(f) for f in folder):
        return not _OTHER.search(stem)
    # nanoGPT's sample.py, its output kept under any name.
    return "\n---------------\n" in head.replace("\r", "") and bool(_PRINTED.search(head))


@reader("*.txt", "*.out", "*.log", matches=_is_samples, priority=24, post=True)
def samples_text(file: File) -> Iterator[Artifact]:
    """Generated texts in plain text: files or folders named as samples, and what nanoGPT's sample.py prints.

    Texts are told apart by ruled lines (`---------------`, `===== SAMPLE 1 =====`), by `Sample 1:` or by
    `Prompt:` with `Output:`; else lines of prose are a text each if no blank line stands among them, and the whole file
    is one text if it has none of these. What nanoGPT prints before the first text is left out; its `start` is the
    prompt. Where steps or epochs stand above the texts, those of the last one are kept, and of files that differ in a
    number (`samples_500.txt`, `samples_1000.txt`) those of the highest: earlier texts say nothing about the finished
    model.
    """
    if _is_outdated(file):
        return
    lines = [line.rstrip("\r") for line in file.lenient_text.split("\n")]
    found = list(_prompted(lines)) or list(_ruled(lines)) or list(_labelled(lines)) or list(_plain(lines))
    found = [t for t in found if t.prompt or any(line.strip() for line in t.lines)]
    last = max((t.step for t in found if t.step is not None), default=None)
    for text in found:
        if last is None or text.step == last:
            whole = "\n".join(text.lines).strip("\n")
            kept = whole.removeprefix(text.prompt) if text.prompt and whole != text.prompt else whole
            yield Sample(kept, file.at(text.line), text.prompt)


def _is_outdated(file: File) -> bool:
    """Another file of the run has the same name but for a higher number."""
    own, mask = _numbered(file.path)
    return bool(own) and any(m == mask and n > own for n, m in map(_numbered, file.beside or ()))


def _numbered(path: str) -> tuple[tuple[int, ...], str]:
    numbers = re.findall(r"\d+", path)
    if not all(len(n) < 18 for n in numbers):
        return (), path
    return tuple(map(int, numbers)), re.sub(r"\d+", "#", path)


def _prompted(lines: list[str]) -> Iterator[_Text]:
    """`Prompt: …` and `Output: …`, each over one line or more."""
    texts: list[_Text] = []
    prompt: list[str] | None = None
    asked: str | None = None
    into: list[str] | None = None
    step: int | None = None
    for number, line in enumerate(lines, 1):
        if begun := _PROMPT.match(line):
            prompt = into = [line[begun.end() :]]
            asked = None
        elif (prompt is not None or asked is not None) and (begun := _ANSWER.match(line)):
            asked = "\n".join(prompt).strip() if prompt is not None else asked
            into, prompt = [line[begun.end() :]], None
            texts.append(_Text(number, step, into, asked))
        elif (stepped := _STEP.fullmatch(line)) or _RULE.fullmatch(line.strip()):
            into = None
            step = int(stepped[1]) if stepped else step
        elif into is not None:
            into.append(line)
    yield from texts


def _ruled(lines: list[str]) -> Iterator[_Text]:
    """Texts between ruled lines; the sort of line that rules is the commonest."""
    rules = {n: re.sub(r"\d+", "#", s) for n, line in enumerate(lines) if (s := line.strip()) and _RULE.fullmatch(s)}
    if not rules:
        return
    (kind, count), *_ = Counter(rules.values()).most_common(1)
    if len(kind) < _LONG_RULE and not (count > 1 and len(set(rules.values())) == 1):
        return
    cut = [n for n, k in rules.items() if k == kind]
    first = 0
    step: int | None = None
    prompt: str | None = None
    while first < cut[0] and (not lines[first].strip() or _HEADER.match(lines[first])):
        if begun := _START.fullmatch(lines[first]):
            prompt = begun[2].encode().decode("unicode_escape") if begun[2].isascii() else begun[2]
        first += 1
    for begin, end in zip([first, *(n + 1 for n in cut)], [*cut, len(lines)], strict=True):
        while begin < end and not lines[begin].strip():
            begin += 1
        if begin < end and (stepped := _STEP.fullmatch(lines[begin])):
            step = int(stepped[1])
            begin += 1
        if begin < end:
            yield _Text(begin + 1, step, lines[begin:end], prompt if prompt and prompt.strip() else None)


def _labelled(lines: list[str]) -> Iterator[_Text]:
    """`Sample 1: …`, until the next."""
    texts: list[_Text] = []
    step: int | None = None
    for number, line in enumerate(lines, 1):
        if stepped := _STEP.fullmatch(line):
            step = int(stepped[1])
        elif begun := _NUMBERED.match(line):
            texts.append(_Text(number, step, [line[begun.end() :]]))
        elif texts:
            texts[-1].lines.append(line)
    yield from texts


def _plain(lines: list[str]) -> Iterator[_Text]:
    full = [n for n, line in enumerate(lines) if line.strip()]
    if not full:
        return
    inner = lines[full[0] : full[-1] + 1]
    lengths = sorted(map(len, inner))
    if len(full) == len(inner) >= _LINES and lengths[len(lengths) // 2] >= _LINE:
        for n in full:
            yield _Text(n + 1, None, [lines[n]])
    else:
        yield _Text(full[0] + 1, None, inner)
