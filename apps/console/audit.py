"""Who did what: lines that are only ever added."""

import sqlite3
from collections.abc import Callable

from .database import Database


class Audit:
    """The log, in the console's database."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def note(self, who: str, address: str, action: str, detail: str = "") -> None:
        """Add a line."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO audit (at, who, address, action, detail) VALUES (?, ?, ?, ?, ?)",
                (self._clock(), who[:200], address, action, detail[:500]),
            )

    def lines(self, before: int | None = None, limit: int = 100) -> list[sqlite3.Row]:
        """The newest lines first, those before a number where one is given."""
        return self._database.rows(
            "SELECT * FROM audit WHERE number < coalesce(?, number + 1) ORDER BY number DESC LIMIT ?", before, limit
        )
