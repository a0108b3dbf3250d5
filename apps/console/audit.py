"""The audit log: append-only; of each action the newest lines are kept, and older ones are counted."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from .database import Database

MOST_LINES: Final = 200_000
"""Lines kept per action."""
MOST_REFUSALS: Final = 2_000
"""Lines kept per action in REFUSALS: an attacker produces them at no cost."""
REFUSALS: Final = frozenset(("login refused", "password refused", "refused"))
_FOLD: Final = 64
"""New lines of an action after which the oldest are removed."""
_WHO_CHARS, _DETAIL_CHARS = 64, 500


class Audit:
    """The log in the console's database."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._since: dict[str, int] = {}
        """Action -> new lines since the last removal."""

    def note(self, who: str, address: str, action: str, detail: str = "") -> None:
        """Append a line."""
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
        """Lines in descending order, from before a line number where one is given."""
        return self._database.rows(
            "SELECT * FROM audit WHERE number < coalesce(?, number + 1) ORDER BY number DESC LIMIT ?", before, limit
        )

    def before(self) -> Mapping[str, int]:
        """Action -> number of its lines that were removed."""
        return {row["action"]: row["n"] for row in self._database.rows("SELECT * FROM audited_before WHERE n > 0")}

    def _fold(self, connection: sqlite3.Connection, action: str) -> None:
        gone = connection.execute(
            "DELETE FROM audit WHERE action = :action AND number <="
            " (SELECT number FROM audit WHERE action = :action ORDER BY number DESC LIMIT 1 OFFSET :most)",
            {"action": action, "most": MOST_REFUSALS if action in REFUSALS else MOST_LINES},
        ).rowcount
        connection.execute(
            "INSERT INTO audited_before VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", (action, gone)
        )
