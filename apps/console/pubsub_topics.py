"""Topics and subscriptions of Pub/Sub; the clients go to ``PUBSUB_EMULATOR_HOST`` where that is set."""

from collections.abc import Sequence
from typing import Any, Final

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, PubsubMessage, SubscriberClient

from messaging.urls import PubSubUrl
from schemas.alerts import MESSAGE_ID
from schemas.errors import InputUnusable, PrestaCopError, ServiceUnavailable

from .outbox import Posted
from .topics import Read

_TIMEOUT_S: Final = 30.0
_AT_ONCE: Final = 100


class PubSubReader:
    """A subscription: what is done is acknowledged, and what is not comes again."""

    def __init__(self, url: PubSubUrl) -> None:
        """Raises ServiceUnavailable: no credentials."""
        self._url = url
        self._name = f"projects/{url.project}/subscriptions/{url.name}"
        self._client: Any = _client(SubscriberClient)

    def read(self, seconds: float) -> Read:
        """What is new. Raises InputUnusable: no such subscription; ServiceUnavailable."""
        try:
            answer = self._client.pull(
                subscription=self._name, max_messages=_AT_ONCE, timeout=max(seconds, 1.0), retry=None
            )
        except exceptions.DeadlineExceeded:
            return Read([], {})
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            raise _error(error, "subscription", self._url) from error
        received = answer.received_messages
        return Read([each.message.data for each in received], {}, [each.ack_id for each in received])

    def waiting(self) -> None:
        """Pub/Sub does not say how many there are."""

    def done(self, read: Read) -> None:
        """Acknowledge it."""
        try:
            self._client.acknowledge(subscription=self._name, ack_ids=list(read.acknowledgements), timeout=_TIMEOUT_S)
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            raise _error(error, "subscription", self._url) from error

    def close(self) -> None:
        """Let go of the service."""
        self._client.transport.close()


class PubSubPublisher:
    """A topic."""

    def __init__(self, url: PubSubUrl) -> None:
        """Raises ServiceUnavailable: no credentials."""
        self._url = url
        self._topic = f"projects/{url.project}/topics/{url.name}"
        self._client: Any = _client(PublisherClient)

    def publish(self, messages: Sequence[Posted]) -> None:
        """Return when the service has all. Raises InputUnusable: no such topic; ServiceUnavailable."""
        wrapped = [
            PubsubMessage(data=each.payload, attributes={"key": each.key, MESSAGE_ID: each.message_id})
            for each in messages
        ]
        try:
            self._client.publish(topic=self._topic, messages=wrapped, timeout=_TIMEOUT_S)
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            raise _error(error, "topic", self._url) from error

    def close(self) -> None:
        """Let go of the service."""
        self._client.transport.close()


def _client(kind: Any) -> Any:
    try:
        return kind()
    except GoogleAuthError as error:
        raise ServiceUnavailable(f"Pub/Sub: {error} An emulator's address is PUBSUB_EMULATOR_HOST.") from error


def _error(error: Exception, what: str, url: PubSubUrl) -> PrestaCopError:
    if isinstance(error, exceptions.NotFound):
        return InputUnusable(f"there is no {what} {url.name} in project {url.project}: make topics makes it")
    return ServiceUnavailable(f"Pub/Sub does not answer for {what} {url.name} in project {url.project}: {error}")
