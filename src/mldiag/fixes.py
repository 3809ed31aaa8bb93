"""Fixes: from findings to edited files."""

from __future__ import annotations

from collections.abc import Iterable

from mldiag.errors import FixError
from mldiag.files import Folder
from mldiag.findings import Edit


def apply_edits(edits: Iterable[Edit], folder: Folder) -> dict[str, bytes]:
    """The edited files, path → new content; nothing is written.

    Raises:
        FixError: a span does not hold the text the edit expects, or two edits overlap.
    """
    by_path: dict[str, list[Edit]] = {}
    for edit in dict.fromkeys(edits):
        by_path.setdefault(edit.path, []).append(edit)
    result = {}
    for path, changes in by_path.items():
        data = folder[path].data
        changes.sort(key=lambda e: (e.start, e.end), reverse=True)
        for later, earlier in zip(changes, changes[1:], strict=False):
            if earlier.end > later.start:
                raise FixError(f"{path}: two edits touch the same bytes {later.start}-{earlier.end}")
        encoding = folder[path].encoding
        encoding = "utf-8" if encoding == "utf-8-sig" else "utf-16-le" if encoding == "utf-16" else encoding
        for edit in changes:
            old = edit.old.encode(encoding)
            if data[edit.start : edit.end] != old:
                raise FixError(f"{path}: the file changed since it was read: {edit.old!r} is not at byte {edit.start}")
            data = data[: edit.start] + edit.new.encode(encoding) + data[edit.end :]
        result[path] = data
    return result
