"""What is common to all topics that the console reads."""

import sqlite3
from collections.abc import Mapping

from .database import Database


def reached(connection: sqlite3.Connection, topic: str, positions: Mapping[int, int]) -> None:
    """Note how far a topic has been read: partition -> next offset. In one transaction with what was read."""
    connection.executemany(
        "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
        [(topic, partition, offset) for partition, offset in positions.items()],
    )


def positions(database: Database, topic: str) -> dict[int, int]:
    """How far it has been read."""
    return {row["partition"]: row["next"] for row in database.rows("SELECT * FROM positions WHERE topic = ?", topic)}


def refuse(connection: sqlite3.Connection, topic: str, payload: bytes, reason: str, now: float) -> None:
    """Keep what cannot be used, with the reason."""
    connection.execute(
        "INSERT INTO refused (topic, payload, reason, came_at) VALUES (?, ?, ?, ?)",
        (topic, payload, reason[:200], now),
    )
