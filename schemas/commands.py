"""Commands to drones, and how a drone confirms one: a topic of each, one JSON object in UTF-8 a message.

A command is known by ``command_id`` and keyed by ``drone_id``, so that a drone gets its commands in order. The drone
obeys the last one, and confirms each by a :class:`Confirmation` with the same ``command_id``; a command that came twice
is confirmed twice, with the same ids. Nobody confirms a command to a drone that does not fly. A fleet hears what is
said after it took off: an order of yesterday is not obeyed.
"""

from typing import Annotated, Literal

import msgspec

from schemas.messages import MAX_ID_CHARS, Id

Order = Literal["return", "hold"]
"""``return``: fly to the base, stay there and report no more violations. ``hold``: stay where you are until the battery
calls you back, and go on reporting."""
Time = Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
"""RFC 3339, UTC, microseconds."""


class Command(msgspec.Struct, kw_only=True, gc=False):
    """What a drone is told."""

    command_id: Id
    drone_id: Id
    command: Order
    time: Time
    """When it was given."""


class Confirmation(msgspec.Struct, kw_only=True, gc=False):
    """A drone obeys."""

    command_id: Id
    drone_id: Id
    command: Order
    time: Time
    """From when on it obeys: what it says of a later time, it says as it was told."""
