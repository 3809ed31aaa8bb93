"""Where corrected files go: in place, or as copies beside the originals or in another folder."""

from __future__ import annotations

import os.path
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mldiag.errors import FixError
from mldiag.fixes import Change
from mldiag.journal import Write, written
from mldiag.patterns import lazily

_SUFFIX = lazily(r"[\w.+-]+")


def check_unchanged(changes: Iterable[Change]) -> None:
    """Makes sure that every file is still what its correction was made from.

    Raises:
        FixError: one is not.
    """
    for change in changes:
        try:
            same = change.path.read_bytes() == change.before
        except OSError:
            same = False
        if not same:
            raise FixError(f"{change.path}: the file changed since the fixes were planned; nothing was written")


def in_place(changes: Iterable[Change], folders: Sequence[Path]) -> list[Write]:
    """Every changed file itself; through a link, its target, so that the link stays one.

    Args:
        folders: the checked folders.

    Raises:
        FixError: a file lies outside of them once links are resolved, or two names lead to it with different changes.
    """
    writes: dict[Path, Write] = {}
    for change in changes:
        path = change.path.resolve()
        new = Write(path, _home(path, folders), change.before, change.after, _mode(path))
        if writes.setdefault(path, new) != new:
            raise FixError(f"{path}: two names lead to it, with different changes; nothing was written")
    return list(writes.values())


def copies(
    contents: Mapping[Path, bytes], folders: Sequence[Path], *, suffix: str = "", output: Path | None = None
) -> list[Write]:
    """Corrected copies; a copy that is there already and holds the same is left out.

    Args:
        contents: original → corrected content.
        suffix: goes between stem and ending, beside the original: `run.sh` → `run_fixed.sh`.
        output: a folder for the copies instead; their layout is that of the checked folder.

    Raises:
        FixError: a copy would replace a file that mldiag did not write, or that was changed since; two originals would
            have the same copy; a copy would lie outside the checked folder without `output`.
    """
    writes: dict[Path, Write] = {}
    for original, content in contents.items():
        real = _through_links(original)  # the copy of a link lies beside the link
        folder = _home(real, folders)
        path = renamed(real, suffix) if output is None else _through_links(output.resolve() / real.relative_to(folder))
        if path in writes:
            raise FixError(
                f"{original} and {writes[path].copy_of} would both be written to {path}; nothing was written"
            )
        writes[path] = Write(path, folder, _replaceable(path, folder, content), content, _mode(original), original)
    return [w for w in writes.values() if w.before != w.after]


def check_suffix(suffix: str) -> None:
    """Refuses a suffix that would lead elsewhere or needs quoting in a script.

    Raises:
        FixError: says what a suffix may hold.
    """
    if not _SUFFIX.fullmatch(suffix):
        raise FixError(f"suffix {suffix!r} cannot be used; expected letters, digits, _ - . or +, as in _fixed")


def renamed(path: Path, suffix: str) -> Path:
    """The name of a copy: `run.sh` → `run_fixed.sh`."""
    return path.with_name(f"{path.stem}{suffix}{path.suffix}")


def _home(path: Path, folders: Sequence[Path]) -> Path:
    """The innermost checked folder around a file."""
    around = [f for f in folders if path.is_relative_to(f)]
    if not around:
        raise FixError(f"{path}: is outside the checked path; nothing was written")
    return max(around, key=lambda f: len(f.parts))


def _replaceable(path: Path, folder: Path, content: bytes) -> bytes | None:
    """What is at the place of a copy now, if the copy may take it."""
    if not os.path.lexists(path):
        return None
    if path.is_file() and not path.is_symlink():
        now = path.read_bytes()
        if now == content or written(path, folder, now):
            return now
    raise FixError(f"{path}: exists, and is not as mldiag wrote it; remove it or choose another place for the copy")


def _through_links(path: Path) -> Path:
    """`path` with the links in its folders resolved, the last part as it is."""
    return path.parent.resolve() / path.name


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
