"""The console's state: one SQLite file; a committed transaction is durable."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from shutil import disk_usage
from threading import RLock
from typing import Final, NamedTuple

from schemas.console_state import DATABASE
from schemas.errors import OutputUnusable
from schemas.files.marks import Mark, make_folder

DISK_ERRORS: Final = (OSError, sqlite3.DatabaseError)
"""Errors of a full or failing disk, on which the transaction is rolled back."""
_OF_STATEMENTS: Final = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
_SPARE_BYTES: Final = 128 * 1024
_MOST_JOURNAL_BYTES: Final = 16 * 1024**2
_SCHEMA: Final = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")


def is_of_the_disk(error: BaseException) -> bool:
    """Whether an error concerns the disk or the whole database rather than one statement."""
    return isinstance(error, DISK_ERRORS) and not isinstance(error, _OF_STATEMENTS)


class Disk(NamedTuple):
    """A disk, in bytes."""

    total: int
    free: int


class Database:
    """One connection, which threads use one at a time."""

    def __init__(self, folder: Path) -> None:
        """Open or create the state in a folder. Raises OutputUnusable where it cannot, or another console uses it."""
        try:
            make_folder(folder, Mark.KEPT, mode=0o700)
            self._held = (folder / "lock").open("w")
        except OSError as error:
            raise OutputUnusable(f"{folder}: there can be no state of the console: {error.strerror}") from error
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._held.close()
            raise OutputUnusable(f"{folder}: another console uses this folder; name another with --data") from error
        self._lock = RLock()
        self._path = folder / DATABASE
        try:
            with ExitStack() as on_error:
                self._path.touch(mode=0o600)  # SQLite gives its other files the same mode
                self._file = self._path.stat().st_ino
                self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
                on_error.callback(self._connection.close)
                self._connection.row_factory = sqlite3.Row
                self._connection.executescript(
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                    f"PRAGMA journal_size_limit={_MOST_JOURNAL_BYTES};"
                )
                self._connection.executescript(_SCHEMA)
                on_error.pop_all()
        except DISK_ERRORS as error:
            self._held.close()
            raise OutputUnusable(
                f"{self._path}: the console's state cannot be used: {error}; put a copy of the folder back, or name "
                "another with --data"
            ) from error

    def disk(self) -> Disk:
        """Size and free bytes of the disk that has it. Raises OSError."""
        found = disk_usage(self._path)
        return Disk(found.total, found.free)

    def check(self) -> None:
        """Check that the state can be read and written. Raises DISK_ERRORS."""
        if self._path.stat().st_ino != self._file:
            raise OSError(f"{self._path} is not the file any more that the console opened")
        if self.disk().free < _SPARE_BYTES:
            raise OSError(f"the disk of {self._path} is full")
        # A new connection: the open one has cached pages, and would not see damage of the file.
        with closing(sqlite3.connect(self._path)) as another:
            another.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with self.transaction() as connection:
            connection.execute("INSERT INTO written VALUES (zeroblob(?))", (_SPARE_BYTES,))
            connection.execute("DELETE FROM written")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction, durable at the end of the ``with`` block."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query."""
        found = self.rows(query, *values)
        return found[0] if found else None

    def number(self, query: str, *values: object) -> int:
        """The number that a query counts."""
        return int(self.rows(query, *values)[0][0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
        self._held.close()
