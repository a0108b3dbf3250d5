"""Commands to drones, and how a drone confirms one: a topic of each, one JSON object in UTF-8 a message.

A command is known by ``command_id`` and keyed by ``drone_id``, so that a drone gets its commands in order. The drone
obeys the last one, and confirms each once by a :class:`Confirmation` with the same ``command_id`` when it has begun to
obey; a command that came twice is confirmed twice, with the same ids. No drone confirms a command to one that does not
fly.
"""

from typing import Annotated, Literal

import msgspec

from schemas.messages import MAX_ID_CHARS, Id

Order = Literal["return", "hold"]
"""``return``: fly to the base and report no more violations. ``hold``: stay where you are, and go on reporting."""
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
    """When it began to obey."""
