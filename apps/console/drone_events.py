"""Events of drones, which come in the topic of alerts, and what is known of each drone."""

import sqlite3
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from schemas.decoding import Undecodable, decode_checked, decode_json
from schemas.drone_health import GROUND_METRES, SILENT_SECONDS, DroneEvent, EventKind
from schemas.messages import EVENT_SECONDS, Id, Reason
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
    """The event in a payload; None where it is something else. Raises Undecodable."""
    try:
        kind = decode_json(payload, _HEAD).kind
    except Undecodable:  # the reader of alerts says what is wrong
        return None
    if not isinstance(kind, str) or kind not in _KINDS:
        return None
    if len(payload) > _MOST_BYTES:
        raise Undecodable(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {_MOST_BYTES}")
    event = decode_checked(payload, _EVENT)
    began = event_time_of(event.event_time)
    if began is None:
        raise Undecodable(Reason.EVENT_TIME_UNREADABLE, event.event_time)
    identity = (event.message_id, event.drone_id, str(event.kind), began / 1_000_000)
    return Event(*identity, event.value, event.battery_pct, event.image_id)


def keep_event(connection: sqlite3.Connection, event: Event) -> None:
    """Store an event, once."""
    connection.execute("INSERT OR IGNORE INTO drone_events VALUES (?, ?, ?, ?, ?, ?, ?)", event)


def delete_old_events(connection: sqlite3.Connection) -> None:
    """Delete the oldest events beyond the limit."""
    connection.execute(
        "DELETE FROM drone_events WHERE began_at <"
        " (SELECT began_at FROM drone_events ORDER BY began_at DESC LIMIT 1 OFFSET ?)",
        (MOST_EVENTS - 1,),
    )


CURVE_SECONDS: Final = 3600
"""The length of a battery's curve."""
CONTACT_SECONDS: Final = 120
"""After a longer time without a message a drone is not in contact: lines come every 30 seconds, some time after the
messages."""
OPEN_SECONDS: Final = 3600
"""An event about which the drone's messages say nothing, such as a jump, is shown as open for so long."""
_MOST_DRONES: Final = 20_000
_CHARGED_PCT: Final = 30.0

_Share = Annotated[float, msgspec.Meta(ge=0, le=100)]
_Line = tuple[Id, Annotated[float, msgspec.Meta(ge=EVENT_SECONDS[0], lt=EVENT_SECONDS[1])], _Share | None, float, float,
              float | None]  # fmt: skip


class _Lines(msgspec.Struct):
    drones: list[_Line]


_LINES: Final = msgspec.json.Decoder(_Lines)


class Drone(NamedTuple):
    """What the last message of a drone says."""

    drone_id: str
    heard_at: float
    """In seconds since the epoch."""
    battery_pct: float | None
    latitude: float
    longitude: float
    altitude_m: float | None
    curve: tuple[tuple[float, float], ...]
    """Times and percents of the battery in the last hour."""

    @property
    def flies(self) -> bool:
        """Whether it is in the air."""
        return self.altitude_m is not None and self.altitude_m > GROUND_METRES


class Fleet:
    """The drones of which the live statistics have a message."""

    def __init__(self) -> None:
        self.drones: dict[str, Drone] = {}

    def add(self, line: bytes) -> None:
        """Add a line. Raises MsgspecError where it is none."""
        for name, at, battery, latitude, longitude, altitude in _LINES.decode(line).drones:
            before = self.drones.get(name)
            if before is not None and at <= before.heard_at:
                continue
            if before is None and len(self.drones) >= _MOST_DRONES:
                continue
            curve = tuple(point for point in (before.curve if before else ()) if point[0] > at - CURVE_SECONDS)
            curve += ((at, battery),) if battery is not None else ()
            self.drones[name] = Drone(name, at, battery, latitude, longitude, altitude, curve)


class DroneRow(NamedTuple):
    """A drone on the page."""

    drone_id: str
    drone: Drone | None
    """None where the console only has events of it."""
    state: str
    level: str
    """good, bad or empty: the colour of the state."""
    events: list[sqlite3.Row]
    """Those that are open, the newest first."""


def rows_of(fleet: Fleet, events: list[sqlite3.Row], now: float) -> list[DroneRow]:
    """A row for each drone: first those with open events, by the newest; then the others by name."""
    found: dict[str, list[sqlite3.Row]] = {name: [] for name in fleet.drones}
    for event in events:
        if _is_open(event, fleet.drones.get(event["drone_id"]), now):
            found.setdefault(event["drone_id"], []).append(event)
    rows = [_row(name, fleet.drones.get(name), some, now) for name, some in found.items()]
    return sorted(rows, key=lambda row: (-max((e["began_at"] for e in row.events), default=0.0), row.drone_id))


def _row(name: str, drone: Drone | None, events: list[sqlite3.Row], now: float) -> DroneRow:
    if drone is None:
        return DroneRow(name, None, "no message here", "", events)
    if now - drone.heard_at > CONTACT_SECONDS:
        return DroneRow(name, drone, "no contact", "bad", events)
    return DroneRow(name, drone, "flies" if drone.flies else "on the ground", "good" if drone.flies else "", events)


def _is_open(event: sqlite3.Row, drone: Drone | None, now: float) -> bool:
    """Whether an event lasts, as far as the drone's messages tell."""
    kind, began = str(event["kind"]), float(event["began_at"])
    if kind == EventKind.SILENT:
        return drone is None or drone.heard_at <= began + SILENT_SECONDS
    if kind == EventKind.BATTERY_LOW and drone is not None and drone.heard_at > began:
        return drone.flies or (drone.battery_pct is not None and drone.battery_pct < _CHARGED_PCT)
    return began > now - OPEN_SECONDS


KINDS: Final = {
    EventKind.SILENT: "silent",
    EventKind.BATTERY_LOW: "battery will not last to the base",
    EventKind.POSITION_JUMP: "position jumped",
    EventKind.CLOCK_OFF: "clock is wrong",
    EventKind.PICTURE_MISSING: "picture is missing",
}
"""What the page calls an event."""
