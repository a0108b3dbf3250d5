"""Events of drones, which come in the topic of alerts, and what is known of each drone."""

import sqlite3
from typing import Any, Final, NamedTuple

import msgspec

from schemas.decoding import Undecodable, decode_json
from schemas.drone_health import DroneEvent, EventKind
from schemas.messages import Reason
from schemas.times import event_time_of

MOST_EVENTS: Final = 5_000
"""Events that are kept, the newest."""
_MOST_BYTES: Final = 4096
_KINDS: Final = frozenset(EventKind)


class _Head(msgspec.Struct):
    kind: Any = None


_HEAD: Final = msgspec.json.Decoder(_Head)
_EVENT: Final = msgspec.json.Decoder(DroneEvent)


class Event(NamedTuple):
    """A row of the table ``drone_events``."""

    event_id: str
    drone_id: str
    kind: str
    began_at: float
    """In seconds since the epoch."""
    value: float | None
    battery_pct: float | None
    image_id: str | None


def read_event(payload: bytes) -> Event | None:
    """The event in a payload; None where it is something else. Raises Undecodable, MsgspecError."""
    try:
        kind = _HEAD.decode(payload).kind
    except msgspec.MsgspecError:  # the reader of alerts says what is wrong
        return None
    if not isinstance(kind, str) or kind not in _KINDS:
        return None
    event = decode_json(payload, _EVENT)
    began = event_time_of(event.event_time)
    if began is None or len(payload) > _MOST_BYTES:
        raise Undecodable(Reason.EVENT_TIME_UNREADABLE, event.event_time)
    identity = (event.message_id, event.drone_id, str(event.kind), began / 1_000_000)
    return Event(*identity, event.value, event.battery_pct, event.image_id)


def keep_event(connection: sqlite3.Connection, event: Event) -> None:
    """Store an event, once."""
    connection.execute("INSERT OR IGNORE INTO drone_events VALUES (?, ?, ?, ?, ?, ?, ?)", event)
