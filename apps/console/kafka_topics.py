"""Topics of Kafka."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, TopicPartition

from messaging.kafka import Connection, Topic, TopicProducer, open_consumer, partitions_of
from messaging.retry import Patience
from messaging.urls import KafkaUrl
from schemas.errors import PrestaCopError

from .outbox import Posted
from .readers import Read

LOOK_S: Final = 60.0
"""How often a reader looks for new partitions."""
_WAIT_S: Final = 10.0
_PUBLISH_S: Final = 30.0
_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 16 * 1024**2
"""A read ends after so many bytes, although more messages wait."""
_READ: Final[dict[str, Any]] = {
    # What the broker has deleted cannot be read; go on with the oldest that there is.
    "auto.offset.reset": "earliest",
    "fetch.message.max.bytes": 16 * 1024 * 1024,
    # The limit of what is prefetched.
    "queued.max.messages.kbytes": 16 * 1024,
    "fetch.queue.backoff.ms": 50,
}


class KafkaReader:
    """All partitions of a topic, from stored positions on."""

    def __init__(self, url: KafkaUrl, positions: Mapping[int, int]) -> None:
        """Raises InputUnusable, NotPermitted, OptionsRefused, ServiceUnavailable."""
        self._url = url
        self._connection = Connection(url)
        self._positions = dict(positions)
        self._assigned: set[int] = set()
        self._patience = Patience(_WAIT_S)
        # A connection of its own: on the consumer's a request waits behind a fetch.
        self._topic = Topic(url, self._patience)
        self._consumer = open_consumer(self._connection, _READ)
        try:
            self._assign_new()
        except PrestaCopError:
            self._consumer.close()
            raise

    def _assign_new(self) -> None:
        """Read partitions that were added to the topic, too."""
        new = sorted(set(partitions_of(self._consumer, self._connection, self._patience)) - self._assigned)
        if new:
            places = [TopicPartition(self._url.topic, p, self._positions.get(p, 0)) for p in new]
            self._consumer.incremental_assign(places)
            self._assigned.update(new)
        self._looked = time.monotonic()

    def read(self, seconds: float) -> Read:
        """New messages. Raises InputUnusable, NotPermitted, ServiceUnavailable."""
        if time.monotonic() - self._looked > LOOK_S:
            self._assign_new()
        payloads: list[bytes] = []
        positions: dict[int, int] = {}
        size = 0
        message = self._consumer.poll(seconds)
        while message is not None:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise self._connection.error(error)
            if error is None:
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                payloads.append(message.value() or b"")
                positions[partition] = offset + 1
                size += len(payloads[-1])
            if len(payloads) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
                break
            message = self._consumer.poll(0)
        self._positions.update(positions)
        return Read(payloads, positions)

    def waiting(self) -> int:
        """How many messages have not been read. Raises ServiceUnavailable."""
        assigned = sorted(self._assigned)
        first, end = self._topic.firsts(assigned), self._topic.ends(assigned)
        return sum(max(end[p] - max(self._positions.get(p, 0), first[p]), 0) for p in assigned)

    def done(self, read: Read) -> None:
        """Nothing to do: positions are stored together with the messages."""

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


class KafkaPublisher:
    """A topic; messages of one key stay in order."""

    def __init__(self, url: KafkaUrl) -> None:
        """Raises OptionsRefused."""
        self._url = url
        self._producer = self._new_producer()

    def publish(self, messages: Sequence[Posted]) -> None:
        """Return when all are acknowledged. Raises InputUnusable, NotPermitted, ServiceUnavailable."""
        try:
            self._producer.send([m.payload for m in messages], [m.key for m in messages])
            self._producer.finish()
        except PrestaCopError:
            # Messages of this attempt must not follow those of the next; a fatal error would fail that one too.
            self.close()
            self._producer = self._new_producer()
            raise

    def close(self) -> None:
        """Give up what is not acknowledged."""
        self._producer.close()

    def _new_producer(self) -> TopicProducer:
        settings = {"message.timeout.ms": round(_PUBLISH_S * 1000)}
        return TopicProducer(self._url, settings, Patience(_PUBLISH_S + 5, answered=True))
