"""Lines that assign a value to a name: INI files and environment variables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from mldiag.artifacts import Role, SettingValue, Site
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers._configs.literals import literal
from mldiag.readers._configs.settings import MAX_LIST, Value, is_record, is_secret

_SECTION = lazily(r"\s*\[([^\]]*)\]\s*(?:[#;].*)?$")
_ENTRY = lazily(r"([^\s=:#;\[][^=:]*?)\s*[=:]\s*(.*?)\s*$")
_COMMENT = lazily(r"\s+[#;].*$")
_QUOTED = lazily(r"""((["']).*?\2)\s*(?:[#;].*)?$""")
_VARIABLE = lazily(r"\s*(?:export\s+)?([A-Za-z_][\w.\-]*)\s*=[ \t]*")
# Sections of a darknet network, which describe layers.
_LAYERS = frozenset({"convolutional", "maxpool", "route", "shortcut", "yolo", "region", "connected", "softmax"})
_NETWORK = frozenset({"net", "network"})


def has_assignments(file: File) -> bool:
    """Whether the first lines that say anything are a section or an assignment."""
    text = file.head.decode(file.encoding, errors="replace")
    if "\0" in text:
        return False
    said = [t for t in re.split(r"\r?\n|\r", text)[:200] if t.strip() and t.lstrip()[0] not in "#;"]
    fitting = sum(bool(_SECTION.match(t) or _ENTRY.match(t) or t[0] in " \t") for t in said)
    return bool(said) and fitting > 0.8 * len(said)


def entries(file: File) -> Iterator[SettingValue | int]:
    """The entries of an INI file; a line that is none as its number."""
    text = file.text
    lines = list(lines_at(text))
    sections = {m[1].strip().lower() for _, t in lines if (m := _SECTION.match(t))}
    darknet = bool(sections & _NETWORK and sections & _LAYERS)
    record = is_record(file)
    repeated = _names(lines)
    line_end = "\r\n" if "\r\n" in text else "\n"
    section = ""
    at = 0
    while at < len(lines):
        start, line = lines[at]
        at += 1
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        if header := _SECTION.match(line):
            section = header[1].strip()
            continue
        entry = _ENTRY.match(line)
        if entry is None:
            yield text.count("\n", 0, start) + 1
            continue
        parts = [_uncommented(entry[2])]
        while at < len(lines) and lines[at][1][:1] in (" ", "\t") and lines[at][1].strip():
            parts.append(_uncommented(lines[at][1].strip()))
            at += 1
        if darknet and section.lower() not in _NETWORK:
            continue
        key = entry[1].strip()
        name = f"{section}.{key}" if section and section.upper() != "DEFAULT" else key
        value = _value(" ".join(parts) if len(parts) > 1 else parts[0])
        if is_secret(key, value):
            continue
        first = start + entry.start(2)
        if len(parts) > 1 or not parts[0]:
            yield SettingValue(name, value, Role.FILE, file.source(first, None, key=name), record=record)
            continue
        place = file.source(first, first + len(parts[0]), key=name)
        site = Site(file.byte_offset(start + len(line)), f"{line_end}{{key}}{_sign(line, entry)}{{value}}")
        # Of a key that comes again another one counts, which one depends on the program.
        syntax = None if repeated.get(name, 0) > 1 else "ini"
        yield SettingValue(name, value, Role.FILE, place, syntax, (), record, site)


def _names(lines: Iterable[tuple[int, str]]) -> Counter[str]:
    """How often each key is assigned."""
    found: Counter[str] = Counter()
    section = ""
    for _, line in lines:
        if header := _SECTION.match(line):
            section = header[1].strip()
        elif entry := _ENTRY.match(line):
            key = entry[1].strip()
            found[f"{section}.{key}" if section and section.upper() != "DEFAULT" else key] += 1
    return found


def _sign(line: str, entry: re.Match[str]) -> str:
    """What stands between key and value, without what only aligns it."""
    between = line[entry.end(1) : entry.start(2)]
    sign = between.strip()
    return f"{' ' if between[:1] == ' ' and sign == '=' else ''}{sign}{' ' if between[-1:] == ' ' else ''}"


def _uncommented(text: str) -> str:
    quoted = _QUOTED.match(text)
    return quoted[1] if quoted else _COMMENT.sub("", text)


def lines_at(text: str) -> Iterator[tuple[int, str]]:
    """Lines without their ends, each with its offset."""
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield at, text[at:end].rstrip("\r")
        at = end + 1


def _value(text: str) -> Value:
    """A number, truth value, list or text; JSON as spaCy writes it, else as ConfigParser's `get…` would read it."""
    if text[:1] in '"[' and len(text) > 1:
        import json

        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, str):
            return found
        if isinstance(found, list) and len(found) <= MAX_LIST and not any(isinstance(v, dict | list) for v in found):
            return tuple(found)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if "," in text and re.fullmatch(r"[\d.eE+\-,\s]+", text):
        return literal(f"({text})")
    return {"yes": True, "on": True, "no": False, "off": False}.get(text.lower(), literal(text))


def variables(file: File) -> Iterator[SettingValue | int | None]:
    """The variables of an environment file; None for a secret, a line that assigns nothing as its number."""
    text = file.text
    record = is_record(file)
    repeated = Counter(m[1] for _, line in lines_at(text) if (m := _VARIABLE.match(line)))
    ending = "\r\n" if "\r\n" in text else "\n"
    at = 0
    while at < len(text):
        line_end = _end(text, at)
        line = text[at:line_end]
        if not line.strip() or line.lstrip().startswith("#"):
            at = line_end + 1
            continue
        name = _VARIABLE.match(line)
        if name is None:
            yield text.count("\n", 0, at) + 1
            at = line_end + 1
            continue
        begun, (start, end, value, at) = at, _quoted(text, at + name.end(), line_end)
        key = name[1]
        if is_secret(key, value, environment=True):
            yield None
            continue
        place = file.source(start, end if end > start else None, key=key)
        # The last of several counts; a text over several lines is left to a person, and so is `A= # b`, which is a
        # comment to a shell and a value to dotenv.
        exact = end > start and repeated[key] == 1 and "\n" not in (place.text or "") and text[start] != "#"
        export = "export " if text[begun:].lstrip().startswith("export") else ""
        last = _end(text, end)
        stop = last - (text[last - 1 : last] == "\r")
        site = Site(file.byte_offset(stop), f"{ending}{export}{{key}}={{value}}")
        yield SettingValue(key, value, Role.FILE, place, "env" if exact else None, (), record, site)


def _end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _quoted(text: str, at: int, line_end: int) -> tuple[int, int, Value, int]:
    """Where a value stands, what it is, and where the next line begins."""
    mark = text[at : at + 1]
    if mark in ("'", '"'):
        closing = re.compile(r'(?:[^"\\]|\\.)*"' if mark == '"' else r"[^']*'", re.DOTALL).match(text, at + 1)
        if closing is not None:
            inner = text[at + 1 : closing.end() - 1]
            if mark == '"' and "\\" in inner:
                inner = re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), inner, flags=re.DOTALL)
            return at + 1, closing.end() - 1, literal(inner), _end(text, closing.end()) + 1
    raw = re.sub(r"\s+#.*$", "", text[at:line_end]).rstrip()
    return at, at + len(raw), literal(raw), line_end + 1
