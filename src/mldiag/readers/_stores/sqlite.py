"""SQLite files read without trust: plain tables only, no functions, a limit on the work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

from mldiag.errors import ReadError
from mldiag.files import File

WORK_PER_BYTE = 20
"""Instructions of SQLite's virtual machine for a byte of the file. A row takes about twenty and has some fifty bytes;
a file whose pages are linked in a circle never ends."""
WORK_AT_LEAST = 10_000_000

_TICK = 100_000
_VALUE_LIMIT = 2**20
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ})


class Database:
    """A database that only answers plain queries.

    Attributes:
        tables: names of its ordinary tables; views and virtual tables are not among them.
        left: instructions that may still be spent on it.
    """

    def __init__(self, connection: sqlite3.Connection, size: int) -> None:
        self._connection = connection
        self.left = max(WORK_AT_LEAST, WORK_PER_BYTE * size)
        with self._told():
            # Text need not be UTF-8, and longer values are no name, metric or parameter.
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_LIMIT)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("PRAGMA query_only = ON")
            connection.set_progress_handler(self._tick, _TICK)
            connection.set_authorizer(_authorized)
        found = self.rows("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
        self.tables = frozenset(str(name) for name, sql in found if not str(sql).upper().startswith("CREATE VIRTUAL"))

    def _tick(self) -> int:
        self.left -= _TICK
        return self.left < 0

    def rows(self, query: str, *values: str | int) -> Iterator[tuple[object, ...]]:
        """The rows of a query.

        Raises:
            ReadError: whatever SQLite finds wrong, on the way too.
        """
        with self._told():
            yield from self._connection.execute(query, values)

    def row(self, query: str, *values: str | int) -> dict[str, object]:
        """The first row of a query by names of columns; empty where there is none.

        Raises:
            ReadError: whatever SQLite finds wrong.
        """
        with self._told():
            cursor = self._connection.execute(query, values)
            found = cursor.fetchone()
            return dict(zip((c[0] for c in cursor.description), found, strict=True)) if found else {}

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            reason = "it takes more work than a file of its size should" if self.left < 0 else str(error)
            raise ReadError(f"not readable as an SQLite database: {reason}") from error
        except (UnicodeError, OverflowError) as error:
            raise ReadError(f"not readable as an SQLite database: {error}") from error


@contextmanager
def opened(file: File) -> Iterator[Database]:
    """The database in a file, for as long as the block lasts.

    Raises:
        ReadError: it cannot be opened.
    """
    path = quote(str((file.root / file.path).absolute()))
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise ReadError(f"not readable as an SQLite database: {error}") from error
    with closing(connection):
        yield Database(connection, file.size)


def _authorized(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
