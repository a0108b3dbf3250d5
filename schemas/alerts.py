"""An alert: a violation that no drone could qualify and a police officer must look at.

One JSON object in UTF-8. Its identity is the drone message's ``message_id``, also its key in Kafka and its attribute
``message_id`` in Pub/Sub: a redelivery, as after a crash, is the same alert.
"""

from typing import Annotated, Final, Literal

import msgspec

from schemas.drone_health import DroneEvent
from schemas.messages import MAX_ID_CHARS, Id

MESSAGE_ID: Final = "message_id"
"""The attribute that carries the identity in Pub/Sub."""


class Alert(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The fields of the drone message, and ``alert_time``. An old drone (v0) has no sequence and no battery."""

    schema_version: Literal[1]
    message_id: Id
    drone_id: Id
    sequence: Annotated[int, msgspec.Meta(ge=0)] | None = None
    event_time: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
    """When the drone saw the violation: RFC 3339, UTC, microseconds."""
    latitude: float
    longitude: float
    altitude_m: float
    battery_pct: float | None = None
    kind: Literal["violation"]
    status: Literal["raw"]
    violation_code: Literal[0]
    plate_id: str | None = None
    image_id: Id | None = None
    alert_time: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
    """When the graph raised the alert: RFC 3339, UTC, microseconds. A redelivery has another one."""


_decoder: Final = msgspec.json.Decoder(Alert)


def encode(alert: Alert | DroneEvent) -> bytes:
    """The payload on the wire."""
    return msgspec.json.encode(alert)


def decode(payload: bytes) -> Alert:
    """The alert in a payload; unknown fields are ignored. Raises msgspec.MsgspecError."""
    return _decoder.decode(payload)
