"""Figures of the queue's page: open work, and the time to answer."""

import math
from typing import Final, NamedTuple

from schemas.messages import UNQUALIFIED

from .database import Database
from .reading import refused

HOUR: Final = 3600.0
RECENT_ANSWERS: Final = 1_000
"""How many answers show which codes are likely."""
LIKELY: Final = 10
USUAL: Final = (21, 38, 14, 37, 20, 40, 46, 71, 16, 70)
"""The codes that people wrote most often: 2,199 tickets of New York's fiscal year 2015, without those of cameras."""


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


def likely_codes(database: Database) -> list[int]:
    """The :data:`LIKELY` codes that the latest answers have most often, and while there are few, the usual ones."""
    rows = database.rows(
        "SELECT violation_code AS code FROM"
        " (SELECT violation_code FROM answers ORDER BY answered_at DESC LIMIT ?)"
        " WHERE code != ? GROUP BY code ORDER BY count(*) DESC, code LIMIT ?",
        RECENT_ANSWERS,
        UNQUALIFIED,
        LIKELY,
    )
    return list(dict.fromkeys([*(row["code"] for row in rows), *USUAL]))[:LIKELY]


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
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None
