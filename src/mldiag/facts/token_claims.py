"""What people say of token files: how many tokens, of how many megabytes, in a README, a comment or the settings."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from mldiag.artifacts import Program, Role, Settings, Source, as_number
from mldiag.errors import NotApplicable, ReadError
from mldiag.facts import fact
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.run import Run

DOCUMENT_LIMIT = 2**20
"""Bytes of a document that are read; longer ones are books."""
MOST_DOCUMENTS = 20
FEWEST = 1_000
"""Tokens of a file whose count stands alone: lengths, batches and special tokens are fewer."""
_ENDINGS = (".md", ".markdown", ".rst")

_SIZE = lazily(r"(?<![\w.,])([\d.,]*\d)\s*([KMGT])(i?)B\b", re.IGNORECASE)
_COUNT = lazily(
    r"(?<![\w.,])([\d.,]*\d)\s*(k|m|b|g|t|thousand|mi|mil|million|milhões|milhoes|millions|billion|bilhões|bi)?"
    r"\s*(?:de\s+)?tokens?\b(?![-_/])",
    re.IGNORECASE,
)
_NUMBER = lazily(
    r"\W*([\d.,]*\d)\s*(k|m|b|g|t|thousand|mi|mil|million|milhões|milhoes|billion|bilhões|bi)?\W*", re.IGNORECASE
)
_NAME = lazily(
    r"[\w./-]*(?:tokeni[sz]ed|tokenizad[oa]s?|token_?ids|tokens?(?!i[sz]))[\w./-]*(?<=[\w])|[\w./-]+\.(?:bin|npy|u16|u32)\b",
    re.IGNORECASE,
)
_OTHERS = lazily(r"[\w-]\.(?:txt|gz|bz2|xz|zst|zip|jsonl?|parquet|arrow|csv|tsv|xml|html?)\b", re.IGNORECASE)
_WEIGHTS = lazily(r"(^|[\W_])(model|weights?|ckpt|checkpoint|optimizer|pytorch)", re.IGNORECASE)
_COUNT_HEADS = lazily(
    r"\W*(?:#|n|num(?:ber)?|nº|total|no\.?)?\W*(?:of\s+|de\s+)?(?:tokens?|jetons|tokens totais)\W*", re.IGNORECASE
)
_HOLDS = lazily(
    r"[`*_\"'\])|]*\s*(?:\([^()]{0,40}\)\s*)?(?:[:=|–—→-]+\s*)?(?:(?:currently|now)\s+)?"
    r"(?:(?:holds?|has|have|contains?|stores?|with|of|is|are|tem|têm|contém|cont[eé]m|com|possui|guarda|hat|enthält|mit|"
    r"contient|avec|tiene|contiene|con)\s+)?"
    r"(?:(?:about|around|approx(?:imately|\.)?|roughly|some|nearly|ca\.?|cerca\s+de|aprox(?:imadamente|\.)?|etwa|rund|"
    r"environ|unos)\s+)?(?:[~≈≃*`]\s*)*",
    re.IGNORECASE,
)
"""What may stand between a file and the number of tokens that it holds: nothing that would make it another number."""
_NOT_ALL = lazily(
    r"\s*(?:/|per\b|each\b|every\b|por\b|pro\b|par\b|long\b|at\b|a\s+(?:time|step|batch)|in\s+(?:a|one|each|the\s+vocab)|"
    r"of\s+(?:the\s+)?(?:context|vocab)|context|window|vocab|batch|sequences?\b|blocks?\b|chunks?\b|left|more|less|were|was|used|seen|apart|de\s+contexto)",
    re.IGNORECASE,
)
_IS_FILE = lazily(r"[\w./-]+\.(?:bin|npy|u16|u32|uint16|uint32|tokens)\b", re.IGNORECASE)
_WIDTHS = ((lazily(r"\b(?:u|uint)16\b", re.IGNORECASE), 2), (lazily(r"\b(?:u|uint|int)32\b", re.IGNORECASE), 4))
_POWERS = {"k": 3, "m": 6, "g": 9, "t": 12, "b": 9, "thousand": 3, "mil": 3, "mi": 6, "million": 6, "millions": 6,
           "milhões": 6, "milhoes": 6, "billion": 9, "bilhões": 9, "bi": 9}  # fmt: skip
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class TokenClaim(Struct, frozen=True):
    """One statement about a token file.

    Attributes:
        name: of what it is said, as written (`tokenized_v15`, `train.bin`); the setting's name for a setting.
        tokens: as stated.
        sizes: the stated size in bytes, read as decimal and, unless it says MiB, as binary megabytes too; empty where
            none is stated.
        text: the count and the size as written, for people.
        widths: bytes of an id that the document mentions (`u16`); empty where it mentions none.
        is_setting: the settings say it.
        rounding: tokens by which the number as written may be rounded: 500 for `54k`.
    """

    name: str
    tokens: float
    source: Source
    sizes: tuple[float, ...] = ()
    text: str = ""
    widths: tuple[int, ...] = ()
    is_setting: bool = False
    rounding: float = 0.0


class TokenClaims(Struct, frozen=True):
    """Every statement of the run about how many tokens its data have."""

    items: tuple[TokenClaim, ...]


@fact
def token_claims(run: Run, settings: Settings | None, program: Program | None) -> TokenClaims:
    """Reads the documents beside the files of the run, the comments of its sources, and the setting `train_tokens`.

    A line, or the row of a table, counts where it names a token file (`tokenized_v15`, `train.bin`) and says both its
    size and its tokens; what it says of a text alone proves nothing. A count right behind the name of a file
    (`train.bin` holds 1.2M tokens) counts without a size as well, where the document says it once.
    """
    found = [*_stated(settings)]
    for path in _documents(run):
        found += _in_document(File(run.root, path))
    for source in program.sources if program is not None else ():
        found += _in_document(File(run.root, source.path))
    if not found:
        raise NotApplicable("neither the settings nor a document of the run say how many tokens its data have")
    return TokenClaims(tuple(found))


def _stated(settings: Settings | None) -> Iterator[TokenClaim]:
    for value in settings.all("train_tokens", Role.FLAG, Role.FILE) if settings is not None else ():
        number = as_number(value.value)
        if number is None and isinstance(value.value, str) and (written := _NUMBER.fullmatch(value.value)):
            number = _amount(written[1], written[2])
        if number is not None and number > 0:
            yield TokenClaim(
                value.source.key or value.name, number, value.source, text=str(value.value), is_setting=True
            )


def _documents(run: Run) -> list[str]:
    """Documents in the folders of the run's files; of the folders above the run none."""
    if not run.files:
        return []  # a run that was made in memory has no folder
    folders = {"", *(posixpath.dirname(path) for path in run.files if not path.startswith("../"))}
    found = []
    for folder in sorted(folders):
        try:
            with os.scandir(run.root / folder) as entries:
                names = sorted(e.name for e in entries if e.name.lower().endswith(_ENDINGS) and e.is_file())
        except OSError:
            continue
        found += [posixpath.join(folder, name) for name in names]
    return found[:MOST_DOCUMENTS]


def _in_document(file: File) -> list[TokenClaim]:
    try:
        if not 0 < file.size <= DOCUMENT_LIMIT or b"oken" not in file.data:
            return []
        text = file.lenient_text
    except ReadError:
        return []
    widths = tuple(width for pattern, width in _WIDTHS if pattern.search(text))
    found = []
    column: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        cells = [c.strip() for c in line.strip().strip("|").split("|")] if line.count("|") > 1 else []
        if not cells:
            column = None
        elif (head := next((i for i, c in enumerate(cells) if _COUNT_HEADS.fullmatch(c)), None)) is not None:
            column = head
            continue
        claim = _claim(line, cells, column)
        if claim is not None:
            name, tokens, sizes, written = claim
            found.append(TokenClaim(name, tokens, file.at(number), sizes, written, widths))
        else:
            found += [
                TokenClaim(name, tokens, file.at(number), (), written, widths, rounding=rounding)
                for name, tokens, written, rounding in _counts(line)
            ]
    # Two counts of one name are of two data sets, or of before and after.
    bare = Counter(c.name for c in found if not c.sizes)
    return [c for c in found if c.sizes or bare[c.name] == 1]


def _counts(line: str) -> Iterator[tuple[str, float, str, float]]:
    """Counts right behind the file that they are said of: name, tokens, text, and what rounding may have moved."""
    if not _IS_FILE.search(line):
        return
    for count in _COUNT.finditer(line):
        names = [n for n in _IS_FILE.finditer(line) if n.end() <= count.start()]
        amount = _amount(count[1], count[2])
        if not names or amount is None or amount < FEWEST or _NOT_ALL.match(line, count.end()) or _SIZE.search(line):
            continue
        name = names[-1]
        if _WEIGHTS.search(name[0]) or not _HOLDS.fullmatch(line, name.end(), count.start()):
            continue
        digits = count[1].replace(",", ".").rpartition(".")[2] if count[2] and re.search("[.,]", count[1]) else ""
        unit = 10.0 ** (_POWERS.get((count[2] or "").lower(), 0) - len(digits))
        yield name[0].removeprefix("./"), amount, count[0].strip(" ~*"), unit / 2


def _claim(line: str, cells: list[str], column: int | None) -> tuple[str, float, tuple[float, ...], str] | None:
    """What a line says of one token file; None where it names none, or speaks of several."""
    sizes = list(_SIZE.finditer(line))
    # The size may be that of the text file that is named in the same line.
    if len(sizes) != 1 or _OTHERS.search(line):
        return None
    size = sizes[0]
    if column is not None and column < len(cells):
        number = _NUMBER.fullmatch(cells[column])
        amount = _amount(number[1], number[2]) if number else None
        written = cells[column]
    else:
        counts = list(_COUNT.finditer(line))
        amount = _amount(counts[0][1], counts[0][2]) if len(counts) == 1 else None
        written = counts[0][0] if counts else ""
        line = line.replace(written, " ") if written else line
    written_names = (n[0].strip("./-") for n in _NAME.finditer(line))
    names = [n for n in written_names if n.lower() not in ("token", "tokens") and not _WEIGHTS.search(n)]
    scale = _decimal(size[1])
    if amount is None or not names or scale is None:
        return None
    unit = size[2].upper()
    decimal, binary = round(scale * 10 ** _POWERS[unit.lower()]), round(scale * _BINARY[unit])
    return names[0], amount, (binary,) if size[3] else (decimal, binary), f"{written.strip(' ~*')}, {size[0]}"


def _amount(digits: str, power: str | None) -> float | None:
    number = _decimal(digits, grouped=not power)
    return None if number is None or number <= 0 else number * 10 ** _POWERS.get((power or "").lower(), 0)


def _decimal(digits: str, *, grouped: bool = False) -> float | None:
    """`1.07`, `1,07` and `220,000,000`: a comma is a decimal one where one or two digits stand behind it alone."""
    if digits.count(",") == 1 and "." not in digits and not (grouped and re.fullmatch(r"\d{1,3},\d{3}", digits)):
        digits = digits.replace(",", ".")
    elif grouped and re.fullmatch(r"\d{1,3}(\.\d{3})+", digits):
        digits = digits.replace(".", "")
    return as_number(digits.replace(",", ""))
