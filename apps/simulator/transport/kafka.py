"""Kafka: a topic to publish to, and one to read commands from."""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import TopicPartition

from apps.simulator.transport.command_reader import CommandReader
from apps.simulator.transport.sink import Sink
from messaging.kafka import Connection, Topic, TopicProducer, open_consumer, partitions_of
from messaging.retry import Patience
from messaging.urls import KafkaUrl

_START_S: Final = 10.0
_AT_ONCE: Final = 1_000
_SETTINGS: Final = {
    "linger.ms": 20,
    # A broker may be away for this long, and nothing is lost.
    "message.timeout.ms": 60_000,
}


class KafkaSink(Sink):
    """Publishes each payload once, in the order of its key: all that have the same key go to the same partition."""

    def __init__(self, url: KafkaUrl) -> None:
        """Find the topic. Raises OptionsRefused, TopicUnusable, NotPermitted, ServiceUnavailable."""
        self._producer = TopicProducer(url, _SETTINGS)
        self._producer.find(Patience(_START_S))

    def write(self, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        """Publish ``payloads``; waits where the queue is full."""
        self._producer.send(payloads, keys)

    def waiting(self) -> int:
        """How many messages are not acknowledged."""
        self._producer.poll()
        return self._producer.waiting

    def finish(self) -> None:
        """Wait for the acknowledgement of every message."""
        self._producer.finish()

    def close(self) -> None:
        """Give up what is not acknowledged."""
        self._producer.close()


class KafkaCommands(CommandReader):
    """Reads all partitions from their ends on, in no group: every fleet reads every command."""

    def __init__(self, url: KafkaUrl, confirmations: Sink | None) -> None:
        """Find the topic. Raises OptionsRefused, TopicUnusable, NotPermitted, ServiceUnavailable."""
        super().__init__(confirmations)
        self._connection = Connection(url)
        self._consumer = open_consumer(self._connection, {})
        patience = Patience(_START_S)
        ends = Topic(url, patience).ends(partitions_of(self._consumer, self._connection, patience))
        self._consumer.assign([TopicPartition(url.topic, partition, end) for partition, end in ends.items()])

    def _payloads(self) -> Sequence[bytes]:
        messages = self._consumer.consume(_AT_ONCE, 0)
        for message in messages:
            if (error := message.error()) is not None:
                raise self._connection.error(error)
        return [message.value() or b"" for message in messages]

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
