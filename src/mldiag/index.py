"""What `make docs` wrote down of rules, facts and promised names (`_index.py`), and whether it still is what files say.

Ninety rules and forty facts cost as much to import as the audit of a small run takes; most runs lack what half of them
look at. With the index it is known which inputs a rule has before its module is imported.

The index is a copy, so it is believed only as far as it is one: it has the size and the CRC-32 of every file it was
made from. Sizes are compared each time; contents where a file is younger than the index. A package with a file that is
new, gone or another is imported as if there were no index, all of it, since what a rule says of itself can come from a
module beside it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any
from zlib import crc32

from mldiag import _index

Parameter = tuple[str, str, bool]
"""Of a rule or fact: the parameter's name, the place of its type (`mldiag.artifacts:Metrics`), and `| None`."""


def rules_listed(package: str) -> tuple[str, tuple[tuple[Any, ...], ...]] | None:
    """The file of a plugin package, and what the index says of each of its rules; None where it does not hold."""
    listed = _index.RULES.get(package)
    spec = PathFinder.find_spec(package) if listed else None
    folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    if listed is None or spec is None or spec.origin is None or folder is None or not _holds(folder, listed[0]):
        return None
    return spec.origin, listed[1]


def facts_listed(package: str) -> tuple[tuple[Any, ...], ...] | None:
    """What the index says of each fact of a package; None where it does not hold."""
    listed = _index.FACTS.get(package)
    folder = next(iter(import_module(package).__path__))
    return listed[1] if listed and _holds(folder, listed[0]) else None


@cache
def promised(module: str) -> Mapping[str, str]:
    """Where each name comes from that a module promises with `if TYPE_CHECKING: from … import name as name`."""
    file = sys.modules[module].__file__ or ""
    listed = _index.NAMES.get(module)
    if listed and _is_as_listed(file, *listed[0]):
        return listed[1]
    return names_in(file)


def promised_by(module: str, name: str) -> Any:
    """A name that a module promises: what its `__getattr__` returns. It is kept, so that it is asked for once.

    Raises:
        AttributeError: the module does not promise it.
    """
    if name == "__all__":  # what `from mldiag.api import *` asks for
        return sorted(promised(module))
    source = None if name.startswith("__") else promised(module).get(name)
    if source is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    found = imported(source, name)
    setattr(sys.modules[module], name, found)
    return found


def names_in(file: str) -> dict[str, str]:
    """Name → module of every import below `if TYPE_CHECKING:` of a file."""
    import ast

    with open(file, encoding="utf-8") as stream:  # noqa: PTH123 (no path object is at hand)
        tree = ast.parse(stream.read())
    blocks = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    imports = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
    return {alias.asname or alias.name: node.module or "" for node in imports for alias in node.names}


def imported(module: str, name: str) -> Any:
    """What `from module import name` gives."""
    found = sys.modules.get(module) or import_module(module)
    try:
        return getattr(found, name)
    except AttributeError:
        return import_module(f"{module}.{name}")


def at(place: str) -> Any:
    """What stands at `module:name`."""
    module, _, name = place.partition(":")
    return imported(module, name)


def place_of(kind: type) -> str:
    """`module:name` of a type."""
    return f"{kind.__module__}:{kind.__qualname__}"


def modules_in(folders: Iterable[str]) -> list[str]:
    """The names of the public modules of a package, sorted; packages below it are modules of it, too."""
    found: set[str] = set()
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                parts = [(e.name, e.name.endswith(".py")) for e in entries if _is_part(e)]
        except OSError:
            parts = []
        if not any(file for _, file in parts):  # a zip file, or nothing but bytecode
            from pkgutil import iter_modules

            return sorted(info.name for info in iter_modules([*folders]) if not info.name.startswith("_"))
        found.update(
            name.removesuffix(".py")
            for name, file in parts
            if file or os.path.exists(f"{folder}/{name}/__init__.py")  # noqa: PTH110
        )
    return sorted(name for name in found if not name.startswith("_"))


def state_of(folder: str) -> tuple[tuple[str, int, int], ...]:
    """What the index keeps of the files of a package: name, size, CRC-32; of the folders below it the name alone."""
    with os.scandir(folder) as entries:
        names = sorted((e.name, e.is_dir()) for e in entries if _is_part(e))
    return tuple((name, -1, 0) if below else (name, *state_of_file(f"{folder}/{name}")) for name, below in names)


def state_of_file(file: str) -> tuple[int, int]:
    """Size and CRC-32."""
    with open(file, "rb") as stream:  # noqa: PTH123
        content = stream.read()
    return len(content), crc32(content)


def _is_part(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".py") or (entry.name != "__pycache__" and entry.name.isidentifier() and entry.is_dir())


def _holds(folder: str, listed: Iterable[tuple[str, int, int]]) -> bool:
    try:
        with os.scandir(folder) as entries:
            names = {e.name for e in entries if _is_part(e)}
    except OSError:
        # Not a folder (a zip file): nobody edits there.
        return not os.path.isdir(folder)  # noqa: PTH112
    kept = list(listed)
    if len(names) != len(kept):
        return False
    return all(
        name in names and (size < 0 or _is_as_listed(f"{folder}/{name}", size, digest)) for name, size, digest in kept
    )


def _is_as_listed(file: str, size: int, digest: int) -> bool:
    try:
        status = os.stat(file)  # noqa: PTH116
    except OSError:
        return True
    return status.st_size == size and (status.st_mtime_ns <= _written() or state_of_file(file)[1] == digest)


_WRITTEN: list[int] = []


def _written() -> int:
    """When the index was written; 0 where that cannot be said."""
    if not _WRITTEN:
        try:
            _WRITTEN.append(os.stat(_index.__file__).st_mtime_ns)  # noqa: PTH116
        except OSError:
            _WRITTEN.append(0)
    return _WRITTEN[0]
