"""Commands to drones, and how a drone confirms one: a topic of each, one JSON object in UTF-8 a message.

The identity of a command is its ``command_id``; its key is ``drone_id``, so that a drone gets its commands in order.
The drone follows the last one and confirms each by a :class:`Confirmation` with the same ``command_id``; a redelivered
command is confirmed again, with the same ids. A drone that does not fly confirms nothing. A fleet reads only commands
that are published after it took off.
"""

from typing import Annotated, Literal

import msgspec

from schemas.messages import MAX_ID_CHARS, Id

Order = Literal["return", "hold"]
"""``return``: fly to the base, stay there and report no more violations. ``hold``: stay where you are until the battery
is low, and go on reporting."""
Time = Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
"""RFC 3339, UTC, microseconds."""


class Command(msgspec.Struct, kw_only=True, gc=False):
    """A command to a drone."""

    command_id: Id
    drone_id: Id
    command: Order
    time: Time
    """When it was issued."""


class Confirmation(msgspec.Struct, kw_only=True, gc=False):
    """A drone's confirmation of a command."""

    command_id: Id
    drone_id: Id
    command: Order
    time: Time
    """From when on the drone follows it: its messages with a later event time do."""
