"""Settings in files of environment variables."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader

SIZE_LIMIT = 2**18
"""Files of environment variables are written by hand."""


@reader("*.env", ".env", ".env.*", "*.env.*", matches=lambda file: file.size <= SIZE_LIMIT)
def env_config(file: File) -> Iterator[Artifact]:
    r"""Environment variables in `.env` files, as dotenv and Docker read them, each value with its exact place.

    `export`, single and double quotes, comments behind a value and values over several lines in double quotes are
    understood; `${NAME}` stays as it is written. Numbers and truth values are read as such.

    Secrets are left out: whatever is called a key, token, secret or password, and addresses with a password in them.
    Lines that assign nothing are left out and counted.
    """
    from mldiag.readers._configs.assignments import variables

    found = False
    wrong: list[int] = []
    for item in variables(file):
        if isinstance(item, int):
            wrong.append(item)
        elif item is not None:
            found = True
            yield item
    if wrong:
        raise ReadError(
            f"{len(wrong):,} lines are no `NAME=value`, which is expected here", line=wrong[0], partial=found
        )
