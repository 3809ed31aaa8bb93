"""Configurations in TOML."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact, Role, SettingValue, Site
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

_LINE = lazily(r"line (\d+)")


def _is_config(file: File) -> bool:
    return file.name.lower() not in _FOREIGN and file.size <= SIZE_LIMIT


@reader("*.toml", matches=_is_config)
def toml_config(file: File) -> Iterator[Artifact]:
    """Configurations in TOML. Tables join with dots; every value has its exact place."""
    try:
        document = loads(file.text.replace("\r\n", "\n"))
    except ValueError as error:
        found = _LINE.search(str(error))
        raise ReadError(f"not valid TOML: {str(error).lower()}", line=int(found[1]) if found else None) from error
    from mldiag.readers._configs.toml_places import places

    spans = places(file.text)
    record = is_record(file)
    for path, value in flattened(document):
        name = ".".join(path)
        span = spans.get(path)
        if span is None:
            yield SettingValue(name, value, Role.FILE, file.at(key=name), record=record)
            continue
        place = file.source(span.start, span.end, key=name)
        site = None if span.behind is None else Site(file.byte_offset(span.behind), span.form)
        # A value over several lines is left to a person.
        syntax = None if "\n" in (place.text or "\n") else "toml"
        yield SettingValue(name, value, Role.FILE, place, syntax, (), record, site)
