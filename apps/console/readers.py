"""What the console needs of a topic that it reads."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Read(NamedTuple):
    """Messages of a topic."""

    payloads: Sequence[bytes]
    positions: Mapping[int, int]
    """By partition the offset of the next message; empty for Pub/Sub."""
    acknowledgements: Sequence[str] = ()


class Reader(Protocol):
    """A topic that is read from stored positions on."""

    def read(self, seconds: float) -> Read:
        """New messages; waits up to so many seconds for them. Raises PrestaCopError."""

    def waiting(self) -> int | None:
        """How many messages have not been read; None where the service does not report it. Raises PrestaCopError."""

    def done(self, read: Read) -> None:
        """Acknowledge messages that are stored. Raises PrestaCopError."""

    def close(self) -> None:
        """Close the connection."""
