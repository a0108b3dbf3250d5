"""Who did what: lines that are only ever added; of each action the newest are kept, and the others counted."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from .database import Database

MOST_LINES: Final = 200_000
"""Of an action."""
MOST_REFUSALS: Final = 2_000
"""Of an action in REFUSALS: they cost whoever tries nothing, and must not drive out what was done."""
REFUSALS: Final = frozenset(("login refused", "password refused", "refused"))
_FOLD: Final = 64
"""Lines of an action after which the oldest are looked for."""
_WHO_CHARS, _DETAIL_CHARS = 64, 500


class Audit:
    """The log, in the console's database."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._since: dict[str, int] = {}
        """Action -> its lines since the oldest were looked for."""

    def note(self, who: str, address: str, action: str, detail: str = "") -> None:
        """Add a line."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO audit (at, who, address, action, detail) VALUES (?, ?, ?, ?, ?)",
                (self._clock(), who[:_WHO_CHARS], address[:_WHO_CHARS], action, detail[:_DETAIL_CHARS]),
            )
            since = self._since.get(action, _FOLD) + 1
            if since > _FOLD:
                self._fold(connection, action)
                since = 0
            self._since[action] = since

    def lines(self, before: int | None = None, limit: int = 100) -> list[sqlite3.Row]:
        """The newest lines first, those before a number where one is given."""
        return self._database.rows(
            "SELECT * FROM audit WHERE number < coalesce(?, number + 1) ORDER BY number DESC LIMIT ?", before, limit
        )

    def before(self) -> Mapping[str, int]:
        """Action -> how many of its lines there were before those that are kept."""
        return {row["action"]: row["n"] for row in self._database.rows("SELECT * FROM audited_before WHERE n > 0")}

    def _fold(self, connection: sqlite3.Connection, action: str) -> None:
        gone = connection.execute(
            "DELETE FROM audit WHERE action = ?1 AND number <="
            " (SELECT number FROM audit WHERE action = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            (action, MOST_REFUSALS if action in REFUSALS else MOST_LINES),
        ).rowcount
        connection.execute(
            "INSERT INTO audited_before VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", (action, gone)
        )
