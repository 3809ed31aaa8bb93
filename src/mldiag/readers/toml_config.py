"""Configurations in TOML."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mldiag.artifacts import Artifact, Role, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._configs.settings import flattened, is_record
from mldiag.toml import loads

SIZE_LIMIT = 4 * 2**20
"""Larger documents are data (manifests, lock files), not configurations."""

# Configurations of tools, not of runs.
_FOREIGN = frozenset({
    "pyproject.toml", "mldiag.toml", "cargo.toml", "ruff.toml", "pixi.toml", "pdm.toml", "uv.toml",
    "rust-toolchain.toml",
})  # fmt: skip

_TABLE = lazily(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_ENTRY = lazily(r"\s*([\w\-.\"' ]+?)\s*=\s*(.*?)\s*$")
_LINE = lazily(r"line (\d+)")
# What most values are: to have each parsed would take longer than the rest of the reading.
_PLAIN = lazily(r"""([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|"[^"\\]*"(?!")|'[^']*'(?!'))\s*(?:#.*)?$""")


def _is_config(file: File) -> bool:
    return file.name.lower() not in _FOREIGN and file.size <= SIZE_LIMIT


@reader("*.toml", matches=_is_config)
def toml_config(file: File) -> Iterator[Artifact]:
    """Configurations in TOML. Tables join with dots; a value that stands on one line has its exact place."""
    try:
        document = loads(file.text.replace("\r\n", "\n"))
    except ValueError as error:
        found = _LINE.search(str(error))
        raise ReadError(f"not valid TOML: {str(error).lower()}", line=int(found[1]) if found else None) from error
    spans = _places(file.text)
    record = is_record(file)
    for path, value in flattened(document):
        name = ".".join(path)
        span = spans.get(path)
        place = file.source(*span, key=name) if span else file.at(key=name)
        yield SettingValue(name, value, Role.FILE, place, record=record)


def _places(text: str) -> dict[tuple[str, ...], tuple[int, int]]:
    """Spans of the values that stand on the line of their key."""
    spans: dict[tuple[str, ...], tuple[int, int]] = {}
    table: tuple[str, ...] = ()
    offset = 0
    for line in text.split("\n"):
        if header := _TABLE.match(line):
            table = _keys(header[1])
        elif (entry := _ENTRY.match(line)) and (value := _value(entry[2])):
            start = offset + entry.start(2)
            spans.setdefault((*table, *_keys(entry[1])), (start, start + len(value)))
        offset += len(line) + 1
    return spans


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(k.strip().strip("\"'") for k in dotted.split("."))


def _value(text: str) -> str | None:
    """The longest start of a line's rest that is one TOML value, without the comment behind it."""
    if plain := _PLAIN.match(text):
        return plain[1]
    ends = [len(text), *(m.start() for m in re.finditer(r"\s*#", text))]
    for end in ends:
        if not _parses(text[:end]):
            continue
        # A comment behind the value parses too, so the value alone is the shortest that does.
        return min((text[:e] for e in ends if e <= end and _parses(text[:e])), key=len)
    return None


def _parses(text: str) -> bool:
    try:
        loads(f"x = {text}")
    except ValueError:
        return False
    return True
