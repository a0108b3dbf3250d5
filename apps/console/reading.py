"""Stores the messages of a topic: a message whose handler raises any exception is refused."""

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from terminal.logs import about

from .database import Database, is_of_the_disk

MOST_REFUSED: Final = 500
"""Refused messages kept per topic, the newest; older ones are counted."""
KEPT_BYTES: Final = 1000
"""Bytes kept of a refused message."""
_KEPT_CHARS: Final = 200
_T = TypeVar("_T")
_log: Final = logging.getLogger(__name__)


def take(
    database: Database,
    topic: str,
    payloads: Sequence[bytes],
    positions: Mapping[int, int],
    read: Callable[[bytes], _T],
    keep: Callable[[sqlite3.Connection, _T], object],
    now: float,
) -> None:
    """Store messages of a topic, in one transaction with the next offsets by partition.

    A message that raises anything is kept as refused, with the reason; an error of the disk is raised.

    Args:
        read: decodes a message; before the transaction, so that a large one blocks no other thread.
        keep: changes the database by one statement at most.
    """
    found: list[tuple[bytes, _T]] = []
    refused: list[tuple[bytes, str]] = []
    for payload in payloads:
        try:
            found.append((payload, read(payload)))
        except Exception as error:  # noqa: BLE001  # no message may end the thread that reads
            refused.append((payload, _reason(error)))
    with database.transaction() as connection:
        for payload, message in found:
            try:
                keep(connection, message)
            except Exception as error:  # noqa: BLE001
                refused.append((payload, _reason(error)))
        if refused:
            refuse(connection, topic, refused, now)
        connection.executemany(
            "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
            [(topic, partition, offset) for partition, offset in positions.items()],
        )
    if refused:
        text = "%d messages of %s were refused, the last one: %s"
        _log.warning(text, len(refused), topic, refused[-1][1], extra=about(topic))


def refused(database: Database) -> int:
    """Number of refused messages."""
    return database.number("SELECT (SELECT count(*) FROM refused) + (SELECT coalesce(sum(n), 0) FROM refused_before)")


def positions(database: Database, topic: str) -> dict[int, int]:
    """The stored offsets by partition."""
    return {row["partition"]: row["next"] for row in database.rows("SELECT * FROM positions WHERE topic = ?", topic)}


def _reason(error: Exception) -> str:
    """Why a message is refused. Re-raises an error that is not the message's fault."""
    if is_of_the_disk(error):
        raise error
    return f"{error or type(error).__name__}"[:_KEPT_CHARS].encode(errors="replace").decode()


def refuse(connection: sqlite3.Connection, topic: str, refused: Sequence[tuple[bytes, str]], now: float) -> None:
    """Store the beginning of refused payloads with the reasons; the oldest are only counted."""
    connection.executemany(
        "INSERT INTO refused (topic, payload, reason, came_at) VALUES (?, ?, ?, ?)",
        [(topic, payload[:KEPT_BYTES], reason, now) for payload, reason in refused],
    )
    gone = connection.execute(
        "DELETE FROM refused WHERE topic = :topic AND number <= (SELECT number FROM refused WHERE topic = :topic"
        " ORDER BY number DESC LIMIT 1 OFFSET :most)",
        {"topic": topic, "most": MOST_REFUSED},
    ).rowcount
    connection.execute(
        "INSERT INTO refused_before VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", (topic, gone)
    )
