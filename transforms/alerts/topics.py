"""Alerts to a topic of Kafka or Pub/Sub, known there by message_id."""

import time
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient

from messaging.pubsub import PASSES
from messaging.urls import KafkaUrl, PubSubUrl, kafka_config
from schemas.alerts import MESSAGE_ID, Alert, encode
from schemas.errors import InputUnusable, PrestaCopError, ServiceUnavailable
from sources.streams.kafka_broker import Broker, Topic

PATIENCE_SECONDS: Final = 60
"""How long a service may be away while alerts wait for it."""
START_SECONDS: Final = 20

_CONFIG: Final[dict[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 5,
    "message.timeout.ms": PATIENCE_SECONDS * 1000,
    "log_level": 0,
}


class KafkaAlerts:
    """A topic of Kafka; the key is the message_id, so that a compacted topic keeps each alert once."""

    def __init__(self, url: KafkaUrl) -> None:
        """Find it. Raises InputUnusable, ServiceUnavailable."""
        Topic(url).identity()
        self._topic = url.topic
        self._broker = Broker(url)
        self._refused: KafkaError | None = None
        with self._broker.options():
            self._producer = Producer({**_CONFIG, **kafka_config(url), "error_cb": self._broker.heard})

    def send(self, alerts: Sequence[Alert]) -> None:
        """See :class:`transforms.alerts.channels.Channel`."""
        self._refused = None
        for alert in alerts:
            self._producer.produce(self._topic, encode(alert), alert.message_id, on_delivery=self._delivered)
        end = time.monotonic() + PATIENCE_SECONDS
        while self._producer.flush(1):
            self._broker.check(None)
            if time.monotonic() > end:
                raise self._broker.unavailable()
        if self._refused is not None:
            self._broker.check(self._refused)
            raise ServiceUnavailable(f"{self._broker.name} does not take an alert: {self._refused.str()}")

    def close(self) -> None:
        """Let go of what nobody waits for any more."""
        self._producer.purge()
        self._producer.close()

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._refused = error or self._refused


class PubSubAlerts:
    """A topic of Pub/Sub; the message_id is an attribute."""

    def __init__(self, url: PubSubUrl) -> None:
        """Find it. Raises InputUnusable, ServiceUnavailable."""
        self._name = f"pubsub://{url.project}/{url.name}"
        self._topic = f"projects/{url.project}/topics/{url.name}"
        try:
            self._client = PublisherClient()
            self._client.get_topic(topic=self._topic, retry=Retry(PASSES, timeout=START_SECONDS))
        except exceptions.PermissionDenied:
            pass  # whoever may publish to a topic may not always look at it
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            raise self._error(error) from error

    def send(self, alerts: Sequence[Alert]) -> None:
        """See :class:`transforms.alerts.channels.Channel`."""
        messages = [{"data": encode(alert), "attributes": {MESSAGE_ID: alert.message_id}} for alert in alerts]
        patiently = Retry(PASSES, timeout=PATIENCE_SECONDS)
        try:
            for start in range(0, len(messages), 1_000):  # what Pub/Sub takes in one request
                self._client.publish(topic=self._topic, messages=messages[start : start + 1_000], retry=patiently)
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Close the connection."""
        self._client.transport.close()

    def _error(self, error: Exception) -> PrestaCopError:
        if isinstance(error, exceptions.NotFound):
            return InputUnusable(
                f"{self._name}: there is no such topic; check the name, or make it with prestacop topics"
            )
        return ServiceUnavailable(f"{self._name} does not take alerts: {error}")
