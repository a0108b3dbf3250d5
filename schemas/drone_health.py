"""Drone health: the kinds of events, their thresholds, and the event on the wire.

An event is one JSON object in UTF-8 in the topic of alerts, beside the alerts of violations (:mod:`schemas.alerts`),
and told from them by its ``kind``. Its identity is ``message_id``: a redelivery, as after a crash, is the same event.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from schemas.messages import MAX_ID_CHARS, Id


class EventKind(StrEnum):
    """What happened to a drone."""

    SILENT = "silent"
    """Nothing was heard of it for :data:`SILENT_SECONDS`, while others were heard."""
    BATTERY_LOW = "battery_low"
    """Its battery will not last for the way to its base."""
    POSITION_JUMP = "position_jump"
    """Its position changed faster than it can fly."""
    CLOCK_OFF = "clock_off"
    """Its event times differ from the times at which its messages are published."""
    PICTURE_MISSING = "picture_missing"
    """It reported a violation, and the picture has not come."""


SILENT_SECONDS: Final = 60
"""The longest pause between two messages of a drone that is heard. Issue: "silent for a minute"; drones send about one
message a second."""
REGULAR_SECONDS: Final = 20
"""A drone whose message before the pause is older than this reports too rarely for a pause to say anything: in a
recording of one message a minute each pause would be an event."""
HEARD_SHARE: Final = 0.25
"""Where fewer messages of all drones come than this share of those of a minute before, it is the topic that is silent,
or a recording that ends, and no drone."""
LATE_SECONDS: Final = 30
"""A message that is published later than this after its event is no sign of life of that moment. The delay of a mobile
network is below a second; a drone that was out of reach sends its backlog later."""
CLOCK_AHEAD_SECONDS: Final = 10
"""A message cannot come before its event: what is further ahead comes from a wrong clock. Clocks that are set by GPS or
NTP agree within a second."""
REPLAY_SECONDS: Final = 86_400
"""Messages whose times differ by more are a replay of a recording, and are not judged."""
CLOCK_SPAN_SECONDS: Final = 20
"""Messages with wrong times must span at least this time within a minute, without one right time among them: those of a
backlog, or of a message that was held up, do not."""
CLOCK_MESSAGES: Final = 5
"""At least so many of those that :mod:`transforms.health.samples` keeps, about 12 a minute: single messages that are
late, as after a reboot, which numbers them anew, are fewer."""
CLOCK_MEMORY_SECONDS: Final = 900
"""For how long the last message with a right time is compared with, to tell a slow clock from a backlog."""
JUMP_M_S: Final = 50.0
"""No drone of the fleet is faster: theirs fly at most 15 m/s, and the fastest multicopters in service 25 to 30 m/s."""
JUMP_METRES: Final = 250.0
"""A shorter jump is an error of GPS, whose reflections between buildings make up to some 100 m."""
RETURN_M_S: Final = 15.0
"""The speed of a drone on its way to its base."""
DRAIN_PCT_S: Final = 100 / 1800
"""What a battery loses in flight, in percent per second, while that of the drone itself is not known: a charge lasts
for half an hour."""
RESERVE_PCT: Final = 3.0
"""What must be left at the base. A drone of the fleet turns back with 10 % to spare."""
GROUND_METRES: Final = 1.0
"""A drone that is lower stands on the ground: that is its base."""
PICTURE_SECONDS: Final = 120
"""How long a picture may take: it is 30 KB to 10 MB, and has a topic of its own."""
AGAIN_SECONDS: Final = 60
"""An event of one kind is not reported again while it lasts, and for so long after it."""


GONE_SECONDS: Final = 1200
"""What is known of a drone that was not heard for so long is forgotten: its base may be another one, too. Longer than
:data:`CLOCK_MEMORY_SECONDS`, so that nothing is compared with what was forgotten."""


class DroneEvent(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """An event of a drone, as the topic of alerts has it."""

    schema_version: Literal[1]
    message_id: Id
    """The ``event_id`` of the dataset ``drone_events``."""
    kind: EventKind
    drone_id: Id
    event_time: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
    """When it began, RFC 3339, UTC: of a silent drone the time of its last message."""
    latitude: float | None = None
    longitude: float | None = None
    battery_pct: float | None = None
    value: float | None = None
    """``silent``: seconds without a message when it was reported. ``battery_low``: percent of the battery that the way
    to the base takes. ``position_jump``: metres between two positions. ``clock_off``: seconds by which the clock is
    fast, negative where it is slow. ``picture_missing``: seconds waited for the picture."""
    image_id: str | None = None
    alert_time: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
    """When the graph reported it. A redelivery has another one."""


_DECODER: Final = msgspec.json.Decoder(DroneEvent)


def decode(payload: bytes) -> DroneEvent:
    """The event in a payload; unknown fields are ignored. Raises msgspec.MsgspecError."""
    return _DECODER.decode(payload)
