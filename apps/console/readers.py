"""The interface of a topic's reader."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Read(NamedTuple):
    """Messages of a topic."""

    payloads: Sequence[bytes]
    positions: Mapping[int, int]
    """Partition -> offset of the next message; empty for Pub/Sub."""
    acknowledgements: Sequence[str] = ()


class Reader(Protocol):
    """Reads a topic from stored offsets on."""

    def read(self, seconds: float) -> Read:
        """New messages; waits for them up to a timeout in seconds. Raises PrestaCopError."""

    def waiting(self) -> int | None:
        """Number of unread messages; None where the service does not report it. Raises PrestaCopError."""

    def done(self, read: Read) -> None:
        """Acknowledge messages that are stored. Raises PrestaCopError."""

    def close(self) -> None:
        """Close the connection."""
