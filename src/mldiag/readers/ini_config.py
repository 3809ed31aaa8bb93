"""Configurations in INI files."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader

SIZE_LIMIT = 2**20
"""Larger files are no configurations that a person wrote."""

# Configurations of tools.
_FOREIGN = frozenset({
    "setup.cfg", "tox.ini", "pytest.ini", "mypy.ini", "alembic.ini", "pyvenv.cfg", "desktop.ini", "logging.ini",
    "logging.cfg", "versioneer.cfg", "uwsgi.ini", "supervisord.ini", "pylint.ini", "buildout.cfg", "ansible.cfg",
})  # fmt: skip


def _is_config(file: File) -> bool:
    from mldiag.readers._configs.assignments import has_assignments

    return file.name.lower() not in _FOREIGN and file.size <= SIZE_LIMIT and has_assignments(file)


@reader("*.ini", "*.cfg", matches=_is_config)
def ini_config(file: File) -> Iterator[Artifact]:
    """Configurations in INI files (ConfigParser, spaCy, fairseq, darknet), each value with its exact place.

    Sections join with dots, `DEFAULT` is none; `=` and `:` assign; comments begin with `#` or `;`, behind a value after
    a space. A value that goes on in indented lines has no span. Quotes, numbers, truth values and flat lists (JSON, or
    darknet's `1000,2000`) are read as such. Of a darknet network only `[net]` is read: its other sections are layers.
    Secrets are left out. Lines that are neither a section nor an assignment are left out and counted.
    """
    from mldiag.readers._configs.assignments import entries

    found = False
    wrong: list[int] = []
    for item in entries(file):
        if isinstance(item, int):
            wrong.append(item)
        else:
            found = True
            yield item
    if wrong:
        reason = f"{len(wrong):,} lines are neither `[section]` nor `key = value`"
        raise ReadError(reason, line=wrong[0], partial=found)
