"""The transactional outbox: messages are durable before their request is answered, and stay until acknowledged.

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
_STOP_S: Final = 10.0


class Posted(NamedTuple):
    """A message with its key."""

    message_id: str
    key: str
    payload: bytes


class Publisher(Protocol):
    """Publishes to a topic."""

    def publish(self, messages: Sequence[Posted]) -> None:
        """Publish and wait for all acknowledgements. Raises PrestaCopError where one is missing."""

    def close(self) -> None:
        """Close the connection."""


def post(connection: sqlite3.Connection, topic: str, message_id: str, key: str, payload: bytes) -> None:
    """Put a message into the outbox, in the transaction of the change that it reports."""
    connection.execute(
        "INSERT INTO outbox (topic, message_id, key, payload) VALUES (?, ?, ?, ?)", (topic, message_id, key, payload)
    )


class Outbox:
    """Publishes one topic's messages in order while the console runs."""

    def __init__(self, database: Database, topic: str, publisher: Publisher) -> None:
        self._database = database
        self._topic = topic
        self._publisher = publisher
        self._posted = threading.Event()
        self._worker = Worker(f"publishing of {topic}", self._publish)

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._topic

    @property
    def trouble(self) -> str:
        """Why messages wait; empty if they do not."""
        return self._worker.trouble

    @property
    def has_ended(self) -> bool:
        """Whether its thread ended by itself."""
        return self._worker.has_ended

    def start(self) -> None:
        """Start with the messages that the last run left."""
        self._worker.start()

    def wake(self) -> None:
        """Wake up: there is a new message."""
        self._posted.set()

    def stop(self) -> None:
        """Publish the waiting messages and stop; after the timeout the rest waits for the next start."""
        self._worker.stopping.set()
        self._posted.set()
        self._worker.stop(_STOP_S)
        self._publisher.close()

    def publish_waiting(self) -> int:
        """Publish a batch and mark it as published; gives its size. Raises PrestaCopError."""
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
