"""The topics that the console reads and publishes to."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from schemas.errors import PrestaCopError
from schemas.urls import KafkaUrl, Topic

from .database import DISK_ERRORS
from .outbox import Publisher

_NAP_S: Final = 2.0


class Read(NamedTuple):
    """Messages of a topic."""

    payloads: Sequence[bytes]
    positions: Mapping[int, int]
    """Where each partition goes on after them; Pub/Sub has none."""
    acknowledgements: Sequence[str] = ()


class Reader(Protocol):
    """A topic to read, from where it was read to."""

    def read(self, seconds: float) -> Read:
        """What is new; waits so long for it. Raises PrestaCopError."""

    def done(self, read: Read) -> None:
        """It is on the disk. Raises PrestaCopError."""

    def close(self) -> None:
        """Let go of it."""


class Follower:
    """Reads a topic as long as the console runs, and gives what comes to whoever keeps it."""

    def __init__(
        self, name: str, open_reader: Callable[[], Reader], take: Callable[[Sequence[bytes], Mapping[int, int]], None]
    ) -> None:
        self.name = name
        self.trouble = ""
        """Why nothing comes."""
        self._open_reader = open_reader
        self._take = take
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follow {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except PrestaCopError as error:
                self.trouble = str(error)
            except DISK_ERRORS as error:
                self.trouble = f"{self.name} cannot be kept: {error}. Make room on the console's disk; nothing is lost"
            self._stopping.wait(_NAP_S)

    def _follow(self) -> None:
        reader = self._open_reader()
        try:
            while not self._stopping.is_set():
                read = reader.read(0.5)
                self.trouble = ""
                if read.payloads:
                    self._take(read.payloads, read.positions)
                    reader.done(read)
        finally:
            reader.close()


def open_reader(url: Topic, positions: Mapping[int, int]) -> Reader:
    """Read from these positions on, or from the beginning. Raises PrestaCopError."""
    # The clients of the services take long to load.
    if isinstance(url, KafkaUrl):
        from .kafka_topics import KafkaReader  # noqa: PLC0415

        return KafkaReader(url, positions)
    from .pubsub_topics import PubSubReader  # noqa: PLC0415

    return PubSubReader(url)


def open_publisher(url: Topic) -> Publisher:
    """Publish to a topic. Raises PrestaCopError."""
    if isinstance(url, KafkaUrl):
        from .kafka_topics import KafkaPublisher  # noqa: PLC0415

        return KafkaPublisher(url)
    from .pubsub_topics import PubSubPublisher  # noqa: PLC0415

    return PubSubPublisher(url)
