"""Topics and subscriptions of Pub/Sub."""

from collections.abc import Sequence
from typing import Final

from messaging.pubsub import Publisher, Subscriber, message
from messaging.retry import Patience
from messaging.urls import PubSubUrl
from schemas.alerts import MESSAGE_ID

from .outbox import Posted
from .readers import Read

_PUBLISH_S: Final = 30.0
_AT_ONCE: Final = 100


class PubSubReader:
    """A subscription: messages that are not acknowledged are delivered again."""

    def __init__(self, url: PubSubUrl) -> None:
        """Raises NotPermitted: no credentials."""
        # The reading thread retries by itself, and shows the reason meanwhile.
        self._subscriber = Subscriber(url, Patience(0))

    def read(self, seconds: float) -> Read:
        """New messages. Raises InputUnusable, NotPermitted, ServiceUnavailable."""
        received = self._subscriber.pull(_AT_ONCE, max(seconds, 1.0))
        return Read([each.message.data for each in received], {}, [each.ack_id for each in received])

    def waiting(self) -> None:
        """Pub/Sub does not report how many there are."""

    def done(self, read: Read) -> None:
        """Acknowledge it. Raises as :meth:`read` does."""
        self._subscriber.acknowledge(read.acknowledgements)

    def close(self) -> None:
        """Close the connection."""
        self._subscriber.close()


class PubSubPublisher:
    """A topic."""

    def __init__(self, url: PubSubUrl) -> None:
        """Raises NotPermitted: no credentials."""
        self._publisher = Publisher(url, Patience(_PUBLISH_S, answered=True), _PUBLISH_S)

    def publish(self, messages: Sequence[Posted]) -> None:
        """Return when the service has all. Raises InputUnusable, NotPermitted, ServiceUnavailable."""
        self._publisher.publish(message(m.payload, **{"key": m.key, MESSAGE_ID: m.message_id}) for m in messages)

    def close(self) -> None:
        """Close the connection."""
        self._publisher.close()
