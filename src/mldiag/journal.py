"""What `mldiag fix` writes, kept so that it can be taken back and its copies are not mistaken for runs.

Each checked folder has its own journal, `.mldiag/` in it, with one JSON file per batch of writes. A batch is on disk
before the first of its files is touched and holds their whole former content, so that a kill at any moment leaves
nothing that `undo` cannot take back. Files are replaced in one step (written beside the target, synced, renamed); a
hard link to the former content keeps it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from mldiag.errors import FixError, os_reason
from mldiag.files import DOCUMENT_LIMIT

FOLDER = ".mldiag"


class Write(Struct, frozen=True):
    """A file to be written.

    Attributes:
        path: absolute, links resolved. `folder`: the checked folder, whose journal keeps the former content.
        before: what must be there now; None where nothing may be there.
        mode: permission bits of the new file.
        copy_of: the original, where this is a corrected copy.
    """

    path: Path
    folder: Path
    before: bytes | None
    after: bytes
    mode: int
    copy_of: Path | None = None


class Entry(Struct, frozen=True):
    """A file of a batch. Paths are relative to the checked folder.

    Attributes:
        before, after: SHA-256 of the content; `before` is None for a created file.
        content: the former content, base64 in the JSON file.
        mode: permission bits of the former file, or of the created one.
        copy_of: the original, where this is a corrected copy.
    """

    path: str
    kind: Literal["edited", "created"]
    before: str | None
    after: str
    content: bytes | None
    mode: int
    copy_of: str | None = None


class Batch(Struct, frozen=True):
    """What was written at once. `folders` did not exist before; `name` is the stem of the journal's file."""

    name: str
    time: str
    version: str
    files: tuple[Entry, ...]
    folders: tuple[str, ...] = ()
    schema: Literal[1] = 1


class Undone(Struct, frozen=True):
    """A file that was taken back."""

    path: Path
    action: Literal["restored", "removed"]


def write(writes: Sequence[Write]) -> None:
    """Writes every file, or none.

    Raises:
        FixError: a file is not as planned, may not be written, or could not be; everything is as it was before.
    """
    for planned in writes:
        _check(planned)
    folders = dict.fromkeys(w.folder for w in writes)
    own = [w.path.parent for w in writes]
    batches = [(folder, _batch(folder, [w for w in writes if w.folder == folder])) for folder in folders]
    try:
        for folder, batch in batches:
            _record(folder, batch)
        for folder, batch in batches:
            for name in batch.folders:
                (folder / name).mkdir(exist_ok=True)
        _replace_all([(w.path, w.after, w.mode) for w in writes])
    except KeyboardInterrupt:
        _take_back(batches, own)
        raise
    except OSError as error:
        reason = f"{error.filename or writes[0].path}: cannot be written: {os_reason(error)}"
        try:
            _take_back(batches, own)
        except (OSError, FixError) as second:
            raise FixError(f"{reason}; some files may have been written: run `mldiag fix --undo` ({second})") from error
        raise FixError(f"{reason}; nothing was written") from error


def undo(folders: Iterable[Path], output: Path | None = None) -> list[Undone]:
    """Takes back the last batch of each checked folder, byte for byte and mode for mode.

    A file that the batch names but that was not written yet, because the writing was killed, is left as it is.

    Args:
        output: a folder outside the checked ones in which files may be put back to a former content. A journal may
            have come with a folder from elsewhere: by itself it is trusted inside that folder only, and outside of it
            with the removal of files that hold exactly what it says was written.

    Raises:
        FixError: there is no batch, its journal is damaged, or a file changed since; nothing is undone.
    """
    batches = []
    for folder in dict.fromkeys(f.resolve() for f in folders):
        names = _names(folder)
        if not names:
            with contextlib.suppress(OSError):
                _clear(folder)
            raise FixError(f"{folder}: nothing to undo: no fix was applied to this path")
        batches.append((folder, _load(folder, names[-1])))
    try:
        return _take_back(batches, [] if output is None else [output.resolve()])
    except OSError as error:
        reason = f"{error.filename}: cannot be written: {os_reason(error)}"
        raise FixError(f"{reason}; run `--undo` again to go on") from error


def copies_in(root: Path, files: Iterable[str] = (), named: Path | None = None) -> tuple[str, ...]:
    """Paths, relative to `root`, of the corrected copies that were written below it.

    Args:
        files: relative paths below `root`, in whose folders journals are looked for too.
        named: the folder that the user named. A copy whose original is not below it was named itself, and counts.
    """
    base = root.resolve()
    scope = base if named is None else named.resolve()
    inner = {Path(folder) for folder in {name.rpartition("/")[0] for name in files}}
    below = {base / part for folder in inner for part in (folder, *folder.parents)}
    copies = set()
    for folder in {base, *base.parents, *below}:
        for entry in _entries(folder):
            if entry.copy_of is None:
                continue
            copy, original = _path(folder, entry.path), _path(folder, entry.copy_of)
            if copy.is_relative_to(base) and original.is_relative_to(scope) and copy.is_file():
                copies.add(copy.relative_to(base).as_posix())
    return tuple(sorted(copies))


def written(path: Path, folder: Path, content: bytes) -> bool:
    """Whether mldiag itself wrote this content at `path`, according to the journals of `folder` and those above it."""
    wanted = _hash(content)
    return any(
        entry.after == wanted and _path(parent, entry.path) == path
        for parent in (folder, *folder.parents)
        for entry in _entries(parent)
    )


def _check(planned: Write) -> None:
    path = planned.path
    folder = next(p for p in path.parents if p.exists())
    if not folder.is_dir():
        raise FixError(f"{folder}: is no folder; nothing was written")
    if not _writable(folder):
        raise FixError(f"{folder}: the folder is read-only; nothing was written")
    if planned.before is None:
        if os.path.lexists(path):
            raise FixError(f"{path}: the file has appeared since the fixes were planned; nothing was written")
        return
    try:
        now = path.read_bytes()
    except OSError as error:
        raise FixError(f"{path}: cannot be read: {os_reason(error)}; nothing was written") from error
    if now != planned.before:
        raise FixError(f"{path}: the file changed since the fixes were planned; nothing was written")
    if not _writable(path):
        raise FixError(f"{path}: the file is read-only; nothing was written")


def _writable(path: Path) -> bool:
    # A superuser may write what its owner has protected: the mode bits count too.
    return bool(path.stat().st_mode & 0o222) and os.access(path, os.W_OK)


def _batch(folder: Path, writes: Sequence[Write]) -> Batch:
    from datetime import UTC, datetime

    from mldiag import __version__

    entries = []
    created: dict[str, None] = {}
    for planned in writes:
        for parent in reversed(planned.path.parents):
            if not parent.exists():
                created[_relative(parent, folder)] = None
        mode = planned.mode if planned.before is None else stat.S_IMODE(planned.path.stat().st_mode)
        entries.append(
            Entry(
                path=_relative(planned.path, folder),
                kind="created" if planned.before is None else "edited",
                before=None if planned.before is None else _hash(planned.before),
                after=_hash(planned.after),
                content=planned.before,
                mode=mode,
                copy_of=None if planned.copy_of is None else _relative(planned.copy_of, folder),
            )
        )
    last = max((int(name.partition("-")[0]) for name in _names(folder)), default=0)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # Two processes that write at once get the same number, but never the same file.
    name = f"{last + 1:06d}-{os.urandom(4).hex()}"
    return Batch(name, now, __version__, tuple(entries), tuple(created))


def _record(folder: Path, batch: Batch) -> None:
    content = msgspec.json.format(msgspec.json.encode(batch), indent=1)
    if len(content) > DOCUMENT_LIMIT:
        raise OSError(0, f"{len(content) / 1e6:,.0f} MB to keep for undoing", str(folder / FOLDER))
    journal = folder / FOLDER
    if journal.is_symlink():
        raise OSError(0, "it is a link; expected a folder", str(journal))
    journal.mkdir(exist_ok=True)
    # The former content may hold secrets that its file's own mode protects.
    _replace_all([(journal / f"{batch.name}.json", content, 0o600)])


def _replace_all(targets: Sequence[tuple[Path, bytes, int]]) -> None:
    """Puts every content beside its target first, so that a full disk is noticed before anything is replaced."""
    try:
        for path, content, mode in targets:
            _stage(path, content, mode)
        for path, _, _ in targets:
            _temporary(path).replace(path)
        for folder in {path.parent for path, _, _ in targets}:
            _sync(folder)
    except OSError:
        for path, _, _ in targets:
            _temporary(path).unlink(missing_ok=True)
        raise


def _stage(path: Path, content: bytes, mode: int) -> None:
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        with contextlib.suppress(OSError):  # another's file stays theirs where we may give it to them
            owner = path.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        os.fchmod(handle, mode)
        os.fsync(handle)


def _temporary(path: Path) -> Path:
    """Hidden, so that no audit reads it; always the same, so that what a kill left is found again."""
    return path.with_name(f".{path.name}.mldiag-tmp")


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system opens folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _take_back(batches: Sequence[tuple[Path, Batch]], trusted: Sequence[Path]) -> list[Undone]:
    restored: list[tuple[Path, bytes, int]] = []
    removed: list[Path] = []
    touched: list[Path] = []
    for folder, batch in batches:
        for entry in batch.files:
            path = _path(folder, entry.path)
            touched.append(path)
            if entry.kind == "edited":
                restored += _former(path, entry, [folder, *trusted])
            elif _was_created(path, entry):
                removed.append(path)
    for path in touched:
        _temporary(path).unlink(missing_ok=True)
    _replace_all(restored)
    for path in removed:
        path.unlink()
    for folder, batch in batches:
        for name in reversed(batch.folders):
            with contextlib.suppress(OSError):  # something else is in it by now
                _path(folder, name).rmdir()
        (folder / FOLDER / f"{batch.name}.json").unlink(missing_ok=True)
        _clear(folder)
    return [Undone(path, "restored") for path, _, _ in restored] + [Undone(path, "removed") for path in removed]


def _was_created(path: Path, entry: Entry) -> bool:
    """Whether a created file is there to be removed.

    Raises:
        FixError: it is not what was written.
    """
    if not os.path.lexists(path):
        return False
    if path.is_symlink() or not path.is_file() or _hash(path.read_bytes()) != entry.after:
        raise FixError(f"{path}: the file changed since it was written; nothing was undone")
    return True


def _former(path: Path, entry: Entry, trusted: Iterable[Path]) -> list[tuple[Path, bytes, int]]:
    """What puts an edited file back; empty where it was not written yet.

    Raises:
        FixError: it is not what was written, may not be written, or the journal cannot be trusted.
    """
    if not path.is_file() or path.is_symlink():
        raise FixError(f"{path}: the file that was written is gone; nothing was undone")
    if not any(path.resolve().is_relative_to(folder) for folder in trusted):
        raise FixError(f"{path}: is outside the checked path; name its folder with --output; nothing was undone")
    if entry.content is None or _hash(entry.content) != entry.before:
        raise FixError(f"{path}: its former content is damaged in the journal; nothing was undone")
    now = _hash(path.read_bytes())
    if now == entry.before:
        return []
    if now != entry.after:
        raise FixError(f"{path}: the file changed since it was written; nothing was undone")
    if not _writable(path) or not _writable(path.parent):
        raise FixError(f"{path}: the file or its folder is read-only; nothing was undone")
    return [(path, entry.content, entry.mode)]


def _names(folder: Path) -> list[str]:
    """The batches of a folder's journal, the last one last."""
    journal = folder / FOLDER
    if journal.is_symlink() or not journal.is_dir():
        return []
    return sorted(p.stem for p in journal.glob("*.json") if p.stem.partition("-")[0].isdecimal())


def _entries(folder: Path) -> Iterator[Entry]:
    for name in _names(folder):
        with contextlib.suppress(FixError):  # an audit goes on without it; `--undo` says what is wrong
            yield from _load(folder, name).files


def _load(folder: Path, name: str) -> Batch:
    file = folder / FOLDER / f"{name}.json"
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise FixError(f"{file}: not a journal of mldiag: not a regular file")
        if found.st_size > DOCUMENT_LIMIT:
            raise FixError(f"{file}: too large for a journal of mldiag")
        batch = msgspec.json.decode(file.read_bytes(), type=Batch)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FixError(f"{file}: not a journal of mldiag: {error}") from error
    return replace(batch, name=name)


def _clear(folder: Path) -> None:
    """Removes what a kill left behind in the journal, and the journal when no batch is left in it."""
    journal = folder / FOLDER
    if not _names(folder) and journal.is_dir() and not journal.is_symlink():
        for left in journal.glob(".*.mldiag-tmp"):
            left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of the user's is in it
            journal.rmdir()


def _path(folder: Path, relative: str) -> Path:
    return Path(os.path.normpath(folder / relative))


def _relative(path: Path, folder: Path) -> str:
    relative = Path(os.path.relpath(path, folder)).as_posix()
    if not relative.isascii() and os.fsencode(relative).decode("utf-8", "replace") != relative:
        raise FixError(f"{path}: its name is not UTF-8, so it cannot be kept for undoing; nothing was written")
    return relative


def _hash(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


__all__ = ["FOLDER", "Undone", "Write", "copies_in", "undo", "write", "written"]
