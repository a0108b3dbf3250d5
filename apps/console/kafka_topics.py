"""Topics of Kafka."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.errors import InputUnusable, ServiceUnavailable
from schemas.urls import KafkaUrl, kafka_config

from .outbox import Posted
from .topics import Read

_WAIT_S: Final = 10.0
_AT_ONCE: Final = 500
_QUIET: Final[dict[str, Any]] = {"log_level": 2}
_PUBLISH: Final[dict[str, Any]] = {"enable.idempotence": True, "acks": "all", "message.timeout.ms": 30_000}
_READ: Final[dict[str, Any]] = {
    "group.id": "console",  # librdkafka demands one; positions are the console's own, and it joins no group
    "enable.auto.commit": False,
    # What the broker has deleted cannot be read; go on with the oldest that there is.
    "auto.offset.reset": "earliest",
    "fetch.message.max.bytes": 16 * 1024 * 1024,
}


class KafkaReader:
    """All partitions of a topic."""

    def __init__(self, url: KafkaUrl, positions: Mapping[int, int]) -> None:
        """Begin there. Raises InputUnusable, ServiceUnavailable."""
        self._url = url
        try:
            self._consumer = Consumer({**_QUIET, **_READ, **kafka_config(url)})
        except KafkaException as error:
            raise InputUnusable(f"Kafka's client does not take the options: {error.args[0].str()}") from error
        try:
            found = self._consumer.list_topics(url.topic, timeout=_WAIT_S).topics[url.topic]
            if found.error is not None:
                raise InputUnusable(f"there is no topic {url.topic} at {url.bootstrap}: make topics makes it")
            self._consumer.assign([TopicPartition(url.topic, p, positions.get(p, 0)) for p in found.partitions])
        except KafkaException as error:
            self._consumer.close()
            raise ServiceUnavailable(f"no Kafka answers at {url.bootstrap}: {error.args[0].str()}") from error
        except InputUnusable:
            self._consumer.close()
            raise

    def read(self, seconds: float) -> Read:
        """What is new."""
        payloads: list[bytes] = []
        positions: dict[int, int] = {}
        for message in self._consumer.consume(_AT_ONCE, timeout=seconds):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    continue
                raise ServiceUnavailable(f"Kafka at {self._url.bootstrap}: {error.str()}")
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            payloads.append(message.value() or b"")
            positions[partition] = offset + 1
        return Read(payloads, positions)

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
            return Producer({**_QUIET, **_PUBLISH, **kafka_config(self._url)})
        except KafkaException as error:
            raise InputUnusable(f"Kafka's client does not take the options: {error.args[0].str()}") from error
