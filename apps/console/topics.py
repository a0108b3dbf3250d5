"""The topics that the console reads and publishes to."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from messaging.urls import KafkaUrl, Topic

from .outbox import Publisher
from .readers import Reader
from .workers import Worker

FULL_NAP_S: Final = 2.0
"""How often a full reader checks for room."""


class Backlog(NamedTuple):
    """Messages that wait in a topic because the console is full."""

    messages: int | None
    """None where the service does not report the number."""


class Follower:
    """Reads a topic while the console runs and stores its messages.

    Args:
        has_room: whether more messages can be stored; while not, none is read (backpressure).
    """

    def __init__(
        self,
        name: str,
        open_reader: Callable[[], Reader],
        take: Callable[[Sequence[bytes], Mapping[int, int]], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self.backlog: Backlog | None = None
        """The messages that wait in the topic (backpressure); None where all were read."""
        self._open_reader = open_reader
        self._take = take
        self._has_room = has_room
        self._worker = Worker(name, self._follow)

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._worker.name

    @property
    def trouble(self) -> str:
        """Why no messages arrive; empty if they do."""
        return self._worker.trouble

    @property
    def has_ended(self) -> bool:
        """Whether its thread ended by itself."""
        return self._worker.has_ended

    def start(self) -> None:
        """Start."""
        self._worker.start()

    def stop(self) -> None:
        """Stop."""
        self._worker.stop(5)

    def _follow(self, stopping: threading.Event) -> None:
        reader = self._open_reader()
        try:
            while not stopping.is_set():
                if not self._has_room():
                    self.backlog = Backlog(reader.waiting())
                    self._worker.works()
                    stopping.wait(FULL_NAP_S)
                    continue
                read = reader.read(0.5)
                if read.payloads:
                    self._take(read.payloads, read.positions)
                    reader.done(read)
                else:
                    self.backlog = None
                self._worker.works()
        finally:
            reader.close()


def open_reader(url: Topic, positions: Mapping[int, int]) -> Reader:
    """Open a reader from stored offsets on, else from the beginning. Raises PrestaCopError."""
    # Imported here: the clients take long to load.
    if isinstance(url, KafkaUrl):
        from .kafka_topics import KafkaReader  # noqa: PLC0415

        return KafkaReader(url, positions)
    from .pubsub_topics import PubSubReader  # noqa: PLC0415

    return PubSubReader(url)


def open_publisher(url: Topic) -> Publisher:
    """Open a publisher to a topic. Raises PrestaCopError."""
    if isinstance(url, KafkaUrl):
        from .kafka_topics import KafkaPublisher  # noqa: PLC0415

        return KafkaPublisher(url)
    from .pubsub_topics import PubSubPublisher  # noqa: PLC0415

    return PubSubPublisher(url)
