"""Commands to drones, and their confirmations."""

import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, get_args

import msgspec

from schemas.commands import Command, Confirmation, Order
from schemas.decoding import decode_json
from schemas.messages import MAX_ID_CHARS
from schemas.times import rfc3339

from .accounts import RequestRefused
from .database import Database
from .outbox import COMMANDS, post
from .reading import take

CONFIRMATIONS: Final = "confirmations"
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
CONFIRM_SECONDS: Final = 30.0
"""A drone that flies confirms a command within a second; so long after it the page says that none has."""
_MOST_NAMES: Final = 100
_MOST_SHOWN: Final = 500
_MOST_COMMANDS: Final = 50
EVENT_SECONDS: Final = 86_400.0
"""Events that began earlier are not shown."""
_DECODER: Final = msgspec.json.Decoder(Confirmation)


class Drones:
    """Commands to drones and their state."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def events(self, since: float) -> list[sqlite3.Row]:
        """The newest events of drones that began since then, the newest first."""
        return self._database.rows(
            "SELECT * FROM drone_events WHERE began_at > ? ORDER BY began_at DESC, event_id LIMIT ?", since, _MOST_SHOWN
        )

    def is_known(self, drone_id: str) -> bool:
        """Whether an alert or an event of the drone is stored, or it has confirmed a command."""
        return bool(
            self._database.number(
                "SELECT EXISTS (SELECT 1 FROM alerts WHERE drone_id = ?1)"
                " OR EXISTS (SELECT 1 FROM commands WHERE drone_id = ?1 AND confirmed_at IS NOT NULL)"
                " OR EXISTS (SELECT 1 FROM drone_events WHERE drone_id = ?1)",
                drone_id,
            )
        )

    def known(self) -> list[str]:
        """Ids of drones, those of the newest alerts."""
        rows = self._database.rows("SELECT drone_id FROM shown_alerts ORDER BY id DESC LIMIT ?", _MOST_NAMES)
        return list(dict.fromkeys(row["drone_id"] for row in rows))

    def command(self, supervisor: str, drone_id: str, order: str) -> None:
        """Put a command into the outbox. Raises RequestRefused."""
        if order not in ORDERS:
            raise RequestRefused(f"A command is {' or '.join(ORDERS)}.")
        if not 0 < len(drone_id) <= MAX_ID_CHARS:
            raise RequestRefused("Which drone? Type its id, as alerts show it.")
        now = self._clock()
        when = rfc3339(datetime.fromtimestamp(now, UTC))
        command = Command(command_id=secrets.token_hex(16), drone_id=drone_id, command=order, time=when)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO commands VALUES (?, ?, ?, ?, ?, NULL)",
                (command.command_id, drone_id, order, supervisor, now),
            )
            post(connection, COMMANDS, command.command_id, drone_id, msgspec.json.encode(command))

    def take(self, payloads: Sequence[bytes], positions: Mapping[int, int]) -> None:
        """Store confirmations; invalid messages are stored as refused."""
        now = self._clock()

        def keep(connection: sqlite3.Connection, confirmation: Confirmation) -> None:
            connection.execute(
                "UPDATE commands SET confirmed_at = coalesce(confirmed_at, ?) WHERE command_id = ?",
                (now, confirmation.command_id),
            )

        take(self._database, CONFIRMATIONS, payloads, positions, partial(decode_json, decoder=_DECODER), keep, now)

    def newest_commands(self) -> list[sqlite3.Row]:
        """The last commands, the newest first, and whether each is published and confirmed."""
        return self._database.rows(
            "SELECT commands.*, published_at FROM commands JOIN outbox ON message_id = command_id"
            " ORDER BY given_at DESC, outbox.number DESC LIMIT ?",
            _MOST_COMMANDS,
        )
