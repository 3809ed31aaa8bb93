"""What `mldiag fix` writes, kept so that it can be taken back and its copies are not mistaken for runs.

Each checked folder has its own journal, `.mldiag/` in it, with one JSON file per batch of writes. A batch is on disk
before the first of its files is touched and holds their whole former content, so that a kill at any moment leaves
nothing that `undo` cannot take back. Files are replaced in one step (written beside the target, synced, renamed); a
hard link to the former content keeps it.

While its files are being replaced a batch is called `….unfinished.json`; the last step takes that from its name, and
the first of taking it back gives it again. So a batch that a kill left half done is known by its name: `interrupted`
says so to whoever checks the folder, and `recover` finishes it where every file is written, else takes it back. The
process that writes holds a lock on the journal's folder, which the system releases when it is killed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from mldiag.errors import FixError, os_reason
from mldiag.files import DOCUMENT_LIMIT

FOLDER = ".mldiag"
_UNFINISHED = ".unfinished"


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
    """What was written at once, into one checked folder.

    Attributes:
        name: the stem of the journal's file: a number, a mark that all batches of one writing share, and whether it is
            unfinished.
        folders: did not exist before.
        group: other checked folders, relative to this one, that were written together with it.
    """

    name: str
    time: str
    version: str
    files: tuple[Entry, ...]
    folders: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    schema: Literal[1] = 1


class Undone(Struct, frozen=True):
    """A file that was taken back."""

    path: Path
    action: Literal["restored", "removed"]


def write(writes: Sequence[Write]) -> None:
    """Writes every file, or none.

    Raises:
        FixError: a file is not as planned, may not be written, or could not be; everything is as it was before. Another
            process is writing there.
    """
    for folder in {parent: None for planned in writes for parent in planned.path.parents}:
        if (line := interrupted(folder)) is not None:
            raise FixError(f"{line}; nothing was written")
    for planned in writes:
        _check(planned)
    folders = dict.fromkeys(w.folder for w in writes)
    own = [w.path.parent for w in writes]
    mark = os.urandom(4).hex()
    batches = [(f, _batch(f, mark, [w for w in writes if w.folder == f], folders)) for f in folders]
    try:
        with _locked(folders, create=True):
            try:
                for planned in writes:  # again, now that no other mldiag can come between
                    _check(planned)
            except FixError:
                for folder in folders:
                    _clear(folder)
                raise
            _write(writes, batches, own)
    except OSError as error:
        raise FixError(f"{error.filename or writes[0].path}: cannot be written: {os_reason(error)}") from error


def _write(writes: Sequence[Write], batches: Sequence[tuple[Path, Batch]], own: Sequence[Path]) -> None:
    try:
        for folder, batch in batches:
            _record(folder, batch)
        for folder, batch in batches:
            for name in batch.folders:
                (folder / name).mkdir(exist_ok=True)
        _replace_all([(w.path, w.after, w.mode) for w in writes])
        for folder, batch in batches:
            _finish(folder, batch)
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

    A file that the batch names but that was not written yet, because the writing was killed, is left as it is. What
    such a writing did in other checked folders is taken back with it.

    Args:
        output: a folder outside the checked ones in which files may be put back to a former content. A journal may
            have come with a folder from elsewhere: by itself it is trusted inside that folder only, and outside of it
            with the removal of files that hold exactly what it says was written.

    Raises:
        FixError: there is no batch, its journal is damaged, or a file changed since; nothing is undone.
    """
    batches: dict[Path, Batch] = {}
    bare = []
    for folder in dict.fromkeys(f.resolve() for f in folders):
        names = _names(folder)
        if not names:
            bare.append(folder)
            with contextlib.suppress(OSError), _locked([folder]):
                _clear(folder)
            continue
        batch = _load(folder, names[-1])
        batches |= {folder: batch} if not _is_unfinished(batch.name) else _group(folder, batch)
    # A kill may have come before a folder's part of a writing was noted, or after it was taken back.
    begun = {_path(f, other) for f, b in batches.items() if _is_unfinished(b.name) for other in b.group}
    for folder in bare:
        if folder not in begun:
            raise FixError(f"{folder}: nothing to undo: no fix was applied to this path")
    return _taken_back(batches, [] if output is None else [output.resolve()])


def _taken_back(batches: Mapping[Path, Batch], trusted: Sequence[Path]) -> list[Undone]:
    try:
        with _locked(batches):
            return _take_back([*batches.items()], trusted)
    except OSError as error:
        reason = f"{error.filename}: cannot be written: {os_reason(error)}"
        raise FixError(f"{reason}; run `--undo` again to go on") from error


def recover(folders: Iterable[Path], output: Path | None = None) -> list[Undone]:
    """Deals with batches that a kill left unfinished: one of which every file is written stands, others are taken back.

    Args:
        output: as of `undo`.

    Returns:
        What was taken back.

    Raises:
        FixError: a file changed since, or lies outside the folder; nothing is taken back. Another process is writing
            there.
    """
    trusted = [] if output is None else [output.resolve()]
    undone: list[Undone] = []
    for folder in dict.fromkeys(f.resolve() for f in folders):
        for name in reversed(_unfinished(folder)):
            batches = _group(folder, _load(folder, name))
            try:
                with _locked(batches):
                    if _states(batches) == {_State.NEW}:
                        for place, batch in batches.items():
                            _finish(place, batch)
                    else:
                        _refuse_outside(batches, trusted)
                        undone += _take_back([*batches.items()], trusted)
            except OSError as error:
                reason = f"{error.filename}: cannot be written: {os_reason(error)}"
                raise FixError(f"{_told(batches)} ({reason})") from error
    return undone


def _refuse_outside(batches: Mapping[Path, Batch], trusted: Sequence[Path]) -> None:
    """Without being asked, nothing is touched outside the folder that a journal lies in, nor what was changed since."""
    for folder, batch in batches.items():
        for entry in batch.files:
            path = _path(folder, entry.path)
            if not any(path.resolve().is_relative_to(p) for p in (folder, *trusted)):
                raise FixError(f"{_told(batches)} ({path} is outside the checked path)")
            if _state(path, entry) is _State.OTHER:
                journals = " and ".join(str(_file(place, own.name)) for place, own in batches.items())
                raise FixError(
                    f"{path}: changed since a fix was interrupted while it was written; to keep the files as they are, "
                    f"remove {journals}"
                )


def interrupted(folder: Path) -> str | None:
    """One line for whoever checks a folder in which a fix was killed half-way, or is being written now; else None."""
    folder = folder.resolve()
    for name in _unfinished(folder):
        with contextlib.suppress(OSError):  # a folder that may not be looked into
            try:
                batches = _group(folder, _load(folder, name))
                with _locked(batches):
                    states = _states(batches)
                    if len(states) > 1 or _State.OTHER in states:
                        return _told(batches)
            except FixError as error:
                if _file(folder, name).exists():  # else it was finished at this moment
                    return str(error)
    return None


class _State(Enum):
    """What is at a path: what was there before the writing, what was to be written, or neither."""

    OLD = "old"
    NEW = "new"
    OTHER = "other"


def _states(batches: Mapping[Path, Batch]) -> set[_State]:
    return {_state(_path(folder, e.path), e) for folder, batch in batches.items() for e in batch.files}


def _state(path: Path, entry: Entry) -> _State:
    if not os.path.lexists(path):
        return _State.OLD if entry.kind == "created" else _State.OTHER
    if path.is_symlink() or not path.is_file():
        return _State.OTHER
    return {entry.before: _State.OLD, entry.after: _State.NEW}.get(_hash(path.read_bytes()), _State.OTHER)


def _told(batches: Mapping[Path, Batch]) -> str:
    found = [_state(_path(folder, e.path), e) for folder, batch in batches.items() for e in batch.files]
    folders = " ".join(map(str, batches))
    return (
        f"{folders}: a fix was interrupted while it was written, with {found.count(_State.NEW)} of {len(found)} files "
        f"corrected; `mldiag fix --undo {folders}` takes it back"
    )


def _group(folder: Path, batch: Batch) -> dict[Path, Batch]:
    """An unfinished batch with those of the same writing in other folders that are unfinished too."""
    found = {folder: batch}
    mark = _mark(batch.name)
    for relative in batch.group:
        other = _path(folder, relative)
        for name in _names(other):
            if _mark(name) == mark and _is_unfinished(name):
                theirs = _load(other, name)
                # Each has to name the other: a journal that came from elsewhere cannot reach into a folder.
                if any(_path(other, back) == folder for back in theirs.group):
                    found[other] = theirs
    return dict(sorted(found.items()))  # told in the same words wherever one begins


def _unfinished(folder: Path) -> list[str]:
    return [name for name in _names(folder) if _is_unfinished(name)]


def _is_unfinished(name: str) -> bool:
    return name.endswith(_UNFINISHED)


def _mark(name: str) -> str:
    return name.removesuffix(_UNFINISHED).partition("-")[2]


def _file(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"


def _finish(folder: Path, batch: Batch) -> None:
    _file(folder, batch.name).replace(_file(folder, batch.name.removesuffix(_UNFINISHED)))
    _sync(folder / FOLDER)


def _reopened(folder: Path, batch: Batch) -> None:
    """Calls a batch unfinished, before the first of its files is put back."""
    with contextlib.suppress(FileNotFoundError):  # it is already
        name = batch.name.removesuffix(_UNFINISHED)
        _file(folder, name).replace(_file(folder, name + _UNFINISHED))
        _sync(folder / FOLDER)


@contextlib.contextmanager
def _locked(folders: Iterable[Path], *, create: bool = False) -> Iterator[None]:
    """Holds the journals of folders; the system lets go of them when this process ends, however it does.

    Raises:
        FixError: another process holds one.
    """
    with contextlib.ExitStack() as held:
        for folder in folders:
            journal = folder / FOLDER
            if create and journal.is_symlink():
                raise OSError(0, "it is a link; expected a folder", str(journal))
            if create:
                journal.mkdir(exist_ok=True)
            if not journal.is_symlink() and journal.is_dir():
                handle = os.open(journal, os.O_RDONLY)
                held.callback(os.close, handle)
                _lock(handle, folder)
        yield


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, where nothing is locked
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FixError(f"{folder}: another mldiag is writing there now; try again when it is done") from None
    except OSError:  # a file system without locks
        return


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


def _batch(folder: Path, mark: str, writes: Sequence[Write], folders: Iterable[Path]) -> Batch:
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
    # Two processes that write at once, where nothing locks, get the same number, but never the same file.
    name = f"{last + 1:06d}-{mark}{_UNFINISHED}"
    group = tuple(_relative(other, folder) for other in folders if other != folder)
    return Batch(name, now, __version__, tuple(entries), tuple(created), group)


def _record(folder: Path, batch: Batch) -> None:
    content = msgspec.json.format(msgspec.json.encode(batch), indent=1)
    if len(content) > DOCUMENT_LIMIT:
        raise OSError(0, f"{len(content) / 1e6:,.0f} MB to keep for undoing", str(folder / FOLDER))
    # The former content may hold secrets that its file's own mode protects.
    _replace_all([(_file(folder, batch.name), content, 0o600)])


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
    for folder, batch in batches:
        _reopened(folder, batch)
    for path in touched:
        _temporary(path).unlink(missing_ok=True)
    _replace_all(restored)
    for path in removed:
        path.unlink()
    for folder, batch in batches:
        for name in reversed(batch.folders):
            with contextlib.suppress(OSError):  # something else is in it by now
                _path(folder, name).rmdir()
        name = batch.name.removesuffix(_UNFINISHED)
        for left in (name, name + _UNFINISHED):
            _file(folder, left).unlink(missing_ok=True)
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
    file = _file(folder, name)
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


__all__ = ["FOLDER", "Undone", "Write", "copies_in", "interrupted", "recover", "undo", "write", "written"]
