"""Alerts to a topic of Kafka or Pub/Sub, known there by message_id."""

from collections.abc import Sequence

from messaging.kafka import Topic, TopicProducer
from messaging.pubsub import Publisher, message
from messaging.retry import PATIENCE_SECONDS, START_SECONDS, Patience
from messaging.urls import KafkaUrl, PubSubUrl
from schemas.alerts import MESSAGE_ID, Alert, encode
from schemas.drone_health import DroneEvent


class KafkaAlerts:
    """A topic of Kafka; the key is the message_id, so that a compacted topic keeps each alert once."""

    def __init__(self, url: KafkaUrl) -> None:
        """Find it. Raises InputUnusable, NotPermitted, OptionsRefused, ServiceUnavailable."""
        Topic(url, Patience(START_SECONDS)).identity()  # a producer's own look-up would create it
        settings = {"linger.ms": 5, "message.timeout.ms": int(PATIENCE_SECONDS * 1000)}
        self._producer = TopicProducer(url, settings, Patience(PATIENCE_SECONDS, answered=True))

    def send(self, alerts: Sequence[Alert | DroneEvent]) -> None:
        """See :class:`transforms.alerts.channels.Channel`."""
        self._producer.send(map(encode, alerts), [alert.message_id for alert in alerts])
        self._producer.finish()

    def close(self) -> None:
        """Give up what is not acknowledged."""
        self._producer.close()


class PubSubAlerts:
    """A topic of Pub/Sub; the message_id is an attribute."""

    def __init__(self, url: PubSubUrl) -> None:
        """Find it. Raises InputUnusable, NotPermitted, ServiceUnavailable."""
        self._publisher = Publisher(url, Patience(PATIENCE_SECONDS, answered=True))
        self._publisher.find(Patience(START_SECONDS))

    def send(self, alerts: Sequence[Alert | DroneEvent]) -> None:
        """See :class:`transforms.alerts.channels.Channel`."""
        self._publisher.publish(message(encode(alert), **{MESSAGE_ID: alert.message_id}) for alert in alerts)

    def close(self) -> None:
        """Close the connection."""
        self._publisher.close()


def open_topic(url: KafkaUrl | PubSubUrl) -> KafkaAlerts | PubSubAlerts:
    """Find a topic. Raises InputUnusable, NotPermitted, OptionsRefused, ServiceUnavailable."""
    return KafkaAlerts(url) if isinstance(url, KafkaUrl) else PubSubAlerts(url)
