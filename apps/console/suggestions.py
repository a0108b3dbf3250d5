"""What officers answered before at a place and hour: a suggestion on the desk, and what is kept to measure its effect.

The rule: the answers at the place in the same hour of the day, where there are :data:`FEWEST_ANSWERS`; else all answers
at the place, where there are as many; else all answers. A place is a cell of 0.01 degrees, an hour one of New York's
clock. Codes with less than :data:`LEAST_SHARE` of these answers are left out. The counts are a table that each first
answer updates in its own transaction. A share of alerts, chosen by their ids, shows no suggestion: the control group.
"""

import math
import sqlite3
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from schemas import console_state
from schemas.history import TIME_ZONE
from schemas.places import DEGREES

from .database import Database
from .sampling import is_in_sample

HELD_OUT: Final = 0.1
"""The share of alerts of the control group."""
FEWEST_ANSWERS: Final = 20
LEAST_SHARE: Final = 0.1
MOST_CODES: Final = 3
_ZONE: Final = ZoneInfo(TIME_ZONE)
_EVERYWHERE, _ALL_DAY = "", -1
_WITHOUT: Final = "SELECT 1 FROM without_suggestions WHERE officer = ?"
Basis = Literal["at this place and hour", "at this place", "at all places"]


class Suggestion(msgspec.Struct, frozen=True):
    """The likeliest codes."""

    basis: Basis
    answers: int
    """How many answers it rests on."""
    codes: tuple[tuple[int, int], ...]
    """Code and answers, the likeliest first; 0 is no violation."""


def count_answer(connection: sqlite3.Connection, alert: sqlite3.Row, violation_code: int) -> None:
    """Count a first answer, in its transaction.

    Args:
        alert: with latitude, longitude and raised_at.
    """
    connection.executemany(
        "INSERT INTO answered_before VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
        [(area, hour, violation_code) for _, area, hour in _levels(alert)],
    )


def suggest(connection: sqlite3.Connection, alert: sqlite3.Row) -> Suggestion | None:
    """What officers answered before where an alert is; None where that is too little to say."""
    for basis, area, hour in _levels(alert):
        rows = connection.execute(
            "SELECT code, n FROM answered_before WHERE area = ? AND hour = ? ORDER BY n DESC, code", (area, hour)
        ).fetchall()
        answers = sum(row["n"] for row in rows)
        if answers >= FEWEST_ANSWERS:
            likely = [(row["code"], row["n"]) for row in rows if row["n"] >= LEAST_SHARE * answers][:MOST_CODES]
            return Suggestion(basis, answers, tuple(likely)) if likely else None
    return None


def keep_suggestion(connection: sqlite3.Connection, lease: str, officer: str, alert: sqlite3.Row) -> None:
    """Store what is suggested under a lease, and whether it is shown, in the transaction in which it begins."""
    found = suggest(connection, alert)
    if found is None:
        return
    shown = console_state.SHOWN
    if connection.execute(_WITHOUT, [officer]).fetchone():
        shown = console_state.OFF
    elif is_in_sample("suggestion held out", alert["message_id"], HELD_OUT):
        shown = console_state.HELD_OUT
    connection.execute(
        "INSERT INTO suggestions VALUES (?, ?, ?, ?)", (lease, shown, found.codes[0][0], msgspec.json.encode(found))
    )


def shown_suggestion(database: Database, lease: str) -> Suggestion | None:
    """What the desk shows under a lease."""
    row = database.row("SELECT content FROM suggestions WHERE lease = ? AND shown = ?", lease, console_state.SHOWN)
    return None if row is None else msgspec.json.decode(row["content"], type=Suggestion)


def wants_suggestions(database: Database, officer: str) -> bool:
    """Whether an officer has not switched them off."""
    return database.row(_WITHOUT, officer) is None


def want_suggestions(database: Database, officer: str, *, wanted: bool) -> None:
    """Switch them on or off for an officer."""
    change = "DELETE FROM without_suggestions WHERE officer = ?"
    if not wanted:
        change = "INSERT OR IGNORE INTO without_suggestions VALUES (?)"
    with database.transaction() as connection:
        connection.execute(change, [officer])


def _levels(alert: sqlite3.Row) -> tuple[tuple[Basis, str, int], ...]:
    area = f"{math.floor(alert['latitude'] / DEGREES)},{math.floor(alert['longitude'] / DEGREES)}"
    hour = datetime.fromtimestamp(alert["raised_at"], _ZONE).hour
    return (
        ("at this place and hour", area, hour),
        ("at this place", area, _ALL_DAY),
        ("at all places", _EVERYWHERE, _ALL_DAY),
    )
