"""Commands from a topic of Kafka."""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from apps.simulator.transport.commands import Radio
from apps.simulator.transport.sinks import Sink, TopicUnusable
from messaging.urls import KafkaUrl, kafka_config
from schemas.errors import ServiceUnavailable

_START_S: Final = 10.0
_AT_ONCE: Final = 1_000


class KafkaRadio(Radio):
    """Reads all partitions from their ends on, in no group: every fleet hears every command."""

    def __init__(self, url: KafkaUrl, confirming: Sink | None) -> None:
        """Find the topic. Raises TopicUnusable, ServiceUnavailable."""
        super().__init__(confirming)
        self._name = f"kafka://{url.bootstrap}/{url.topic}"
        config = {**kafka_config(url), "group.id": "simulator", "enable.auto.commit": False, "log_level": 0}
        try:
            self._consumer = Consumer({**config, "error_cb": lambda _: None})  # what stays wrong, a fetch says as well
            found = self._consumer.list_topics(url.topic, timeout=_START_S).topics[url.topic]
            if found.error is not None:
                raise KafkaException(found.error)
            places = [TopicPartition(url.topic, partition) for partition in found.partitions]
            for place in places:
                place.offset = self._consumer.get_watermark_offsets(place, timeout=_START_S)[1]
            self._consumer.assign(places)
        except KafkaException as error:
            raise self._error(error.args[0]) from error

    def _payloads(self) -> Sequence[bytes]:
        messages = self._consumer.consume(_AT_ONCE, 0)
        for message in messages:
            if (error := message.error()) is not None:
                raise self._error(error)
        return [message.value() or b"" for message in messages]

    def close(self) -> None:
        """Leave the topic."""
        self._consumer.close()

    def _error(self, error: KafkaError) -> TopicUnusable | ServiceUnavailable:
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            return TopicUnusable(f"{self._name}: there is no such topic of commands; make it with runners.topics")
        return ServiceUnavailable(f"{self._name}: no commands can be heard: {error.str()}")
