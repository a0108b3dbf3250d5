"""A Kafka topic to publish to."""

import time
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from apps.simulator.transport.sinks import Sink, TopicUnusable
from messaging.urls import KafkaUrl, kafka_config
from schemas.errors import OutputUnusable, PrestaCopError, ServiceUnavailable

# The options of a URL go before these.
_CONFIG: Final[dict[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 20,
    # More than this, and write() waits.
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 64 * 1024,
    # The topic alone says how large a message may be.
    "message.max.bytes": 16 * 1024 * 1024,
    # A broker may be away for this long, and nothing is lost.
    "message.timeout.ms": 60_000,
    # Its own lines on stderr say less than the error at the end: only those that are fatal.
    "log_level": 2,
}
_START_S: Final = 10.0
_APPEARS_S: Final = 3.0
"""A topic that was made a moment ago may not be known to every broker yet."""
_NAP_S: Final = 0.01
_NO_TOPIC: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
_TOPIC_REFUSES: Final = (
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.POLICY_VIOLATION,
)


class KafkaTopic(Sink):
    """Publishes each payload once, in the order of its key: all that have the same key go to the same partition."""

    def __init__(self, url: KafkaUrl) -> None:
        """Find the topic. Raises OutputUnusable for options that librdkafka refuses, TopicUnusable and
        ServiceUnavailable."""
        self._url = url
        self._written = 0
        self._acknowledged = 0
        self._failure: KafkaError | None = None
        self._trouble = ""
        try:
            self._producer = Producer({**_CONFIG, **kafka_config(url), "error_cb": self._on_error})
        except KafkaException as error:
            raise OutputUnusable(f"Kafka's client does not take the options: {error.args[0].str()}") from error
        self._find()

    def write(self, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        """Publish ``payloads``; waits where the queue is full."""
        produce, topic, on_delivery = self._producer.produce, self._url.topic, self._on_delivery
        for payload, key in zip(payloads, keys, strict=True):
            while True:
                try:
                    produce(topic, payload, key, on_delivery=on_delivery)
                    break
                except BufferError:
                    self._nap()
                except KafkaException as error:
                    raise self._error(error.args[0]) from error
            self._written += 1
        self._serve()

    def waiting(self) -> int:
        """How many messages are not acknowledged."""
        self._serve()
        return self._written - self._acknowledged

    def finish(self) -> None:
        """Wait for the acknowledgement of every message."""
        while self.waiting():
            self._nap()

    def close(self) -> None:
        """Let go of what is not acknowledged."""
        self._producer.purge()  # close() would wait for it
        self._producer.close()

    def _find(self) -> None:
        appears = time.monotonic() + _APPEARS_S
        while True:
            try:
                found = self._producer.list_topics(self._url.topic, timeout=_START_S).topics[self._url.topic].error
            except KafkaException as error:
                self._producer.poll(0)
                raise ServiceUnavailable(
                    f"no Kafka answers at {self._url.bootstrap}: {self._trouble or error.args[0].str()}"
                ) from error
            if found is None:
                return
            if time.monotonic() > appears:
                raise self._error(found)
            time.sleep(_NAP_S)

    def _nap(self) -> None:
        # Where Ctrl-C comes while it waits itself, flush() and poll() may lose it (SystemError, confluent-kafka 2.16).
        time.sleep(_NAP_S)
        self._serve()

    def _serve(self) -> None:
        """Take the reports of deliveries. Raises for the first that failed."""
        self._producer.poll(0)
        if self._failure is not None:
            raise self._error(self._failure)

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self._acknowledged += 1
        elif self._failure is None:
            self._failure = error

    def _on_error(self, error: KafkaError) -> None:
        # That all brokers are down says less than what was said before of one of them.
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._trouble = error.str()

    def _error(self, error: KafkaError) -> PrestaCopError:
        topic, bootstrap = self._url.topic, self._url.bootstrap
        if error.code() in _NO_TOPIC:
            return TopicUnusable(
                f"there is no topic {topic} at {bootstrap}. Create it: "
                f"kafka-topics.sh --bootstrap-server {bootstrap} --create --topic {topic} --partitions 8"
            )
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return TopicUnusable(
                f"topic {topic} at {bootstrap} refuses a message for its size: raise max.message.bytes of the topic"
            )
        if error.code() in _TOPIC_REFUSES:
            return TopicUnusable(f"topic {topic} at {bootstrap} takes no messages: {error.str()}")
        lost = self._written - self._acknowledged
        trouble = f" ({self._trouble})" if self._trouble else ""
        return ServiceUnavailable(
            f"Kafka at {bootstrap}: {error.str()}{trouble}; {lost:,} of {self._written:,} messages to {topic} are not "
            "acknowledged"
        )
