"""Makes the corrected copy of a launch script call the corrected copies of the files it names."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Launch, Source
from mldiag.errors import FixError
from mldiag.files import File, Folder
from mldiag.findings import Edit
from mldiag.fixes import apply_edits
from mldiag.placement import renamed
from mldiag.run import Run


def retargeted(contents: Mapping[Path, bytes], runs: Iterable[Run], suffix: str) -> dict[Path, bytes]:
    """The contents, with the names of copied files replaced in scripts by those of their copies.

    A script of which no copy was planned is added where it stands for its run and names a copied file: otherwise
    nothing would call that copy.

    Args:
        contents: absolute path of an original → corrected content.
        runs: the runs as they read with these contents.

    Raises:
        FixError: a name is not written exactly once in the launch command, or a copied module is imported by name.
    """
    runs = list(runs)
    result = dict(contents)
    called: set[Path] = set()
    edits: dict[Path, dict[Edit, None]] = {}
    for run in runs:
        for launch in (run.program.launch, *run.program.other_launches):
            if launch is None:
                continue
            script = _inside(run.root, launch.source.path)
            named = list(_named(run, launch, contents))
            if not named or (script not in contents and launch is not run.program.launch):
                continue
            file = File(script.parent, script.name, contents.get(script))
            for name in named:
                called.add(name.target)
                edits.setdefault(script, {})[_edit(file, launch, name, suffix)] = None
            result.setdefault(script, file.data)
    for run in runs:
        _refuse_imported(run, contents.keys() - called)
    for script, changes in edits.items():
        folder = Folder(script.parent, (), {script.name: result[script]})
        result[script] = apply_edits(changes, folder)[script.name]
    return result


class _Name(Struct, frozen=True):
    """A word of a launch that names a copied file. `place` is known where a flag gives it and nothing else uses it."""

    word: str
    target: Path
    module: bool = False
    place: Source | None = None


def _named(run: Run, launch: Launch, contents: Mapping[Path, bytes]) -> Iterator[_Name]:
    main = run.program.main
    if launch is run.program.launch and main is not None and _inside(run.root, main.path) in contents:
        yield _Name(launch.program, _inside(run.root, main.path), launch.is_module)
    else:
        name = _Name(launch.program, Path(launch.path), launch.is_module)
        yield from _resolved(run, launch, contents, name)
    for word in launch.positionals:
        yield from _resolved(run, launch, contents, _Name(word, Path(word)))
    for flag in launch.flags:
        if flag.value:
            alone = all(launch.references.get(v, 1) <= 1 for v in flag.variables)
            place = flag.source if alone and flag.source.path == launch.source.path else None
            yield from _resolved(run, launch, contents, _Name(flag.value, Path(flag.value), place=place))


def _resolved(run: Run, launch: Launch, contents: Mapping[Path, bytes], name: _Name) -> Iterator[_Name]:
    """The name with its file found beside the script or from the run's folder, if that is a copied one."""
    for folder in (Path(launch.source.path).parent, Path()):
        target = _inside(run.root, folder / name.target)
        if target in contents:
            yield replace(name, target=target)
            return


def _edit(file: File, launch: Launch, name: _Name, suffix: str) -> Edit:
    """Replaces a word of a launch command by the name of the copy.

    Raises:
        FixError: the word does not stand there exactly once, or cannot be changed so.
    """
    copy = renamed(name.target, suffix)
    old, new = (name.target.stem, copy.stem) if name.module else (name.target.name, copy.name)
    place = f"{file.root / file.path}:{launch.source.line}"
    if name.module and not new.isidentifier():
        raise FixError(f"{place}: python -m cannot run {new}; choose another --suffix; nothing was written")
    spans = list(_spans(file, launch, name))
    if len(spans) != 1 or not name.word.endswith(old):
        raise FixError(
            f"{place}: the copy of the script cannot be made to use {copy.name}: {name.word} was found {len(spans)} "
            "times in the command, expected once; use --apply or --output; nothing was written"
        )
    return Edit(file.path, *spans[0], name.word, name.word.removesuffix(old) + new)


def _spans(file: File, launch: Launch, name: _Name) -> Iterator[tuple[int, int]]:
    """Byte spans of the word: the place that a flag gives, else wherever it stands alone in the launch command."""
    place = name.place
    if place is not None and place.start is not None and place.end is not None and place.text == name.word:
        yield place.start, place.end
        return
    data = file.data
    start = launch.source.start
    if start is None:
        start = sum(len(line) + 1 for line in data.split(b"\n")[: (launch.source.line or 1) - 1])
    whole = re.compile(rb"(?<![^\s\"'=])" + re.escape(name.word.encode()) + rb"(?![^\s\"';&|)])")
    for found in whole.finditer(data, start, launch.end or len(data)):
        yield found.span()


def _refuse_imported(run: Run, copied: Iterable[Path]) -> None:
    for path in sorted(copied):
        for source in run.program.sources:
            if path.suffix == ".py" and any(name.rpartition(".")[2] == path.stem for name in source.imports):
                raise FixError(
                    f"{path}: is imported by {source.path}, which would not use a copy of another name; use --apply or "
                    "--output; nothing was written"
                )


def _inside(root: Path, relative: str | Path) -> Path:
    return Path(os.path.normpath(root.resolve() / relative))
