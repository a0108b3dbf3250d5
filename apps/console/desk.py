"""Alerts, their leases and answers."""

import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas import answers
from schemas.alerts import Alert
from schemas.decoding import Undecodable, decode_json
from schemas.messages import DroneMessage, Reason
from schemas.times import event_time_of, rfc3339

from .accounts import RequestRefused
from .database import Database
from .drone_events import Event, delete_old_events, keep_event, read_event
from .outbox import ANSWERS, post
from .reading import refuse, take
from .second_looks import choose_look, free_look, keep_look, look_waits
from .suggestions import Suggestion, count_answer, keep_suggestion, shown_suggestion

ALERTS: Final = "alerts"
_DECODER: Final = msgspec.json.Decoder(Alert)
MOST_OPEN: Final = 20_000
OPEN_BYTES: Final = 64 * 1024**2
"""Limits of open alerts, in number and bytes; beyond them further alerts wait in their topic (backpressure)."""
MOST_ANSWERED: Final = 500_000
ANSWERED_BYTES: Final = 1024**3
"""Limit of stored alerts; beyond it the oldest answered ones are removed (lake and audit log keep their answers)."""
_FORGOTTEN_AT_ONCE: Final = 2_000
LEASE_SECONDS: Final = 120.0
"""Duration of a lease; then the alert returns to the queue."""

Order = Literal["oldest", "newest"]
Ending = Literal["handed back", "deadline", "gone"]


class Held(NamedTuple):
    """An alert and the lease under which an officer holds it."""

    lease: str
    alert: sqlite3.Row
    taken_at: float
    deadline: float
    is_second: bool
    """Whether it is a second look at an answered alert."""
    suggestion: Suggestion | None
    """What the desk shows of earlier answers there."""


class Answered(NamedTuple):
    """A stored answer."""

    alert: str
    """message_id of the alert."""
    violation_code: int
    counts: bool
    """Whether it is the first answer to its alert."""
    seconds: float
    """Seconds from the pick to the answer."""
    waited: float
    """Seconds from the alert to the answer."""
    is_second: bool = False
    """Whether it is a second look, which is not published."""


class Desk:
    """The work of officers on alerts. Every returned result is durable.

    Args:
        changed: called after each change that a page shows.
        second_look: the share of answered alerts that a second officer looks at.
        suggestions: whether the desk shows what officers answered before at that place and hour.
    """

    def __init__(
        self,
        database: Database,
        key: Ed25519PrivateKey,
        clock: Callable[[], float],
        changed: Callable[[], None],
        second_look: float = 0.0,
        suggestions: bool = False,
    ) -> None:
        self._database = database
        self._key = key
        self._clock = clock
        self._changed = changed
        self.second_look = second_look
        self.suggestions = suggestions
        self.results: Counter[str] = Counter(violation=0, no_violation=0, not_first=0, second_look=0)
        """Answers since the start, by result."""

    def take(self, payloads: Sequence[bytes], positions: Mapping[int, int]) -> None:
        """Store alerts and events of drones, deduplicated by message_id; invalid messages are stored as refused."""
        now = self._clock()

        def keep(connection: sqlite3.Connection, read: tuple[bytes, Alert, float] | Event) -> None:
            if isinstance(read, Event):
                keep_event(connection, read)
                return
            payload, alert, raised_at = read
            known = connection.execute("SELECT payload FROM alerts WHERE message_id = ?", [alert.message_id]).fetchone()
            if known is not None:
                _check_same(alert, known["payload"])
                return
            connection.execute(
                "INSERT INTO alerts"
                " (message_id, payload, drone_id, plate_id, image_id, latitude, longitude, raised_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(alert.message_id, payload, alert.drone_id, alert.plate_id, alert.image_id),
                    *(alert.latitude, alert.longitude, min(raised_at, now)),
                ),
            )

        take(self._database, ALERTS, payloads, positions, _read, keep, now)
        if payloads:
            self._changed()

    def has_room(self) -> bool:
        """Whether there is room for more alerts."""
        n, size = self._size(answered=False)
        return n < MOST_OPEN and size < OPEN_BYTES

    def tidy(self) -> None:
        """Remove the oldest answered alerts beyond the limit; never an open or an unpublished one."""
        with self._database.transaction() as connection:
            delete_old_events(connection)
        n, size = self._size(answered=True)
        if n <= MOST_ANSWERED and size <= ANSWERED_BYTES:
            return
        old = self._database.rows(
            "SELECT id, length(payload) AS bytes FROM alerts WHERE answered = 1"
            " AND NOT EXISTS (SELECT 1 FROM leases WHERE alert = alerts.id AND ended_at IS NULL)"
            " AND NOT EXISTS (SELECT 1 FROM answers JOIN outbox USING (message_id)"
            " WHERE alert = alerts.id AND published_at IS NULL) ORDER BY id LIMIT ?",
            _FORGOTTEN_AT_ONCE,
        )
        with self._database.transaction() as connection:
            for row in old:
                if n <= MOST_ANSWERED and size <= ANSWERED_BYTES:
                    return
                one = [row["id"]]
                connection.execute(
                    "DELETE FROM outbox WHERE message_id IN (SELECT message_id FROM answers WHERE alert = ?)", one
                )
                connection.execute("DELETE FROM answers WHERE alert = ?", one)
                connection.execute("DELETE FROM second_looks WHERE alert = ?", one)
                connection.execute(
                    "DELETE FROM second_leases WHERE lease IN (SELECT id FROM leases WHERE alert = ?)", one
                )
                connection.execute(
                    "DELETE FROM suggestions WHERE lease IN (SELECT id FROM leases WHERE alert = ?)", one
                )
                connection.execute("DELETE FROM leases WHERE alert = ?", one)
                connection.execute("DELETE FROM alerts WHERE id = ?", one)
                n, size = n - 1, size - row["bytes"]

    def _size(self, *, answered: bool) -> tuple[int, int]:
        row = self._database.row(
            "SELECT count(*) AS n, coalesce(sum(length(payload)), 0) AS bytes FROM alerts WHERE answered = ?", answered
        )
        assert row is not None  # it counts
        return row["n"], row["bytes"]

    def pick(self, officer: str, order: Order = "oldest", alert: int | None = None) -> Held | None:
        """Lease a free alert to an officer: the given one, or the first in the queue; None where there is none.

        An officer who holds one keeps it. Where no open alert is free, it is one that waits for a second look.
        """
        self.expire()
        direction = "ASC" if order == "oldest" else "DESC"
        now = self._clock()
        with self._database.transaction() as connection:
            if not connection.execute(
                "SELECT 1 FROM leases WHERE officer = ? AND ended_at IS NULL", [officer]
            ).fetchone():
                found = connection.execute(
                    "SELECT id, message_id, latitude, longitude, raised_at FROM shown_alerts AS alerts"
                    " WHERE answered = 0 AND (id = :alert OR :alert IS NULL)"
                    " AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.alert = alerts.id AND ended_at IS NULL)"
                    f" ORDER BY kept_raised_at {direction}, id {direction} LIMIT 1",
                    {"alert": alert},
                ).fetchone()
                look = None
                if found is None and alert is None and self.second_look:
                    look = free_look(connection, officer)
                if found is None and look is None:
                    return None
                lease = secrets.token_urlsafe(12)
                connection.execute(
                    "INSERT INTO leases (id, alert, officer, taken_at, deadline) VALUES (?, ?, ?, ?, ?)",
                    (lease, found["id"] if found else look, officer, now, now + LEASE_SECONDS),
                )
                if look is not None:
                    connection.execute("INSERT INTO second_leases VALUES (?)", [lease])
                elif self.suggestions:
                    keep_suggestion(connection, lease, officer, found)
        self._changed()
        return self.held(officer)

    def may_look(self, officer: str) -> bool:
        """Whether an alert waits for a second look of this officer."""
        return bool(self.second_look) and look_waits(self._database, officer)

    def has(self, alert: int) -> bool:
        """Whether the alert exists."""
        return bool(self._database.number("SELECT count(*) FROM alerts WHERE id = ?", alert))

    def held(self, officer: str) -> Held | None:
        """The alert that an officer holds."""
        self.expire()
        lease = self._database.row("SELECT * FROM leases WHERE officer = ? AND ended_at IS NULL", officer)
        if lease is None:
            return None
        alert = self._database.row("SELECT * FROM shown_alerts WHERE id = ?", lease["alert"])
        assert alert is not None  # a foreign key
        suggestion = shown_suggestion(self._database, lease["id"])
        is_second = self._is_second(lease["id"])
        return Held(lease["id"], alert, lease["taken_at"], lease["deadline"], is_second, suggestion)

    def _is_second(self, lease: str) -> bool:
        return bool(self._database.number("SELECT count(*) FROM second_leases WHERE lease = ?", lease))

    def lost(self, officer: str, lease: str) -> bool:
        """Whether an officer's lease ended without an answer or a return."""
        return self.ending(officer, lease) in ("", "deadline", "gone")

    def ending(self, officer: str, lease: str) -> str | None:
        """How an officer's lease ended; None while it is valid; empty where it never existed."""
        self.expire()
        row = self._database.row("SELECT how FROM leases WHERE id = ? AND officer = ?", lease, officer)
        return row["how"] if row else ""

    def answer(self, officer: str, lease: str, violation_code: int) -> Answered | None:
        """Store a signed answer and put it into the outbox; None where the officer never had such a lease.

        The first answer to an alert counts. An answer under a lease that has ended is stored too, and counts if it is
        the first. A repeated answer under the same lease changes nothing (idempotent). An answer under the lease of a
        second look is stored apart, and not published.

        Raises RequestRefused: the alert, stored by an older version, cannot be answered; it leaves the queue. Or
        another officer has taken the second look meanwhile.
        """
        if self._is_second(lease):
            return self._answer_again(officer, lease, violation_code)
        now = self._clock()
        refused, new = "", None
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT leases.*, alerts.message_id, payload, alerts.answered, shown.raised_at, shown.latitude,"
                " shown.longitude FROM leases JOIN alerts ON alerts.id = leases.alert"
                " JOIN shown_alerts AS shown ON shown.id = leases.alert WHERE leases.id = ? AND officer = ?",
                (lease, officer),
            ).fetchone()
            if row is None:
                return None
            before = connection.execute("SELECT * FROM answers WHERE lease = ?", [lease]).fetchone()
            if before is None:
                try:
                    alert, message = self._sign(row, officer, violation_code, now)
                except (msgspec.MsgspecError, ValueError) as error:
                    refused = str(error)
                    _close(connection, row, "handed back", now)
                    refuse(connection, ALERTS, [(row["payload"], refused)], now)
                else:
                    before = new = _insert(connection, row, alert, message, now)
                    if new["counts"]:
                        count_answer(connection, row, violation_code)
                        choose_look(connection, row["alert"], alert.message_id, self.second_look)
        if new is not None:
            counted = "violation" if violation_code else "no_violation"
            self.results[counted if new["counts"] else "not_first"] += 1
        self._changed()
        if before is None:
            raise RequestRefused(f"That alert cannot be answered: {refused[:200]}. It is stored as refused.")
        code, counts, at = before["violation_code"], bool(before["counts"]), before["answered_at"]
        return Answered(row["message_id"], code, counts, at - row["taken_at"], at - row["raised_at"])

    def _answer_again(self, officer: str, lease: str, violation_code: int) -> Answered | None:
        now = self._clock()
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT leases.*, message_id, raised_at FROM leases JOIN alerts ON alerts.id = leases.alert"
                " WHERE leases.id = ? AND officer = ?",
                (lease, officer),
            ).fetchone()
            if row is None:
                return None
            is_new = keep_look(connection, row, violation_code, now)
            look = connection.execute("SELECT * FROM second_looks WHERE alert = ?", [row["alert"]]).fetchone()
            _close(connection, row, "answered", now)
        self.results["second_look"] += is_new
        self._changed()
        if look["lease"] != lease:
            raise RequestRefused("Another officer has taken this second look meanwhile: nothing was answered.")
        code, at = look["violation_code"], look["answered_at"]
        return Answered(row["message_id"], code, False, at - row["taken_at"], at - row["raised_at"], is_second=True)

    def _sign(self, lease: sqlite3.Row, officer: str, violation_code: int, now: float) -> tuple[Alert, DroneMessage]:
        alert = decode_json(lease["payload"], _DECODER)
        when = rfc3339(datetime.fromtimestamp(now, UTC))
        message = answers.answer_to(
            alert, lease=lease["id"], officer_id=officer, violation_code=violation_code, event_time=when
        )
        return alert, answers.sign(message, self._key)

    def end(self, lease: str, how: Ending, officer: str | None = None) -> bool:
        """Return an alert to the queue; returns whether it was leased (to that officer)."""
        with self._database.transaction() as connection:
            ended = connection.execute(
                "UPDATE leases SET ended_at = ?, how = ?"
                " WHERE id = ? AND ended_at IS NULL AND officer = coalesce(?, officer)",
                (self._clock(), how, lease, officer),
            ).rowcount
        if ended:
            self._changed()
        return bool(ended)

    def expire(self) -> None:
        """Expire leases."""
        now = self._clock()
        for row in self._database.rows("SELECT id FROM leases WHERE ended_at IS NULL AND deadline <= ?", now):
            self.end(row["id"], "deadline")


def _insert(
    connection: sqlite3.Connection, lease: sqlite3.Row, alert: Alert, message: DroneMessage, now: float
) -> sqlite3.Row:
    connection.execute(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(message.message_id, lease["alert"], lease["id"], message.officer_id, message.violation_code, now),
            1 - lease["answered"],
        ),
    )
    _close(connection, lease, "answered", now)
    post(connection, ANSWERS, message.message_id, alert.drone_id, msgspec.json.encode(message))
    row: sqlite3.Row = connection.execute("SELECT * FROM answers WHERE lease = ?", [lease["id"]]).fetchone()
    return row


def _close(connection: sqlite3.Connection, lease: sqlite3.Row, how: str, now: float) -> None:
    connection.execute("UPDATE alerts SET answered = 1 WHERE id = ?", [lease["alert"]])
    connection.execute(
        "UPDATE leases SET ended_at = ?, how = ? WHERE id = ? AND ended_at IS NULL", (now, how, lease["id"])
    )


def _check_same(alert: Alert, known: bytes) -> None:
    """The identity of an alert: a repeated alert differs in its time only. Raises Undecodable."""
    before = decode_json(known, _DECODER)
    if msgspec.structs.replace(alert, alert_time=before.alert_time) != before:
        raise Undecodable("conflict", f"another alert is known by message_id {alert.message_id}")


def _read(payload: bytes) -> tuple[bytes, Alert, float] | Event:
    """A payload, the alert in it, and the time when it was raised in seconds since the epoch; or an event of a drone.

    Raises Undecodable, MsgspecError: it is none.
    """
    if (event := read_event(payload)) is not None:
        return event
    alert = decode_json(payload, _DECODER)
    moments = [event_time_of(alert.event_time), event_time_of(alert.alert_time)]
    if moments[0] is None or moments[1] is None:
        raise Undecodable(Reason.EVENT_TIME_UNREADABLE, f"{alert.event_time}, {alert.alert_time}")
    # An alert whose answer the graph would refuse is invalid.
    answers.check(answers.answer_to(alert, lease="", officer_id="-", violation_code=0, event_time=alert.event_time))
    return payload, alert, moments[1] / 1_000_000
