"""What is to be published: it is on the disk before anyone is told that it is done, and stays until it is acknowledged.

A console that is killed between the two publishes again, the same bytes with the same message_id: the graph knows them.
"""

import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from .database import Database
from .workers import Worker

ANSWERS: Final = "answers"
COMMANDS: Final = "commands"
_AT_ONCE: Final = 500
_NAP_S: Final = 0.5


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
        self._database = database
        self._topic = topic
        self._publisher = publisher
        self._posted = threading.Event()
        self._worker = Worker(f"publishing of {topic}", self._publish)

    @property
    def name(self) -> str:
        """Of what it publishes."""
        return self._topic

    @property
    def trouble(self) -> str:
        """Why messages wait."""
        return self._worker.trouble

    def start(self) -> None:
        """Begin with what the last console left."""
        self._worker.start()

    def wake(self) -> None:
        """There is something new."""
        self._posted.set()

    def stop(self, seconds: float = 10.0) -> None:
        """Publish what waits, and end; what cannot be published in that time waits for the next start."""
        self._worker.stopping.set()
        self._posted.set()
        self._worker.stop(seconds)
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

    def _publish(self, stopping: threading.Event) -> None:
        while True:
            self._posted.clear()
            stopped = stopping.is_set()
            published = self.publish_waiting()
            self._worker.works()
            if published:
                continue
            if stopped:
                return
            self._posted.wait(_NAP_S)
