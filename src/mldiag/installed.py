"""The entry points of installed packages, read without `importlib.metadata`.

Importing `importlib.metadata` brings in email, zipfile, csv and socket and costs a third as much as everything else
mldiag imports; what is needed of it is a few lines of text below `sys.path`. Where packages may be hidden from a look
into folders (zip files, finders of their own) the standard library is asked after all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator


def entry_points(group: str) -> list[tuple[str, str]]:
    """Name and value of every entry point of a group, as `importlib.metadata.entry_points` finds them."""
    if not _plain_folders():
        from importlib.metadata import entry_points as standard

        return [(point.name, point.value) for point in standard(group=group)]
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    for folder in dict.fromkeys(sys.path):
        for name, text in _declared(folder or "."):
            # Of a package that lies on the path twice the first counts, as for imports.
            if name not in seen:
                seen.add(name)
                found += _of_group(text, group)
    return found


def _plain_folders() -> bool:
    from importlib.machinery import PathFinder

    own = any(hasattr(f, "find_distributions") and f is not PathFinder for f in sys.meta_path)
    return not own and not any(os.path.isfile(path) for path in sys.path)  # noqa: PTH113 (sys.path holds strings)


def _declared(folder: str) -> Iterator[tuple[str, str]]:
    """Normalized package name and content of `entry_points.txt` (empty without one) of each package in a folder."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith((".dist-info", ".egg-info")))
    except OSError:
        return
    for name in names:
        try:
            with open(os.path.join(folder, name, "entry_points.txt"), encoding="utf-8") as stream:  # noqa: PTH118, PTH123
                text = stream.read()
        except OSError:
            text = ""
        package = name.rpartition(".")[0].partition("-")[0]
        yield package.lower().replace("-", "_").replace(".", "_"), text


def _of_group(text: str, group: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()
