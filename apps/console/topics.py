"""The topics that the console reads and publishes to."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from messaging.urls import KafkaUrl, Topic

from .outbox import Publisher
from .readers import Reader
from .workers import Worker

FULL_NAP_S: Final = 2.0
"""How often a reader without room looks whether there is room again."""


class Backlog(NamedTuple):
    """Messages that stay in a topic because the console has no room for them."""

    messages: int | None
    """None: the service does not report how many."""


class Follower:
    """Reads a topic as long as the console runs, and passes the messages on to be stored.

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
        """What waits in the topic while there is no room; None: all was read."""
        self._open_reader = open_reader
        self._take = take
        self._has_room = has_room
        self._worker = Worker(name, self._follow)

    @property
    def name(self) -> str:
        """The name of what it reads."""
        return self._worker.name

    @property
    def trouble(self) -> str:
        """Why no messages come; empty if they do."""
        return self._worker.trouble

    def start(self) -> None:
        """Begin."""
        self._worker.start()

    def stop(self) -> None:
        """End."""
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
    """A reader from these positions on, else from the beginning. Raises PrestaCopError."""
    # The clients of the services take long to load.
    if isinstance(url, KafkaUrl):
        from .kafka_topics import KafkaReader  # noqa: PLC0415

        return KafkaReader(url, positions)
    from .pubsub_topics import PubSubReader  # noqa: PLC0415

    return PubSubReader(url)


def open_publisher(url: Topic) -> Publisher:
    """A publisher to a topic. Raises PrestaCopError."""
    if isinstance(url, KafkaUrl):
        from .kafka_topics import KafkaPublisher  # noqa: PLC0415

        return KafkaPublisher(url)
    from .pubsub_topics import PubSubPublisher  # noqa: PLC0415

    return PubSubPublisher(url)
