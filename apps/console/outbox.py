"""What is to be published: it is on the disk before anyone is told that it is done, and stays until it is acknowledged.

A console that is killed between the two publishes again, the same bytes with the same message_id: the graph knows them.
"""

import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from schemas.errors import PrestaCopError

from .database import DISK_ERRORS, Database

ANSWERS: Final = "answers"
COMMANDS: Final = "commands"
_AT_ONCE: Final = 500
_NAP_S: Final = 0.5
_LONGEST_NAP_S: Final = 15.0


class Posted(NamedTuple):
    """A message and its key."""

    message_id: str
    key: str
    payload: bytes


class Publisher(Protocol):
    """A topic to publish to."""

    def publish(self, messages: Sequence[Posted]) -> None:
        """Return when all are acknowledged. Raises PrestaCopError: not all are."""

    def close(self) -> None:
        """Let go of it."""


def post(connection: sqlite3.Connection, topic: str, message_id: str, key: str, payload: bytes) -> None:
    """Put a message into the outbox; in one transaction with what it is about."""
    connection.execute(
        "INSERT INTO outbox (topic, message_id, key, payload) VALUES (?, ?, ?, ?)", (topic, message_id, key, payload)
    )


def waiting(database: Database) -> int:
    """How many messages are not acknowledged."""
    return database.number("SELECT count(*) FROM outbox WHERE published_at IS NULL")


class Outbox:
    """Publishes one topic's messages in their order, as long as the console runs."""

    def __init__(self, database: Database, topic: str, publisher: Publisher) -> None:
        self.trouble = ""
        """Why messages wait."""
        self._database = database
        self._topic = topic
        self._publisher = publisher
        self._posted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"outbox {topic}", daemon=True)

    def start(self) -> None:
        """Begin with what the last console left."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        self._posted.set()

    def stop(self, seconds: float = 10.0) -> None:
        """Publish what waits, and end; what cannot be published in that time waits for the next start."""
        self._stopping = True
        self._posted.set()
        self._thread.join(seconds)
        self._publisher.close()

    def publish_waiting(self) -> int:
        """Publish some of what waits and mark it; how many. Raises PrestaCopError."""
        rows = self._database.rows(
            "SELECT number, message_id, key, payload FROM outbox WHERE topic = ? AND published_at IS NULL"
            " ORDER BY number LIMIT ?",
            self._topic,
            _AT_ONCE,
        )
        if rows:
            self._publisher.publish([Posted(row["message_id"], row["key"], row["payload"]) for row in rows])
            with self._database.transaction() as connection:
                connection.executemany(
                    "UPDATE outbox SET published_at = ? WHERE number = ?",
                    [(time.time(), row["number"]) for row in rows],
                )
        return len(rows)

    def _run(self) -> None:
        nap = _NAP_S
        while True:
            self._posted.clear()
            stopping = self._stopping
            try:
                published = self.publish_waiting()
                self.trouble, nap = "", _NAP_S
            except (PrestaCopError, *DISK_ERRORS) as error:
                self.trouble, published = str(error), 0
                nap = min(2 * nap, _LONGEST_NAP_S)
            if published:
                continue
            if stopping:
                return
            self._posted.wait(nap)
            if self.trouble and not self._stopping:
                time.sleep(nap)  # new answers do not hurry a broker that is away
