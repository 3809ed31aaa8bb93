"""Arguments of a program in a text file: as argparse and absl take them, and as programs write them down."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Container, Iterator

from mldiag.artifacts import Role, SettingValue, Site
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers._configs.assignments import lines_at
from mldiag.readers._configs.literals import literal
from mldiag.readers._configs.settings import Value, flattened, is_secret
from mldiag.readers._tables.columns import shortened

SIZE_LIMIT = 2**18
"""Arguments of the longest real command lines take a few kilobytes."""
FITTING = 0.8
"""Share of the lines that must be of one style."""

_FLAG = lazily(r"--?([A-Za-z][\w.\-]*)(?:(=|\s+)(.*?))?\s*$")
_PAIR = lazily(
    r"\s*([A-Za-z_][\w.\-/ ]{0,60}?)\s*(?::=|[:=])\s+?(.*?)\s*$|\s*([A-Za-z_][\w.\-/]{0,60})\s*[:=](\S.*?)?\s*$"
)
_DEFAULT = lazily(r"\s*\[default:.*\]\s*$")
_RULER = lazily(r"\s*[-=*#]{3,}.*")
_NAMESPACE = lazily(r"\s*(?:args\s*[:=]\s*)?(?:Namespace|[A-Z]\w*(?:Args|Arguments|Config))\((.*)\)\s*", re.DOTALL)


def style(file: File) -> str | None:
    """How the arguments are written: `flags`, `pairs`, `namespace` or `json`; None where there are none."""
    if not file.size or file.size > SIZE_LIMIT:
        return None
    text = file.lenient_text.strip()
    if "\0" in text:
        return None
    if _NAMESPACE.fullmatch(text):
        return "namespace"
    if text.startswith("{") and (text.endswith("}") or text[1:].lstrip().startswith('"')):
        return "json"
    said = [t for t in text.splitlines() if t.strip() and not t.lstrip().startswith("#") and not _RULER.fullmatch(t)]
    if not said:
        return None
    flags = sum(t.lstrip().startswith("-") and bool(_FLAG.match(t.lstrip())) for t in said)
    if flags and said[0].lstrip().startswith("-") and flags >= len(said) / 3:
        return "flags"
    pairs = [m for t in said if (m := _PAIR.match(t))]
    keys = {(m[1] or m[3]) for m in pairs}
    # Keys that come again and again are those of a log.
    return "pairs" if len(pairs) >= max(2, FITTING * len(said)) and len(keys) > 0.9 * len(pairs) else None


def settings(file: File) -> Iterator[SettingValue]:
    """The arguments of a file in any of the styles."""
    how = style(file)
    if how == "namespace":
        yield from _namespace(file)
    elif how == "json":
        yield from _json(file)
    elif how == "flags":
        yield from _flags(file)
    else:
        yield from _pairs(file)


def _setting(
    file: File, key: str, text: str, start: int, *, record: bool, syntax: str | None = None, site: Site | None = None
) -> SettingValue | None:
    value: Value = literal(text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text)
    if is_secret(key, value):
        return None
    place = file.source(start, start + len(text) if text else None, key=key)
    return SettingValue(key, value, Role.FILE, place, syntax if text else None, (), record, site)


def _flags(file: File) -> Iterator[SettingValue]:
    """Each flag with the values behind it, on its line or on the next ones; a flag without any is a switch."""
    text = file.text
    lines = list(lines_at(text))
    names = Counter(m[1].replace("-", "_") for _, line in lines if (m := _FLAG.match(line.strip())))
    repeated = {name for name, count in names.items() if count > 1}
    open_flag: tuple[str, int] | None = None
    values: list[tuple[int, str]] = []
    closed = False  # a value on the flag's own line is the whole of it
    for start, line in (*lines, (0, "--end")):
        said = line.strip()
        if said in ("", "-", "--") or said.startswith("#"):
            continue
        at = start + len(line) - len(line.lstrip())
        flag = _FLAG.match(said)
        if flag is None or re.fullmatch(r"-\d.*", said):
            if not closed:
                values.append((at, said))
            continue
        if open_flag is not None:
            yield from _finished(file, open_flag, values, repeated)
        open_flag, values, closed = (flag[1], at), [], bool(flag[2])
        if flag[2]:
            values.append((at + flag.start(3), flag[3]))


def _site(file: File, at: int, value: tuple[int, str]) -> Site:
    """Behind the line of a value, for a flag that is joined with its value as this one is, which begins at `at`."""
    text, (start, written) = file.text, value
    end = text.find("\n", start + len(written))
    end = len(text) if end < 0 else end
    end -= text[end - 1 : end] == "\r"
    line_end = "\r\n" if "\r\n" in text else "\n"
    head = text[at:start]
    dashes = "-" * (len(head) - len(head.lstrip("-")))
    between = line_end if "\n" in head else "=" if head.endswith("=") else " "
    return Site(file.byte_offset(end), f"{line_end}{dashes}{{key}}{between}{{value}}")


def _finished(
    file: File, flag: tuple[str, int], values: list[tuple[int, str]], repeated: Container[str]
) -> Iterator[SettingValue]:
    key, at = flag
    name = key.replace("-", "_")
    if len(values) == 1 and not (" " in values[0][1] and values[0][1][0] not in "'\""):
        start, text = values[0]
        # Of a flag that comes again the last counts.
        syntax = None if name in repeated or not text else "argfile"
        found = _setting(file, name, text, start, record=False, syntax=syntax, site=_site(file, at, values[0]))
        if found is not None:
            yield found
    elif not values:
        yield SettingValue(name, True, Role.FILE, file.source(at, key=name))
    else:
        parts = [literal(w) for _, text in values for w in text.split()]
        scalars = tuple(p for p in parts if not isinstance(p, tuple))
        if not is_secret(name, values[0][1]):
            yield SettingValue(name, scalars, Role.FILE, file.source(values[0][0], key=name))


def _pairs(file: File) -> Iterator[SettingValue]:
    for start, line in lines_at(file.text):
        if _RULER.fullmatch(line) or line.lstrip().startswith("#"):
            continue
        pair = _PAIR.match(line)
        if pair is None:
            continue
        which = 1 if pair[1] else 3
        text = _DEFAULT.sub("", pair[which + 1] or "").rstrip(" ,")
        found = _setting(file, pair[which].strip(), text, start + max(pair.start(which + 1), 0), record=True)
        if found is not None:
            yield found


def _json(file: File) -> Iterator[SettingValue]:
    from mldiag.readers._places import places

    document, closed, cut = file.json_so_far
    spans = places(closed or file.text)
    for path, value in flattened(document):
        name = ".".join(path)
        span = spans.get(path)
        place = file.source(*span, key=name) if span else file.at(key=name)
        yield SettingValue(name, value, Role.FILE, shortened(place), record=True)
    if cut is not None:
        raise cut


def _namespace(file: File) -> Iterator[SettingValue]:
    """`Namespace(lr=0.1, betas=[0.9, 0.95])`, parsed and never run; what is no literal is left out."""
    text = file.text
    inner = _NAMESPACE.fullmatch(text)
    try:
        tree = ast.parse(f"f({inner[1] if inner else ''})", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ReadError("a namespace that is no Python expression") from error
    call = tree.body
    for keyword in call.keywords if isinstance(call, ast.Call) else ():
        try:
            value = ast.literal_eval(keyword.value)
        except (ValueError, RecursionError, MemoryError, TypeError, SyntaxError):
            continue
        for path, scalar in flattened({keyword.arg or "": list(value) if isinstance(value, tuple) else value}):
            name = ".".join(path)
            yield SettingValue(name, scalar, Role.FILE, shortened(file.find(f"{path[-1]}=", key=name)), record=True)
