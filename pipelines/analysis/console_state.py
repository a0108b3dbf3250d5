"""The database of a console, for reports: it is read, and never changed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from schemas.console_state import DATABASE
from schemas.errors import InputUnusable


@contextmanager
def reading_state(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the database of a console, which may run.

    Args:
        folder: ``--data`` of the console.

    Raises InputUnusable, also where the body meets an error of the database.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise InputUnusable(f"{folder}: no {DATABASE}: name the folder that prestacop console has as --data")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise InputUnusable(
            f"{path} cannot be read: {error}. Start the console of this version once with that folder, "
            f"or name a copy (sqlite3 {DATABASE} .backup)"
        ) from error
