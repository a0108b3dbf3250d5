"""Figures of the queue's page: open work, and the time to answer."""

from typing import Final, NamedTuple

from .database import Database
from .reading import refused

HOUR: Final = 3600.0


class Work(NamedTuple):
    """Figures of the last hour."""

    open: int
    held: int
    oldest: float | None
    """Time at which the oldest open alert was raised."""
    answered: int
    """First answers to alerts, of all officers."""
    mine: int
    p50: float | None
    """Median seconds from an alert to its answer."""
    p95: float | None
    waiting: int
    """Answers and commands that the broker has not acknowledged yet."""
    refused: int
    """Refused messages."""


class Waiting(NamedTuple):
    """Things that wait, and since when the oldest of them does, in seconds since the epoch."""

    n: int
    oldest: float | None


def unanswered(database: Database) -> Waiting:
    """The alerts that no officer has answered; their age counts from when they were raised."""
    found = database.rows("SELECT count(*) AS n, min(raised_at) AS oldest FROM shown_alerts WHERE answered = 0")[0]
    return Waiting(found["n"], found["oldest"])


def oldest_waiting(database: Database) -> Waiting:
    """The messages of the outbox that no broker has acknowledged."""
    found = database.rows(
        "SELECT count(*) AS n, min(coalesce("
        "(SELECT answered_at FROM answers WHERE answers.message_id = outbox.message_id),"
        " (SELECT given_at FROM commands WHERE command_id = outbox.message_id))) AS oldest"
        " FROM outbox WHERE published_at IS NULL"
    )[0]
    return Waiting(found["n"], found["oldest"])


def work(database: Database, officer: str, now: float) -> Work:
    """The figures at this moment."""
    row = database.row(
        "SELECT count(*) AS n, min(raised_at) AS oldest, (SELECT count(*) FROM leases WHERE ended_at IS NULL) AS held,"
        " (SELECT count(*) FROM outbox WHERE published_at IS NULL) AS waiting"
        " FROM shown_alerts WHERE answered = 0"
    )
    assert row is not None  # it counts
    times = database.rows(
        "SELECT answers.officer AS officer, answered_at - raised_at AS seconds FROM answers JOIN alerts ON alert = id"
        " WHERE counts AND answered_at > ? ORDER BY seconds",
        now - HOUR,
    )
    seconds = [found["seconds"] for found in times]
    mine = sum(found["officer"] == officer for found in times)
    return Work(
        *(row["n"], row["held"], row["oldest"], len(times), mine, _quantile(seconds, 0.5), _quantile(seconds, 0.95)),
        *(row["waiting"], refused(database)),
    )


def _quantile(ordered: list[float], share: float) -> float | None:
    """The quantile of sorted values (nearest rank)."""
    return ordered[max(-int(-share * len(ordered) // 1) - 1, 0)] if ordered else None
