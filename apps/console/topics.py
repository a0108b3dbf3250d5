"""The topics that the console reads and publishes to."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from messaging.urls import KafkaUrl, Topic

from .outbox import Publisher
from .readers import Reader
from .workers import Worker

FULL_NAP_S: Final = 2.0
"""So often it is looked whether there is room again."""


class Backlog(NamedTuple):
    """What stays in a topic, as there is no room for it here."""

    messages: int | None
    """None: the service does not say how many."""


class Follower:
    """Reads a topic as long as the console runs, and gives what comes to whoever keeps it.

    Args:
        has_room: whether another message may come; while not, none is read: the topic keeps them.
    """

    def __init__(
        self,
        name: str,
        open_reader: Callable[[], Reader],
        take: Callable[[Sequence[bytes], Mapping[int, int]], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self.backlog: Backlog | None = None
        """What waits since there was no room; None: all was read."""
        self._open_reader = open_reader
        self._take = take
        self._has_room = has_room
        self._worker = Worker(name, self._follow)

    @property
    def name(self) -> str:
        """Of what it reads."""
        return self._worker.name

    @property
    def trouble(self) -> str:
        """Why nothing comes."""
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
