"""Topics of Kafka."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from messaging.urls import KafkaUrl, kafka_config
from schemas.errors import InputUnusable, PrestaCopError, ServiceUnavailable

from .outbox import Posted
from .topics import Read

LOOK_S: Final = 60.0
"""So often a reader asks whether its topic has more partitions."""
_WAIT_S: Final = 10.0
_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 16 * 1024**2
"""A read of so many bytes ends, whatever else waits."""
_QUIET: Final[dict[str, Any]] = {"log_level": 2}
_PUBLISH: Final[dict[str, Any]] = {"enable.idempotence": True, "acks": "all", "message.timeout.ms": 30_000}
_READ: Final[dict[str, Any]] = {
    "group.id": "console",  # librdkafka demands one; positions are the console's own, and it joins no group
    "enable.auto.commit": False,
    # What the broker has deleted cannot be read; go on with the oldest that there is.
    "auto.offset.reset": "earliest",
    "fetch.message.max.bytes": 16 * 1024 * 1024,
    # It fetches ahead no further, also while nobody reads.
    "queued.max.messages.kbytes": 16 * 1024,
    "fetch.queue.backoff.ms": 50,
}


class KafkaReader:
    """All partitions of a topic."""

    def __init__(self, url: KafkaUrl, positions: Mapping[int, int]) -> None:
        """Begin there. Raises InputUnusable, ServiceUnavailable."""
        self._url = url
        try:
            self._consumer = Consumer({**kafka_config(url), **_QUIET, **_READ})
            self._admin = AdminClient({**kafka_config(url), **_QUIET})
        except KafkaException as error:
            raise InputUnusable(f"Kafka's client does not take the options: {error.args[0].str()}") from error
        self._positions = dict(positions)
        self._assigned: set[int] = set()
        try:
            self._find_partitions()
        except PrestaCopError:
            self._consumer.close()
            raise

    def _find_partitions(self) -> None:
        """Read those that are new to us too. Raises InputUnusable, ServiceUnavailable."""
        try:
            found = self._consumer.list_topics(self._url.topic, timeout=_WAIT_S).topics[self._url.topic]
        except KafkaException as error:
            raise ServiceUnavailable(f"no Kafka answers at {self._url.bootstrap}: {error.args[0].str()}") from error
        if found.error is not None:
            raise InputUnusable(f"there is no topic {self._url.topic} at {self._url.bootstrap}: make topics makes it")
        new = found.partitions.keys() - self._assigned
        if new:
            topic, positions = self._url.topic, self._positions
            self._consumer.incremental_assign([TopicPartition(topic, p, positions.get(p, 0)) for p in sorted(new)])
        self._assigned |= new
        self._looked = time.monotonic()

    def read(self, seconds: float) -> Read:
        """What is new."""
        if time.monotonic() - self._looked > LOOK_S:
            self._find_partitions()
        payloads: list[bytes] = []
        positions: dict[int, int] = {}
        size = 0
        message = self._consumer.poll(seconds)
        while message is not None:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise ServiceUnavailable(f"Kafka at {self._url.bootstrap}: {error.str()}")
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
        oldest, latest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        first, end = self._offsets(oldest), self._offsets(latest)
        return sum(max(end[p] - max(self._positions.get(p, 0), first[p]), 0) for p in self._assigned)

    def _offsets(self, which: OffsetSpec) -> dict[int, int]:
        places = [TopicPartition(self._url.topic, partition) for partition in self._assigned]
        # Not by the consumer's connection: a question there is behind a fetch that waits for messages.
        asked = self._admin.list_offsets(dict.fromkeys(places, which), request_timeout=_WAIT_S)
        try:
            return {place.partition: int(answer.result().offset) for place, answer in asked.items()}
        except KafkaException as error:
            raise ServiceUnavailable(f"no Kafka answers at {self._url.bootstrap}: {error.args[0].str()}") from error

    def done(self, read: Read) -> None:
        """The positions are kept by whoever has taken the messages."""

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()


class KafkaPublisher:
    """A topic; messages of one key stay in order."""

    def __init__(self, url: KafkaUrl) -> None:
        """Raises InputUnusable: the client does not take the URL's options."""
        self._url = url
        self._producer = self._new_producer()

    def publish(self, messages: Sequence[Posted]) -> None:
        """Return when the brokers have all. Raises ServiceUnavailable."""
        failed: list[KafkaError] = []
        acknowledged = 0

        def on_delivery(error: KafkaError | None, _: Message) -> None:
            nonlocal acknowledged
            if error is None:
                acknowledged += 1
            else:
                failed.append(error)

        try:
            for message in messages:
                self._producer.produce(self._url.topic, message.payload, message.key, on_delivery=on_delivery)
            self._producer.flush(_PUBLISH["message.timeout.ms"] / 1000 + 5)
        except KafkaException as error:
            failed.append(error.args[0])
        if failed or acknowledged < len(messages):
            why = failed[0].str() if failed else "no acknowledgement"
            # What is left of this attempt must not come after the next one, which a fatal error would fail too.
            self.close()
            self._producer = self._new_producer()
            raise ServiceUnavailable(f"Kafka at {self._url.bootstrap}, topic {self._url.topic}: {why}")

    def close(self) -> None:
        """Let go of the broker."""
        self._producer.purge()
        self._producer.close()

    def _new_producer(self) -> Producer:
        try:
            return Producer({**kafka_config(self._url), **_QUIET, **_PUBLISH})
        except KafkaException as error:
            raise InputUnusable(f"Kafka's client does not take the options: {error.args[0].str()}") from error
