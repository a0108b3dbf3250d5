"""The ways by which an alert reaches people, and how each is named on the command line."""

from collections.abc import Sequence
from typing import Protocol

from messaging.urls import KafkaUrl, PubSubUrl
from schemas.alerts import Alert
from transforms.alerts.mail import Mail, MailAddress
from transforms.alerts.topics import KafkaAlerts, PubSubAlerts
from transforms.alerts.webhook import Webhook, WebhookUrl

Target = KafkaUrl | PubSubUrl | WebhookUrl | MailAddress
"""Where alerts go; it can be sent to workers."""


class Channel(Protocol):
    """An open way to a target."""

    def send(self, alerts: Sequence[Alert]) -> None:
        """Return when all of them have arrived. Raises PrestaCopError: some may have, and may be sent again."""

    def close(self) -> None:
        """Let go of connections."""


def open_channel(target: Target) -> Channel:
    """Open a way there.

    Raises:
        InputUnusable: there is no such topic, or the environment lacks what the target needs.
        ServiceUnavailable: nothing answers there.
    """
    match target:
        case KafkaUrl():
            return KafkaAlerts(target)
        case PubSubUrl():
            return PubSubAlerts(target)
        case WebhookUrl():
            return Webhook(target)
        case MailAddress():
            return Mail(target)
