"""Second looks: a sample of answered alerts is shown to a second officer, who does not see the first answer.

What is in the stream does not change: the second answer is in the console's database only.
"""

import sqlite3
from typing import Final, NamedTuple

from .access import Role
from .database import Database
from .sampling import is_in_sample

_FREE: Final = """
    SELECT alert FROM second_looks AS look WHERE lease IS NULL
    AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.alert = look.alert AND ended_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM answers WHERE answers.alert = look.alert AND officer = ?)
    ORDER BY alert LIMIT 1
"""


class SecondLooks(NamedTuple):
    """Figures of a supervisor's page."""

    waiting: int
    done: int
    officers: int
    """Accounts that may answer."""


def choose_look(connection: sqlite3.Connection, alert: int, message_id: str, share: float) -> None:
    """Let a second officer look at an alert, if it is in the sample; in the transaction of its first answer."""
    if is_in_sample("second look", message_id, share):
        connection.execute("INSERT INTO second_looks (alert) VALUES (?)", [alert])


def free_look(connection: sqlite3.Connection, officer: str) -> int | None:
    """The oldest alert that waits for a second look, which nobody holds and this officer has not answered."""
    found = connection.execute(_FREE, [officer]).fetchone()
    return None if found is None else int(found["alert"])


def look_waits(database: Database, officer: str) -> bool:
    """Whether there is such an alert."""
    return database.row(_FREE, officer) is not None


def keep_look(connection: sqlite3.Connection, lease: sqlite3.Row, violation_code: int, now: float) -> bool:
    """Store what the second officer answers; gives whether it is the first time for this alert."""
    return bool(
        connection.execute(
            "UPDATE second_looks SET lease = ?, officer = ?, violation_code = ?, answered_at = ?"
            " WHERE alert = ? AND lease IS NULL",
            (lease["id"], lease["officer"], violation_code, now, lease["alert"]),
        ).rowcount
    )


def second_looks(database: Database) -> SecondLooks:
    """The figures at this moment."""
    row = database.row(
        "SELECT count(*) - count(lease) AS waiting, count(lease) AS done,"
        " (SELECT count(*) FROM accounts WHERE active AND role != ?) AS officers FROM second_looks",
        Role.VIEWER,
    )
    assert row is not None  # it counts
    return SecondLooks(*row)
