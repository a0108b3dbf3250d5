"""The channels of alerts: Kafka, Pub/Sub, webhook, e-mail."""

from collections.abc import Sequence
from typing import Protocol

from messaging.urls import KafkaUrl, PubSubUrl
from schemas.alerts import Alert
from transforms.alerts.mail import Mail, MailAddress
from transforms.alerts.topics import open_topic
from transforms.alerts.webhook import Webhook, WebhookUrl

Target = KafkaUrl | PubSubUrl | WebhookUrl | MailAddress
"""Where alerts go; can be pickled."""


class Channel(Protocol):
    """An open connection to a target."""

    def send(self, alerts: Sequence[Alert]) -> None:
        """Return when all are acknowledged. Raises PrestaCopError where one is not; a retry may send some again."""

    def close(self) -> None:
        """Close the connections."""


def open_channel(target: Target) -> Channel:
    """Open a channel.

    Raises:
        InputUnusable: there is no such topic, or the environment lacks what the target needs.
        ServiceUnavailable: nothing answers there.
    """
    match target:
        case KafkaUrl() | PubSubUrl():
            return open_topic(target)
        case WebhookUrl():
            return Webhook(target)
        case MailAddress():
            return Mail(target)
