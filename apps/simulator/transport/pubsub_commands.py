"""Commands from a subscription of Pub/Sub."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import SubscriberClient

from apps.simulator.transport.commands import Radio
from apps.simulator.transport.sinks import Sink, TopicUnusable
from messaging.urls import PubSubUrl
from schemas.errors import ServiceUnavailable

_AT_ONCE: Final = 1_000
_PULL_S: Final = 1.0
"""How long one request waits for a command."""
_START_S: Final = 10.0
_AWAY: Final = 60
"""So many requests in a row may fail in a way that passes."""
_PASSES: Final = (exceptions.ServiceUnavailable, exceptions.InternalServerError, exceptions.Unknown, exceptions.Aborted)


class PubSubRadio(Radio):
    """Pulls in a thread of its own: a request waits for what comes."""

    def __init__(self, url: PubSubUrl, confirming: Sink | None) -> None:
        """Find the subscription. Raises TopicUnusable, ServiceUnavailable."""
        super().__init__(confirming)
        self._url = f"pubsub://{url.project}/{url.name}"
        self._name = f"projects/{url.project}/subscriptions/{url.name}"
        self._failed = 0
        try:
            self._client = SubscriberClient()
            self._client.get_subscription(subscription=self._name, timeout=_START_S)
        except exceptions.PermissionDenied:
            pass  # whoever may pull may not always look at it
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            raise self._error(error) from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commands")
        self._coming: Future[list[bytes]] = self._thread.submit(self._pull)

    def _payloads(self) -> Sequence[bytes]:
        if not self._coming.done():
            return []
        try:
            found = self._coming.result()
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            self._failed += 1
            if not isinstance(error, _PASSES) or self._failed > _AWAY:
                raise self._error(error) from error
            found = []
        else:
            self._failed = 0
        self._coming = self._thread.submit(self._pull)
        return found

    def _pull(self) -> list[bytes]:
        try:
            answer = self._client.pull(subscription=self._name, max_messages=_AT_ONCE, timeout=_PULL_S, retry=None)
        except exceptions.DeadlineExceeded:
            return []
        received = answer.received_messages
        if received:
            self._client.acknowledge(subscription=self._name, ack_ids=[message.ack_id for message in received])
        return [message.message.data for message in received]

    def close(self) -> None:
        """Wait for the request under way, and end."""
        self._thread.shutdown()
        self._client.transport.close()

    def _error(self, error: Exception) -> TopicUnusable | ServiceUnavailable:
        if isinstance(error, exceptions.NotFound):
            return TopicUnusable(f"{self._url}: there is no such subscription; make it with runners.topics")
        return ServiceUnavailable(f"{self._url}: no commands can be heard: {error}")
